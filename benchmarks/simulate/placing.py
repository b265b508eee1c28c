"""The brokerage's turns: the farm as it stands, and each task's waiting jobs in bunches, as broker.placement does."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prodchain.broker.brokerage.decide import decide
from prodchain.broker.brokerage.facts import Decision, Files, Need, Offer
from prodchain.broker.placement import BUNCH

from .load import HOUR_S
from .tasks import Task, Tasks

CYCLE_S = 600.0
"""How often the brokerage goes through the tasks."""
GATHER_S, GATHER = 3 * HOUR_S, 300
"""Work that failed is brokered again with others of its task, after that time or when there is that much of it."""
FULL = 0.005
"""With less of all room left, the rest of the tasks waits for the next turn."""


@dataclass
class Placing:
    """``given``: what is told of each decision for a queue: the task, its requirement, need and decision."""

    tasks: Tasks
    given: Callable[[Task, int, Need, Decision], None]
    jobs: int = 0
    bunches: int = 0
    refused: int = 0
    again: int = 0
    """Jobs that were decided about once more after a failure or a way back."""
    unplaceable: int = 0
    cpu_s: float = 0.0
    _full: set[tuple[object, ...]] = field(default_factory=set)

    def turn(self, offers: Sequence[Offer], now: float) -> None:
        self._full.clear()
        left = all_ = sum(offer.waiting_limit for offer in offers)
        left -= sum(min(offer.waiting, offer.waiting_limit) for offer in offers)
        known = sorted(self.tasks.open.values(), key=lambda task: (-task.what.priority, task.id))
        for task in known:
            if not self._due(task, now):
                continue
            if left < FULL * all_:
                break
            offers, placed = self._place(task, list(offers), now)
            left -= placed

    def _due(self, task: Task, now: float) -> bool:
        if task.fresh:
            return True
        if not task.again:
            return False
        return task.again_since + GATHER_S <= now or sum(map(len, task.again.values())) >= GATHER

    def _place(self, task: Task, offers: list[Offer], now: float) -> tuple[list[Offer], int]:
        placed = 0
        again = sum(map(len, task.again.values()))
        for (requirement, avoid), failed in list(task.again.items()):
            offers, number = self._bunch(task, requirement, avoid, failed, offers, now)
            placed += number
            del task.again[requirement, avoid]
            if number < len(failed):
                task.again[requirement, avoid] = failed[number:]
        task.again_since = now if any(task.again.values()) else math.inf
        self.again += again - sum(map(len, task.again.values()))
        while task.fresh:
            jobs = task.fresh[0]
            offers, number = self._bunch(task, task.requirement, (), jobs[:BUNCH], offers, now)
            placed += number
            task.fresh[:1] = [jobs[number:]] if number < len(jobs) else []
            if number < len(jobs[:BUNCH]):
                break
        return offers, placed

    def _bunch(
        self,
        task: Task,
        requirement: int,
        avoid: tuple[int, ...],
        jobs: Sequence[int],
        offers: list[Offer],
        now: float,
    ) -> tuple[list[Offer], int]:
        needs, what = self.tasks.requirements[requirement], task.what
        alike = (what.at, avoid, needs.memory_mb > 16_000)
        if alike in self._full:
            return offers, 0
        inputs = (Files(what.at, len(jobs), len(jobs) * what.input_bytes),) if what.input_bytes else ()
        need = Need(
            tuple(jobs), needs.cores, needs.memory_mb, needs.walltime_s,
            inputs=inputs, task=task.id, owner="prod", activity=what.kind.activity,
            priority=what.priority, share=what.kind.share, avoid=avoid,
        )  # fmt: skip
        start = time.process_time()
        decisions, offers = decide(need, offers)
        self.cpu_s += time.process_time() - start
        self.bunches += 1
        self.jobs += len(jobs)
        placed = 0
        for decision in decisions:
            if decision.queue is not None:
                self.given(task, requirement, need, decision)
                placed += len(decision.jobs)
                continue
            self.refused += len(decision.jobs)
            if _hopeless(decision):
                for job in decision.jobs:
                    self.tasks.give_up(task, job, now)
                self.unplaceable += len(decision.jobs)
                placed += len(decision.jobs)
            else:
                self._full.add(alike)
        return offers, placed


def _hopeless(decision: Decision) -> bool:
    """Every queue is too small for it: people would kill it."""
    return all(
        {failure.criterion for failure in verdict.failures} & {"memory", "walltime"} for verdict in decision.verdicts
    )
