"""Tasks and jobs: how work is cut, what its scouts teach, what follows a failure; each job is somewhere, always."""

import math
from array import array
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeAlias

from prodchain.broker.recovery.rules import Failure, Retry, Run, decide, parse, shipped
from prodchain.broker.requests import TaskRequest
from prodchain.broker.requirements import Requirement
from prodchain.broker.sizing import Measured, enough, size
from prodchain.broker.splitting import split_events

from .load import HOUR_S, Submission

EVENTS, SCOUTS, SCOUTED_FROM = 1000, 10, 100
"""Events of a job; scouts of a task with so many jobs."""
RULES = parse(shipped(), "rules")
WAITS, FINISHED, FAILED = 0, 1, 2
Place: TypeAlias = tuple[int, tuple[int, ...]]
"""Requirement and the queues to avoid: jobs of a task that have these in common are brokered together."""


@cache
def _ruled(failure: Failure, run: Run) -> Retry:
    """Thousands of runs fail in the same way."""
    return decide(failure, run, RULES)


@dataclass(eq=False)
class Task:
    id: int
    what: Submission
    ask: TaskRequest
    requirement: int
    left: int
    """Jobs that are not made yet: they wait for the scouts."""
    scouts: int = 0
    """Those that are not over."""
    measured: list[Measured] = field(default_factory=list)
    fresh: list[range] = field(default_factory=list)
    again: dict[Place, list[int]] = field(default_factory=lambda: defaultdict(list))
    again_since: float = math.inf
    ready_at: float = 0.0
    open: int = 0
    """Jobs that are not over."""


@dataclass
class Tries:
    attempt: int = 1
    spared: int = 0
    avoid: tuple[int, ...] = ()


class Tasks:
    """``open``: tasks with work left, by number; ``of``: the task of each job; ``state``: whether a job is over."""

    def __init__(self) -> None:
        self.open: dict[int, Task] = {}
        self.count = 0
        self.of = array("i")
        self.state = bytearray()
        self.requirements: list[Requirement] = []
        self.tries: dict[int, Tries] = {}
        self._numbers: dict[Requirement, int] = {}

    def number(self, requirement: Requirement) -> int:
        if requirement not in self._numbers:
            self._numbers[requirement] = len(self.requirements)
            self.requirements.append(requirement)
        return self._numbers[requirement]

    def submit(self, what: Submission, now: float) -> Task:
        scouts = SCOUTS if what.jobs >= SCOUTED_FROM and now > 0 else 0  # those of the first stock had theirs
        ask = TaskRequest(
            step=what.kind.step,
            output=f"mc26:mc26.{self.count}.{what.kind.step}",
            command=["Sim_tf.py", "{seed}"],
            events=EVENTS * what.jobs,
            events_per_job=EVENTS,
            scouts=scouts,
            cores=what.kind.cores,
            memory_mb=what.memory_mb,
            walltime_s=math.ceil(2.5 * what.job_s / HOUR_S) * HOUR_S,
        )
        task = Task(
            self.count, what, ask, self.number(Requirement(ask.cores, ask.memory_mb, ask.walltime_s)), what.jobs
        )
        self.count += 1
        self.open[task.id] = task
        task.scouts = scouts
        self._make(task, scouts or None, now)
        return task

    def _make(self, task: Task, most: int | None, now: float) -> None:
        """The next pieces of the task's work."""
        made = task.what.jobs - task.left
        works = split_events(
            task.ask.events, events_per_job=EVENTS, first_event=1, seed=1, position=made * EVENTS, most=most
        )
        first = len(self.of)
        self.of.extend([task.id] * len(works))
        self.state.extend(bytes(len(works)))
        task.fresh.append(range(first, first + len(works)))
        task.left -= len(works)
        task.open += len(works)
        task.ready_at = now

    def finish(self, task: Task, job: int, wall_s: float, now: float) -> None:
        assert self.state[job] == WAITS
        self.state[job] = FINISHED
        self.tries.pop(job, None)
        measured = Measured(wall_s, wall_s, 0.75 * task.what.memory_mb, 0, EVENTS, 0) if task.scouts else None
        self._over(task, measured, now)

    def fail(self, task: Task, job: int, requirement: int, queue: int, error: str, now: float) -> Retry:
        """What the rules say of the failure, and do it."""
        tried = self.tries.setdefault(job, Tries())
        run = Run(tried.attempt, tried.spared, 3, self.requirements[requirement], False)
        ruled = _ruled(Failure(error, 1, task.what.kind.step, "prod"), run)
        tried.attempt += 1
        tried.spared = ruled.spared
        if ruled.elsewhere:
            self.avoid(job, queue)
        if ruled.again:
            self.back(task, job, self.number(ruled.requirement), now)
        else:
            self.give_up(task, job, now)
        return ruled

    def back(self, task: Task, job: int, requirement: int, now: float) -> None:
        """To the brokerage once more."""
        tried = self.tries.get(job)
        task.again[requirement, tried.avoid if tried else ()].append(job)
        task.again_since = min(task.again_since, now)

    def avoid(self, job: int, queue: int) -> None:
        tried = self.tries.setdefault(job, Tries())
        if queue not in tried.avoid:
            tried.avoid += (queue,)

    def give_up(self, task: Task, job: int, now: float) -> None:
        assert self.state[job] == WAITS
        self.state[job] = FAILED
        self._over(task, None, now)

    def spare(self, job: int, queue: int, now: float) -> bool:
        """It failed because of its queue: that does not count; whether it was given up and is taken up again."""
        task = self.open.get(self.of[job])
        tried = self.tries.get(job)
        if task is None or tried is None:
            return False
        tried.spared += 1
        if self.state[job] != FAILED or task.scouts:
            return False
        self.state[job] = WAITS
        task.open += 1
        self.avoid(job, queue)
        self.back(task, job, task.requirement, now)
        return True

    def _over(self, task: Task, measured: Measured | None, now: float) -> None:
        task.open -= 1
        if task.scouts:
            task.measured += [measured] if measured else []
            task.scouts -= 1
            if not task.scouts:
                self._scouted(task, now)
        if not task.open:
            del self.open[task.id]

    def _scouted(self, task: Task, now: float) -> None:
        if enough(len(task.measured), SCOUTS):
            fields = size(task.ask, task.measured).fields
            memory_mb, walltime_s = fields["memory_mb"], fields["walltime_s"]
            assert memory_mb is not None and walltime_s is not None
            asked = self.requirements[task.requirement]
            task.requirement = self.number(replace(asked, memory_mb=memory_mb, walltime_s=walltime_s))
            task.measured = []
            self._make(task, None, now)
