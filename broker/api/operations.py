"""Health, tokens, the overview and the description of the API."""

from datetime import timedelta
from importlib.metadata import version
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from .. import overview_views, tokens
from ..connections import connection
from ..errors import Unavailable
from ..models import TokenKind
from .documents import Health, IssuedToken, OverviewView, Page, TokenView
from .ordering import ANSWER, Plain, carried_out
from .parameters import AfterMark, Limit, Word
from .parts import Document, Read, Write, page, parts_of
from .policies import PUBLIC, READER, Admin, actor_of

router = APIRouter(tags=["operations"])

VERSION = version("prodchain")
YEAR_S = 366 * 86400


class TokenWish(BaseModel):
    """A token for a person, a program or a queue's pilots."""

    model_config = ConfigDict(extra="forbid")

    kind: TokenKind
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$")]
    queue: str | None = None
    lifetime_s: Annotated[int, Field(ge=1, le=YEAR_S)]


@router.get(
    "/api/health",
    dependencies=[PUBLIC],
    summary="Whether the broker works",
    responses={200: {"model": Health}, 503: {"model": Health}},
)
async def health(request: Request) -> Document:
    """503 while the database does not answer."""
    try:
        async with connection(parts_of(request).pool) as conn:
            seen = await overview_views.agents_seen_s(conn)
    except (Unavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return _health(503, "degraded", "unavailable", None)
    return _health(200, "ok", "ok", seen)


def _health(status: int, word: str, database: str, seen: float | None) -> Document:
    return Document({"status": word, "version": VERSION, "database": database, "agents_seen_s": seen}, status)


@router.post("/api/tokens", status_code=201, summary="Issue a token", responses={201: {"model": IssuedToken}})
async def issue(wish: TokenWish, caller: Admin, conn: Write) -> Document:
    """This answer is the only time that the token is seen."""
    lifetime = timedelta(seconds=wish.lifetime_s)
    token, expires_at = await tokens.issue(conn, wish.kind, wish.subject, lifetime, wish.queue)
    return Document({"token": token, "expires_at": expires_at}, 201)


@router.get("/api/tokens", summary="Tokens that are good now", responses={200: {"model": Page[TokenView]}})
async def token_list(
    caller: Admin, conn: Read, subject: Word = None, limit: Limit = 100, after: AfterMark = None
) -> Document:
    """Each named by the beginning of its hash; the tokens themselves are not kept."""
    return page(await tokens.tokens(conn, subject=subject, limit=limit, after=after))


@router.post("/api/tokens/{token}/revoke", summary="Withdraw a token", responses=ANSWER)
async def revoke(token: Annotated[str, Path(max_length=100)], order: Plain, caller: Admin, conn: Write) -> Document:
    """It opens nothing any more within seconds."""
    return await carried_out(conn, order, lambda: tokens.revoke(conn, token, actor_of(caller), order.reason))


@router.get(
    "/api/overview", dependencies=[READER], summary="All at a glance", responses={200: {"model": OverviewView}}
)
async def overview(conn: Read) -> Document:
    return Document(await overview_views.overview(conn))


@router.get("/openapi.json", dependencies=[PUBLIC], include_in_schema=False)
async def description(request: Request) -> JSONResponse:
    schema: dict[str, Any] = request.app.openapi()
    return JSONResponse(schema)
