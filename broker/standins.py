"""Files that stand in for lost ones: an output was lost on its way and made again, when others had read it already.

What a task made of the first file is not made of the second one; what it has not made, it makes of the second.
"""

from collections.abc import Iterator, Sequence

from . import jobs
from .database import Connection
from .splitting import InputFile, Work
from .states import MADE, WAITING

ACTOR = "generation"
MOST = 100
"""Attempts of one piece of work that are looked for; there are fewer."""

# A lost output has left its dataset: it stays where tasks have noted it.
_LOST = """
SELECT made.id AS new, max(old.file_id) AS old
FROM unnest($2::bigint[], $3::text[]) AS made (id, before)
JOIN task_file new ON new.task_id = $1 AND new.file_id = made.id JOIN file n ON n.id = made.id
JOIN file o ON o.scope = n.scope AND o.name = made.before AND o.events = n.events
JOIN task_file old ON old.task_id = $1 AND old.file_id = o.id AND old.dataset_id = new.dataset_id
WHERE NOT EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = old.dataset_id AND m.file_id = old.file_id)
GROUP BY made.id ORDER BY made.id
"""
_TAKE_PLACE = """
UPDATE task_file new SET used = old.used, taken = old.taken FROM task_file old
WHERE new.task_id = $1 AND old.task_id = $1 AND new.file_id = $2 AND old.file_id = $3
"""
_OVER = "DELETE FROM task_file WHERE task_id = $1 AND file_id = $2"
_READERS = """
SELECT j.id, j.work FROM job_input i JOIN job j ON j.id = i.job_id
WHERE i.file_id = $2 AND j.task_id = $1 AND j.state <> ALL($3) ORDER BY j.id
"""
_WORK = (
    "UPDATE job j SET work = n.work::jsonb FROM unnest($1::bigint[], $2::text[]) AS n (id, work) WHERE j.id = n.id"
)
_INPUT = "UPDATE job_input SET file_id = $3 WHERE job_id = ANY($1) AND file_id = $2"


async def stand_in(conn: Connection, task_id: int, files: Sequence[InputFile]) -> bool:
    """Let those of the files that were made again take the places of the first ones; says whether there were any.

    The caller holds the task. One that was lost as well has its place, too: the next one takes it from there.
    """
    pairs = [(file.id, name) for file in files for name in _before(file.name)]
    if not pairs:
        return False
    rows = await conn.fetch(_LOST, task_id, [file for file, _ in pairs], [name for _, name in pairs])
    for new, old in rows:
        await conn.execute(_TAKE_PLACE, task_id, new, old)
        await conn.execute(_OVER, task_id, old)
        await _read_instead(conn, task_id, old, new)
    return bool(rows)


def _before(name: str) -> Iterator[str]:
    """The names of a piece's earlier attempts, if it is one (catalog.names.file_name)."""
    stem, _, attempt = name.rpartition(".")
    if attempt.isdecimal() and 1 < int(attempt) <= MOST:
        yield from (f"{stem}.{number}" for number in range(1, int(attempt)))


async def _read_instead(conn: Connection, task_id: int, old: int, new: int) -> None:
    """Runs that have made nothing read the other file, those with pilots when their work is tried again."""
    rows = await conn.fetch(_READERS, task_id, old, list(MADE))
    works = {row["id"]: Work.load(row["work"]) for row in rows}
    states = await jobs.lock_waiting(conn, list(works))
    await jobs.send_back(conn, list(works), ACTOR, "its input was lost and made again")
    changed = {
        job: work._replace(files=tuple(new if file == old else file for file in work.files))
        for job, work in works.items()
        if states[job] not in MADE
    }
    await conn.execute(_WORK, list(changed), [work.text() for work in changed.values()])
    await conn.execute(_INPUT, [job for job in changed if states[job] in WAITING], old, new)
