"""What an answer is made of: reasons, files that are missing, a place in a queue."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from .cures import Cure, cheapest, together

View = dict[str, Any]
NOTHING = Cure(text="nothing to do: it goes on by itself")


@dataclass(frozen=True)
class Reason:
    """Why something waits or is where it is; ``cures`` are alternatives, none where nothing can or need be done."""

    what: str
    cures: tuple[Cure, ...] = ()
    jobs: int = 1

    @property
    def best(self) -> Cure | None:
        return cheapest(self.cures)

    def of(self, jobs: int, which: str) -> "Reason":
        """The same said of many jobs by the example of one."""
        return replace(self, what=f"{which}: {self.what}", jobs=jobs)

    def document(self) -> View:
        best = self.best or Cure()
        return {
            "what": self.what,
            "remedy": best.words,
            "who": best.who,
            "change": dict(best.change),
            "jobs": self.jobs,
        }


@dataclass(frozen=True)
class Missing:
    """A file that is waited for: where it is wanted, where it comes from, and how far it is."""

    file: str
    storage: str
    bytes: int
    source: str | None
    state: str
    words: str
    error: str | None = None
    next_try: datetime | None = None


@dataclass(frozen=True)
class Rank:
    """The place in a queue among the jobs that a pilot like the ones it waits for would take.

    ``ahead_in_share``: of them, those of its own share that come first. What is named in ``more_than`` was counted
    up to there only.
    """

    place: int
    of: int
    ahead_in_share: int
    more_than: tuple[str, ...] = ()

    def said(self, name: str) -> str:
        number = f"{getattr(self, name):,}"
        return f"more than {number}" if name in self.more_than else number


@dataclass
class Answer:
    """All that is known of one thing at one moment."""

    object: str
    state: str
    at: datetime
    reasons: list[Reason] = field(default_factory=list)
    rank: Rank | None = None
    missing: list[Missing] = field(default_factory=list)
    verdicts: Sequence[View] = ()
    of_many: bool = False
    """Whether the reasons are of different things."""

    @property
    def cheapest(self) -> Cure | None:
        """Of one thing what ends all reasons together; of many what somebody can do soonest for some of them."""
        if not self.of_many:
            return together([reason.best for reason in self.reasons if reason.best is not None])
        cures = [cure for reason in self.reasons for cure in reason.cures]
        return cheapest([cure for cure in cures if cure.who != "nobody"] or cures)

    def document(self) -> View:
        best = self.cheapest
        return {
            "object": self.object,
            "state": self.state,
            "at": self.at,
            "reasons": [reason.document() for reason in self.reasons],
            "rank": None if self.rank is None else asdict(self.rank) | {"more_than": list(self.rank.more_than)},
            "missing": [asdict(each) for each in self.missing],
            "cheapest": None if best is None else best.document(),
            "verdicts": list(self.verdicts),
        }
