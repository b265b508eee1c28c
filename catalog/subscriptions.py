"""Subscriptions: wishes for complete copies; what joins an open dataset later follows by itself.

A wish for what is there now (``standing=False``) in an open dataset is a hold on the files that lacked when it was
made: exactly these end it. Wishes for containers are wishes for the datasets below them (parts).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from . import containerwishes, files, history, holds, queueing, quotas, tombstones
from .connection import Connection
from .errors import DatasetDeleted, DatasetNotFound
from .models import BOOKKEEPING, Dataset, DatasetKind, DatasetState, Subscription, SubscriptionState
from .names import Did
from .queueing import Terms, queue

LOCK_DATASET = "SELECT * FROM dataset WHERE id = $1 FOR NO KEY UPDATE"
LOCK_REPLICA = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes) VALUES ($1, $2, 0, 0)
ON CONFLICT (dataset_id, storage_id) DO UPDATE SET files = dataset_replica.files
"""
LACKING = """
SELECT m.file_id FROM dataset_file m
WHERE m.dataset_id = $1
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = m.file_id AND r.storage_id = $2)
"""
GET = "SELECT * FROM subscription WHERE dataset_id = $1 AND storage_id = $2"
# A wish that is active keeps its owner and becomes what the stronger of both is; one that ended begins anew.
WISH = """
INSERT INTO subscription AS s
    (dataset_id, storage_id, state, owner, standing, sources, priority, expires_at, direct, walked_to)
VALUES ($1, $2, 'active', $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (dataset_id, storage_id) DO UPDATE
SET (owner, standing, sources, priority, expires_at, direct, created_at) = (
        SELECT s.owner, s.standing OR excluded.standing,
               CASE WHEN s.sources = excluded.sources OR excluded.sources IS NULL THEN excluded.sources
                    WHEN position('|(' || excluded.sources || ')|' IN '|' || s.sources || '|') > 0 THEN s.sources
                    WHEN s.sources LIKE '(%)|(%)' THEN s.sources || '|(' || excluded.sources || ')'
                    ELSE '(' || s.sources || ')|(' || excluded.sources || ')' END,
               greatest(s.priority, excluded.priority),
               CASE WHEN excluded.direct AND NOT s.direct THEN excluded.expires_at
                    WHEN excluded.direct AND excluded.expires_at IS NULL THEN NULL
                    WHEN s.expires_at IS NULL THEN NULL ELSE greatest(s.expires_at, excluded.expires_at) END,
               s.direct OR excluded.direct, s.created_at
        WHERE s.state = 'active'
        UNION ALL
        SELECT excluded.owner, excluded.standing, excluded.sources, excluded.priority, excluded.expires_at,
               excluded.direct OR (s.direct AND s.state = 'done'), now()
        WHERE s.state <> 'active'
    ),
    state = 'active', done_at = NULL, walked_to = excluded.walked_to
RETURNING *
"""
SETTLE = """
UPDATE subscription s SET state = 'done', done_at = now()
FROM (
    SELECT s.id FROM subscription s
    JOIN dataset d ON d.id = s.dataset_id
    JOIN dataset_replica r ON r.dataset_id = s.dataset_id AND r.storage_id = s.storage_id
    WHERE s.dataset_id = ANY($1::bigint[]) AND s.state = 'active' AND d.state = 'closed' AND r.files = d.files
      AND d.kind <> 'container'
    ORDER BY s.id FOR UPDATE OF s
) complete
WHERE s.id = complete.id
RETURNING s.id, s.dataset_id, s.storage_id, s.standing
"""
COMPLETE = """
SELECT d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END AS did, d.files,
       at.name AS storage
FROM unnest($1::bigint[], $2::smallint[]) AS done (dataset_id, storage_id)
JOIN dataset d ON d.id = done.dataset_id JOIN storage at ON at.id = done.storage_id
WHERE d.kind NOT IN ('dispatch', 'sub') ORDER BY d.id, at.id
"""
FULFIL = """
UPDATE subscription SET state = 'done', done_at = now()
WHERE id = ANY($1::bigint[]) AND state = 'active' AND walked_to IS NULL RETURNING dataset_id
"""
WALKING = "SELECT id FROM subscription WHERE id = ANY($1::bigint[]) AND state = 'active' AND walked_to IS NOT NULL"
FOLLOWING = f"""
SELECT s.dataset_id, s.storage_id, {queueing.PAYER}, s.sources, s.priority
FROM subscription s JOIN dataset d ON d.id = s.dataset_id
WHERE s.dataset_id = ANY($1::bigint[]) AND s.state = 'active' AND s.standing ORDER BY s.dataset_id, s.storage_id
"""  # noqa: S608


