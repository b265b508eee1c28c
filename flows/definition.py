"""What ``@chain`` knows about a chain, apart from Prefect."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodchain.tasks.current import current

from .context import Context
from .facets import Facets


@dataclass(frozen=True)
class Definition:
    """A chain: its name, its function, and what its datasets' names have in common."""

    name: str
    function: Callable[..., Any]
    facets: Facets

    @property
    def entrypoint(self) -> str:
        """FILE:FUNCTION, by which another process finds the chain again."""
        return f"{Path(self.function.__code__.co_filename).absolute()}:{self.function.__name__}"

    def facets_for(self, *args: Any, **kwargs: Any) -> Facets:
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return self.facets.changed(bound.arguments)

    async def call(self, context: Context, *args: Any, **kwargs: Any) -> None:
        """Run the function's body with its steps going to the context."""
        token = current.set(context)
        try:
            answer = self.function(*args, **kwargs)
            if inspect.isawaitable(answer):
                await answer
        finally:
            current.reset(token)
