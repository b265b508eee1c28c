"""Prefect flows: chains of steps. Prefect is loaded when ``chain`` is first used, and not before."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prodchain.tasks.dataset import Dataset as Dataset
    from prodchain.tasks.steps import Step as Step
    from prodchain.tasks.steps import evgen as evgen
    from prodchain.tasks.steps import merge as merge
    from prodchain.tasks.steps import reco as reco
    from prodchain.tasks.steps import sim as sim

    from .decorator import chain as chain

__all__ = ["Dataset", "Step", "chain", "evgen", "merge", "reco", "sim"]

_HOMES = {
    "chain": "prodchain.flows.decorator",
    "Dataset": "prodchain.tasks.dataset",
    **dict.fromkeys(("Step", "evgen", "sim", "reco", "merge"), "prodchain.tasks.steps"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