async def subscribe(
    conn: Connection,
    dataset_id: int,
    storage_id: int,
    *,
    owner: str = "",
    standing: bool = True,
    sources: str | None = None,
    priority: int = 0,
    expires_at: datetime | None = None,
) -> Subscription:
    """Wish for a complete copy: queues transfers of what lacks there now. Repeating it changes nothing.

    Of large datasets the wish is noted, and an agent queues their files in slices (module slices).
    Done when the copy is complete and the dataset closed; of an empty closed dataset at once. Raises
    QuotaExceeded or StorageFull before anything is changed; what the system wishes for itself is not asked.
    """
    terms = Terms(owner, standing, sources, priority, expires_at)
    kind = await conn.fetchval("SELECT kind FROM dataset WHERE id = $1", dataset_id)
    if kind != DatasetKind.CONTAINER:
        return await subscribe_dataset(conn, dataset_id, storage_id, terms)
    container = await lock(conn, dataset_id)
    parts = await containerwishes.below(conn, [dataset_id])
    await quotas.check_wish(conn, parts, storage_id, quotas.payers(owner, container))
    wish = await _wish(conn, dataset_id, storage_id, terms, direct=True)
    await containerwishes.forget(conn, wish)
    large = await queueing.large(conn, parts)
    for part in parts:
        each = await subscribe_dataset(
            conn, part, storage_id, _of_part(wish), direct=False, checked=True, large=large
        )
        await containerwishes.join(conn, wish, each)
    await containerwishes.settle(conn, [dataset_id])
    return await get(conn, dataset_id, storage_id)


async def subscribe_dataset(
    conn: Connection,
    dataset_id: int,
    storage_id: int,
    terms: Terms,
    *,
    direct: bool = True,
    checked: bool = False,
    large: bool = False,
) -> Subscription:
    """The same for a dataset that is no container; ``direct`` unless it is a part of a container's wish.

    ``large``: its files are queued later, as is done if the dataset itself is large.
    """
    row = await conn.fetchrow(GET, dataset_id, storage_id)
    if row is not None and _covers(old := Subscription.model_validate(dict(row)), terms, direct):
        return old
    large = large or await queueing.large(conn, [dataset_id])
    lacking = [] if large else await _lacking(conn, dataset_id, storage_id)
    if not terms.standing:
        await files.lock(conn, lacking)  # the hold below must not miss an arrival
    # With the dataset locked no file joins it unseen; with its replica locked no arrival is counted unseen.
    dataset = await lock(conn, dataset_id)
    await conn.execute(LOCK_REPLICA, dataset_id, storage_id)
    if not checked and dataset.kind not in BOOKKEEPING:
        await quotas.check_wish(conn, [dataset_id], storage_id, quotas.payers(terms.owner, dataset))
    if not large:
        await tombstones.keep(conn, dataset_id, storage_id)
        seen = set(lacking)
        lacking = [file for file in await _lacking(conn, dataset_id, storage_id) if terms.standing or file in seen]
        await queue(conn, storage_id, lacking, replace(terms, owner=quotas.payer(terms.owner, dataset)))
    if row is not None:
        await holds.drop(conn, [holder(row["id"])])
    wish = await _wish(conn, dataset_id, storage_id, terms, direct=direct, walked_to=0 if large else None)
    assert wish.id is not None
    if not wish.standing and dataset.state == DatasetState.OPEN:
        await holds.place(conn, holder(wish.id), storage_id, lacking, dataset_id)
        if not lacking and not large:
            await fulfilled(conn, [holder(wish.id)])
    await settle(conn, [dataset_id])
    return await get(conn, dataset_id, storage_id)


async def get(conn: Connection, dataset_id: int, storage_id: int) -> Subscription:
    """The wish, whatever its state; DatasetNotFound if there never was one."""
    row = await conn.fetchrow(GET, dataset_id, storage_id)
    if row is None:
        raise DatasetNotFound(
            f"nobody wished for dataset {dataset_id} at storage {storage_id}",
            object=str(dataset_id),
            hint="GET /api/subscriptions lists the wishes",
        )
    return Subscription.model_validate(dict(row))


async def by_id(conn: Connection, subscription_id: int) -> Subscription:
    """The wish of that number."""
    row = await conn.fetchrow("SELECT * FROM subscription WHERE id = $1", subscription_id)
    if row is None:
        raise DatasetNotFound(
            f"there is no subscription {subscription_id}",
            object=str(subscription_id),
            hint="GET /api/subscriptions lists the wishes",
        )
    return Subscription.model_validate(dict(row))


