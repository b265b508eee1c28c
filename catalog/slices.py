"""What large datasets need, a slice in each transaction: whoever dies leaves a mark, and the next one goes on there.

A wish for a large dataset, or its end, and a new version of one are noted at once; agents walk through the members in
the order of their ids. What joins meanwhile is seen by whoever lets it join (subscriptions.follow), or by the walk.
"""

from collections.abc import Sequence

from . import datasets, files, holds, queueing, quotas, subscriptions, tombstones
from .connection import Connection
from .models import Subscription, SubscriptionState

SLICE = 5000
"""Members that one transaction takes."""

WISHES = "SELECT id FROM subscription WHERE walked_to IS NOT NULL ORDER BY id LIMIT $1"
WISH = "SELECT * FROM subscription WHERE id = $1 AND walked_to IS NOT NULL"
MEMBERS = "SELECT file_id FROM dataset_file WHERE dataset_id = $1 AND file_id > $2 ORDER BY file_id LIMIT $3"
WALKED = "UPDATE subscription SET walked_to = $2 WHERE id = $1"
VERSIONS = "SELECT dataset_id AS id FROM version_filling ORDER BY dataset_id LIMIT $1"
VERSION = "SELECT from_id, walked_to FROM version_filling WHERE dataset_id = $1 FOR UPDATE"
FILLED_TO = "UPDATE version_filling SET walked_to = $2 WHERE dataset_id = $1"
FILLED = "DELETE FROM version_filling WHERE dataset_id = $1"


async def wishes(conn: Connection, limit: int = 100) -> list[int]:
    """Wishes, ended ones too, with members of their dataset that are not queued or taken back yet."""
    return [row["id"] for row in await conn.fetch(WISHES, limit)]


async def advance(conn: Connection, subscription_id: int) -> int:
    """Queue the next members of a wish, or take them back if it has ended; how many were looked at."""
    row = await conn.fetchrow(WISH, subscription_id)
    if row is None:
        return 0
    seen = Subscription.model_validate(dict(row))
    assert seen.walked_to is not None
    members = await _members(conn, seen.dataset_id, seen.walked_to)
    await files.lock(conn, members)
    # Whoever begins or ends a wish for it waits, or is seen.
    dataset = await datasets.by_id(conn, seen.dataset_id, lock=True)
    row = await conn.fetchrow(WISH, subscription_id)
    if row is None or row["walked_to"] != seen.walked_to:  # it was begun anew, or another agent was here
        return len(members)
    wish = Subscription.model_validate(dict(row))
    left = members[-1] if len(members) == SLICE else None
    if wish.state in (SubscriptionState.CANCELLED, SubscriptionState.EXPIRED):
        await queueing.lock(conn, wish.storage_id, members)
        await queueing.withdraw(conn, wish.storage_id, members)
        await tombstones.release(conn, [subscription_id], members)
        await conn.execute(WALKED, subscription_id, left)
    else:
        await tombstones.keep_files(conn, wish.storage_id, members)
        payer = quotas.payer(wish.owner, dataset)
        terms = queueing.Terms(payer, sources=wish.sources, priority=wish.priority)
        await queueing.queue(conn, wish.storage_id, members, terms)
        await conn.execute(WALKED, subscription_id, left)
        await _hold(conn, wish, members, left is None)
    return len(members)


async def _hold(conn: Connection, wish: Subscription, members: Sequence[int], last: bool) -> None:
    """A wish for what is there ends with these; what joined while it was walked through may be among them."""
    assert wish.id is not None
    if wish.standing:
        return
    holder = subscriptions.holder(wish.id)
    missing = await holds.extend(conn, holder, members)
    if last and missing == 0 and await conn.fetchval("SELECT EXISTS (SELECT FROM hold WHERE holder = $1)", holder):
        await subscriptions.fulfilled(conn, [holder])


async def versions(conn: Connection, limit: int = 100) -> list[int]:
    """New versions of large datasets that have not got all members of the version before."""
    return [row["id"] for row in await conn.fetch(VERSIONS, limit)]


async def fill(conn: Connection, dataset_id: int) -> int:
    """Let the next members of the version before join the new one; how many joined or were in it."""
    row = await conn.fetchrow(VERSION, dataset_id)
    if row is None:
        return 0
    members = await _members(conn, row["from_id"], row["walked_to"])
    await datasets.add_files(conn, dataset_id, members)
    if len(members) == SLICE:
        await conn.execute(FILLED_TO, dataset_id, members[-1])
    else:
        await conn.execute(FILLED, dataset_id)
    return len(members)


async def _members(conn: Connection, dataset_id: int, after: int) -> list[int]:
    return [row["file_id"] for row in await conn.fetch(MEMBERS, dataset_id, after, SLICE)]
