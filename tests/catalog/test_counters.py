"""Whatever many do at the same time, the counters say what the rows say, and nothing that lives is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.broker.database import connect
from prodchain.catalog import datasets, deletion, folding, holds, hooks, purging, recount, replicas, subscriptions
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import CatalogError
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did

from .material import new_dataset, new_files, new_storages

FILES, SAFE, KINDS = 8, 6, (DatasetKind.PRODUCTION, DatasetKind.USER, DatasetKind.DISPATCH)


@dataclass(frozen=True)
class Stage:
    """Datasets, storages and files to act on; the first SAFE files are only deleted by the reaper."""

    dids: list[Did]
    storages: list[int]
    files: list[int]

    async def dataset(self, conn: Connection, n: int) -> int:
        return (await datasets.get(conn, self.dids[n % len(self.dids)])).id or 0

    def storage(self, n: int) -> int:
        return self.storages[n % len(self.storages)]

    def some(self, n: int) -> list[int]:
        """Any of the files, chosen by the bits of a number."""
        return [file for place, file in enumerate(self.files) if n >> place & 1]


Act: TypeAlias = Callable[[Connection, Stage, int, int], Awaitable[object]]


async def add(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    await datasets.add_files(conn, await stage.dataset(conn, n), stage.some(bits))


async def close(conn: Connection, stage: Stage, n: int, _: int) -> None:
    await datasets.close(conn, await stage.dataset(conn, n))


async def new_version(conn: Connection, stage: Stage, n: int, _: int) -> None:
    await datasets.new_version(conn, stage.dids[n % len(stage.dids)], "ada")


async def arrive(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    await replicas.arrive(conn, stage.storage(n), stage.some(bits))


async def remove(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    await replicas.remove(conn, stage.storage(n), [file for file in stage.some(bits) if file in stage.files[SAFE:]])


async def delete(conn: Connection, stage: Stage, n: int, _: int) -> None:
    await deletion.delete(conn, await stage.dataset(conn, n), "ada", timedelta())


async def purge(conn: Connection, _: Stage, __: int, bits: int) -> None:
    await purging.purge(conn, limit=bits % 5 + 1)


async def reap(conn: Connection, stage: Stage, n: int, _: int) -> None:
    await purging.reap(conn, stage.storage(n))


async def doom(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    """As the end of a dispatch dataset would; but it is told of any copy."""
    await conn.execute(
        "UPDATE replica SET tombstone_at = now() WHERE (file_id, storage_id) IN ("
        " SELECT file_id, storage_id FROM replica WHERE storage_id = $1 AND file_id = ANY($2) ORDER BY 1 FOR UPDATE)",
        stage.storage(n),
        stage.some(bits),
    )


async def subscribe(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    await subscriptions.subscribe(conn, await stage.dataset(conn, n), stage.storage(bits))


async def hold(conn: Connection, stage: Stage, n: int, bits: int) -> None:
    await holds.place(conn, f"job:{n}", stage.storage(bits), stage.some(bits))


async def fold(conn: Connection, *_: object) -> None:
    await folding.fold(conn)


ACTS: list[Act] = [add, add, close, new_version, arrive, arrive, arrive, remove, delete, purge, reap, doom]
ACTS += [subscribe, hold, fold]
acts = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9), st.integers(0, 2**FILES - 1)), max_size=12)
scripts = st.lists(acts, min_size=4, max_size=4)

WRONG = {
    "a subscription is done when it is complete": """
        SELECT s.id FROM subscription s JOIN dataset d ON d.id = s.dataset_id AND d.deleted_at IS NULL
        JOIN dataset_replica r ON r.dataset_id = d.id AND r.storage_id = s.storage_id
        WHERE s.standing AND s.state IN ('active', 'done')
          AND (s.state = 'done') <> (d.state = 'closed' AND r.files = d.files)""",
    "what lacks is queued": """
        SELECT m.file_id FROM subscription s JOIN dataset d ON d.id = s.dataset_id AND d.deleted_at IS NULL
        JOIN dataset_file m USING (dataset_id) WHERE s.state = 'active'
          AND NOT EXISTS (SELECT FROM replica c WHERE c.file_id = m.file_id AND c.storage_id = s.storage_id)
          AND NOT EXISTS (SELECT FROM transfer t WHERE t.file_id = m.file_id AND t.storage_id = s.storage_id
                                                   AND t.state = 'queued')""",
    "nobody waits for what is there": "SELECT hold_id FROM hold_file JOIN replica USING (file_id, storage_id)",
    "what is deleted has no members": """
        SELECT d.id FROM dataset d JOIN dataset_file m ON m.dataset_id = d.id
        WHERE d.state = 'deleted' AND d.purge_at IS NULL""",
}
ALONE = """
SELECT f.id FROM file f WHERE f.id = ANY($1) AND EXISTS (SELECT FROM dataset_file m WHERE m.file_id = f.id)
  AND EXISTS (SELECT FROM arrived a WHERE a.file_id = f.id)
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id)
"""


async def prepare(conn: Connection, example: int) -> Stage:
    storages = (await new_storages(conn, "file:/a", "file:/b"))[:2]
    # Everything is wanted away, always: only what must stay stays.
    await conn.execute("UPDATE storage SET capacity_bytes = 0, min_free_bytes = 1000000000")
    files = await new_files(conn, FILES, first=1 + example * FILES)
    dids = [Did("mc26", f"mc26.e{example}.d{n}") for n in range(len(KINDS))]
    for did, kind in zip(dids, KINDS, strict=True):
        await new_dataset(conn, str(did), kind=kind)
    await datasets.charge(conn, await datasets.get(conn, dids[0]), "group:higgs")
    # A file that has arrived and is in a dataset that is never deleted must not lose its last copy.
    await new_dataset(conn, f"mc26:mc26.e{example}.keep", files)
    return Stage(dids, storages, files)


async def play(url: str, example: int, script: Sequence[Sequence[tuple[Act, int, int]]]) -> None:
    pool = await connect(url, size=5)
    try:
        async with pool.acquire() as conn, conn.transaction():
            stage = await prepare(conn, example)
        deadlocks = []

        async def player(moves: Sequence[tuple[Act, int, int]]) -> None:
            for act, n, bits in moves:
                try:
                    async with pool.acquire() as conn, conn.transaction():
                        with suppress(CatalogError):
                            async with conn.transaction():
                                await act(conn, stage, n, bits)
                except asyncpg.DeadlockDetectedError as error:
                    deadlocks.append(f"{act}: {error.detail}")

        await asyncio.gather(*map(player, script))
        assert deadlocks == []
        async with pool.acquire() as conn:
            assert await recount.check(conn) == []
            for what, statement in WRONG.items():
                assert not await conn.fetch(statement), what
            assert not await conn.fetch(ALONE, stage.files[:SAFE])
    finally:
        await pool.close()


@pytest.fixture
def quiet_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def satisfied(_: Connection, __: list[str]) -> None:
        return None

    async def nobody(_: Connection, *__: object) -> dict[int, str]:
        return {}

    monkeypatch.setattr(hooks, "satisfied", satisfied)
    monkeypatch.setattr(hooks, "needed", nobody)
    monkeypatch.setattr(hooks, "reads", nobody)


REMEMBER = """
CREATE TABLE arrived (file_id bigint PRIMARY KEY);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrived VALUES (NEW.file_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER remember AFTER INSERT ON replica FOR EACH ROW EXECUTE FUNCTION remember();
"""


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)
@given(script=scripts)
def test_any_moves_at_the_same_time_leave_true_counters(
    script: list[list[tuple[Act, int, int]]], database_url: str, quiet_hooks: None
) -> None:
    async def run() -> None:
        conn = await asyncpg.connect(database_url)
        if not await conn.fetchval("SELECT to_regclass('arrived') IS NOT NULL"):
            await conn.execute(REMEMBER)
        example = await conn.fetchval("SELECT count(*) FROM dataset WHERE name LIKE '%.keep'")
        await conn.close()
        await play(database_url, example, script)

    asyncio.run(run())
