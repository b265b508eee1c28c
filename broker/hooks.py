"""What the broker does when the catalog's facts change, inside the transaction that changes them."""

from collections.abc import Sequence

from prodchain.catalog import hooks

from .database import Connection


async def release(conn: Connection, holders: Sequence[str]) -> None:
    """All files of these holds are in place: such jobs are activated, or finish if it was their outputs."""
    await conn.execute(
        """
        UPDATE job SET state = 'activated', actor = 'catalog', reason = 'all inputs are in place', changed_at = now()
        WHERE id = ANY($1) AND state = 'assigned'
        """,
        _jobs(holders, "release:"),
    )
    delivered = _jobs(holders, "deliver:")
    await conn.execute(
        """
        UPDATE job SET state = 'finished', actor = 'catalog', reason = 'all outputs are at their destination',
               changed_at = now()
        WHERE id = ANY($1) AND state = 'transferring'
        """,
        delivered,
    )


async def consume(conn: Connection, dataset_id: int, files: Sequence[int] = ()) -> None:
    """The dataset grew or closed: tasks that read it have new work, or know that there will be no more."""
    await conn.execute("UPDATE task SET dirty = true WHERE input_id = $1 AND NOT generated", dataset_id)
    await conn.execute("SELECT pg_notify('prodchain_work', 'generate')")


def _jobs(holders: Sequence[str], prefix: str) -> list[int]:
    return [int(holder.removeprefix(prefix)) for holder in holders if holder.startswith(prefix)]


def install() -> None:
    """Every process that writes to the catalog calls this before it does."""
    hooks.satisfied = release
    hooks.files_added = consume
    hooks.closed = consume
