"""How long copies will take, from what the links did lately; nothing is guessed for links that moved nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from .connection import Connection

LATELY = timedelta(days=7)

# What each source could give, and how fast one copy went from it; copies side by side as the limits allow.
SOURCES = """
SELECT source.name AS source, least(source.max_transfers, target.max_transfers, l.max_transfers) AS at_once,
       sum(r.bytes)::bigint AS has, rate.bytes / nullif(rate.seconds, 0) AS rate
FROM dataset_replica r JOIN storage source ON source.id = r.storage_id JOIN storage target ON target.id = $2
LEFT JOIN link_limit l ON l.source_id = source.id AND l.storage_id = target.id
LEFT JOIN LATERAL (
    SELECT sum(bytes)::float AS bytes, sum(seconds) AS seconds FROM link
    WHERE source_id = source.id AND storage_id = target.id AND hour >= now() - $4::interval
) rate ON true
WHERE r.dataset_id = ANY($1::bigint[]) AND r.storage_id <> $2 AND r.bytes > 0 AND source.readable
  AND ($3::smallint[] IS NULL OR r.storage_id = ANY($3))
GROUP BY source.id, target.id, l.max_transfers, rate.bytes, rate.seconds ORDER BY has DESC, source.name
"""


@dataclass(frozen=True)
class Estimate:
    """Seconds until the last copy, None if unknown, and where the figure comes from."""

    seconds: float | None
    words: str


async def estimate(
    conn: Connection,
    dataset_ids: Sequence[int],
    storage_id: int,
    missing: tuple[int, int],
    sources: Collection[int] | None = None,
) -> Estimate:
    """For ``missing`` files and bytes of datasets, from any storage that has some of them, or from these only."""
    files, bytes_ = missing
    if not files:
        return Estimate(0.0, "nothing is to be copied")
    rows = await conn.fetch(SOURCES, dataset_ids, storage_id, None if sources is None else list(sources), LATELY)
    if not rows:
        return Estimate(None, "unknown: no other storage has any of it")
    # The fastest of those that have most of it: a source of a few files says little about the others.
    measured = [row for row in rows if row["rate"] and row["has"] * 2 >= min(bytes_, rows[0]["has"])]
    if not measured:
        names = ", ".join(row["source"] for row in rows)
        return Estimate(None, f"unknown: nothing was copied from {names} in the last {LATELY.days} days")
    best = max(measured, key=lambda row: row["rate"] * min(row["at_once"], files))
    at_once = min(best["at_once"], files)
    rate = best["rate"]
    return Estimate(
        bytes_ / (rate * at_once),
        f"{at_once} at a time from {best['source']}, each at {rate / 1e6:.1f} MB/s as in the last {LATELY.days} days",
    )
