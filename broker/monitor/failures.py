"""Errors as pages: what, which object, what to do, and names near the one that was asked for."""

import logging
from collections.abc import Callable, Coroutine
from difflib import get_close_matches
from typing import Any, NamedTuple

import asyncpg
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from prodchain.catalog.errors import CatalogError

from ..errors import BrokerError
from .answers import answer
from .links import dataset_page, site_page
from .source import Views

AWAY = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)
"""What a database that is down, starting or full looks like."""
TITLES = {401: "Not logged in", 403: "Not allowed", 404: "Not found", 503: "Not available now"}
PAGES = (
    *("/", "/tasks", "/jobs", "/errors", "/datasets", "/transfers", "/storages"),
    *("/sites", "/queues", "/shares", "/journal"),
)

_log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose errors are pages, also those of its dependencies (access) and parameters."""

    views: Views

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                return failure(request, error, await _near(self.views, request, error))

        return guarded


def failure(request: Request, error: Exception, near: list[tuple[str, str]] | None = None) -> Response:
    """An error as a page; the server uses it for addresses that no route knows, too. ``near``: address and name."""
    said = _say(request, error)
    document = said._asdict() | {
        "type": "about:blank",
        "title": TITLES.get(said.status, "This went wrong"),
        "instance": request.url.path,
        "request": getattr(request.state, "request_id", None),
        "near": [{"page": page, "name": name} for page, name in near or _near_pages(request.url.path, said.status)],
    }
    return answer(request, "error.html", document, said.status)


class Said(NamedTuple):
    """What went wrong, with which object, and what to do."""

    status: int
    code: str
    detail: str
    object: str
    hint: str


def _say(request: Request, error: Exception) -> Said:
    path = request.url.path
    if isinstance(error, BrokerError | CatalogError):
        return Said(error.status, error.code, str(error), error.object, error.hint)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = str(first["loc"][-1])
        detail = f"{field}: {first['msg'].lower()}, not {first.get('input')!r}"
        return Said(404, "not-found", detail, field, "ids are whole numbers; the search box takes them too")
    if isinstance(error, HTTPException):
        if error.status_code != 404:
            return Said(error.status_code, "refused", str(error.detail), path, "")
        hint = "the search box above finds tasks and jobs by id, datasets by name"
        return Said(404, "not-found", f"There is no page {path}", path, hint)
    if isinstance(error, AWAY):
        hint = "this page tries again by itself; `prodchain status` shows what is down"
        return Said(503, "unavailable", "the database does not answer now", "database", hint)
    _log.error("page %s failed", path, exc_info=error)
    detail = f"{type(error).__name__} while making this page"
    return Said(500, "internal", detail, path, "the server's log has the details")


async def _near(views: Views, request: Request, error: Exception) -> list[tuple[str, str]]:
    """What somebody may have meant who asked for a dataset or site that does not exist."""
    if getattr(error, "status", None) != 404:
        return []
    if did := request.path_params.get("did"):
        fields = did.partition(":")[2] or did
        stem = "*" + ".".join(fields.split(".")[:2]).removesuffix("*") + "*"
        listing = await views.datasets(pattern=stem, limit=200)
        names = [item["did"] for item in listing["items"]]
        return [(dataset_page(name), name) for name in get_close_matches(did, names, 5, 0.5)]
    if site := request.path_params.get("site"):
        names = [item["name"] for item in (await views.sites())["items"]]
        return [(site_page(name), name) for name in get_close_matches(site, names, 5, 0.4)]
    return []


def _near_pages(path: str, status: int) -> list[tuple[str, str]]:
    if status != 404 or path.startswith(tuple(page + "/" for page in PAGES[1:])):
        return []
    return [(page, page) for page in get_close_matches(path, PAGES, 3, 0.5)]
