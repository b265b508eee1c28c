"""The handle that a step returns at once, long before the dataset is there."""

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any
from uuid import UUID

View = dict[str, Any]
"""A document of the broker's API; here mostly the view of a task."""


class Dataset:
    """An output dataset of a chain; give it to the next step, or ``await`` it for the task's final view.

    Deliberately neither a dataclass nor a pydantic model: Prefect walks into those when they are parameters,
    matches what it finds by ``id()`` and draws edges that do not exist.
    """

    def __init__(self, did: str, step: str, work: Awaitable[View], run_id: UUID | None = None) -> None:
        self.did = did
        self.step = step
        self.work = work
        self.run_id = run_id
        """The Prefect task run that follows the work."""

    @property
    def failure(self) -> BaseException | None:
        """Why the step failed, if it has."""
        if not isinstance(self.work, asyncio.Future) or not self.work.done():
            return None
        return asyncio.CancelledError() if self.work.cancelled() else self.work.exception()

    def __await__(self) -> Generator[Any, None, View]:
        return self.work.__await__()

    def __str__(self) -> str:
        return self.did

    def __repr__(self) -> str:
        return f"<Dataset {self.did}>"
