"""The views as documents over the pool: what the monitor's pages are made of (monitor.source.Views)."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from prodchain.catalog.lookup import Query
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.query import FACETS

from . import (
    attempts,
    dataset_views,
    error_views,
    job_views,
    jobs,
    journal,
    lineage,
    overview_views,
    queue_views,
    share_views,
    site_views,
    storage_views,
    story_views,
    subscription_views,
    task_details,
    task_spans,
    task_views,
    transfer_views,
    why,
)
from .connections import connection
from .database import Pool
from .errors import BadRequest
from .task_views import View

_BY_NUMBER = (
    task_views.tasks,
    job_views.jobs,
    journal.entries,
    dataset_views.files,
    dataset_views.content,
    dataset_views.story,
)


NEAR = 5
"""Steps of a lineage that a page shows each way."""


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


def question(filters: Mapping[str, Any]) -> Query:
    """What filters of a page ask of the catalog; times are days, as an address brings them."""
    asked = dict(filters)
    facets = {name: asked.pop(name) for name in FACETS if name in asked}
    kinds = [kind(asked.pop("kind"))] if "kind" in asked else []
    if "since" in asked:
        asked["since"] = day(asked["since"])
    return Query(facets=facets, kinds=kinds, **asked)


def day(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is no day", object="since", hint="write it as 2026-11-01") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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

    async def task_details(self, task: int) -> View:
        return await self._one(task_details.details, task)

    async def task_spans(self, task: int) -> View:
        return await self._one(task_spans.spans, task)

    async def task_story(self, task: int) -> View:
        return await self._one(story_views.of_task, task)

    async def jobs(self, **filters: Any) -> View:
        return await self._list(job_views.jobs, **filters)

    async def job(self, job: int) -> View:
        return await self._one(job_views.job, job)

    async def job_why(self, job: int) -> View:
        return await self._one(why.job_why, job)

    async def job_story(self, job: int) -> View:
        return await self._one(story_views.of_job, job)

    async def job_attempts(self, job: int) -> View:
        return await self._one(attempts.attempts, job)

    async def job_log(self, job: int, start: int = 0) -> str:
        async with connection(self._pool) as conn:
            await jobs.get(conn, job)
        return "".join([piece async for piece in job_views.log_pieces(self._pool, job, start)])

    async def datasets(self, **filters: Any) -> View:
        paging = {name: filters.pop(name) for name in ("sort", "limit", "after") if name in filters}
        return await self._list(dataset_views.datasets, question(filters), **paging)

    async def dataset_facets(self, **filters: Any) -> View:
        return await self._one(dataset_views.facets, question(filters))

    async def dataset(self, did: str) -> View:
        return await self._one(dataset_views.dataset, did)

    async def dataset_files(self, did: str, **filters: Any) -> View:
        return await self._list(dataset_views.files, did, **filters)

    async def dataset_content(self, did: str, **filters: Any) -> View:
        return await self._list(dataset_views.content, did, **filters)

    async def dataset_story(self, did: str, **filters: Any) -> View:
        return await self._list(dataset_views.story, did, **filters)

    async def dataset_lineage(self, did: str) -> View:
        async with connection(self._pool) as conn:
            found = await dataset_views.find(conn, did)
            return await lineage.lineage(conn, dataset_views.id_of(found), up=NEAR, down=NEAR)

    async def subscriptions(self, **filters: Any) -> View:
        async with connection(self._pool) as conn:
            if "dataset" in filters:
                found = await dataset_views.find(conn, filters.pop("dataset"))
                filters["dataset_id"] = dataset_views.id_of(found)
            items, following = await subscription_views.subscriptions(conn, **filters)
        return {"items": items, "next": following}

    async def subscription_summary(self) -> View:
        return await self._one(subscription_views.summary)

    async def errors(self, **filters: Any) -> View:
        async with connection(self._pool) as conn:
            return await error_views.errors(conn, **filters)

    async def shares(self, days: int = 7) -> View:
        async with connection(self._pool) as conn:
            return {"items": await share_views.listing(conn, days), "next": None}

    async def journal(self, **filters: Any) -> View:
        return await self._list(journal.entries, **filters)

    async def sites(self) -> View:
        return await self._list(site_views.sites)

    async def site(self, name: str) -> View:
        return await self._one(site_views.site, name)

    async def queues(self) -> View:
        return await self._list(site_views.queues)

    async def queue_health(self) -> View:
        return await self._one(queue_views.health)

    async def site_health(self, site: str) -> View:
        return await self._one(queue_views.whole_health, site)

    async def storages(self) -> View:
        return await self._list(storage_views.storages)

    async def links(self) -> View:
        return await self._list(storage_views.links)

    async def pilots(self, **filters: Any) -> View:
        return await self._list(site_views.pilots, **filters)

    async def transfers(self, **filters: Any) -> View:
        return await self._list(transfer_views.transfers, **filters)
