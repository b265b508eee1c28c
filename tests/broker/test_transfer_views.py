"""Lists of transfers: by state and by storage, newest first, page by page."""

from itertools import pairwise

import pytest

from prodchain.broker.database import Pool
from prodchain.broker.errors import NotFound
from prodchain.broker.transfer_views import Shown, transfers

MANY = """
INSERT INTO site (name) VALUES ('A');
INSERT INTO storage (name, site, url) SELECT 'DISK-' || n, 'A', 'file:/' || n FROM unnest('{A,B,C}'::text[]) n;
INSERT INTO file (scope, name, guid, bytes, adler32)
    SELECT 'mc26', 'f' || n, gen_random_uuid(), n, '00000001' FROM generate_series(1, 24) n;
INSERT INTO transfer (file_id, storage_id, source_id, state, phase, error, attempts, queued_at)
    SELECT n, 1 + n % 3, 1 + (n + 1) % 3, CASE n % 4 WHEN 0 THEN 'done' ELSE 'queued' END,
           CASE n % 4 WHEN 0 THEN 'new' WHEN 1 THEN 'active' ELSE 'waiting' END,
           CASE n % 4 WHEN 3 THEN 'no route' END, 1, now() - make_interval(mins => n / 2)
    FROM generate_series(1, 24) n;
"""


@pytest.mark.parametrize("at", [None, "DISK-A", "DISK-C"])
@pytest.mark.parametrize("state", [None, *Shown])
async def test_each_list_has_what_fits_and_its_pages_are_the_list(
    database: Pool, state: Shown | None, at: str | None
) -> None:
    async with database.acquire() as conn:
        await conn.execute(MANY)
        everything = []
        for n in range(1, 25):
            shown = {Shown.DONE} if n % 4 == 0 else {Shown.ACTIVE} if n % 4 == 1 else {Shown.QUEUED}
            shown |= {Shown.FAILING} if n % 4 == 3 else set()
            places = {"ABC"[n % 3], "ABC"[(n + 1) % 3]}
            if (state is None or state in shown) and (at is None or at[-1] in places):
                everything.append(f"mc26:f{n}")
        found, end = await transfers(conn, state=state, at=at)
        assert (sorted(view["file"] for view in found), end) == (sorted(everything), None)
        assert all(a["queued_at"] >= b["queued_at"] for a, b in pairwise(found))
        pages, after = [], None
        while True:
            page, after = await transfers(conn, state=state, at=at, limit=2, after=after)
            pages += page
            if after is None:
                break
        assert pages == found


async def test_a_storage_that_nobody_knows_is_an_error_that_names_those_alike(database: Pool) -> None:
    async with database.acquire() as conn:
        await conn.execute(MANY)
        with pytest.raises(NotFound, match="there is no storage DISK-Z") as refused:
            await transfers(conn, at="DISK-Z")
    assert "DISK-A" in refused.value.hint
