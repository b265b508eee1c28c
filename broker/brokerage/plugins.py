"""Criteria and weights of other packages: entry points ``prodchain.criteria`` and ``prodchain.weights``.

A criterion is a function ``(need, offer)`` that answers None, or reason and remedy as two texts, or a Failure; a
weight answers a factor, or factor and words. They are called like those that are built in, as often as an answer is
wanted, with facts that are recorded: so they must look at nothing else.
"""

from collections.abc import Callable, Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .criteria import CRITERIA, Criterion
from .decide import Rules
from .facts import Failure, Need, Offer, Remedy
from .weights import WEIGHTS, Weight

CRITERIA_GROUP = "prodchain.criteria"
WEIGHTS_GROUP = "prodchain.weights"


@cache
def installed() -> tuple[Rules, tuple[str, ...]]:
    """What is built in with what is installed, and the names of the latter; read once by each process."""
    return rules_of(None)


def rules_of(names: Collection[str] | None) -> tuple[Rules, tuple[str, ...]]:
    """The same with those plugins only that are named, if any are not installed without them."""
    criteria: dict[str, Criterion] = dict(CRITERIA)
    weights: dict[str, Weight] = dict(WEIGHTS)
    found = []
    for group, wrap in ((CRITERIA_GROUP, _criterion), (WEIGHTS_GROUP, _weight)):
        for point in sorted(entry_points(group=group), key=_name):
            name = _name(point)
            if names is None or f"{group}/{name}" in names:
                found.append(f"{group}/{name}")
                (criteria if wrap is _criterion else weights)[name] = wrap(point)  # type: ignore[assignment]
    return Rules(criteria, weights), tuple(found)


def _name(point: EntryPoint) -> str:
    return f"{point.dist.name}:{point.name}" if point.dist else point.name


def _loaded(point: EntryPoint) -> Callable[[Need, Offer], Any]:
    """The function, loaded at its first call: a package that cannot be imported is said like one that raises."""
    function: list[Callable[[Need, Offer], Any]] = []

    def call(need: Need, offer: Offer) -> Any:
        if not function:
            function.append(point.load())
        return function[0](need, offer)

    return call


def _criterion(point: EntryPoint) -> Criterion:
    call, name = _loaded(point), _name(point)

    def criterion(need: Need, offer: Offer) -> Failure | None:
        try:
            answer = call(need, offer)
            if answer is None or isinstance(answer, Failure):
                return answer
            reason, remedy = answer
            return Failure(str(reason), (Remedy("operator", str(remedy)),))
        except Exception as error:  # whatever a foreign package does: it must not stop the brokerage
            return Failure(_broken("criterion", point, error), (_uninstall(name),))

    return criterion


def _weight(point: EntryPoint) -> Weight:
    call = _loaded(point)

    def weight(need: Need, offer: Offer) -> tuple[float, str]:
        try:
            answer = call(need, offer)
            factor, words = answer if isinstance(answer, tuple) else (answer, "")
            if not 0 < float(factor) <= 1:
                raise ValueError(f"{factor!r} is no factor above 0 and up to 1")
            return float(factor), str(words)
        except Exception as error:  # as above
            return 1.0, f"{_broken('weight', point, error)}, and counts as 1"

    return weight


def _broken(what: str, point: EntryPoint, error: Exception) -> str:
    package = point.dist.name if point.dist else point.value
    return f"{what} {point.name} of package {package} raised {type(error).__name__}: {error}"


def _uninstall(name: str) -> Remedy:
    package = name.partition(":")[0]
    return Remedy("operator", f"mend or uninstall {package}, and restart the agents", {"plugin": {name: None}})
