"""Why a dataset's copy at a storage is not complete, file by file, and what to do about it."""

from prodchain.catalog import containers, datasets, transfers
from prodchain.catalog.models import Dataset, DatasetKind, DatasetState, Storage
from prodchain.catalog.quotas import in_words

from .access import short
from .database import Connection, one
from .dataset_views import find, id_of
from .storage_views import named
from .task_views import View

PARTS_TOLD = 20
"""Incomplete datasets of a container that are named."""

_PART = """
SELECT coalesce(r.files, 0) AS files, coalesce(r.bytes, 0) AS bytes,
       (SELECT state FROM subscription s WHERE s.dataset_id = $1 AND s.storage_id = $2) AS wish,
       (SELECT walked_to IS NOT NULL FROM subscription s WHERE s.dataset_id = $1 AND s.storage_id = $2) AS walking
FROM (SELECT 1) AS always LEFT JOIN dataset_replica r ON r.dataset_id = $1 AND r.storage_id = $2
"""
_MISSING = """
SELECT CASE WHEN f.lost_at IS NOT NULL THEN 'lost' WHEN t.state = 'queued' THEN t.phase ELSE 'none' END AS state,
       count(*) AS files, max(t.error) AS error, min(t.not_before) AS next_try
FROM dataset_file m JOIN file f ON f.id = m.file_id
LEFT JOIN replica r ON r.file_id = m.file_id AND r.storage_id = $2
LEFT JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = $2
WHERE m.dataset_id = $1 AND r.file_id IS NULL GROUP BY 1 ORDER BY 1
"""
_ASKED = {
    "active": ("{n} being copied now", ""),
    "ready": ("{n} waiting for their turn", "if this lasts, see `prodchain status`: agents"),
    "new": ("{n} queued", "if this lasts, see `prodchain status`: agents"),
    "stage": ("{n} being brought to disk from tape", ""),
    "lost": ("{n} lost: no good copy is left anywhere", "`prodchain dataset story {name}` tells how"),
    "soon": ("{n} about to be queued: the dataset is large", "if this lasts, see `prodchain status`: agents"),
    "none": ("{n} not on their way", "`prodchain dataset subscribe {name} --to {storage}` brings them"),
}


async def why(conn: Connection, text: str, at: str, *, limit: int = 100, after: int | None = None) -> View:
    """``reasons``: the state in sentences, each with what to do; ``files``: what each missing file waits for."""
    found, storage = await find(conn, text), await named(conn, at)
    name = f"{datasets.versioned(found)} at {storage.name}"
    if found.kind == DatasetKind.CONTAINER:
        return {"object": name, "reasons": await _of_container(conn, found, storage), "files": [], "next": None}
    waits = await transfers.why(conn, id_of(found), storage.id or 0, limit=limit + 1, after=after or 0)
    files = [
        {
            "file": str(wait.file),
            "state": wait.state,
            "attempts": wait.attempts,
            "source": wait.source,
            "error": wait.error,
            "next_try": wait.next_try,
            "method": wait.method,
            "words": wait.words,
        }
        for wait in waits[:limit]
    ]
    following = waits[limit - 1].file_id if len(waits) > limit else None
    return {"object": name, "reasons": await _reasons(conn, found, storage), "files": files, "next": following}


def _reason(what: str, remedy: str = "") -> View:
    return {"what": what, "remedy": remedy}


async def _reasons(conn: Connection, found: Dataset, storage: Storage) -> list[View]:
    part = await one(conn, _PART, id_of(found), storage.id)
    if found.deleted_at is not None:
        return [_reason(f"{datasets.versioned(found)} is deleted")]
    so_far = " so far; it is open, more may come" if found.state == DatasetState.OPEN else ""
    if part["files"] >= found.files:
        return [_reason(f"complete: all {found.files} files are at {storage.name}{so_far}")]
    lacking, size = found.files - part["files"], found.bytes - part["bytes"]
    reasons = [
        _reason(
            f"{part['files']} of {found.files} files are at {storage.name}{so_far};"
            f" {lacking} are missing, {in_words(size)}"
        )
    ]
    name = short(datasets.versioned(found))
    subscribe = f"`prodchain dataset subscribe {name} --to {storage.name}`"
    if part["wish"] in (None, "cancelled", "expired"):
        ended = "nobody wished for it there" if part["wish"] is None else f"the wish for it there is {part['wish']}"
        reasons.append(_reason(ended, subscribe))
    for row in await conn.fetch(_MISSING, id_of(found), storage.id):
        if row["state"] == "waiting":
            what = f"{row['files']} tried in vain; {row['error']}"
            reasons.append(_reason(what, "mend what the error names: they are tried again by themselves"))
        elif row["state"] != "none" or part["wish"] == "active":
            what, remedy = _ASKED["soon" if row["state"] == "none" and part["walking"] else row["state"]]
            fields = {"n": row["files"], "name": name, "storage": storage.name}
            reasons.append(_reason(what.format_map(fields), remedy.format_map(fields)))
    return reasons


async def _of_container(conn: Connection, found: Dataset, storage: Storage) -> list[View]:
    """Which of its datasets are not complete there: each has a story of its own."""
    parts = [await datasets.by_id(conn, part) for part in await containers.below(conn, id_of(found))]
    lacking = [
        datasets.versioned(part)
        for part in parts
        if (await one(conn, _PART, part.id, storage.id))["files"] < part.files
    ]
    if not lacking:
        return [_reason(f"complete: all {len(parts)} datasets are at {storage.name}")]
    first = _reason(f"{len(parts) - len(lacking)} of {len(parts)} datasets are complete at {storage.name}")
    return [first] + [
        _reason(f"{did} is not", f"prodchain dataset why {short(did)}@{storage.name}") for did in lacking[:PARTS_TOLD]
    ]
