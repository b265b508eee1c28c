"""A catalog of realistic names, loaded in bulk: what is measured afterwards goes through the catalog's functions.

Triggers are off and indexes are built at the end; every fifth dataset is a bookkeeping one, every tenth a user's.
"""

import asyncio
import sys
import time

import asyncpg

STORAGES = 20
CHUNK = 250_000

NAMES = """
INSERT INTO dataset (scope, name, kind, state, owner, files, bytes, events, created_at, closed_at,
                     project, number, physics, step, format, tags)
SELECT scope,
       base || CASE kind WHEN 'dispatch' THEN '_dis' || i WHEN 'sub' THEN '_sub.DISK-' || i % 20 ELSE '' END,
       kind, 'closed', owner, 10, 10000000 + i % 977 * 1000000, 1000,
       timestamptz '2016-01-01' + i * interval '30 seconds', timestamptz '2016-01-02' + i * interval '30 seconds',
       CASE WHEN own THEN NULL ELSE scope END, number, physics, step, format, tags
FROM (
    SELECT *, scope || '.' || number || '.' || physics || '.' || step || '.' || format || '.' || tags AS base FROM (
        SELECT i, k % 10 = 7 AS own,
            CASE WHEN k % 10 = 7 THEN 'user.u' || lpad((s % 400)::text, 4, '0')
                 ELSE (ARRAY['csc11', 'mc11', 'mc12_8TeV', 'mc15_13TeV', 'mc16_13TeV', 'mc20_13TeV', 'mc23_13p6TeV',
                             'data18_13TeV'])[1 + s % 8] END AS scope,
            (300000 + s)::text AS number,
            (ARRAY['Sh_2211_Zee', 'Zmumu', 'PhPy8EG_ttbar', 'SU3_susy', 'singlepart_mu18', 'jetjet_JZ3', 'Wenu',
                   'ggH125_gamgam'])[1 + s / 8 % 8] || '_' || s % 97 AS physics,
            (ARRAY['evgen', 'simul', 'digit', 'recon', 'recon', 'recon', 'deriv', 'deriv', 'merge', 'merge']
                )[1 + k % 10] AS step,
            (ARRAY['EVNT', 'HITS', 'RDO', 'AOD', 'ESD', 'log', 'DAOD_PHYS', 'DAOD_EXOT5', 'HITS', 'AOD']
                )[1 + k % 10] AS format,
            'e' || 8000 + s % 500 || '_s' || 3000 + k % 90 || '_r' || 13000 + k / 11 % 200 || '_tid'
                || lpad(k::text, 8, '0') || '_00' AS tags,
            CASE WHEN i % 10 = 0 THEN 'dispatch' WHEN i % 10 = 5 THEN 'sub' WHEN k % 10 = 7 THEN 'user'
                 ELSE 'production' END AS kind,
            CASE WHEN k % 10 = 7 THEN 'u' || lpad((s % 400)::text, 4, '0') ELSE 'prod' END AS owner
        FROM (
            SELECT i, k, k / 50 AS s FROM (
                SELECT i, CASE WHEN i % 5 = 0 THEN i + 1 ELSE i END AS k FROM generate_series($1::bigint, $2) i
            ) one
        ) another
    ) fields
) named
"""
PLACES = f"""
INSERT INTO site (name) SELECT 'SITE-' || n FROM generate_series(1, {STORAGES}) n
"""
COPIES = f"""
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
SELECT d.id, p.id, CASE WHEN d.id % 7 = 0 THEN 4 ELSE d.files END, d.bytes
FROM dataset d JOIN LATERAL (VALUES (1 + d.id % {STORAGES})) p (id) ON true WHERE d.id BETWEEN $1 AND $2
"""
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename IN ('dataset', 'dataset_replica') AND indexname NOT LIKE '%pkey'
"""


def say(started: float, text: str) -> None:
    """Progress, for people: on standard error."""
    print(f"{time.monotonic() - started:7.1f} s  {text}", file=sys.stderr, flush=True)


def rare(number: int) -> str:
    """A part of the name of one dataset that people see."""
    return f"*tid{number:08d}*"


async def fill(url: str, datasets: int, started: float) -> None:
    """Load so many datasets, each with a copy at one of the storages."""
    first, second = [await asyncpg.connect(url, command_timeout=None) for _ in range(2)]
    try:
        for connection in (first, second):
            await connection.execute("SET maintenance_work_mem = '512MB'; SET session_replication_role = 'replica'")
        await first.execute(PLACES)
        await first.execute(
            "INSERT INTO storage (name, site, url) SELECT 'DISK-' || n, 'SITE-' || n, 'file:/data/' || n"
            f" FROM generate_series(1, {STORAGES}) n"
        )
        indexes = await first.fetch(INDEXES)
        for index in indexes:
            await first.execute(f"DROP INDEX {index['indexname']}")
        await _in_chunks(NAMES, [(n, min(n + CHUNK, datasets) - 1) for n in range(0, datasets, CHUNK)], first, second)
        say(started, f"{datasets} datasets loaded")
        await _in_chunks(COPIES, [(n, n + CHUNK - 1) for n in range(1, datasets + 1, CHUNK)], first, second)
        say(started, "their copies loaded")
        for index in sorted(indexes, key=lambda index: "gin" not in index["indexdef"]):
            await first.execute(index["indexdef"])
            say(started, f"index {index['indexname']}")
        await first.execute("VACUUM (ANALYZE, PARALLEL 0) dataset")
        await first.execute("VACUUM (ANALYZE, PARALLEL 0) dataset_replica")
        await first.execute("CHECKPOINT")
        say(started, "vacuumed")
    finally:
        await first.close()
        await second.close()


async def _in_chunks(statement: str, chunks: list[tuple[int, int]], *connections: asyncpg.Connection) -> None:
    """Each connection takes the next chunk when it is done with one."""
    waiting = iter(chunks)

    async def work(connection: asyncpg.Connection) -> None:
        for low, high in waiting:
            await connection.execute(statement, low, high)

    await asyncio.gather(*(work(connection) for connection in connections))
