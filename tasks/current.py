"""Where a call of a step goes: to the chain that runs, or to the plan that is being made."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from .dataset import Dataset
from .errors import OutsideChain

if TYPE_CHECKING:
    from .steps import Step


class TakesSteps(Protocol):
    def take(self, step: "Step", source: Dataset | str | None, wishes: Mapping[str, object]) -> Dataset: ...


current: ContextVar[TakesSteps] = ContextVar("current")


def taker(step: str) -> TakesSteps:
    """What takes the calls of steps now."""
    try:
        return current.get()
    except LookupError:
        raise OutsideChain(
            f"step {step} was called outside a chain", object=step, hint="call it in a function under @chain"
        ) from None
