"""What the broker does when the catalog's facts change, inside the transaction that changes them."""

from collections.abc import Sequence

from prodchain.catalog import holds, hooks

from .database import Connection
from .jobs import deliver_holder


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
    await holds.drop(conn, [deliver_holder(job) for job in delivered])


async def consume(conn: Connection, dataset_id: int, files: Sequence[int] = ()) -> None:
    """The dataset grew or closed: tasks that read it have new work, or know that there will be no more.

    Only adds rows: a report that makes a dataset grow never waits for the tasks that read it, nor they for it.
    """
    await conn.execute(
        """
        INSERT INTO task_file (task_id, file_id)
        SELECT t.id, new.id FROM task t CROSS JOIN unnest($2::bigint[]) AS new (id)
        WHERE t.input_id = $1 AND NOT t.generated ORDER BY t.id, new.id ON CONFLICT DO NOTHING
        """,
        dataset_id,
        files,
    )
    await conn.execute("SELECT pg_notify('prodchain_work', 'generate')")


def _jobs(holders: Sequence[str], prefix: str) -> list[int]:
    return [int(holder.removeprefix(prefix)) for holder in holders if holder.startswith(prefix)]


def install() -> None:
    """Every process that writes to the catalog calls this before it does."""
    hooks.satisfied = release
    hooks.files_added = consume
    hooks.closed = consume
