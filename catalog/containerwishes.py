"""Wishes for containers: which datasets they stand for, and when they are fulfilled."""

from collections.abc import Sequence

from .connection import Connection
from .models import Subscription

# The lock that a trigger takes when containers change: wishes are made before or after it, never meanwhile.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('prodchain containers'))"
BELOW = """
WITH RECURSIVE below (id) AS (
    SELECT unnest($1::bigint[])
    UNION
    SELECT c.child_id FROM below JOIN dataset_child c ON c.parent_id = below.id
)
SELECT d.id FROM below JOIN dataset d USING (id)
WHERE d.kind <> 'container' AND d.deleted_at IS NULL AND d.state <> 'deleted' ORDER BY d.id
"""
ABOVE = """
WITH RECURSIVE above (id) AS (
    SELECT unnest($1::bigint[])
    UNION
    SELECT c.parent_id FROM above JOIN dataset_child c ON c.child_id = above.id
)
SELECT s.* FROM above JOIN dataset d USING (id) JOIN subscription s ON s.dataset_id = d.id
WHERE d.kind = 'container' AND s.state = 'active' ORDER BY s.id
"""
OPEN_BELOW = """
WITH RECURSIVE below (id) AS (
    SELECT $1::bigint
    UNION
    SELECT c.child_id FROM below JOIN dataset_child c ON c.parent_id = below.id
)
SELECT EXISTS (SELECT FROM below JOIN dataset d USING (id) WHERE d.kind = 'container' AND d.state = 'open')
"""
JOIN = "INSERT INTO subscription_part (container_id, part_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
FORGET = "DELETE FROM subscription_part WHERE container_id = $1"
WAITING = """
SELECT EXISTS (SELECT FROM subscription_part p JOIN subscription s ON s.id = p.part_id
               WHERE p.container_id = $1 AND s.state = 'active')
"""
DONE = "UPDATE subscription SET state = 'done', done_at = now() WHERE id = $1 AND state = 'active'"
PARTS = """
SELECT DISTINCT s.id FROM subscription_part p JOIN subscription s ON s.id = p.part_id
WHERE p.container_id = ANY($1::bigint[]) AND s.state IN ('active', 'done') AND NOT s.direct
  AND NOT EXISTS (SELECT FROM subscription_part o JOIN subscription c ON c.id = o.container_id
                  WHERE o.part_id = s.id AND c.state IN ('active', 'done') AND c.id <> ALL($1))
ORDER BY s.id
"""
WISHED_BY = """
SELECT c.id, d.scope, d.name FROM subscription_part p JOIN subscription c ON c.id = p.container_id
JOIN dataset d ON d.id = c.dataset_id WHERE p.part_id = $1 AND c.state IN ('active', 'done') ORDER BY c.id LIMIT 1
"""
STRAYED = """
DELETE FROM subscription_part p USING subscription s
WHERE p.container_id = $1 AND s.id = p.part_id AND s.dataset_id <> ALL($2::bigint[])
RETURNING p.part_id
"""
ORPHANS = """
SELECT s.id FROM subscription s WHERE s.id = ANY($1::bigint[]) AND s.state IN ('active', 'done') AND NOT s.direct
  AND NOT EXISTS (SELECT FROM subscription_part p JOIN subscription c ON c.id = p.container_id
                  WHERE p.part_id = s.id AND c.state IN ('active', 'done'))
ORDER BY s.id
"""


async def inside(conn: Connection, dataset_ids: Sequence[int]) -> list[int]:
    """The living datasets that these are or contain now."""
    return [row["id"] for row in await conn.fetch(BELOW, dataset_ids)]


async def below(conn: Connection, dataset_ids: Sequence[int]) -> list[int]:
    """The same, and no container changes until the transaction ends. The caller has locked the container, if any."""
    await conn.execute(LOCK)
    return await inside(conn, dataset_ids)


async def following(conn: Connection, container_id: int) -> list[Subscription]:
    """Standing wishes for the container or for one above it."""
    return [wish for wish in await _above(conn, [container_id]) if wish.standing]


async def join(conn: Connection, wish: Subscription, part: Subscription) -> None:
    """Let the wish for a container stand for the one for a dataset."""
    await conn.execute(JOIN, wish.id, part.id)


async def forget(conn: Connection, wish: Subscription) -> None:
    """Begin anew with what it stands for: children may have left while it was not active."""
    await conn.execute(FORGET, wish.id)


async def settle(conn: Connection, dataset_ids: Sequence[int]) -> None:
    """End wishes for containers on or above these, if nothing below is waited for and, if standing, nothing can come.

    Called with datasets whose wish has ended, or with a container that was closed.
    """
    for wish in await _above(conn, dataset_ids):
        if await conn.fetchval(WAITING, wish.id):
            continue
        if not wish.standing or not await conn.fetchval(OPEN_BELOW, wish.dataset_id):
            await conn.execute(DONE, wish.id)


async def parts(conn: Connection, wish_ids: Sequence[int]) -> list[int]:
    """The wishes that only these wishes for containers keep alive."""
    return [row["id"] for row in await conn.fetch(PARTS, wish_ids)]


async def wished_by(conn: Connection, part_id: int) -> str | None:
    """The name of a container whose wish stands for this one."""
    row = await conn.fetchrow(WISHED_BY, part_id)
    return f"{row['scope']}:{row['name']}" if row else None


async def strayed(conn: Connection, container_id: int) -> list[int]:
    """Forget the parts of wishes that are no longer below their container; those that nothing else keeps alive."""
    gone: list[int] = []
    for wish in await _above(conn, [container_id]):
        left = await below(conn, [wish.dataset_id])
        gone += [row["part_id"] for row in await conn.fetch(STRAYED, wish.id, left)]
    return [row["id"] for row in await conn.fetch(ORPHANS, gone)]


async def _above(conn: Connection, dataset_ids: Sequence[int]) -> list[Subscription]:
    return [Subscription.model_validate(dict(row)) for row in await conn.fetch(ABOVE, dataset_ids)]
