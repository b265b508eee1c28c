"""The database refuses what no code path may do to the catalog."""

from contextlib import suppress

import asyncpg
import pytest

from prodchain.catalog import containers, datasets
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.models import DatasetKind

from .material import new_dataset, new_files

REFUSED = {
    "a file joins a closed dataset": "INSERT INTO dataset_file VALUES (1, 3)",
    "a file leaves a closed dataset": "DELETE FROM dataset_file WHERE dataset_id = 1",
    "a file changes its dataset": "UPDATE dataset_file SET dataset_id = 2 WHERE dataset_id = 1",
    "a membership changes its file": "UPDATE dataset_file SET file_id = 3 WHERE dataset_id = 1 AND file_id = 1",
    "a container gets files": "INSERT INTO dataset_file VALUES (4, 3)",
    "a closed dataset opens": "UPDATE dataset SET state = 'open' WHERE id = 1",
    "a deleted dataset comes back": "UPDATE dataset SET state = 'closed' WHERE id = 3",
    "a deleted dataset gets files": "INSERT INTO dataset_file VALUES (3, 3)",
    "a dataset changes its name": "UPDATE dataset SET name = 'user.ada.new' WHERE id = 2",
    "a dataset changes its scope": "UPDATE dataset SET scope = 'new' WHERE id = 2",
    "a dataset changes its version": "UPDATE dataset SET version = 7 WHERE id = 2",
    "a dataset becomes a container": "UPDATE dataset SET kind = 'container' WHERE id = 2",
    "a closed dataset becomes another kind": "UPDATE dataset SET kind = 'user' WHERE id = 1",
    "a dataset with files goes to another account": "UPDATE dataset SET charged = 'group:higgs' WHERE id = 1",
    "a dataset with files gets another owner": "UPDATE dataset SET owner = 'eve' WHERE id = 1",
    "a name has two latest versions": "INSERT INTO dataset (scope, name, version) "
    "SELECT scope, name, 2 FROM dataset WHERE id = 2",
    "a version is there twice": "INSERT INTO dataset (scope, name, latest) "
    "SELECT scope, name, false FROM dataset WHERE id = 2",
    "a file changes its size": "UPDATE file SET bytes = 99 WHERE id = 1",
    "a file changes its checksum": "UPDATE file SET adler32 = 'ffffffff' WHERE id = 1",
    "a file changes its name": "UPDATE file SET name = 'other' WHERE id = 1",
    "a file changes its md5": "UPDATE file SET md5 = 'other' WHERE id = 2",
    "a file changes its identity": "UPDATE file SET guid = gen_random_uuid() WHERE id = 1",
    "a copy is at no storage": "INSERT INTO replica (file_id, storage_id) VALUES (1, 99)",
    "a copy moves to another storage": "UPDATE replica SET storage_id = 2",
    "a storage is removed": "DELETE FROM storage",
    "a storage gets another number": "UPDATE storage SET id = 98",
    "a file of a dataset is removed": "DELETE FROM file WHERE id = 1",
    "a file gets another number": "UPDATE file SET id = 98 WHERE id = 3",
    "files are truncated": "TRUNCATE file CASCADE",
    "an unknown file joins a dataset": "INSERT INTO dataset_file SELECT 2, unnest(ARRAY[3, 99])",
    "a file joins an unknown dataset": "INSERT INTO dataset_file VALUES (2, 3), (99, 3)",
    "an unknown file has a copy": "INSERT INTO replica (file_id, storage_id) SELECT unnest(ARRAY[1, 99]), 1",
    "only unknown files have copies": "INSERT INTO replica (file_id, storage_id) VALUES (98, 1), (99, 1)",
    "a dataset that has files is removed": "DELETE FROM dataset WHERE id IN (1, 3)",
    "a dataset gets another number": "UPDATE dataset SET id = 98 WHERE id = 2",
    "datasets are truncated": "TRUNCATE dataset CASCADE",
    "a child joins a closed container": "INSERT INTO dataset_child VALUES (5, 2)",
    "a child leaves a closed container": "DELETE FROM dataset_child WHERE parent_id = 5",
    "a child is exchanged in a closed container": "UPDATE dataset_child SET child_id = 2 WHERE parent_id = 5",
    "a plain dataset gets children": "INSERT INTO dataset_child VALUES (2, 4)",
    "a container contains itself": "INSERT INTO dataset_child VALUES (4, 4)",
    "a container contains what contains it": "INSERT INTO dataset_child VALUES (6, 4)",
    "both halves of a cycle come at once": "INSERT INTO dataset_child VALUES (6, 7), (7, 6)",
    "the members of a closed dataset are truncated": "TRUNCATE dataset_file",
    "the children of a closed container are truncated": "TRUNCATE dataset_child",
}


@pytest.fixture
async def stock(conn: Connection) -> Connection:
    """1 closed with files 1, 2; 2 open; 3 deleted; containers 4 > 6, 5 (closed) > 1, 7."""
    ids = await new_files(conn, 3)
    for n in (1, 2, 3):
        assert await new_dataset(conn, f"user.ada.d{n}", ids[:2] if n == 1 else None) == n
    for n in (4, 5, 6, 7):
        assert await new_dataset(conn, f"user.ada.c{n}", kind=DatasetKind.CONTAINER) == n
    await containers.add(conn, 4, [6])
    await containers.add(conn, 5, [1])
    await datasets.close(conn, 1)
    await datasets.close(conn, 5)
    await conn.execute("UPDATE dataset SET state = 'deleted' WHERE id = 3")
    await conn.execute("UPDATE file SET md5 = 'first' WHERE id = 2")
    return conn


async def test_the_database_refuses_all_of_that(stock: Connection) -> None:
    accepted = []
    for what, statement in REFUSED.items():
        attempt = stock.transaction()
        await attempt.start()
        with suppress(asyncpg.IntegrityConstraintViolationError):
            await stock.execute(statement)
            accepted.append(what)
        await attempt.rollback()
    assert accepted == []


async def test_a_dataset_is_not_removed_while_a_file_joins_it(database: Pool) -> None:
    async with database.acquire() as first, database.acquire() as second:
        file_ids = await new_files(first, 1)
        dataset_id = await new_dataset(first)
        joining = first.transaction()
        await joining.start()
        await first.execute("INSERT INTO dataset_file VALUES ($1, $2)", dataset_id, file_ids[0])
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with second.transaction():
                await second.execute("SET LOCAL lock_timeout = '50ms'")
                await second.execute("DELETE FROM dataset WHERE id = $1", dataset_id)
        await joining.commit()
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await second.execute("DELETE FROM dataset WHERE id = $1", dataset_id)
