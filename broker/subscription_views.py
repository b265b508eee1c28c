"""Wishes for complete copies as API, monitor and CLI show them, their sums by kind, and quotas."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prodchain.catalog import plans as catalog_plans
from prodchain.catalog import progress
from prodchain.catalog import quotas as catalog_quotas
from prodchain.catalog.quotas import in_words

from . import bytequotas
from .database import Connection
from .errors import unknown
from .marks import part_of
from .storage_views import named
from .task_views import View

# Asked of wishes that lack something only: of the others nothing fails. No more than 1,000 of each are counted.
_FAILING = """
SELECT s.id, count(*) AS failing, max(f.error) AS error
FROM subscription s CROSS JOIN LATERAL (
    SELECT t.error FROM dataset_file m JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = s.storage_id
    WHERE m.dataset_id = s.dataset_id AND t.state = 'queued' AND t.error IS NOT NULL LIMIT 1000
) f
WHERE s.id = ANY($1) GROUP BY s.id
"""


async def subscriptions(
    conn: Connection,
    *,
    dataset_id: int | None = None,
    at: str | None = None,
    state: str | None = None,
    owner: str | None = None,
    limit: int = 100,
    after: int | None = None,
) -> tuple[list[View], int | None]:
    """Wishes, newest first."""
    storage_id = (await named(conn, at)).id if at is not None else None
    found = await progress.find(
        conn,
        dataset_id=dataset_id,
        storage_id=storage_id,
        state=state,
        owner=owner,
        before=after,
        limit=limit + 1,
    )
    return await _views(conn, found[:limit]), found[limit - 1].id if len(found) > limit else None


async def subscription(conn: Connection, subscription_id: int) -> View:
    found = await progress.find(conn, before=subscription_id + 1, limit=1)
    if not found or found[0].id != subscription_id:
        raise unknown("subscription", subscription_id)
    return (await _views(conn, found))[0]


async def _views(conn: Connection, found: Sequence[progress.SubscriptionView]) -> list[View]:
    lacking = [wish.id for wish in found if wish.state == "active" and wish.files_there < wish.files]
    failing = {row["id"]: row for row in await conn.fetch(_FAILING, lacking)}
    return [_view(wish, failing.get(wish.id)) for wish in found]


def _view(wish: progress.SubscriptionView, failing: Any) -> View:
    view = asdict(wish)
    del view["dataset_id"]
    return view | {
        "files_missing": max(wish.files - wish.files_there, 0),
        "bytes_missing": max(wish.bytes - wish.bytes_there, 0),
        "failing": failing["failing"] if failing else 0,
        "error": failing["error"] if failing else None,
    }


async def summary(conn: Connection) -> View:
    """What is active, missing and failing, by what the wishes are for."""
    return {kind: asdict(sums) for kind, sums in (await progress.summary(conn)).items()}


def plan(found: catalog_plans.Plan) -> View:
    """What a wish would do at a storage; time and quota as sentences."""
    use = found.quota
    words = "no quota" if use is None else ""
    if use is not None:
        left = max(use.limit - use.used - use.moving, 0)
        words = f"{in_words(left)} of {in_words(use.limit)} are left to {use.owner}"
    view = asdict(found) | {"quota": words}
    del view["storage_id"]
    return view


async def quotas(
    conn: Connection, owner: str | None = None, *, limit: int = 1000, after: str | None = None
) -> tuple[list[View], str | None]:
    """Quotas by owner and storage."""
    found = [_quota(use) for use in await catalog_quotas.of(conn, owner)]
    return part_of(found, ("owner", "storage"), limit, after)


async def quota(conn: Connection, owner: str, storage: str) -> View:
    """One owner's at one storage, also where there is none."""
    for use in await catalog_quotas.of(conn, owner, (await named(conn, storage)).id):
        return _quota(use)
    nothing = {"limit_bytes": None, "used_bytes": 0, "moving_bytes": 0, "left_bytes": None, "stopped": ""}
    return {"owner": owner, "storage": storage, **nothing}


def _quota(use: catalog_quotas.QuotaUse) -> View:
    return {
        "owner": use.owner,
        "storage": use.storage,
        "limit_bytes": use.limit,
        "used_bytes": use.used,
        "moving_bytes": use.moving,
        "left_bytes": max(use.limit - use.used - use.moving, 0),
        "stopped": bytequotas.stop(use, stopped=False),
    }