async def lock(conn: Connection, dataset_id: int) -> Dataset:
    """The dataset, kept to this transaction; DatasetDeleted if nobody can wish for it any more."""
    row = await conn.fetchrow(LOCK_DATASET, dataset_id)
    if row is None:
        raise DatasetNotFound(
            f"there is no dataset with id {dataset_id}", object=str(dataset_id), hint="ask for it by its name"
        )
    dataset = Dataset.model_validate(dict(row))
    if dataset.deleted_at is not None or dataset.state == DatasetState.DELETED:
        did = Did(dataset.scope, dataset.name)
        raise DatasetDeleted(f"{did} is deleted", object=str(did), hint="undelete it first, if it still can be")
    return dataset


async def follow(conn: Connection, grown: Mapping[int, Sequence[int]]) -> None:
    """Queue new members of datasets to everybody whose wish for them is a standing one."""
    for row in await conn.fetch(FOLLOWING, list(grown)):
        file_ids = grown[row["dataset_id"]]
        terms = Terms(row["owner"], sources=row["sources"], priority=row["priority"])
        await tombstones.keep_files(conn, row["storage_id"], file_ids)
        await queue(conn, row["storage_id"], file_ids, terms)


async def settle(conn: Connection, dataset_ids: Sequence[int], *, closed: bool = False) -> None:
    """End the subscriptions of closed datasets whose copy is complete; ``closed``: these may be containers."""
    done = await conn.fetch(SETTLE, dataset_ids)
    if once := [holder(row["id"]) for row in done if not row["standing"]]:
        await holds.drop(conn, once)
    if done:
        ended = [row["dataset_id"] for row in done], [row["storage_id"] for row in done]
        for row in await conn.fetch(COMPLETE, *ended):
            text = f"all {row['files']} files are at {row['storage']}: what was wished for"
            await history.note(conn, "complete", row["did"], "", text)
    if done or closed:
        await containerwishes.settle(conn, [*dataset_ids] if closed else [row["dataset_id"] for row in done])


async def fulfilled(conn: Connection, holders: Sequence[str]) -> list[str]:
    """End the wishes among these holders, whose last file has arrived; the other holders."""
    wishes = [name for name in holders if name.startswith(HOLDER)]
    if wishes:
        ids = [int(name.removeprefix(HOLDER)) for name in wishes]
        ended = await conn.fetch(FULFIL, ids)
        # One whose files are still being put on its list only seems to have all of them.
        walking = {holder(row["id"]) for row in await conn.fetch(WALKING, ids)}
        await holds.drop(conn, [name for name in wishes if name not in walking])
        await containerwishes.settle(conn, [row["dataset_id"] for row in ended])
    return [name for name in holders if not name.startswith(HOLDER)]


async def adopt(conn: Connection, container_id: int, child_ids: Sequence[int]) -> None:
    """Children joined a container: whoever has a standing wish for it, or for one above it, wishes for them too."""
    parts = await containerwishes.below(conn, child_ids)
    large = await queueing.large(conn, parts)
    for wish in await containerwishes.following(conn, container_id):
        for part in parts:
            each = await subscribe_dataset(
                conn, part, wish.storage_id, _of_part(wish), direct=False, checked=True, large=large
            )
            await containerwishes.join(conn, wish, each)


HOLDER = "subscription:"


def holder(subscription_id: int) -> str:
    """The name of the hold of a wish for what was there."""
    return f"{HOLDER}{subscription_id}"


def _of_part(wish: Subscription) -> Terms:
    """A part ends with its container's wish, which knows when that is."""
    return Terms(wish.owner, wish.standing, wish.sources, wish.priority)


def _covers(old: Subscription, terms: Terms, direct: bool) -> bool:
    """Whether the wish is there already: what happens to an active one keeps everything that it needs queued.

    One that was fulfilled needs not begin anew to be a part: it begins by itself when copies go.
    """
    return (
        (old.state == SubscriptionState.ACTIVE or (old.state == SubscriptionState.DONE and not direct))
        and old.standing
        and (old.direct or not direct)
        and old.priority >= terms.priority
        and old.sources in (None, terms.sources)
        and (not direct or old.expires_at is None or old.expires_at == terms.expires_at)
    )


async def _lacking(conn: Connection, dataset_id: int, storage_id: int) -> list[int]:
    return [row["file_id"] for row in await conn.fetch(LACKING, dataset_id, storage_id)]


async def _wish(
    conn: Connection,
    dataset_id: int,
    storage_id: int,
    terms: Terms,
    *,
    direct: bool,
    walked_to: int | None = None,
) -> Subscription:
    (row,) = await conn.fetch(
        WISH,
        dataset_id,
        storage_id,
        terms.owner,
        terms.standing,
        terms.sources,
        terms.priority,
        terms.expires_at,
        direct,
        walked_to,
    )
    return Subscription.model_validate(dict(row))
