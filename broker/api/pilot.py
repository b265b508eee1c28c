"""What pilots call, and the pilot itself as a file."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from prodchain.pilot_agent.messages import Acquire, Acquired, Answers, Updates, encode

from .. import reports
from ..connections import connection
from .parts import Document, parts_of
from .policies import PUBLIC, PilotCaller

router = APIRouter(tags=["pilot"])


@router.post("/api/pilot/acquire", summary="Wait for a job", responses={200: {"model": Acquired}})
async def acquire(ask: Acquire, caller: PilotCaller, request: Request) -> Document:
    """A job of the queue that the token is for, or none after ``wait_s``."""
    assert caller.queue_id is not None  # the table of tokens gives each pilot's a queue
    work = parts_of(request).dispatcher.acquire(caller.queue_id, ask)
    return Document(encode(await while_connected(request, work)))


@router.post("/api/pilot/update", summary="News of jobs", responses={200: {"model": Answers}})
async def update(news: Updates, caller: PilotCaller, request: Request) -> Document:
    """What to do with each job; jobs of another queue are not this pilot's, whatever it says."""
    assert caller.queue_id is not None
    parts = parts_of(request)
    for one in news.updates:  # payloads print anything, the database keeps no zero bytes
        one.error = one.error.replace("\0", "\N{REPLACEMENT CHARACTER}")
    beaten = await parts.heartbeats.beat(caller.queue_id, news)
    if beaten is not None:
        return Document(encode(Answers(beaten)))
    async with connection(parts.pool) as conn, conn.transaction():
        return Document(encode(await reports.apply(conn, caller.queue_id, news, parts.settings.lease_s)))


@router.get("/pilot.pyz", dependencies=[PUBLIC], summary="The pilot as one file", response_class=Response)
async def zipapp(request: Request) -> Response:
    return Response(parts_of(request).pilot_zipapp, media_type="application/zip")


async def while_connected(request: Request, work: Coroutine[Any, Any, Acquired]) -> Acquired:
    """Give up when the pilot hangs up, so that no job goes to one that is dead."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        working.cancel()
        await asyncio.wait((working,))
        return Acquired([], "the pilot hung up")
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
