"""Jobs on their way to queues: what they need, and what the pilot gets when a site is chosen."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from prodchain.catalog.names import Did, file_name, parse_did, url_of
from prodchain.pilot_agent.messages import Input, JobSpec, Output

from .brokerage.facts import Files, Need
from .models import Task
from .requests import TaskRequest
from .requirements import NEEDS
from .splitting import Work

PATIENCE = 4
"""Leases after which a pilot that cannot reach the broker gives its job up; till then the broker's word counts."""


class Pace(NamedTuple):
    """How often a pilot reports, and for how long its silence is borne."""

    heartbeat_s: float
    lease_s: float


@dataclass(frozen=True)
class Bunch:
    """Jobs of one task on their way to queues, with what each needs of a slot (``requirement``).

    ``inputs`` by job: its files, each with the storages that have it. ``outputs`` by role: names of datasets.
    """

    task: int
    request: TaskRequest
    jobs: Mapping[int, Any]
    inputs: Mapping[int, list[dict[str, Any]]]
    outputs: Mapping[str, str]
    pace: Pace

    def needs(self, task: Task) -> list[Need]:
        """Jobs that the brokerage need not tell apart, together: the same requirement, and inputs much alike.

        Much alike: the same storages have them, as many files and bytes to a factor of two. Files differ in size, and
        a decision for each job would say nothing more.
        """
        alike: dict[Any, list[int]] = defaultdict(list)
        for job, row in self.jobs.items():
            sizes: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0])
            for file in self.inputs.get(job, []):
                size = sizes[tuple(file["storages"])]
                size[0] += 1
                size[1] += file["bytes"]
            shape = tuple(
                (at, files.bit_length(), bytes_.bit_length()) for at, (files, bytes_) in sorted(sizes.items())
            )
            alike[row["requirement_id"], tuple(row["avoid"]), shape].append(job)
        return [self._need(task, jobs) for jobs in alike.values()]

    def _need(self, task: Task, jobs: list[int]) -> Need:
        files = {file["id"]: file for job in jobs for file in self.inputs.get(job, [])}
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for file in files.values():
            groups[tuple(file["storages"])].append(file["bytes"])
        first = self.jobs[jobs[0]]
        return Need(
            jobs=tuple(jobs),
            **{name: first[name] for name in NEEDS} | {"software": tuple(first["software"])},
            inputs=tuple(Files(at, len(sizes), sum(sizes)) for at, sizes in sorted(groups.items())),
            task=self.task,
            owner=task.owner,
            group=task.group_name,
            activity=task.activity.value,
            priority=task.priority,
            share=task.share_id,
            sites=tuple(self.request.sites),
            avoid=tuple(first["avoid"]),
        )

    def spec(self, job: int, storage_url: str) -> JobSpec:
        """What the pilot gets, with the URLs of the chosen site's storage."""
        row = self.jobs[job]
        work = Work.load(row["work"])
        files = {file["id"]: file for file in self.inputs.get(job, [])}
        lfns = {role: file_name(name, work.number, row["attempt"]) for role, name in self.outputs.items()}
        scope = parse_did(self.request.output).scope
        fields = self._fields(work, files) | {role or "output": lfn for role, lfn in lfns.items()}
        return JobSpec(
            job=job,
            task=self.task,
            attempt=row["attempt"],
            command=[word.format(**fields) for word in self.request.command],
            inputs=[
                Input(f["name"], url_of(storage_url, Did(f["scope"], f["name"])), f["bytes"], f["adler32"])
                for f in files.values()
            ],
            outputs=[Output(lfn, url_of(storage_url, Did(scope, lfn))) for lfn in lfns.values()],
            walltime_s=row["walltime_s"],
            heartbeat_s=self.pace.heartbeat_s,
            lease_s=self.pace.lease_s * PATIENCE,
        )

    def _fields(self, work: Work, files: Mapping[int, Any]) -> dict[str, str | int]:
        """What the fields of the command stand for; the files in the order that ``skip`` counts through."""
        return {
            # -1 means all: how many events a file has may be unknown.
            "events": work.events or -1,
            "skip": work.skip,
            "first_event": work.first_event,
            "seed": work.seed,
            "job_seed": self.request.seed + work.number,
            "number": work.number,
            "inputs": ",".join(files[file]["name"] for file in work.files),
            **{name: ",".join(files[file]["name"] for file in some) for name, some in work.secondary.items()},
        }
