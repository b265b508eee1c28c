"""When to ask the brokerage about a refused task again: when what it waits for has changed, or after a while.

``Patience`` is pure and knows one process's refusals: another process, or the same after a restart, asks once more.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from .brokerage.criteria import PASSING
from .brokerage.facts import Offer
from .bunches import Pace
from .database import Connection
from .offers import offers
from .placement import Outcome, Waiting, place, waiting

AGAIN_S = 30.0
"""After so long it is asked about in any case: links are forgotten, files come from elsewhere."""
BY_LOAD = PASSING | {"space"}
"""What a queue refuses for only because of its load."""


@dataclass(frozen=True)
class _Refusal:
    task: Waiting
    farm: int
    full: dict[int, tuple[int, ...]]
    """Queues that would take it but for their load, with that load."""
    until: float


class Patience:
    def __init__(self) -> None:
        self._refused: dict[int, _Refusal] = {}
        self._farm = 0
        self._loads: dict[int, tuple[int, ...]] = {}
        self._now = 0.0

    def look(self, offers: Sequence[Offer], now: float) -> None:
        """Take notice of the queues; ``now`` in seconds of any clock."""
        self._farm = hash(tuple(_standing(offer) for offer in offers) + _ways(offers))
        self._loads = {offer.queue: _load(offer) for offer in offers}
        self._now = now

    def keep(self, tasks: Sequence[Waiting]) -> None:
        """Forget those that wait no more."""
        self._refused = {task.id: self._refused[task.id] for task in tasks if task.id in self._refused}

    def due(self, task: Waiting) -> bool:
        """New, changed or with new jobs, queues that changed, or room at one that was full."""
        known = self._refused.get(task.id)
        return (
            known is None
            or known.task != task
            or known.farm != self._farm
            or known.until <= self._now
            or any(
                any(now < then for now, then in zip(self._loads[queue], load, strict=True))
                for queue, load in known.full.items()
                if queue in self._loads
            )
        )

    def note(self, task: Waiting, outcome: Outcome) -> None:
        """Remember what became of a task, and what that made of the queues."""
        self.look(outcome.offers, self._now)
        self._refused.pop(task.id, None)
        verdicts = [verdict for _, made in outcome.decisions if made.queue is None for verdict in made.verdicts]
        if any(made.queue is None for _, made in outcome.decisions):
            full = {
                verdict.queue: self._loads[verdict.queue]
                for verdict in verdicts
                if {failure.criterion for failure in verdict.failures} <= BY_LOAD
            }
            self._refused[task.id] = _Refusal(task, self._farm, full, self._now + AGAIN_S)


class Placer:
    """The placing agent's step: the tasks that are due, and one of them placed."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._patience = Patience()
        self._tasks: dict[int, Waiting] = {}

    async def due(self, conn: Connection) -> list[int]:
        tasks = await waiting(conn)
        self._tasks = {task.id: task for task in tasks}
        self._patience.keep(tasks)
        if tasks:
            self._patience.look(await offers(conn), time.monotonic())
        return [task.id for task in tasks if self._patience.due(task)]

    async def place(self, conn: Connection, task_id: int) -> int:
        """Returns how many jobs found a queue; room that tasks before it took is gone."""
        task = self._tasks[task_id]
        if not self._patience.due(task):
            return 0
        outcome = await place(conn, task_id, self._pace)
        if outcome.decisions:
            self._patience.note(task, outcome)
        return outcome.placed


def _standing(offer: Offer) -> tuple[object, ...]:
    """What of a queue does not depend on its load."""
    return (
        *(offer.queue, offer.name, offer.site, offer.storage, offer.status, offer.health, offer.canary, offer.slots),
        *(offer.cores, offer.memory_mb, offer.walltime_s, offer.scratch_mb, offer.gpus, offer.architecture),
        *(offer.software, offer.allow, offer.max_jobs, offer.best, offer.pilots > 0, offer.writable, offer.readable),
    )


def _ways(offers: Sequence[Offer]) -> tuple[object, ...]:
    if not offers:
        return ()
    network = offers[0].network
    readable = tuple(at for at, store in network.stores.items() if store.readable)
    return readable, tuple(link for link in network.links if network.failing(*link))


def _load(offer: Offer) -> tuple[int, ...]:
    """Less of any of it is more room."""
    return offer.waiting, offer.executing, offer.incoming_bytes, -(offer.free_bytes or 0)
