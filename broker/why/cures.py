"""What would let something run, the cheapest first: pure, from verdicts and what their round knew."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..brokerage.facts import Need, Offer, Remedy, Verdict

WHO = ("nobody", "user", "operator")
"""The softest first: what passes by itself, what its owner can do, what somebody else has to do."""
COUNTED = ("task", "queue", "storage", "pilots", "links", "plugin")
"""What people change; ``facts`` and ``job`` change by themselves."""
SITES_FILE = "prodchain site apply FILE"
"""The command after the sites file was changed."""


@dataclass(frozen=True)
class Cure:
    """What would help: who can do it (as Remedy), as a sentence, as data, and as a command where there is one.

    ``size``: by how much values change, as part of what they are. ``queue``: where it would run then.
    """

    who: str = "nobody"
    text: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    size: float = 0.0
    queue: str | None = None

    @property
    def cost(self) -> tuple[int, int, float]:
        """Softer hands first, then fewer values, then smaller changes of them."""
        values = sum(len(values) for scope, values in self.change.items() if scope in COUNTED)
        return WHO.index(self.who), values, self.size

    @property
    def words(self) -> str:
        """The sentence with the command, if it does not name it itself."""
        if not self.command or self.command in self.text:
            return self.text
        return f"{self.text}: `{self.command}`"

    def document(self) -> dict[str, Any]:
        return {
            "who": self.who,
            "text": self.text,
            "queue": self.queue,
            "change": dict(self.change),
            "command": self.command,
        }


def cheapest(cures: Iterable[Cure]) -> Cure | None:
    """The first of those that cost least."""
    return min(cures, key=lambda cure: cure.cost, default=None)


def together(cures: Sequence[Cure]) -> Cure | None:
    """All of them at once; what passes by itself needs no words where there is something to do."""
    todo = [cure for cure in cures if cure.who != "nobody"] or list(cures[:1])
    if len(todo) < 2:
        return todo[0] if todo else None
    return Cure(
        who=max((cure.who for cure in todo), key=WHO.index),
        text="; and ".join(dict.fromkeys(cure.text for cure in todo)),
        change=_together([cure.change for cure in todo]),
        command=" && ".join(dict.fromkeys(cure.command for cure in todo if cure.command)),
        size=sum(cure.size for cure in todo),
        queue=todo[0].queue,
    )


def of_verdicts(
    verdicts: Sequence[Verdict], names: Mapping[int, str], task: int, need: Need | None, offers: Sequence[Offer]
) -> list[Cure]:
    """For each queue that fails what would let it pass, the cheapest first. ``names``: of the queues.

    ``need`` and ``offers`` are what was judged, to tell how large a change is; without them all are alike.
    """
    known = {offer.queue: offer for offer in offers}
    cures = [
        cure
        for verdict in verdicts
        if (cure := _of_verdict(verdict, names.get(verdict.queue, ""), task, need, known.get(verdict.queue)))
    ]
    return sorted(cures, key=lambda cure: cure.cost)


def _of_verdict(verdict: Verdict, queue: str, task: int, need: Need | None, offer: Offer | None) -> Cure | None:
    """All that the queue fails, mended; None if it passes, or if nobody knows how to mend it."""
    if verdict.passed or not all(failure.remedies for failure in verdict.failures):
        return None
    chosen = [min(failure.remedies, key=lambda each: _cost(each, need, offer)) for failure in verdict.failures]
    change = _together([remedy.change for remedy in chosen])
    return Cure(
        who=max((remedy.who for remedy in chosen), key=WHO.index),
        text="; and ".join(dict.fromkeys(remedy.text for remedy in chosen)),
        change=change,
        command=command(change, task=task, queue=queue),
        size=_size(change, need, offer),
        queue=queue,
    )


def _cost(remedy: Remedy, need: Need | None, offer: Offer | None) -> tuple[int, int, float]:
    return Cure(remedy.who, change=remedy.change, size=_size(remedy.change, need, offer)).cost


def _together(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One change that holds all: of a task the smallest of what is asked for, of others the largest."""
    found: dict[str, dict[str, Any]] = {}
    for change in changes:
        for scope, values in change.items():
            into = found.setdefault(scope, {})
            for name, value in values.items():
                into[name] = _both(into[name], value, least=scope in ("task", "facts")) if name in into else value
    return found


def _both(one: Any, other: Any, *, least: bool) -> Any:
    if isinstance(one, list) and isinstance(other, list):
        return [each for each in one if each in other] if least else list(dict.fromkeys([*one, *other]))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return min(one, other) if least else max(one, other)
    return other


def _size(change: Mapping[str, Any], need: Need | None, offer: Offer | None) -> float:
    size = 0.0
    for scope, values in change.items():
        for name, value in values.items() if scope in COUNTED else ():
            before = getattr(need if scope == "task" else offer, name, None)
            if isinstance(value, int | float) and isinstance(before, int | float):
                size += abs(value - before) / max(abs(before), 1)
            else:
                size += 1.0
    return size


def command(change: Mapping[str, Any], *, task: int, queue: str) -> str:
    """What makes the change, as people type it; empty where no command does."""
    words = []
    if values := change.get("task"):
        words.append(f"prodchain task set {task} " + " ".join(f"{name}={_word(v)}" for name, v in values.items()))
    of_queue = dict(change.get("queue", {}))
    online = [of_queue.pop(name) for name in ("status", "health") if name in of_queue]
    if of_queue or "storage" in change:
        words.append(SITES_FILE)
    if online:
        words.append(f"prodchain queue online {queue}")
    if "links" in change:
        words.append("prodchain transfer ls --state failing")
    return " && ".join(words)


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
