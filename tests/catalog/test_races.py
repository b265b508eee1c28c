"""Any two operations that overlap leave the same truth as one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import pytest

from prodchain.catalog import datasets, holds, replicas, subscriptions
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import DatasetClosed

from .material import new_dataset, new_files, new_storages


@dataclass(frozen=True)
class Case:
    """A dataset that has a file at the storage, and another file that may be a member but is not there yet."""

    dataset: int
    storage: int
    new: int
    holder: str


Operation: TypeAlias = Callable[[Connection, Case], Awaitable[None]]


async def add(conn: Connection, case: Case) -> None:
    with suppress(DatasetClosed):
        await datasets.add_files(conn, case.dataset, [case.new])


async def arrive(conn: Connection, case: Case) -> None:
    await replicas.arrive(conn, case.storage, [case.new])


async def subscribe(conn: Connection, case: Case) -> None:
    await subscriptions.subscribe(conn, case.dataset, case.storage)


async def close(conn: Connection, case: Case) -> None:
    await datasets.close(conn, case.dataset)


async def hold(conn: Connection, case: Case) -> None:
    await holds.place(conn, case.holder, case.storage, [case.new])


OPERATIONS: list[Operation] = [add, arrive, subscribe, close, hold]

WRONG = {
    "dataset counters": """
        SELECT d.id FROM dataset d LEFT JOIN dataset_file m ON m.dataset_id = d.id
        GROUP BY d.id HAVING d.files <> count(m.file_id)""",
    "replica counters": """
        SELECT r.dataset_id AS id FROM dataset_replica r WHERE r.files <> (
            SELECT count(*) FROM dataset_file m JOIN replica c USING (file_id)
            WHERE m.dataset_id = r.dataset_id AND c.storage_id = r.storage_id)""",
    "subscriptions that do not end, or too early": """
        SELECT s.dataset_id AS id FROM subscription s JOIN dataset d ON d.id = s.dataset_id
        JOIN dataset_replica r ON r.dataset_id = d.id AND r.storage_id = s.storage_id
        WHERE (s.state = 'done') <> (d.state = 'closed' AND r.files = d.files)""",
    "members that nobody moves": """
        SELECT m.file_id AS id FROM subscription s JOIN dataset_file m USING (dataset_id)
        WHERE NOT EXISTS (SELECT FROM replica c WHERE c.file_id = m.file_id AND c.storage_id = s.storage_id)
          AND NOT EXISTS (SELECT FROM transfer t WHERE t.file_id = m.file_id AND t.storage_id = s.storage_id
                                                   AND t.state = 'queued')""",
    "holds": """
        SELECT h.id FROM hold h WHERE h.missing <> (SELECT count(*) FROM hold_file f WHERE f.hold_id = h.id)""",
    "waits for what is there": """
        SELECT hold_id AS id FROM hold_file JOIN replica USING (file_id, storage_id)""",
}


@pytest.mark.parametrize(
    ("member", "before"),
    [(False, []), (True, []), (True, [close]), (True, [subscribe]), (False, [subscribe])],
    ids=["stranger", "member", "closed", "wished", "wished-stranger"],
)
async def test_no_pair_of_operations_loses_anything(
    database: Pool, satisfied: list[str], member: bool, before: list[Operation]
) -> None:
    async def overlap(number: int, first: Operation, second: Operation) -> None:
        async with database.acquire() as conn, conn.transaction():
            (storage,) = await new_storages(conn, "file:/a")
            old, new = await new_files(conn, 2, first=10 * number)
            await replicas.arrive(conn, storage, [old])
            dataset = await new_dataset(conn, f"mc11.pair{number}", [old, new] if member else [old])
            case = Case(dataset, storage, new, f"job:{number}")
            for operation in before:
                await operation(conn, case)

        async def run_second() -> None:
            async with database.acquire() as conn, conn.transaction():
                await second(conn, case)

        async with database.acquire() as conn, conn.transaction():
            await first(conn, case)
            task = asyncio.create_task(run_second())
            await asyncio.wait([task], timeout=0.05)
        await task

    for number, (first, second) in enumerate(product(OPERATIONS, repeat=2), start=1):
        await overlap(number, first, second)
        for what, statement in WRONG.items():
            rows = await database.fetch(statement)
            assert not rows, f"{first.__name__} then {second.__name__}: {what}"
        assert satisfied == ([f"job:{number}"] if {first, second} == {hold, arrive} and first is hold else [])
        satisfied.clear()
