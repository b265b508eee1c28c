"""Who calls: opaque random tokens, kept as their SHA-256 only.

A token is ``pc_`` and 32 random bytes, so a plain hash is enough (there is nothing to guess), and the prefix lets
scanners for leaked secrets find it. ``Tokens`` remembers what it found for a few seconds: a pilot's call
costs no look-up, and a withdrawn token dies within that time.
"""

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from . import journal
from .connections import connection
from .database import Connection, Pool
from .errors import BadRequest, Unauthorized, unknown
from .journal import Outcome, View
from .marks import mark_of, read_mark
from .models import TokenKind
from .namesakes import no_such

PREFIX = "pc_"
SHOWN = 12
"""Characters of a token's hash that name it: nothing that would help to guess the token."""
REMEMBERED_S = 5.0
REMEMBERED_MOST = 10_000
LONGEST = 512


class TokenMissing(Unauthorized):
    code = "token-missing"


class TokenUnknown(Unauthorized):
    code = "token-unknown"


class TokenExpired(Unauthorized):
    code = "token-expired"


@dataclass(frozen=True)
class Caller:
    """Whom a token speaks for; a pilot's is bound to one queue."""

    kind: TokenKind
    subject: str
    queue_id: int | None
    expires_at: datetime


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def issue(
    conn: Connection, kind: TokenKind, subject: str, lifetime: timedelta, queue: str | None = None
) -> tuple[str, datetime]:
    """Make a token; only its hash is kept, so this answer is the one time that anybody sees it."""
    if (kind is TokenKind.PILOT) != (queue is not None):
        raise BadRequest(
            f"a {kind} token {'needs a' if kind is TokenKind.PILOT else 'has no'} queue",
            object="queue",
            hint="name a queue for kind pilot, and for no other",
        )
    queue_id = None
    if queue is not None:
        queue_id = await conn.fetchval("SELECT id FROM queue WHERE name = $1", queue)
        if queue_id is None:
            raise await no_such(conn, "queue", queue)
    token = PREFIX + secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + lifetime
    await conn.execute(
        "INSERT INTO token (hash, kind, subject, queue_id, expires_at) VALUES ($1, $2, $3, $4, $5)",
        hash_of(token),
        kind,
        subject,
        queue_id,
        expires_at,
    )
    return token, expires_at


async def tokens(
    conn: Connection, *, subject: str | None = None, limit: int = 100, after: str | None = None
) -> tuple[list[View], str | None]:
    """Tokens that are good now, the newest first, by the beginning of their hash; the second value goes on."""
    at, (key,) = read_mark(after, 1)
    rows = await conn.fetch(
        """
        SELECT left(t.hash, $1) AS id, t.kind, t.subject, q.name AS queue, t.created_at, t.expires_at
        FROM token t LEFT JOIN queue q ON q.id = t.queue_id
        WHERE t.expires_at > now() AND ($2::text IS NULL OR t.subject = $2)
          AND ($3::timestamptz IS NULL OR (t.created_at, left(t.hash, $1)) < ($3, $4))
        ORDER BY t.created_at DESC, left(t.hash, $1) DESC LIMIT $5
        """,
        SHOWN,
        subject,
        at,
        key,
        limit + 1,
    )
    views = [dict(row) for row in rows[:limit]]
    return views, mark_of(views[-1]["created_at"], views[-1]["id"]) if len(rows) > limit else None


async def revoke(conn: Connection, token: str, actor: str, reason: str = "") -> Outcome:
    """Withdraw the token whose hash begins so; it opens nothing any more within REMEMBERED_S."""
    row = await conn.fetchrow(
        "DELETE FROM token WHERE left(hash, $2) = $1 AND expires_at > now() RETURNING kind, subject", token, SHOWN
    )
    if row is None:
        raise unknown("token", token)
    changes = {"token": [f"{row['kind']} token of {row['subject']}", None]}
    return await journal.enter(conn, Outcome("revoke", f"token {token}", changes), actor, reason)


class Tokens:
    """Tells callers by their tokens."""

    def __init__(self, pool: Pool, remembered_s: float = REMEMBERED_S) -> None:
        self._pool = pool
        self._remembered_s = remembered_s
        self._remembered: dict[str, tuple[float, Caller]] = {}
        self._looking: dict[str, asyncio.Task[Caller]] = {}
        """What is looked up at this moment: many pilots bring the same token at once."""

    async def check(self, token: str | None) -> Caller:
        """The caller; raises TokenMissing, TokenUnknown or TokenExpired."""
        if not token:
            raise TokenMissing(
                "this needs a token",
                object="Authorization",
                hint="send `Authorization: Bearer TOKEN`; `prodchain up` leaves tokens in HOME/credentials",
            )
        key = hash_of(token[:LONGEST])
        until, caller = self._remembered.get(key, (0.0, None))
        if caller is None or until < time.monotonic():
            caller = await self._look_up(key)
        if caller.expires_at <= datetime.now(UTC):
            raise TokenExpired(
                f"the token of {caller.subject} expired at {caller.expires_at:%Y-%m-%d %H:%M:%S} UTC",
                object=caller.subject,
                hint="get a new one: an admin issues it by POST /api/tokens",
            )
        return caller

    async def _look_up(self, key: str) -> Caller:
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(self._find(key))
            looking.add_done_callback(lambda done: self._found(key, done))
        return await asyncio.shield(looking)

    def _found(self, key: str, done: "asyncio.Task[Caller]") -> None:
        del self._looking[key]
        if not done.cancelled() and done.exception() is None:
            self._remember(key, done.result())

    async def _find(self, key: str) -> Caller:
        async with connection(self._pool) as conn:
            row = await conn.fetchrow("SELECT kind, subject, queue_id, expires_at FROM token WHERE hash = $1", key)
        if row is None:
            raise TokenUnknown(
                "this token is not known here",
                object="Authorization",
                hint="it is from another server or was withdrawn; compare with HOME/credentials",
            )
        return Caller(TokenKind(row["kind"]), row["subject"], row["queue_id"], row["expires_at"])

    def _remember(self, key: str, caller: Caller) -> None:
        if len(self._remembered) >= REMEMBERED_MOST:
            self._remembered.clear()  # so many tokens within seconds: start afresh rather than grow
        self._remembered[key] = (time.monotonic() + self._remembered_s, caller)
