"""Files that were just made: registered, members of their datasets and at their storage, by one statement for all.

The same as ``files.register``, ``datasets.fill`` and ``replicas.arrive`` one after the other; but nobody else can
know such files yet, so there are no other copies, transfers, holds or memberships to look for.
"""

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import asyncpg

from . import datasets, files, hooks, replicas, subscriptions
from .connection import Connection
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
          FROM sums GROUP BY dataset_id) AS s
    WHERE d.id = s.dataset_id AND d.id = ANY(ARRAY(SELECT dataset_id FROM sums))
), held AS (
    INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
    SELECT dataset_id, storage_id, files, bytes FROM sums ORDER BY dataset_id, storage_id
    ON CONFLICT (dataset_id, storage_id) DO UPDATE
    SET files = dataset_replica.files + excluded.files, bytes = dataset_replica.bytes + excluded.bytes
)
SELECT place, id, EXISTS (
    SELECT FROM subscription s WHERE s.dataset_id = ANY($1) AND s.state = 'active' AND s.standing) AS followed
FROM made
"""


class Made(NamedTuple):
    """A new file, the dataset that it was made for, and the storage where it is, verified."""

    dataset_id: int
    storage_id: int
    file: NewFile


async def take(conn: Connection, made: Sequence[Made]) -> list[int]:
    """The ids of the files in order. The caller has locked their datasets, which take any file (datasets.is_plain).

    Raises UniqueViolationError where a file is known already: then the transaction is over.
    """
    # Sorted, so that two callers with the same names wait for each other in one order.
    places = sorted(range(len(made)), key=lambda place: made[place].file.did)
    rows = await _make(conn, [made[place] for place in places])
    ids = dict(zip(places, (row["id"] for row in sorted(rows, key=itemgetter("place"))), strict=True))
    members: dict[int, list[int]] = defaultdict(list)
    for place, each in enumerate(made):
        members[each.dataset_id].append(ids[place])
    if rows and rows[0]["followed"]:
        await subscriptions.follow(conn, members)
    await hooks.tell_files_added(conn, members)
    return [ids[place] for place in range(len(made))]


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


async def _make(conn: Connection, made: Sequence[Made]) -> list[asyncpg.Record]:
    return await conn.fetch(
        MAKE,
        [each.dataset_id for each in made],
        [each.storage_id for each in made],
        [each.file.did.scope for each in made],
        [each.file.did.name for each in made],
        [each.file.guid for each in made],
        [each.file.bytes for each in made],
        [each.file.adler32 for each in made],
        [each.file.events for each in made],
    )
