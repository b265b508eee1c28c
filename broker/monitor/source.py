"""Where the pages get their documents: what the broker has to offer the monitor."""

from typing import Any, Protocol

Document = dict[str, Any]
"""A view of docs/plans/main-job.md, or a listing ``{"items": [view], "next": cursor or null}``."""


class Views(Protocol):
    """The broker's views as documents; times may be datetimes (UTC) or ISO 8601 text.

    Filters that are not set are not passed. A name or id that does not exist raises an error of the broker's or the
    catalog's tree, which the page shows with its hint.
    """

    async def overview(self) -> Document: ...

    async def tasks(self, **filters: Any) -> Document:
        """Listing; filters: state, step, run, limit, after."""
        ...

    async def task(self, task: int) -> Document: ...

    async def task_why(self, task: int) -> Document: ...

    async def task_details(self, task: int) -> Document:
        """What was learnt and ordered, data, decisions, pace."""
        ...

    async def task_spans(self, task: int) -> Document:
        """Its latest jobs, each with copies and states over time."""
        ...

    async def task_story(self, task: int) -> Document:
        """The task's own events and the orders for it, in order; its jobs have stories of their own."""
        ...

    async def jobs(self, **filters: Any) -> Document:
        """Listing; filters: task, state, queue, site, limit, after."""
        ...

    async def job(self, job: int) -> Document: ...

    async def job_why(self, job: int) -> Document: ...

    async def job_story(self, job: int) -> Document: ...

    async def job_attempts(self, job: int) -> Document:
        """All runs of the same piece of work, the newest first."""
        ...

    async def job_log(self, job: int, start: int = 0) -> str:
        """The log from character ``start`` on."""
        ...

    async def datasets(self, **filters: Any) -> Document:
        """Listing; filters: those of ``GET /api/datasets``, sort, limit, after."""
        ...

    async def dataset_facets(self, **filters: Any) -> Document:
        """Numbers of datasets for each field's values, with the same filters."""
        ...

    async def dataset(self, did: str) -> Document: ...

    async def dataset_files(self, did: str, **filters: Any) -> Document:
        """Listing; filters: limit, after."""
        ...

    async def dataset_content(self, did: str, **filters: Any) -> Document:
        """Listing of what is in a container."""
        ...

    async def dataset_story(self, did: str, **filters: Any) -> Document:
        """Listing of what happened to it, newest first."""
        ...

    async def dataset_lineage(self, did: str) -> Document: ...

    async def subscriptions(self, **filters: Any) -> Document:
        """Listing, newest first; filters: dataset, at, state, owner, limit, after."""
        ...

    async def subscription_summary(self) -> Document: ...

    async def errors(self, **filters: Any) -> Document:
        """Errors of jobs, like ones together; filters: task, site."""
        ...

    async def shares(self, days: int = 7) -> Document: ...

    async def journal(self, **filters: Any) -> Document:
        """Listing of orders, newest first; filters: object, by, verb, limit, after."""
        ...

    async def sites(self) -> Document: ...

    async def site(self, name: str) -> Document: ...

    async def queues(self) -> Document: ...

    async def queue_health(self) -> Document: ...

    async def site_health(self, site: str) -> Document:
        """Of the site's queues, with each of their latest runs."""
        ...

    async def storages(self) -> Document: ...

    async def pilots(self, **filters: Any) -> Document:
        """Listing, last seen first; filters: limit, after."""
        ...

    async def transfers(self, **filters: Any) -> Document:
        """Listing, newest first; filters: state, at, limit, after."""
        ...

    async def links(self) -> Document: ...
