"""The monitor's routes, for the server to mount."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import Response

from .failures import PageRoute
from .pages import Pages
from .source import Views


def routes(views: Views) -> APIRouter:
    """The pages over ``views``; the server includes them with its dependency that lets readers in."""
    route = type("MonitorRoute", (PageRoute,), {"views": views})
    router = APIRouter(include_in_schema=False, route_class=route)
    pages = Pages(views)
    paths: dict[str, Callable[..., Awaitable[Response]]] = {
        "/": pages.overview,
        "/tasks": pages.tasks,
        "/tasks/{task}": pages.task,
        "/jobs": pages.jobs,
        "/jobs/{job}": pages.job,
        "/jobs/{job}/log": pages.job_log,
        "/errors": pages.errors,
        "/datasets": pages.datasets,
        "/datasets/{did:path}": pages.dataset,
        "/sites": pages.sites,
        "/sites/{site}": pages.site,
        "/transfers": pages.transfers,
        "/storages": pages.storages,
        "/queues": pages.queues,
        "/shares": pages.shares,
        "/journal": pages.journal,
        "/search": pages.search,
    }
    for path, page in paths.items():
        router.add_api_route(path, page, methods=["GET"], response_model=None)
    return router
