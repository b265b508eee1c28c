"""Files that were just made: registered, members of their datasets and at their storage, by one statement for all.

The same as ``files.register``, ``datasets.fill`` and ``replicas.arrive`` one after the other; but nobody else can
know such files yet, so there are no other copies, transfers, holds or memberships to look for.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from . import datasets, files, hooks, replicas, subscriptions
from .connection import Connection
from .errors import DatasetConflict
from .files import NewFile

MAKE = """
WITH made AS MATERIALIZED (
    SELECT nextval('file_id_seq') AS id, m.*
    FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::text[],
                $8::bigint[]) WITH ORDINALITY
         AS m (dataset_id, storage_id, scope, name, guid, bytes, adler32, events, place)
), known AS (
    INSERT INTO file (id, scope, name, guid, bytes, adler32, events)
    SELECT id, scope, name, guid, bytes, adler32, events FROM made
), members AS (
    INSERT INTO dataset_file (dataset_id, file_id) SELECT dataset_id, id FROM made ORDER BY dataset_id, id
), copies AS (
    INSERT INTO replica (file_id, storage_id) SELECT id, storage_id FROM made
), sums AS MATERIALIZED (
    SELECT dataset_id, storage_id, count(*) AS files, sum(bytes) AS bytes, sum(events) AS events
    FROM made GROUP BY dataset_id, storage_id
), grown AS (
    UPDATE dataset d SET files = d.files + s.files, bytes = d.bytes + s.bytes, events = d.events + s.events
    FROM (SELECT dataset_id, sum(files) AS files, sum(bytes) AS bytes, sum(events) AS events
          FROM sums GROUP BY dataset_id) AS s WHERE d.id = s.dataset_id
), held AS (
    INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
    SELECT dataset_id, storage_id, files, bytes FROM sums ORDER BY dataset_id, storage_id
    ON CONFLICT (dataset_id, storage_id) DO UPDATE
    SET files = dataset_replica.files + excluded.files, bytes = dataset_replica.bytes + excluded.bytes
)
SELECT place, id FROM made
"""


class Made(NamedTuple):
    """A new file, the dataset that it was made for, and the storage where it is, verified."""

    dataset_id: int
    storage_id: int
    file: NewFile


async def take(conn: Connection, made: Sequence[Made]) -> list[int]:
    """The ids of the files in order.

    Raises UniqueViolationError where one is known already, and DatasetConflict where a dataset does not take just any
    file: then the transaction is over, as ``take_known`` locks files before datasets.
    """
    if not await datasets.lock_open(conn, {each.dataset_id for each in made}):
        raise DatasetConflict(
            f"the dataset of {made[0].file.did}, or of one registered with it, does not take just any file",
            object=str(made[0].file.did),
            hint="register them one after the other",
        )
    ids = await _make(conn, made)
    members: dict[int, list[int]] = defaultdict(list)
    for each, file_id in zip(made, ids, strict=True):
        members[each.dataset_id].append(file_id)
    await subscriptions.follow(conn, members)
    await hooks.tell_files_added(conn, members)
    return ids


async def take_known(conn: Connection, made: Sequence[Made]) -> list[int]:
    """The same, one step after the other, of files that may be known already, in datasets that may be closed.

    Raises what ``files.register`` and ``datasets.fill`` do.
    """
    ids = await files.register(conn, [each.file for each in made])
    members: dict[int, list[int]] = defaultdict(list)
    here: dict[int, list[int]] = defaultdict(list)
    for each, file_id in zip(made, ids, strict=True):
        members[each.dataset_id].append(file_id)
        here[each.storage_id].append(file_id)
    await datasets.fill(conn, members)
    for storage in sorted(here):
        await replicas.arrive(conn, storage, here[storage])
    return ids


async def _make(conn: Connection, made: Sequence[Made]) -> list[int]:
    # Sorted, so that two callers with the same names wait for each other in one order.
    places = sorted(range(len(made)), key=lambda place: made[place].file.did)
    rows = [made[place] for place in places]
    found = await conn.fetch(
        MAKE,
        [row.dataset_id for row in rows],
        [row.storage_id for row in rows],
        [row.file.did.scope for row in rows],
        [row.file.did.name for row in rows],
        [row.file.guid for row in rows],
        [row.file.bytes for row in rows],
        [row.file.adler32 for row in rows],
        [row.file.events for row in rows],
    )
    ids = {row["place"]: row["id"] for row in found}
    return [ids[rank] for _, rank in sorted((place, rank) for rank, place in enumerate(places, 1))]
