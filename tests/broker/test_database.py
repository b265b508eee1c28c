"""How the broker's connections plan."""

import pytest

from prodchain.broker.database import BY_INDEX, connect
from prodchain.broker.matching.statements import Seat, give


@pytest.mark.parametrize(("planner", "whole"), [(BY_INDEX, False), ({}, True)])
async def test_a_claim_does_not_read_all_leases_though_there_were_none_when_it_was_planned(
    database_url: str, planner: dict[str, str], whole: bool
) -> None:
    seats = [Seat(number, f"p{number}", f"r{number}", True, 10**9 + number, 1) for number in range(64)]
    async with await connect(database_url, size=1, planner=planner) as pool, pool.acquire() as conn:
        await conn.execute("VACUUM ANALYZE lease")
        for _ in range(8):  # from the sixth on one plan serves all
            await give(conn, 1, seats, 60.0)
        async with conn.transaction():
            await give(conn, 1, seats, 60.0)
            scans = await conn.fetchval("SELECT pg_stat_get_xact_numscans('lease'::regclass) AS whole_table")
    assert bool(scans) is whole
