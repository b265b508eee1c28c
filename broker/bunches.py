"""Jobs on their way to queues: what they need, and what the pilot gets when a site is chosen."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prodchain.catalog.names import Did, file_name, parse_did, path_of, url_prefix
from prodchain.pilot_agent.messages import Input

from .brokerage.facts import Files, Need
from .models import Task
from .requests import TaskRequest
from .requirements import Requirement

PATIENCE = 4
"""Leases after which a pilot that cannot reach the broker gives its job up; till then the broker's word counts."""


class Pace(NamedTuple):
    """How often a pilot reports, and for how long its silence is borne."""

    heartbeat_s: float
    lease_s: float


@dataclass(frozen=True)
class Bunch:
    """Jobs of one task on their way to queues, and what they need of a slot by the number of the requirement.

    ``inputs`` by job: its files, each with the storages that have it. ``outputs`` by role: names of datasets.
    """

    task: int
    request: TaskRequest
    jobs: Mapping[int, Any]
    requirements: Mapping[int, Requirement]
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
            shape = _shape(self.inputs[job]) if job in self.inputs else ()
            alike[row["requirement_id"], tuple(row["avoid"] or ()), shape].append(job)
        return [self._need(task, jobs, *kind[:2]) for kind, jobs in alike.items()]

    def _need(self, task: Task, jobs: list[int], requirement: int, avoid: tuple[int, ...]) -> Need:
        files = {file["id"]: file for job in jobs for file in self.inputs.get(job, [])}
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for file in files.values():
            groups[tuple(file["storages"])].append(file["bytes"])
        return Need(
            jobs=tuple(jobs),
            **vars(self.requirements[requirement]),
            inputs=tuple(Files(at, len(sizes), sum(sizes)) for at, sizes in sorted(groups.items())),
            task=self.task,
            owner=task.owner,
            group=task.group_name,
            activity=task.activity.value,
            priority=task.priority,
            share=task.share_id,
            sites=tuple(self.request.sites),
            avoid=avoid,
        )

    def specs(self, jobs: Sequence[int], storage_url: str) -> Iterator[str]:
        """What the pilots get (pilot_agent.messages.JobSpec), with the URLs of the chosen site's storage.

        As text, of which all but the numbers of a job is written once: jobs come by the hundred thousand. Names of
        files need no quoting (catalog.names).
        """
        command = json.dumps(self.request.command, ensure_ascii=False)
        prefix = url_prefix(storage_url)
        quoted = json.dumps(prefix)[1:-1]
        scope = parse_did(self.request.output).scope
        contact = f'"heartbeat_s": {self.pace.heartbeat_s}, "lease_s": {self.pace.lease_s * PATIENCE}'
        roles = [(role or "output", name) for role, name in self.outputs.items()]
        for job in jobs:
            row = self.jobs[job]
            number, attempt = row["number"], row["attempt"]
            files = {file["id"]: file for file in self.inputs[job]} if job in self.inputs else {}
            fields = self._fields(row, files)
            outputs = []
            for role, name in roles:
                fields[role] = lfn = file_name(name, number, attempt)
                outputs.append(f'{{"lfn": "{lfn}", "url": "{quoted}{path_of(Did(scope, lfn))}"}}')
            yield (
                f'{{"job": {job}, "task": {self.task}, "attempt": {attempt}, "command": {command.format_map(fields)},'
                f' "inputs": {json.dumps([_input(file, prefix) for file in files.values()]) if files else "[]"},'
                f' "outputs": [{", ".join(outputs)}],'
                f' "walltime_s": {self.requirements[row["requirement_id"]].walltime_s}, {contact}}}'
            )

    def _fields(self, row: Any, files: Mapping[int, Any]) -> dict[str, str | int]:
        """What the fields of the command stand for; the files in the order that ``skip`` counts through."""
        fields: dict[str, str | int] = {
            # -1 means all: how many events a file has may be unknown.
            "events": row["events"] or -1,
            "skip": row["skip"],
            "first_event": row["first_event"],
            "seed": row["seed"],
            "job_seed": self.request.seed + row["number"],
            "number": row["number"],
            "inputs": ",".join([files[file]["name"] for file in row["files"]]) if row["files"] else "",
        }
        for name, some in (row["secondary"] or {}).items():
            fields[name] = ",".join([files[file]["name"] for file in some])
        return fields


def _shape(files: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    sizes: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0])
    for file in files:
        size = sizes[tuple(file["storages"])]
        size[0] += 1
        size[1] += file["bytes"]
    return tuple((at, number.bit_length(), bytes_.bit_length()) for at, (number, bytes_) in sorted(sizes.items()))


def _input(file: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    url = prefix + path_of(Did(file["scope"], file["name"]))
    return vars(Input(file["name"], url, file["bytes"], file["adler32"]))
