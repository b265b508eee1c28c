"""One method per page: fetch its documents, hand them to its template."""

from typing import Annotated, Any

from fastapi import HTTPException, Path, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..task_details import expected_end
from .answers import HEADERS, answer
from .links import FIELDS, found
from .source import Document, Views

Limit = Annotated[int, Query(ge=1, le=500)]
"""A page of 500 rows is drawn within the 50 ms for which a page may hold up all others (docs/adr/0010)."""
Id = Annotated[int, Path(ge=1, lt=2**63)]
Days = Annotated[int, Query(ge=1, le=3650)]
Text = str | None
SEARCHED = ("pattern", "kind", *FIELDS, "owner", "at", "not_at", "complete_at", "since")
"""What datasets are searched by, as in the API."""
BOXES = ("bookkeeping", "versions", "deleted")
"""What is shown if a box is checked."""


def chosen(**filters: Any) -> dict[str, Any]:
    """The filters that are set: an empty field of a form means none."""
    return {name: value for name, value in filters.items() if value not in (None, "", False)}


class Pages:
    """The pages over one source of documents."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def overview(self, request: Request) -> Response:
        return answer(request, "overview.html", await self._views.overview())

    async def tasks(
        self,
        request: Request,
        state: Text = None,
        step: Text = None,
        run: Text = None,
        limit: Limit = 100,
        after: Text = None,
    ) -> Response:
        filters = chosen(state=state, step=step, run=run, limit=limit, after=after)
        return answer(request, "tasks.html", await self._views.tasks(**filters))

    async def task(
        self,
        request: Request,
        task: Id,
        state: Text = None,
        queue: Text = None,
        limit: Limit = 100,
        after: Text = None,
    ) -> Response:
        filters = chosen(state=state, queue=queue, limit=limit, after=after)
        view, details = await self._views.task(task), await self._views.task_details(task)
        document = {
            "task": view,
            "details": details,
            "expected_end": expected_end(view, details),
            "why": _still(await self._views.task_why(task)),
            "share": _path(await self._views.shares(), details["share"]),
            "errors": await self._views.errors(task=task),
            "spans": await self._views.task_spans(task),
            "jobs": await self._views.jobs(task=task, **filters),
            "story": await self._views.task_story(task),
        }
        return answer(request, "task.html", document)

    async def jobs(
        self,
        request: Request,
        task: Text = None,
        state: Text = None,
        queue: Text = None,
        site: Text = None,
        limit: Limit = 100,
        after: Text = None,
    ) -> Response:
        filters = chosen(task=_number(task), state=state, queue=queue, site=site, limit=limit, after=after)
        return answer(request, "jobs.html", await self._views.jobs(**filters))

    async def job(self, request: Request, job: Id) -> Response:
        document = {
            "job": await self._views.job(job),
            "why": _still(await self._views.job_why(job)),
            "attempts": await self._views.job_attempts(job),
            "story": await self._views.job_story(job),
        }
        return answer(request, "job.html", document)

    async def job_log(self, request: Request, job: Id, start: Annotated[int, Query(ge=0)] = 0) -> Response:
        """Plain text, with the place where the next piece starts: it counts characters as Python does."""
        text = await self._views.job_log(job, start)
        return Response(text, headers=HEADERS | {"Log-Next": str(start + len(text))}, media_type="text/plain")

    async def errors(self, request: Request, site: Text = None, task: Text = None) -> Response:
        filters = chosen(site=site, task=_number(task))
        document = {
            "errors": await self._views.errors(**filters),
            "places": [view["name"] for view in (await self._views.sites())["items"]],
        }
        return answer(request, "errors.html", document)

    async def datasets(self, request: Request, sort: Text = None, limit: Limit = 100, after: Text = None) -> Response:
        query = request.query_params
        filters = chosen(**{name: query.get(name) for name in SEARCHED})
        filters |= {name: True for name in BOXES if query.get(name) in ("1", "true", "on")}
        document = {
            **await self._views.datasets(**filters, **chosen(sort=sort, limit=limit, after=after)),
            "facets": await self._views.dataset_facets(**filters),
            "places": [storage["name"] for storage in (await self._views.storages())["items"]],
        }
        return answer(request, "datasets.html", document)

    async def dataset(self, request: Request, did: str, limit: Limit = 100, after: Text = None) -> Response:
        document = {
            "dataset": await self._views.dataset(did),
            "files": await self._views.dataset_files(did, **chosen(limit=limit, after=after)),
            "content": await self._views.dataset_content(did, limit=limit),
            "subscriptions": await self._views.subscriptions(dataset=did, limit=20),
            "lineage": await self._views.dataset_lineage(did),
            "story": await self._views.dataset_story(did, limit=50),
        }
        return answer(request, "dataset.html", document)

    async def sites(self, request: Request) -> Response:
        return answer(request, "sites.html", await self._views.sites())

    async def site(self, request: Request, site: str) -> Response:
        view = await self._views.site(site)
        storages = set(view["storages"])
        moves = (await self._views.transfers(limit=500))["items"]
        document = {
            "site": view,
            "queues": _at(await self._views.queues(), site),
            "health": await self._views.site_health(site),
            "storages": _at(await self._views.storages(), site),
            "pilots": _at(await self._views.pilots(limit=1000), site),
            "transfers": {"items": [m for m in moves if storages & {m["source"], m["destination"]}][:20]},
        }
        return answer(request, "site.html", document)

    async def queues(self, request: Request) -> Response:
        loads = {view["name"]: view for view in (await self._views.queues())["items"]}
        health = (await self._views.queue_health())["items"]
        items = [view | {"load": loads[view["queue"]]} for view in health if view["queue"] in loads]
        return answer(request, "queues.html", {"items": sorted(items, key=_trouble)})

    async def shares(self, request: Request, days: Days = 7) -> Response:
        return answer(request, "shares.html", await self._views.shares(days) | {"days": days})

    async def journal(
        self,
        request: Request,
        by: Text = None,
        verb: Text = None,
        limit: Limit = 100,
        after: Text = None,
    ) -> Response:
        about = request.query_params.get("object")
        filters = chosen(object=about, by=by, verb=verb, limit=limit, after=after)
        return answer(request, "journal.html", await self._views.journal(**filters))

    async def transfers(
        self, request: Request, state: Text = None, at: Text = None, limit: Limit = 100, after: Text = None
    ) -> Response:
        filters = chosen(state=state, at=at, limit=limit, after=after)
        document = {
            **await self._views.transfers(**filters),
            "summary": await self._views.subscription_summary(),
            "failing": await self._views.transfers(state="failing", limit=20),
            "links": await self._views.links(),
        }
        return answer(request, "transfers.html", document)

    async def storages(self, request: Request) -> Response:
        return answer(request, "storages.html", await self._views.storages())

    async def search(self, q: str = "") -> Response:
        return RedirectResponse(found(q), 303)


def _number(task: Text) -> int | None:
    if task and not (task.isdecimal() and int(task) < 2**63):
        raise HTTPException(422, f"task={task}: the id of a task is a whole number")
    return int(task) if task else None


def _still(why: Document) -> Document:
    """Without the time of asking, which would make it another document each time."""
    return {name: value for name, value in why.items() if name != "at"}


def _path(shares: Document, leaf: str) -> list[Document]:
    """The share of that name and what it is part of, the root first."""
    known = {share["name"]: share for share in shares["items"]}
    found: list[Document] = []
    name: str | None = leaf
    while name in known:
        found.insert(0, known[name])
        name = known[name]["parent"]
    return found


def _trouble(queue: Document) -> tuple[bool, bool, float, str]:
    """What needs a look comes first: queues that get no jobs, then those where most fail."""
    failed = queue["failed"] / queue["runs"] if queue["runs"] else 0.0
    return queue["status"] == "online", queue["health"] == "good", -failed, queue["queue"]


def _at(listing: Document, site: str) -> Document:
    return {"items": [item for item in listing["items"] if item["site"] == site]}
