"""The stager: asks tapes for the files that transfers wait for, follows the requests, and lets the files go again.

A request is written down before the tape is asked, so that a stager that dies leaves a row that says so: its files
are asked for once more, which a tape does not mind. Many stagers may run; each request is one's at a time.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from . import badreplicas, tape, transfers
from .connection import Pool
from .errors import CatalogError, FileMissing
from .models import Storage, StorageKind
from .names import Did, url_of
from .sites import storages
from .tape import Locality, Tape
from .transfers import ToStage

log = logging.getLogger("prodchain.stager")

POLL_S = 30.0
"""Between two looks at a request."""
ASKING_S = 300.0
"""A request that has no number of the tape's after so long was its stager's last."""

NEW = "INSERT INTO stage_request (storage_id, files) VALUES ($1, $2) RETURNING id"
MADE = "UPDATE stage_request SET request = $2, error = NULL WHERE id = $1"
OVER = "UPDATE stage_request SET done_at = clock_timestamp(), error = coalesce($2, error) WHERE id = $1"
# One stager's turn: what it takes to look at, nobody else looks at before the next turn.
TAKE = """
UPDATE stage_request r SET polled_at = clock_timestamp()
FROM (
    SELECT id FROM stage_request
    WHERE storage_id = $1 AND done_at IS NULL
      AND (request <> '' AND coalesce(polled_at, '-infinity') <= clock_timestamp() - make_interval(secs => $2)
           OR request = '' AND created_at <= clock_timestamp() - make_interval(secs => $3))
    ORDER BY id LIMIT 20 FOR UPDATE SKIP LOCKED
) due
WHERE r.id = due.id
RETURNING r.id, r.request
"""
FILES = """
SELECT t.file_id, t.state, t.phase, f.scope, f.name FROM transfer t JOIN file f ON f.id = t.file_id
WHERE t.stage_id = $1 ORDER BY t.file_id
"""
TROUBLE = "UPDATE stage_request SET error = $2 WHERE id = $1"


class Stager:
    """Works for all tapes there are; ``poll_s`` is the time between two looks at a request."""

    def __init__(self, pool: Pool, poll_s: float = POLL_S) -> None:
        self._pool = pool
        self._poll_s = poll_s

    async def step(self) -> int:
        """Ask for what is wanted and look at what is due; the number of requests that were made or looked at."""
        async with self._pool.acquire() as conn:
            tapes = [each for each in await storages(conn) if each.kind == StorageKind.TAPE]
        done = 0
        for storage in tapes:
            done += await self._ask(storage) + await self._look(storage)
        return done

    async def _ask(self, storage: Storage) -> int:
        assert storage.id is not None
        async with self._pool.acquire() as conn, conn.transaction():
            wanted = await transfers.to_stage(conn, storage.id, tape.AT_ONCE)
            if not wanted:
                return 0
            stage_id: int = await conn.fetchval(NEW, storage.id, len({each.file_id for each in wanted}))
            await transfers.staging(conn, stage_id, wanted)
        try:
            await _Asking(self._pool, storage, stage_id, wanted).run()
        except CatalogError as error:
            words = f"the tape could not be asked: {error}"
            async with self._pool.acquire() as conn, conn.transaction():
                await transfers.unstaged(conn, stage_id, [each.file_id for each in wanted], words)
                await conn.execute(OVER, stage_id, words)
        return 1

    async def _look(self, storage: Storage) -> int:
        assert storage.id is not None
        async with self._pool.acquire() as conn:
            due = await conn.fetch(TAKE, storage.id, self._poll_s, ASKING_S)
        for row in due:
            try:
                await _Following(self._pool, storage, row["id"], row["request"]).run()
            except CatalogError as error:  # the request goes on; the next look may get an answer
                async with self._pool.acquire() as conn:
                    await conn.execute(TROUBLE, row["id"], str(error))
                log.warning("request %s of %s: %s", row["id"], storage.name, error)
        return len(due)


class _Asking:
    """One new request: what is lost is said; what is on disk is asked for too, since a request keeps it there."""

    def __init__(self, pool: Pool, storage: Storage, stage_id: int, wanted: Sequence[ToStage]) -> None:
        self.pool = pool
        self.storage = storage
        self.stage_id = stage_id
        self.files = {path_at(each.url): each for each in wanted}

    async def run(self) -> None:
        api = await _of(self.storage)
        info = await asyncio.to_thread(api.archiveinfo, list(self.files))
        paths: dict[str, list[str]] = defaultdict(list)
        for path, (locality, error) in info.items():
            if path in self.files:
                words = error or f"the tape says {locality}"
                paths["" if locality in tape.READABLE else words].append(path)
        wanted = paths.pop("", [])
        request = await asyncio.to_thread(api.stage, wanted) if wanted else ""
        lost = [path for path in self.files if info[path].locality == Locality.LOST]
        async with self.pool.acquire() as conn, conn.transaction():
            if lost:  # locks files, so it comes first
                words = "the tape says that it is lost"
                await badreplicas.bad(conn, self.storage.id or 0, self._ids(lost), "", words)
            for words, refused in paths.items():
                await transfers.unstaged(conn, self.stage_id, self._ids(refused), words)
            await conn.execute(*((MADE, self.stage_id, request) if request else (OVER, self.stage_id, None)))

    def _ids(self, paths: Sequence[str]) -> list[int]:
        return [self.files[path].file_id for path in paths]


class _Following:
    """One look at a request: what came may be copied, what did not is tried elsewhere, what is done is let go."""

    def __init__(self, pool: Pool, storage: Storage, stage_id: int, request: str) -> None:
        self.pool = pool
        self.storage = storage
        self.stage_id = stage_id
        self.request = request

    async def run(self) -> None:
        async with self.pool.acquire() as conn:
            rows = await conn.fetch(FILES, self.stage_id)
        files: dict[str, set[str]] = defaultdict(set)
        ids = {}
        for row in rows:
            path = path_at(url_of(self.storage.url, Did(row["scope"], row["name"])))
            files[path].add(row["phase"] if row["state"] == "queued" else "done")
            ids[path] = row["file_id"]
        if not self.request:
            await self._end(ids.values(), "its stager died before it had asked")
        elif all(states == {"done"} for states in files.values()):
            await self._let_go(list(files))
        elif any("stage" in states for states in files.values()):
            await self._poll(files, ids)

    async def _poll(self, files: dict[str, set[str]], ids: dict[str, int]) -> None:
        api = await _of(self.storage)
        try:
            progress = await asyncio.to_thread(api.poll, self.request)
        except FileMissing:
            await self._end(ids.values(), "the tape has forgotten the request")
            return
        waiting = {path for path, states in files.items() if "stage" in states}
        came = [ids[path] for path in waiting if path in progress and progress[path].on_disk]
        async with self.pool.acquire() as conn, conn.transaction():
            await transfers.staged(conn, self.stage_id, came)
            for path in sorted(waiting):
                error = progress[path].error if path in progress else "the tape's request does not have it"
                if error and ids[path] not in came:
                    await transfers.unstaged(conn, self.stage_id, [ids[path]], f"the tape: {error}")
        withdrawn = [
            path for path, state in progress.items() if path not in files and not state.on_disk and not state.error
        ]
        if withdrawn:
            await asyncio.to_thread(api.cancel, self.request, withdrawn)

    async def _let_go(self, paths: list[str]) -> None:
        """All are copied, or nobody wants them any more."""
        api = await _of(self.storage)
        if paths:
            with suppress(FileMissing):
                await asyncio.to_thread(api.release, self.request, paths)
        await asyncio.to_thread(api.forget, self.request)
        async with self.pool.acquire() as conn:
            await conn.execute(OVER, self.stage_id, None)

    async def _end(self, ids: Iterable[int], words: str) -> None:
        async with self.pool.acquire() as conn, conn.transaction():
            await transfers.unstaged(conn, self.stage_id, list(ids), words)
            await conn.execute(OVER, self.stage_id, words)


def path_at(url: str) -> str:
    """The path of a file at its server, as the tape's interface names it."""
    return unquote(urlsplit(url).path)


async def _of(storage: Storage) -> Tape:
    return await asyncio.to_thread(_tape, storage.tape_api, storage.url)


@lru_cache(maxsize=64)
def _tape(api: str | None, url: str) -> Tape:
    return Tape(api or tape.discover("{0.scheme}://{0.netloc}".format(urlsplit(url))))
