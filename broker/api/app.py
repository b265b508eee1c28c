"""The application: parts, routes, and what surrounds each request."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends

from prodchain.pilot_agent.zipapp import build_zipapp

from .. import hooks, leases
from ..connections import connection
from ..database import LOST, Pool
from ..matching.dispatcher import Dispatcher
from ..monitor.assets import assets
from ..monitor.routes import routes as pages
from ..pilots import Pilots
from ..reporting import Reports
from ..settings import Settings
from ..tokens import Tokens
from ..views import PoolViews
from . import (
    brokerage,
    dataset_changes,
    dataset_copies,
    datasets,
    groups,
    jobs,
    journal,
    operations,
    pilot,
    problems,
    queues,
    quotas,
    replicas,
    rules,
    shares,
    sites,
    storage_checks,
    storages,
    subscriptions,
    task_orders,
    tasks,
    uploads,
    why,
)
from .documents import Problem
from .envelope import Envelope
from .hot import HotApp
from .parameters import known_query_only
from .parts import Parts
from .policies import PUBLIC, READER

DESCRIPTION = """The broker of prodchain: tasks, jobs, data, sites and pilots.

Lists answer `{"items": [...], "next": mark or null}`; send `next` as `after` for the next page. Errors are
problem documents (RFC 9457) with a stable `code`, the `object` and a `hint`; `instance` is the request's id
in the server's log."""


PARTS = (
    *(
        tasks,
        task_orders,
        jobs,
        why,
        brokerage,
        queues,
        quotas,
        groups,
        journal,
        datasets,
        dataset_changes,
        dataset_copies,
        subscriptions,
        uploads,
        replicas,
    ),
    *(sites, storages, storage_checks, pilot, operations, rules, shares),
)


def create_app(settings: Settings, pool: Pool, hot: Pool) -> HotApp:
    """The server's application over a pool, and one for pilots' calls (database.BY_INDEX); they stay the caller's."""

    @asynccontextmanager
    async def lifespan(app: HotApp) -> AsyncIterator[None]:
        hooks.install()
        pilots = Pilots(hot)
        parts = Parts(
            settings,
            pool,
            Tokens(pool),
            Dispatcher(hot, settings.lease_s, pilots),
            Reports(hot, settings.lease_s, pilots),
            pilot_zipapp(),
        )
        app.parts = parts
        async with connection(pool) as conn:
            await leases.server_starts(conn, settings.lease_s)
        await parts.dispatcher.start()
        alive = asyncio.create_task(_live(pool))
        try:
            yield
        finally:
            alive.cancel()
            await parts.dispatcher.stop()

    # The framework's own pages of documentation load scripts from elsewhere, so there are none.
    app = HotApp(
        title="prodchain",
        version=operations.VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(_api())
    app.include_router(pages(PoolViews(pool)), dependencies=[READER])
    app.include_router(assets(), dependencies=[PUBLIC])
    app.add_middleware(Envelope)
    problems.install(app)
    app.hot = pilot.HOT
    return app


async def _live(pool: Pool) -> None:
    while True:
        with suppress(*LOST):
            await leases.server_lives(pool)
        await asyncio.sleep(1)


def _api() -> APIRouter:
    answers: dict[int | str, dict[str, Any]] = {
        "4XX": {"model": Problem, "description": "Refused: what is wrong and what to do"},
        "5XX": {"model": Problem, "description": "Not possible now"},
    }
    api = APIRouter(dependencies=[Depends(known_query_only)], responses=answers)
    for part in PARTS:
        api.include_router(part.router)
    return api


def pilot_zipapp() -> bytes:
    with tempfile.TemporaryDirectory(prefix="prodchain-") as folder:
        target = Path(folder) / "pilot.pyz"
        build_zipapp(target)
        return target.read_bytes()
