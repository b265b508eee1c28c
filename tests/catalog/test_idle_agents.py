"""What agents look at again and again is what is due, however much there is."""

from prodchain.catalog import queueing
from prodchain.catalog.connection import Connection

from .material import new_files, new_storages


async def queued(conn: Connection) -> list[int]:
    return [row["file_id"] for row in await conn.fetch("SELECT file_id FROM transfer ORDER BY file_id")]


async def test_what_nobody_wishes_for_any_more_is_looked_at_before_its_next_try(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    await queueing.queue(conn, there, ids)
    wait = "UPDATE transfer SET phase = 'waiting', not_before = now() + make_interval(mins => $2) WHERE file_id = $1"
    await conn.executemany(wait, [(ids[0], 0), (ids[1], 30)])
    assert await queueing.sweep(conn, limit=1) == 1
    assert await queueing.sweep(conn) == 0
    assert await queued(conn) == ids[1:], "however many wait long, a sweep reads the next minute's alone"
    await conn.execute(wait, ids[1], 1)
    await queueing.sweep(conn)
    assert await queued(conn) == []
