"""Wishes that end before they are fulfilled: cancelled by somebody, or past their time."""

from collections.abc import Sequence

from . import containerwishes, history, holds, queueing, subscriptions, tombstones
from .connection import Connection
from .errors import DatasetNeeded
from .models import BOOKKEEPING, Subscription, SubscriptionState
from .names import Did

ALIVE = (SubscriptionState.ACTIVE, SubscriptionState.DONE)

LOCK_DATASETS = """
SELECT id FROM dataset WHERE id IN (SELECT dataset_id FROM subscription WHERE id = ANY($1::bigint[]))
ORDER BY id FOR NO KEY UPDATE
"""
DATASETS = "SELECT DISTINCT dataset_id FROM subscription WHERE id = ANY($1::bigint[])"
MEMBERS = """
SELECT s.storage_id, array_agg(DISTINCT m.file_id) AS file_ids
FROM subscription s JOIN dataset_file m ON m.dataset_id = s.dataset_id
WHERE s.id = ANY($1::bigint[])
GROUP BY s.storage_id ORDER BY s.storage_id
"""
END = """
UPDATE subscription s SET state = $2, done_at = now(), walked_to = $3
FROM (SELECT id FROM subscription WHERE id = ANY($1::bigint[]) AND state IN ('active', 'done')
      ORDER BY id FOR UPDATE) ended
WHERE s.id = ended.id
RETURNING s.id
"""
LEAVE_TO_CONTAINER = "UPDATE subscription SET direct = false, expires_at = NULL WHERE id = $1"
EXPIRED = """
SELECT id FROM subscription WHERE state IN ('active', 'done') AND expires_at <= now() ORDER BY expires_at, id LIMIT $1
"""
STILL_EXPIRED = """
SELECT EXISTS (SELECT FROM subscription WHERE id = $1 AND state IN ('active', 'done') AND expires_at <= now())
"""
NAMES = """
SELECT d.scope, d.name, d.kind, at.name AS storage FROM dataset d, storage at WHERE d.id = $1 AND at.id = $2
"""


async def cancel(conn: Connection, dataset_id: int, storage_id: int, actor: str = "") -> Subscription:
    """Take a wish back; queued copies that nobody else wishes for or waits for go, those in hand finish.

    What is there stays there until space is wanted. A wish that was fulfilled is taken back too: then lost copies
    are not replaced any more. Of large datasets the copies go in slices (module slices). DatasetNeeded if it is a
    part of a container's.
    """
    wish = await subscriptions.get(conn, dataset_id, storage_id)
    if wish.state in ALIVE:
        assert wish.id is not None
        await conn.execute(LOCK_DATASETS, [wish.id])
        if not wish.direct and (container := await containerwishes.wished_by(conn, wish.id)):
            raise DatasetNeeded(
                f"it is wished for as a part of {container}",
                object=container,
                hint=f"cancel the subscription of {container}, or take the dataset out of it",
            )
        await _end(conn, wish, SubscriptionState.CANCELLED, actor)
    return await subscriptions.get(conn, dataset_id, storage_id)


async def expired(conn: Connection, limit: int = 100) -> list[int]:
    """Wishes whose time is over."""
    return [row["id"] for row in await conn.fetch(EXPIRED, limit)]


async def expire(conn: Connection, subscription_id: int) -> int:
    """End one of them in the same way; 0 if somebody wished for it again meanwhile."""
    wish = await subscriptions.by_id(conn, subscription_id)
    await conn.execute(LOCK_DATASETS, [subscription_id])
    if not await conn.fetchval(STILL_EXPIRED, subscription_id):
        return 0
    await _end(conn, wish, SubscriptionState.EXPIRED, "")
    return 1


async def leave(conn: Connection, container_id: int) -> None:
    """Children left a container: what was wished for only as a part of it, or of one above it, no longer is."""
    await _withdraw(conn, await containerwishes.strayed(conn, container_id), SubscriptionState.CANCELLED)
    await containerwishes.settle(conn, [container_id])


async def _end(conn: Connection, wish: Subscription, state: SubscriptionState, actor: str) -> None:
    assert wish.id is not None
    await containerwishes.below(conn, [])  # parts neither join nor leave meanwhile
    if await containerwishes.wished_by(conn, wish.id):
        await conn.execute(LEAVE_TO_CONTAINER, wish.id)
        return
    await _withdraw(conn, [wish.id, *await containerwishes.parts(conn, [wish.id])], state)
    names = await conn.fetchrow(NAMES, wish.dataset_id, wish.storage_id)
    assert names is not None
    if names["kind"] not in BOOKKEEPING:
        text = f"the subscription to {names['storage']} is {state}"
        await history.note(conn, str(state), str(Did(names["scope"], names["name"])), actor, text)


async def _withdraw(conn: Connection, wish_ids: Sequence[int], state: SubscriptionState) -> None:
    # With the datasets locked no file joins them; with the transfers locked nobody joins these unseen.
    await conn.execute(LOCK_DATASETS, wish_ids)
    datasets = [row["dataset_id"] for row in await conn.fetch(DATASETS, wish_ids)]
    large = await queueing.large(conn, datasets)
    members = [] if large else await conn.fetch(MEMBERS, wish_ids)
    for row in members:
        await queueing.lock(conn, row["storage_id"], row["file_ids"])
    await holds.drop(conn, [subscriptions.holder(wish) for wish in wish_ids])
    await conn.execute(END, wish_ids, state, 0 if large else None)
    for row in members:
        await queueing.withdraw(conn, row["storage_id"], row["file_ids"])
        await tombstones.release(conn, wish_ids, row["file_ids"])
