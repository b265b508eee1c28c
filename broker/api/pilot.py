"""What pilots call, and the pilot itself as a file."""

from fastapi import APIRouter, Request, Response

from prodchain.pilot_agent.messages import Acquire, Acquired, Answers, Updates

from ..reporting import parts
from .hot import HotRoute, Text
from .parts import parts_of
from .policies import PUBLIC, PilotCaller

router = APIRouter(tags=["pilot"])
calls = APIRouter(route_class=HotRoute)


@calls.post("/api/pilot/acquire", summary="Wait for a job", responses={200: {"model": Acquired}})
async def acquire(ask: Acquire, caller: PilotCaller, request: Request) -> bytes:
    """A job of the queue that the token is for, or none after ``wait_s``."""
    assert caller.queue_id is not None  # the table of tokens gives each pilot's a queue

    async def gone() -> None:  # so that no job goes to a pilot that is dead
        while (await request.receive())["type"] != "http.disconnect":
            pass

    given = await parts_of(request).dispatcher.acquire(caller.queue_id, ask, gone)
    return given.document()


@calls.post("/api/pilot/update", summary="News of jobs", responses={200: {"model": Answers}})
async def update(news: Text[Updates], caller: PilotCaller, request: Request) -> bytes:
    """What to do with each job; jobs of another queue are not this pilot's, whatever it says."""
    assert caller.queue_id is not None
    reports = parts_of(request).reports
    [answers] = await reports.report(caller.queue_id, lambda: [news.body], lambda: [news.read()])
    return answers


@calls.post("/api/pilot/updates", summary="News of many pilots", responses={200: {"model": list[Answers]}})
async def updates(news: Text[list[Updates]], caller: PilotCaller, request: Request) -> bytes:
    """As each would send them: what a farm gathers from its pilots and sends in one call; the answers in order."""
    assert caller.queue_id is not None
    reports = parts_of(request).reports
    return b"[%b]" % b",".join(await reports.report(caller.queue_id, lambda: parts(news.body), news.read))


@router.get("/pilot.pyz", dependencies=[PUBLIC], summary="The pilot as one file", response_class=Response)
async def zipapp(request: Request) -> Response:
    return Response(parts_of(request).pilot_zipapp, media_type="application/zip")


router.include_router(calls)
HOT = {route.path.encode(): route for route in calls.routes if isinstance(route, HotRoute)}
