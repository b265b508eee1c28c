"""Leasing: nobody gets what another has, limits hold, the order is kept, every failure leads to a next try."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from prodchain.catalog import queueing, quotas, replicas, transfers
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.leasing import BATCH, SMALL
from prodchain.catalog.links import Share
from prodchain.catalog.queueing import Terms
from prodchain.catalog.transfers import Copied, Failed, Leased

from .material import new_dataset, new_files, new_storages

MINUTE = timedelta(minutes=1)


async def storages(conn: Connection, count: int) -> list[int]:
    return await new_storages(conn, *(f"file:/{n}" for n in range(count)))


async def big_files(conn: Connection, count: int, *, first: int = 1) -> list[int]:
    """Files that are not leased in batches; later ones are bigger."""
    ids = await new_files(conn, count, first=first)
    await conn.execute("ALTER TABLE file DISABLE TRIGGER USER")
    await conn.execute("UPDATE file SET bytes = $2 + id WHERE id = ANY($1::bigint[])", ids, SMALL)
    await conn.execute("ALTER TABLE file ENABLE TRIGGER USER")
    return ids


async def lease(conn: Connection, limit: int = 10, worker: str = "one") -> list[Leased]:
    return await transfers.lease(conn, worker, limit, MINUTE)


async def due_now(conn: Connection) -> None:
    """As if all waits, and the leases of dead movers, were over."""
    await conn.execute("""
        UPDATE transfer SET not_before = now() - interval '1 s',
            lease_until = CASE WHEN lease_until IS NULL THEN NULL ELSE now() - interval '1 s' END
        WHERE state = 'queued'""")


async def test_priority_comes_first_then_size_then_age(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    small, middle, big, urgent, wanted = ids = await big_files(conn, 5)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, [small, middle, big])
    await queueing.queue(conn, b, [urgent], Terms(priority=5))
    await queueing.queue(conn, b, [wanted], Terms(priority=5))
    leased = [(await lease(conn, 1))[0].file_id for _ in range(5)]
    assert leased == [wanted, urgent, big, middle, small]
    assert await lease(conn) == []


async def test_a_copy_that_was_taken_back_while_its_mover_was_out_of_touch_is_none(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    (one,) = await big_files(conn, 1)
    await replicas.arrive(conn, a, [one])
    await queueing.queue(conn, b, [one])
    await lease(conn)
    await due_now(conn)
    assert await queueing.withdraw(conn, b, [one]) == 1
    await conn.execute("DELETE FROM garbage")  # it was collected, and with it what the mover had written
    assert await transfers.done(conn, a, b, [Copied(one, "local", 1, 0.5)]) == []
    assert await conn.fetchval("SELECT count(*) FROM replica WHERE storage_id = $1", b) == 0
    assert await conn.fetchval("SELECT storage_id FROM garbage") == b, "what it wrote afterwards goes too"


async def test_a_link_leaves_some_of_a_storage_and_of_a_mover_to_others(conn: Connection) -> None:
    a, slow, other = await storages(conn, 3)
    ids = await big_files(conn, 20)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, slow, ids, Terms(priority=5))
    mine = Share(8)
    assert len(await transfers.lease(conn, "one", 8, MINUTE, mine)) == 6
    await queueing.queue(conn, other, ids)
    assert Counter(each.storage_id for each in await transfers.lease(conn, "one", 2, MINUTE, mine)) == {other: 2}
    await conn.execute("UPDATE storage SET max_transfers = 100")
    assert Counter(each.storage_id for each in await transfers.lease(conn, "one", 8, MINUTE, mine)) == {other: 4}
    one_at_a_time = Share(8, silent={(a, slow), (a, other)})
    leased = await transfers.lease(conn, "two", 8, MINUTE, one_at_a_time)
    assert Counter(each.storage_id for each in leased) == {slow: 1, other: 1}


async def test_small_files_are_shared_out_in_batches_of_one_link(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    ids = await new_files(conn, 10)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    await queueing.queue(conn, c, ids[:2])
    leased = await lease(conn, 4)
    assert sorted(Counter(each.batch for each in leased).values()) == [2, 2, 3, 3]
    assert {(each.source_id, each.storage_id) for each in leased} == {(a, b)}
    leased = await lease(conn, 1)
    assert [(each.file_id, each.storage_id) for each in leased] == [(ids[1], c), (ids[0], c)]


async def test_a_batch_has_an_end(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    ids = await new_files(conn, BATCH + 20)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    assert [len(await lease(conn, 1)) for _ in range(3)] == [BATCH, 20, 0]


async def test_workers_that_ask_at_once_keep_the_limits_together(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, c, d = await storages(conn, 4)
        ids = await big_files(conn, 60)
        await replicas.arrive(conn, a, ids)
        await replicas.arrive(conn, d, ids[:30])
        for target in (b, c):
            await queueing.queue(conn, target, ids)
        await conn.execute("UPDATE storage SET max_transfers = 7 WHERE id = $1", a)
        await conn.execute("UPDATE storage SET max_transfers = 6 WHERE id = $1", b)
        await conn.execute("INSERT INTO link_limit VALUES ($1, $2, 2)", a, b)
    seen: list[Leased] = []

    async def work(name: str) -> None:
        chance = random.Random(name)
        for _ in range(12):
            async with database.acquire() as conn, conn.transaction():
                leased = await lease(conn, 3, name)
                running = await conn.fetch("""
                    SELECT source_id, storage_id, count(DISTINCT batch) AS n FROM transfer
                    WHERE state = 'queued' AND lease_until > now() GROUP BY 1, 2""")
                use = Counter({(r["source_id"], r["storage_id"]): r["n"] for r in running})
                for storage, most in ((a, 7), (b, 6), (c, 8), (d, 8)):
                    assert sum(n for link, n in use.items() if storage in link) <= most
                assert use[a, b] <= 2
            seen.extend(leased)
            await asyncio.sleep(chance.random() / 100)
            for each in leased:
                async with database.acquire() as conn, conn.transaction():
                    copied = Copied(each.file_id, "local", each.bytes, 1.0)
                    await transfers.done(conn, each.source_id, each.storage_id, [copied])

    await asyncio.gather(*(work(f"mover-{n}") for n in range(4)))
    assert len(seen) == len({(each.file_id, each.storage_id) for each in seen}) == 120
    assert {each.source_id for each in seen} == {a, d}


async def test_a_storage_at_its_limit_does_not_hold_back_others(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    ids = await big_files(conn, 4)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids, Terms(priority=9))
    await queueing.queue(conn, c, ids)
    await conn.execute("UPDATE storage SET max_transfers = 1 WHERE id = $1", b)
    assert Counter(each.storage_id for each in await lease(conn)) == {b: 1, c: 4}


async def test_a_lease_that_ran_out_is_another_ones_and_cannot_be_kept(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    (file,) = await big_files(conn, 1)
    await replicas.arrive(conn, a, [file])
    await queueing.queue(conn, b, [file])
    (first,) = await lease(conn, worker="one")
    assert await transfers.extend(conn, "one", [first.batch], MINUTE) == {first.batch}
    assert await transfers.extend(conn, "two", [first.batch], MINUTE) == set()
    assert await lease(conn, worker="two") == []
    await due_now(conn)
    assert await transfers.extend(conn, "one", [first.batch], MINUTE) == set()
    (second,) = await lease(conn, worker="two")
    assert second.attempts == 2
    (wait,) = await transfers.recent(conn)
    assert wait.error == "the mover one died, or lost touch, while it had this copy"
    assert await transfers.failed(conn, b, first.batch, [Failed(file, "too late")]) == set()
    assert await transfers.failed(conn, b, second.batch, [Failed(file, "no luck")]) == {file}


async def test_what_is_given_back_was_never_leased(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    one, two = await new_files(conn, 2)
    await replicas.arrive(conn, a, [one, two])
    await queueing.queue(conn, b, [one, two])
    leased = await lease(conn, 1)
    await transfers.release(conn, leased[0].batch, [one])
    (again,) = await lease(conn, 1)
    assert (again.file_id, again.attempts) == (one, 1)


async def test_two_tries_at_each_source_then_long_waits(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    (file,) = await new_files(conn, 1)
    for source in (a, c):
        await replicas.arrive(conn, source, [file])
    await queueing.queue(conn, b, [file])
    sources, waits = [], []
    for _ in range(20):
        await due_now(conn)
        (leased,) = await lease(conn)
        sources.append(leased.source_id)
        await transfers.failed(conn, b, leased.batch, [Failed(file, f"no luck {len(sources)}")])
        waits.append(
            await conn.fetchval("SELECT extract(epoch FROM not_before - clock_timestamp())::float FROM transfer")
        )
    for start in range(0, 20, 4):
        first, second, third, fourth = sources[start : start + 4]
        assert first == second != third == fourth
    assert [round(wait) for wait in waits if wait < 2] == [1] * 15
    long = waits[3::4]
    for wait, expected in zip(long, (60, 300, 900, 3600, 3600), strict=True):
        assert 0.85 * expected < wait < 1.15 * expected
    (view,) = await transfers.recent(conn)
    assert (view.attempts, view.error) == (20, "no luck 20")


async def test_a_target_that_is_full_is_not_asked_by_every_source(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    (file,) = await new_files(conn, 1)
    for source in (a, c):
        await replicas.arrive(conn, source, [file])
    await queueing.queue(conn, b, [file])
    (leased,) = await lease(conn)
    await transfers.failed(conn, b, leased.batch, [Failed(file, "no space left", at_target=True)])
    assert await conn.fetchval("SELECT not_before > clock_timestamp() + interval '50 s' FROM transfer")


async def test_sources_are_bounded_by_the_wish_and_by_what_may_be_read(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    (file,) = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=[file])
    for source in (a, c):
        await replicas.arrive(conn, source, [file])
    await queueing.queue(conn, b, [file], Terms(sources="DISK-C"))
    await conn.execute("UPDATE storage SET readable = false WHERE id = $1", c)
    assert await lease(conn) == []
    (wait,) = await transfers.why(conn, dataset, b)
    assert wait.error == "its copies are at DISK-A, DISK-C, none of which is one of the sources 'DISK-C'"
    await conn.execute("UPDATE storage SET readable = true WHERE id = $1", c)
    await due_now(conn)
    (leased,) = await lease(conn)
    assert leased.source_id == c


async def test_a_source_that_may_not_be_read_any_more_is_exchanged(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    ids = await big_files(conn, 3)
    for source in (a, c):
        await replicas.arrive(conn, source, ids)
    await queueing.queue(conn, b, ids)
    (first,) = await lease(conn, 1)
    await conn.execute("UPDATE storage SET readable = false WHERE id = $1", first.source_id)
    assert {each.source_id for each in await lease(conn)} == {a, c} - {first.source_id}


async def test_a_source_that_is_gone_is_exchanged_without_a_try(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    ids = await big_files(conn, 2)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    await lease(conn, 1)  # the other one has its source now
    await replicas.arrive(conn, c, ids)
    await replicas.remove(conn, a, ids)
    (leased,) = await lease(conn) or await lease(conn)
    assert (leased.source_id, leased.attempts) == (c, 1)


async def test_who_waits_for_a_source_goes_on_when_one_arrives(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    (file,) = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=[file])
    await queueing.queue(conn, b, [file])
    assert await lease(conn) == []
    (wait,) = await transfers.why(conn, dataset, b)
    assert (wait.state, wait.attempts) == ("waiting", 0)
    assert "there is no copy at any other storage" in wait.words
    await replicas.arrive(conn, a, [file])
    (leased,) = await lease(conn)
    assert leased.attempts == 1


async def test_a_fast_link_that_works_is_taken_first(conn: Connection) -> None:
    a, b, c, d = await storages(conn, 4)
    ids = await big_files(conn, 1)
    for source in (a, c, d):
        await replicas.arrive(conn, source, ids)
    await conn.execute(
        """INSERT INTO link SELECT source, $1, now(), 10, bytes, 10, failures
           FROM (VALUES ($2::int, 2e9, 0), ($3, 9e9, 30), ($4, 1e9, 0)) v (source, bytes, failures)""",
        b, a, c, d,
    )  # fmt: skip
    await queueing.queue(conn, b, ids)
    (leased,) = await lease(conn)
    assert leased.source_id == a


async def test_links_get_work_by_what_they_carry(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    ids = await big_files(conn, 30)
    for source in (a, c):
        await replicas.arrive(conn, source, ids)
    await conn.execute("UPDATE storage SET max_transfers = 100")
    await conn.execute(
        "INSERT INTO link SELECT s, $1, now(), 10, b, 10 FROM (VALUES ($2::int, 2e9), ($3, 1e9)) v (s, b)", b, a, c
    )
    await queueing.queue(conn, b, ids)
    shares = Counter(each.source_id for each in await lease(conn, 30))
    assert shares == {a: 20, c: 10}


async def test_a_full_quota_waits_with_its_reason_and_without_a_try(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    mine, second, other = ids = await big_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, a, ids)
    await quotas.set(conn, "ada", b, SMALL + 1000, "root")
    await queueing.queue(conn, b, [mine, second], Terms(owner="ada"))
    await queueing.queue(conn, b, [other], Terms(owner="bob"))
    leased = await lease(conn)
    assert sorted(each.file_id for each in leased) == [second, other]
    assert await lease(conn) == []
    waits = {wait.file_id: wait for wait in await transfers.why(conn, dataset, b)}
    assert (waits[mine].state, waits[mine].attempts) == ("ready", 0)
    assert "the quota of ada at DISK-B" in (waits[mine].error or "")
    assert waits[mine].words == waits[mine].error
    await queueing.queue(conn, b, more := await big_files(conn, 1, first=9), Terms(owner="ada"))
    late = await new_dataset(conn, "mc11.late", file_ids=more)
    (wait,) = await transfers.why(conn, late, b)
    assert (wait.state, wait.error, wait.words) == ("new", None, waits[mine].words)
    await conn.execute("DELETE FROM transfer WHERE file_id = $1", more[0])
    await quotas.set(conn, "ada", b, 10 * SMALL, "root")
    assert [each.file_id for each in await lease(conn)] == [mine]


async def test_a_storage_that_is_not_written_to_says_so(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    await conn.execute("UPDATE storage SET writable = false WHERE id = $1", b)
    assert await lease(conn) == []
    assert {wait.words for wait in await transfers.why(conn, dataset, b)} == {"nothing may be written to DISK-B now"}
    assert {view.error for view in await transfers.recent(conn)} == {"nothing may be written to DISK-B now"}
    await conn.execute("UPDATE storage SET writable = true WHERE id = $1", b)
    assert len(await lease(conn)) == 2


async def test_a_file_on_tape_is_staged_before_it_is_copied(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    await conn.execute("UPDATE storage SET kind = 'tape' WHERE id = $1", a)
    one, two = ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    assert await lease(conn) == []
    wanted = await transfers.to_stage(conn, a, 10)
    assert sorted(each.file_id for each in wanted) == [one, two]
    request = await conn.fetchval("INSERT INTO stage_request (storage_id) VALUES ($1) RETURNING id", a)
    await transfers.staging(conn, request, wanted)
    assert await transfers.to_stage(conn, a, 10) == []
    assert await lease(conn) == []
    assert {wait.state for wait in await transfers.why(conn, dataset, b)} == {"staging"}
    assert await transfers.staged(conn, request, [one]) == [one]
    await transfers.unstaged(conn, request, [two], "the tape is torn")
    assert [each.file_id for each in await lease(conn)] == [one]
    waits = {wait.file_id: wait for wait in await transfers.why(conn, dataset, b)}
    assert (waits[two].state, waits[two].attempts, waits[two].error) == ("waiting", 1, "the tape is torn")


async def test_a_copy_on_disk_is_taken_before_one_on_tape(conn: Connection) -> None:
    a, b, c = await storages(conn, 3)
    await conn.execute("UPDATE storage SET kind = 'tape' WHERE id = $1", a)
    ids = await new_files(conn, 1)
    for source in (a, c):
        await replicas.arrive(conn, source, ids)
    await queueing.queue(conn, b, ids)
    (leased,) = await lease(conn)
    assert leased.source_id == c


async def test_outcomes_are_counted_for_the_link(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    one, two, three = ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, a, ids)
    await queueing.queue(conn, b, ids)
    assert await transfers.totals(conn) == transfers.Totals(3, 0, 0, 0, 0)
    (batch,) = {each.batch for each in await lease(conn, 1)}
    assert await transfers.totals(conn) == transfers.Totals(0, 3, 0, 0, 0)
    await transfers.failed(conn, b, batch, [Failed(one, "no luck")])
    await transfers.done(conn, a, b, [Copied(two, "local", 2, 0.5), Copied(three, "there", 0, 0.1)])
    assert await transfers.totals(conn) == transfers.Totals(1, 0, 1, 1, 2)
    (link,) = await conn.fetch("SELECT source_id, storage_id, files, bytes, seconds, failures FROM link")
    assert tuple(link.values()) == (a, b, 1, 2, 0.5, 1)
    waits = {wait.file_id: wait for wait in await transfers.why(conn, dataset, b, there=True)}
    assert (waits[one].state, waits[one].error, waits[one].source) == ("waiting", "no luck", "DISK-A")
    assert waits[one].words.startswith("tried once, next try at ")
    assert (waits[two].state, waits[two].method) == ("there", "local")
    assert "copied from DISK-A (local)" in waits[two].words
    assert [wait.file_id for wait in await transfers.why(conn, dataset, b)] == [one]


async def test_counters_follow_every_change(conn: Connection) -> None:
    a, b = await storages(conn, 2)
    ids = await new_files(conn, 20)
    await replicas.arrive(conn, a, ids)
    chance = random.Random(7)
    for turn in range(40):
        some = chance.sample(ids, 5)
        match chance.randrange(5):
            case 0:
                await queueing.queue(conn, b, some)
            case 1:
                for each in await lease(conn, 2):
                    await transfers.failed(conn, b, each.batch, [Failed(each.file_id, f"no luck {turn}")])
            case 2:
                await replicas.arrive(conn, b, some)
            case 3:
                await replicas.remove(conn, b, some)
            case _:
                await due_now(conn)
                await lease(conn, 1)
        counted = await conn.fetchrow("SELECT sum(files), sum(bytes), sum(failing) FROM transfer_count")
        there = await conn.fetchrow("SELECT count(*), sum(bytes), count(error) FROM transfer WHERE state = 'queued'")
        assert counted is not None
        assert there is not None
        assert [n or 0 for n in counted.values()] == [n or 0 for n in there.values()]


async def test_changes_of_the_counters_are_folded(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await storages(conn, 2)
    ids = await new_files(conn, 8)
    await replicas.arrive(conn, a, ids)
    for file in ids:
        await queueing.queue(conn, b, [file])
    monkeypatch.setattr("prodchain.catalog.waits.FOLD_AT", 8)
    await lease(conn)
    (row,) = await conn.fetch("SELECT storage_id, files FROM transfer_count")
    assert tuple(row.values()) == (b, 8)


async def test_the_cost_of_a_lease_does_not_grow_with_the_queue(database: Pool) -> None:
    """Pages that a lease touches: with 400 files waiting, and with 40,000 of which most are held back."""

    async def cost(conn: Connection) -> int:
        await conn.execute("ANALYZE transfer, replica, file")
        before = await _touched(conn)
        for _ in range(3):
            await lease(conn, 2)
        return await _touched(conn) - before

    async def fill(conn: Connection, first: int, count: int, source: int, target: int) -> None:
        await conn.execute(
            """WITH f AS (INSERT INTO file (scope, name, guid, bytes, adler32)
                   SELECT 's', 'f' || n, gen_random_uuid(), $2, '00000001'
                   FROM generate_series($1::int, $1 + $3 - 1) n RETURNING id),
               r AS (INSERT INTO replica SELECT id, $4 FROM f)
               INSERT INTO transfer (file_id, storage_id, bytes, state, attempts)
                   SELECT id, $5, $2, 'queued', 0 FROM f""",
            first, SMALL, count, source, target,
        )  # fmt: skip

    async with database.acquire() as conn:
        a, b, c = await storages(conn, 3)
        await conn.execute("UPDATE storage SET max_transfers = 1000")
        await fill(conn, 1, 400, a, b)
        async with conn.transaction():
            few = await cost(conn)
        await conn.execute("UPDATE storage SET max_transfers = 0 WHERE id = $1", c)
        await fill(conn, 1000, 20_000, a, b)
        await fill(conn, 30_000, 20_000, a, c)  # held back by the target's limit
        async with conn.transaction():
            many = await cost(conn)
    assert few > 0
    assert many < 3 * few


async def _touched(conn: Connection) -> int:
    """Rows that this transaction read from the queue, by index or by scan."""
    await conn.execute("SELECT pg_stat_force_next_flush()")
    return int(
        await conn.fetchval("""
            SELECT pg_stat_get_xact_tuples_returned('transfer'::regclass) + coalesce(sum(
                pg_stat_get_xact_tuples_returned(indexrelid)), 0)
            FROM pg_index WHERE indrelid = 'transfer'::regclass""")
    )
