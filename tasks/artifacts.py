"""What a step shows on Prefect's pages: a ring with its progress, and a link to the broker's page of its task."""

import re
from uuid import UUID

from prefect.artifacts import acreate_link_artifact, acreate_progress_artifact, aupdate_progress_artifact

from .dataset import View
from .patience import Log
from .progress import description, percent


class Artifacts:
    """The artifacts of one step. They are decoration: whatever fails here is logged and forgotten."""

    def __init__(self, url: str, log: Log) -> None:
        self._url = url
        self._log = log
        self._progress: UUID | None = None

    async def show(self, view: View) -> None:
        """Bring the ring up to date; the first call makes it, and the link."""
        try:
            if self._progress is None:
                await self._create(view)
            else:
                await aupdate_progress_artifact(self._progress, progress=percent(view), description=description(view))
        except Exception as error:
            self._log.warning("progress not shown: %s", error)

    async def _create(self, view: View) -> None:
        # Prefect takes only [a-z0-9-] as keys
        key = re.sub(r"[^a-z0-9]+", "-", view["output"].partition(":")[2].lower()).strip("-")
        progress = await acreate_progress_artifact(percent(view), key=key, description=description(view))
        self._progress = progress if isinstance(progress, UUID) else None
        await acreate_link_artifact(
            link=f"{self._url}/tasks/{view['id']}",
            link_text=f"task {view['id']}: jobs, places, reasons",
            key=f"{key}-task",
            description=f"{view['step']} makes {view['output']}",
        )
