"""What a subscription would do, before it does: storages by expression, files and bytes to copy, time, refusals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from . import containerwishes, datasets, estimates, expressions, history, quotas, sites, subscriptions
from .connection import Connection
from .errors import BadExpression, QuotaExceeded, StorageFull
from .models import BOOKKEEPING, Storage
from .quotas import QuotaUse

# A file counts in each dataset that has it, as in the totals of containers.
COUNT = """
SELECT coalesce(sum(d.files), 0)::bigint AS files, coalesce(sum(d.bytes), 0)::bigint AS bytes,
       coalesce(sum(r.files), 0)::bigint AS files_there, coalesce(sum(r.bytes), 0)::bigint AS bytes_there
FROM dataset d LEFT JOIN dataset_replica r ON r.dataset_id = d.id AND r.storage_id = $2
WHERE d.id = ANY($1::bigint[])
"""
WISHED = "SELECT true FROM subscription WHERE dataset_id = $1 AND storage_id = $2 AND state IN ('active', 'done')"


@dataclass(frozen=True)
class Plan:
    """What a wish for a dataset at one storage means: ``files`` and ``bytes`` are those that lack there.

    ``seconds`` is None where nothing was measured; ``time`` says why, or how it was reckoned. ``quota`` is that of
    who pays for the copies (quotas.payer), None without one. ``refusal`` is empty if it would be taken.
    """

    storage: str
    storage_id: int
    files: int
    bytes: int
    files_there: int
    bytes_there: int
    seconds: float | None
    time: str
    quota: QuotaUse | None
    refusal: str


async def destinations(conn: Connection, text: str) -> list[Storage]:
    """The writable storages that an expression picks; BadExpression if there is none."""
    chosen = expressions.select(text, await sites.storages(conn))
    writable = [storage for storage in chosen if storage.writable]
    if not writable:
        names = ", ".join(storage.name for storage in chosen)
        raise BadExpression(f"nothing may be written to {names}", object=text, hint="choose a writable storage")
    return writable


async def plan(
    conn: Connection, dataset_id: int, storage_ids: Sequence[int], sources: str | None = None, owner: str = ""
) -> list[Plan]:
    """What subscribing would do at each storage; locks nothing and changes nothing."""
    allowed = None
    if sources is not None:
        chosen = expressions.select(sources, await sites.storages(conn))
        allowed = [storage.id for storage in chosen if storage.id is not None]
    parts = await containerwishes.inside(conn, [dataset_id])
    return [await _plan(conn, dataset_id, parts, storage_id, allowed, owner) for storage_id in storage_ids]


async def subscribe(
    conn: Connection,
    dataset_id: int,
    to: str,
    *,
    owner: str = "",
    standing: bool = True,
    sources: str | None = None,
    priority: int = 0,
    expires_at: datetime | None = None,
    dry_run: bool = False,
) -> list[Plan]:
    """Wish for copies at all storages that fit ``to``, or at none: the first refusal is raised. What it meant."""
    storages = await destinations(conn, to)
    plans = await plan(conn, dataset_id, [storage.id for storage in storages if storage.id], sources, owner)
    if not dry_run:
        async with conn.transaction():  # a savepoint: what the second storage refuses is not wished for at the first
            for each in plans:
                before = await conn.fetchval(WISHED, dataset_id, each.storage_id)
                await subscriptions.subscribe(
                    conn,
                    dataset_id,
                    each.storage_id,
                    owner=owner,
                    standing=standing,
                    sources=sources,
                    priority=priority,
                    expires_at=expires_at,
                )
                if not before:
                    did = datasets.versioned(await datasets.by_id(conn, dataset_id))
                    what = "and what joins later follows" if standing else "what is there now"
                    text = f"a copy at {each.storage} is wished for: {each.files} files to be copied, {what}"
                    await history.note(conn, "subscribed", did, owner, text)
    return plans


async def _plan(
    conn: Connection,
    dataset_id: int,
    parts: Sequence[int],
    storage_id: int,
    sources: Sequence[int] | None,
    owner: str,
) -> Plan:
    count = (await conn.fetch(COUNT, parts, storage_id))[0]
    files, bytes_ = count["files"] - count["files_there"], count["bytes"] - count["bytes_there"]
    asked = await datasets.by_id(conn, dataset_id)
    refusal = ""
    if asked.kind not in BOOKKEEPING:
        try:
            await quotas.fits(conn, parts, storage_id, quotas.payers(owner, asked))
        except (QuotaExceeded, StorageFull) as error:
            refusal = str(error)
    when = await estimates.estimate(conn, parts, storage_id, (files, bytes_), sources)
    return Plan(
        storage=await conn.fetchval("SELECT name FROM storage WHERE id = $1", storage_id),
        storage_id=storage_id,
        files=files,
        bytes=bytes_,
        files_there=count["files_there"],
        bytes_there=count["bytes_there"],
        seconds=when.seconds,
        time=when.words,
        quota=next(iter(await quotas.of(conn, quotas.payer(owner, asked), storage_id)), None),
        refusal=refusal,
    )
