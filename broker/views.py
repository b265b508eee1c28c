"""The views as documents over the pool: what the monitor's pages are made of (monitor.source.Views)."""

from collections.abc import Awaitable, Callable
from typing import Any

from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from . import dataset_views, job_views, jobs, overview_views, site_views, task_views, transfer_views, why
from .connections import connection
from .database import Pool
from .errors import BadRequest
from .task_views import View

_BY_NUMBER = (task_views.tasks, job_views.jobs, dataset_views.files)


def number(text: str) -> int:
    """The mark of a list by number, as an address brings it."""
    if not text.isdecimal():
        raise BadRequest("not a mark of this list", object="after", hint="begin at the first page")
    return int(text)


def kind(text: str) -> DatasetKind:
    try:
        return DatasetKind(text)
    except ValueError:
        known = ", ".join(DatasetKind)
        raise BadRequest(f"there is no kind {text!r}", object="kind", hint=f"known are {known}") from None


class PoolViews:
    """Each view on a connection of its own, as the API's routes give it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def _one(self, view: Callable[..., Awaitable[View]], *keys: Any) -> View:
        async with connection(self._pool) as conn:
            return await view(conn, *keys)

    async def _list(self, view: Callable[..., Awaitable[tuple[list[View], Any]]], *keys: Any, **filters: Any) -> View:
        """Pages bring ``after`` as text."""
        if view in _BY_NUMBER and "after" in filters:
            filters["after"] = number(str(filters["after"]))
        async with connection(self._pool) as conn:
            items, following = await view(conn, *keys, **filters)
        return {"items": items, "next": following}

    async def overview(self) -> View:
        return await self._one(overview_views.overview)

    async def tasks(self, **filters: Any) -> View:
        return await self._list(task_views.tasks, **filters)

    async def task(self, task: int) -> View:
        return await self._one(task_views.task, task)

    async def task_why(self, task: int) -> View:
        return await self._one(why.task_why, task)

    async def task_story(self, task: int) -> View:
        """The task's own events: its jobs have stories of their own."""
        return await self._list(task_views.task_story, task, with_jobs=False)

    async def jobs(self, **filters: Any) -> View:
        return await self._list(job_views.jobs, **filters)

    async def job(self, job: int) -> View:
        return await self._one(job_views.job, job)

    async def job_why(self, job: int) -> View:
        return await self._one(why.job_why, job)

    async def job_story(self, job: int) -> View:
        return await self._list(task_views.job_story, job)

    async def job_log(self, job: int, start: int = 0) -> str:
        async with connection(self._pool) as conn:
            await jobs.get(conn, job)
        return "".join([piece async for piece in job_views.log_pieces(self._pool, job, start)])

    async def datasets(self, **filters: Any) -> View:
        facets = {name: filters.pop(name) for name in ("step", "format") if name in filters}
        kinds = [kind(filters.pop("kind"))] if "kind" in filters else []
        return await self._list(dataset_views.datasets, kinds=kinds, facets=facets, **filters)

    async def dataset(self, did: str) -> View:
        return await self._one(dataset_views.dataset, parse_did(did))

    async def dataset_files(self, did: str, **filters: Any) -> View:
        return await self._list(dataset_views.files, parse_did(did), **filters)

    async def sites(self) -> View:
        return await self._list(site_views.sites)

    async def site(self, name: str) -> View:
        return await self._one(site_views.site, name)

    async def queues(self) -> View:
        return await self._list(site_views.queues)

    async def storages(self) -> View:
        return await self._list(site_views.storages)

    async def pilots(self, **filters: Any) -> View:
        return await self._list(site_views.pilots, **filters)

    async def transfers(self, **filters: Any) -> View:
        return await self._list(transfer_views.transfers, **filters)
