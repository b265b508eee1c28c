"""The same decision again, from what its round recorded and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import plugins
from .decide import decide
from .facts import Decision
from .record import VERSION, decode


@dataclass(frozen=True)
class Replayed:
    """Decisions in their order, the queues' names, and what is no longer as it was: then they may differ."""

    decisions: tuple[Decision, ...]
    names: Mapping[int, str]
    notes: tuple[str, ...] = ()


def replay(document: Mapping[str, Any]) -> Replayed:
    """``document`` is a round's facts (record.encode)."""
    found = decode(document)
    rules, known = plugins.rules_of(found.plugins)
    offers = list(found.offers)
    decisions: list[Decision] = []
    for need in found.needs:
        answer, offers = decide(need, offers, rules)
        decisions += answer
    notes = [f"plugin {name} took part and is not installed here" for name in found.plugins if name not in known]
    if found.version != VERSION:
        notes.append(f"the built-in rules were version {found.version} then and are version {VERSION} now")
    return Replayed(tuple(decisions), {offer.queue: offer.name for offer in found.offers}, tuple(notes))
