"""Jobs on their way to queues: what they need, and what the pilot gets when a site is chosen."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from prodchain.catalog.names import Did, file_name, parse_did, url_of
from prodchain.pilot_agent.messages import Input, JobSpec, Output

from .brokerage.facts import Need
from .requests import TaskRequest
from .splitting import Work

PATIENCE = 4
"""Leases after which a pilot that cannot reach the broker gives its job up; till then the broker's word counts."""


class Pace(NamedTuple):
    """How often a pilot reports, and for how long its silence is borne."""

    heartbeat_s: float
    lease_s: float


@dataclass(frozen=True)
class Bunch:
    """Jobs of one task on their way to queues; ``inputs`` by job: its files, each with the storages that have it."""

    task: int
    request: TaskRequest
    jobs: Mapping[int, Any]
    inputs: Mapping[int, list[dict[str, Any]]]
    pace: Pace

    def needs(self, storages: Iterable[int]) -> list[Need]:
        """Jobs that the brokerage cannot tell apart, together: the same bytes missing at the same storages."""
        alike: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
        for job in self.jobs:
            files = self.inputs.get(job, [])
            missing = tuple(
                (storage, sum(file["bytes"] for file in files if storage not in file["storages"]))
                for storage in sorted(storages)
            )
            alike[missing].append(job)
        ask = self.request
        return [
            Need(tuple(jobs), ask.cores, ask.memory_mb, ask.walltime_s, dict(missing))
            for missing, jobs in alike.items()
        ]

    def spec(self, job: int, storage_url: str) -> JobSpec:
        """What the pilot gets, with the URLs of the chosen site's storage."""
        work = Work.load(self.jobs[job]["work"])
        files = self.inputs.get(job, [])
        output = parse_did(self.request.output)
        lfn = file_name(output.name, work.number, self.jobs[job]["attempt"])
        fields = {
            # -1 means all: how many events a file has may be unknown.
            "events": work.events or -1,
            "skip": work.skip,
            "first_event": work.first_event,
            "seed": work.seed,
            "number": work.number,
            "inputs": ",".join(file["name"] for file in files),
            "output": lfn,
        }
        return JobSpec(
            job=job,
            task=self.task,
            attempt=self.jobs[job]["attempt"],
            command=[word.format(**fields) for word in self.request.command],
            inputs=[
                Input(f["name"], url_of(storage_url, Did(f["scope"], f["name"])), f["bytes"], f["adler32"])
                for f in files
            ],
            outputs=[Output(lfn, url_of(storage_url, Did(output.scope, lfn)))],
            walltime_s=self.request.walltime_s,
            heartbeat_s=self.pace.heartbeat_s,
            lease_s=self.pace.lease_s * PATIENCE,
        )
