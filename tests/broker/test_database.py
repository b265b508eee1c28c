"""How the broker's connections plan."""

from prodchain.broker.database import BY_INDEX, connect
from prodchain.broker.matching.statements import Seat, give

READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(oid))::int FROM pg_class
    WHERE oid = 'lease'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'lease'::regclass)
"""


async def test_a_claim_does_not_read_all_leases_though_there_were_none_when_it_was_planned(database_url: str) -> None:
    seats = [Seat(number, f"p{number}", f"r{number}", True, 10**9 + number, 1) for number in range(64)]
    async with await connect(database_url, size=1, planner=BY_INDEX) as pool, pool.acquire() as conn:
        await conn.execute("VACUUM ANALYZE lease")
        for _ in range(8):
            await give(conn, 1, seats, 60.0)
        async with conn.transaction():
            await conn.execute(
                "INSERT INTO lease (job_id, pilot, request, until) SELECT n, 'other', n::text, now() "
                "FROM generate_series(1, 1000) AS n"
            )
            before = await conn.fetchval(READ)
            await give(conn, 1, seats, 60.0)
            assert await conn.fetchval(READ) - before < 64
            await conn.execute("DELETE FROM lease WHERE pilot = 'other'")
