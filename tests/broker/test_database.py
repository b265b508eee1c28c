"""How the broker's connections plan."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from prodchain.broker import finishing, leases, reports
from prodchain.broker.database import BY_INDEX, Connection, connect
from prodchain.broker.matching.statements import GIVE, HAD, Seat, give, had
from prodchain.broker.states import ON_PILOT

READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(oid))::int FROM pg_class
    WHERE oid = $1::text::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = $1::text::regclass)
"""
OTHERS = {
    "lease": "INSERT INTO lease (job_id, pilot, request, until) SELECT n, 'other', n::text, now() ",
    "ready": "INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority) SELECT n, 1, 1, 1, 1 ",
}
JOBS = [10**9 + number for number in range(64)]

Batch: TypeAlias = Callable[[Connection], Awaitable[object]]


async def claim(conn: Connection) -> None:
    await give(conn, 1, [Seat(place, f"p{job}", f"r{job}", True, job, 1) for place, job in enumerate(JOBS)], 60.0)


async def ask_again(conn: Connection) -> None:
    await had(conn, [(place, f"p{job}", f"r{job}") for place, job in enumerate(JOBS)])


async def beat(conn: Connection) -> None:
    await leases.keep(conn, JOBS, 60.0)


async def go_on(conn: Connection) -> None:
    words = ["p"] * len(JOBS), [1] * len(JOBS), ["running"] * len(JOBS)
    await conn.fetch(reports.PROGRESS, JOBS, *words, list(ON_PILOT), ["payload started"] * len(JOBS), 60.0)


async def end(conn: Connection) -> None:
    words = ["finished"] * len(JOBS), ["p"] * len(JOBS), ["done"] * len(JOBS), [0] * len(JOBS), ["{}"] * len(JOBS)
    await conn.execute(finishing.END, JOBS, *words)


@pytest.mark.parametrize(
    ("table", "batch"),
    [("lease", claim), ("ready", claim), ("lease", ask_again), ("lease", beat), ("lease", go_on), ("lease", end)],
)
async def test_a_batch_does_not_read_a_whole_table_though_it_was_empty_when_this_was_planned(
    database_url: str, table: str, batch: Batch
) -> None:
    async with await connect(database_url, size=1, planner=BY_INDEX) as pool, pool.acquire() as conn:
        await conn.execute(f"VACUUM ANALYZE {table}")
        for _ in range(8):
            await batch(conn)
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(f"{OTHERS[table]} FROM generate_series(1, 1000) AS n")
        before = await conn.fetchval(READ, table)
        await batch(conn)
        assert await conn.fetchval(READ, table) - before < len(JOBS)
        await transaction.rollback()


@pytest.mark.parametrize("statement", [GIVE, HAD, leases.KEEP, reports.PROGRESS, reports.LOCK, finishing.END])
async def test_no_row_of_a_batch_goes_through_the_list_of_all(database_url: str, statement: str) -> None:
    async with await connect(database_url, size=1, planner=BY_INDEX) as pool, pool.acquire() as conn:
        await conn.execute(f"PREPARE batch AS {statement}")
        wanted = await conn.fetchval("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE from_sql")
        plan = await conn.fetch(f"EXPLAIN EXECUTE batch ({', '.join(['NULL'] * wanted)})")
    conditions = [line for (line,) in plan if "Index Cond" in line]
    assert conditions
    # A key that is known and is looked for in a list as well: PostgreSQL sorts the list for each row.
    assert [line for line in conditions if re.search(r"\((\w+) = [^()]*\) AND .*\(\1 = ANY", line)] == []
