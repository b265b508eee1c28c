"""The health of queues, as broker.canaries keeps it: ends of runs are noted, health.look judges by them."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from prodchain.broker.health import Canary, End, Limits, Others, Standing, Tally, look, weigh
from prodchain.broker.models import Health
from prodchain.broker.recovery.rules import Failure, ruling

from .tasks import RULES

START = datetime(2026, 1, 1, tzinfo=UTC)
CANARY_S = 300.0
"""How long a canary takes, with its way to a pilot."""


@dataclass
class Watch:
    queues: int
    answers: Callable[[int], bool | None]
    """Whether a canary at the queue would succeed now; none: nothing runs there at all."""
    limits: Limits = field(default_factory=Limits)
    standing: list[Standing] = field(default_factory=list)
    drains: int = 0
    returns: int = 0
    drained_s: float = 0.0
    _ends: list[deque[tuple[int, str, float, int]]] = field(default_factory=list)
    _failed: set[int] = field(default_factory=set)
    """Queues where a run failed since they were looked at."""
    _canary: dict[int, float] = field(default_factory=dict)
    """When it is over."""

    def __post_init__(self) -> None:
        self.standing = [Standing()] * self.queues
        self._ends = [deque(maxlen=self.limits.newest) for _ in range(self.queues)]

    def ended(self, queue: int, task: int, error: str, now: float, job: int) -> None:
        self._ends[queue].append((task, error, now, job))
        if error:
            self._failed.add(queue)

    def good(self, queue: int) -> bool:
        return self.standing[queue].health is Health.GOOD

    def look(self, now: float, seconds: float) -> Iterator[tuple[int, Tally]]:
        """Judge the queues that there is something to say of; those that are drained now, and by what."""
        at = START + timedelta(seconds=now)
        for queue, before in enumerate(self.standing):
            tally = Tally(0, ())
            if before.health is not Health.GOOD:
                self.drained_s += seconds
            elif self._suspicious(queue):
                tally = self._tally(queue, before, at)
            elif not before.strikes:
                continue
            canary = self._over(queue, now)
            after = look(before, tally, canary, at, self.limits)
            if canary is not None:
                del self._canary[queue]
            if after.health is not before.health:
                self._changed(queue, before, after, now)
                if before.health is Health.GOOD:
                    yield queue, tally
            self.standing[queue] = after
        self._failed.clear()

    def _changed(self, queue: int, before: Standing, after: Standing, now: float) -> None:
        if after.health is Health.PROBING:
            self._canary[queue] = now + CANARY_S
        elif before.health is Health.GOOD:
            self.drains += 1
        elif after.health is Health.GOOD:
            self.returns += 1

    def _suspicious(self, queue: int) -> bool:
        if queue not in self._failed:
            return False
        ends = self._ends[queue]
        return len(ends) >= self.limits.runs and sum(bool(end[1]) for end in ends) > self.limits.drain * len(ends)

    def _over(self, queue: int, now: float) -> Canary | None:
        if self._canary.get(queue, now + 1) > now or (answer := self.answers(queue)) is None:
            return None
        return Canary(True, answer, "the canary's task")

    def _tally(self, queue: int, standing: Standing, now: datetime) -> Tally:
        first = max(standing.since, now - self.limits.window)
        ends = [end for end in map(_end, self._ends[queue]) if end.at > first]
        failing = {end.task for end in ends if end.failed}
        return weigh(ends, self._others(queue, failing), self.limits) if failing else Tally(len(ends), ())

    def _others(self, queue: int, tasks: set[int]) -> Others:
        found: dict[int, list[tuple[int, int]]] = {}
        for other, ends in enumerate(self._ends):
            if other == queue:
                continue
            counts: dict[int, list[int]] = {}
            for task, error, _, _ in ends:
                if task in tasks:
                    counts.setdefault(task, [0, 0])[bool(error)] += 1
            for task, (good, bad) in counts.items():
                found.setdefault(task, []).append((good, bad))
        return found


def _end(kept: tuple[int, str, float, int]) -> End:
    task, error, at, job = kept
    return End(task, bool(error), START + timedelta(seconds=at), error, error, bool(error) and _blames(error), job)


@cache
def _blames(error: str) -> bool:
    rule, _ = ruling(Failure(error, 1), RULES)
    return rule is not None and rule.elsewhere
