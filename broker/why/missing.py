"""Files that a job waits for: where each is wanted, what its copy waits for, and what would help."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prodchain.catalog import quotas, waits

from ..database import Connection
from ..models import Job
from . import signs
from .cures import Cure
from .reasons import NOTHING, Missing, Reason

TOLD = 10
"""Files that an answer tells of: those that are lost or failed come first."""

# What catalog.waits makes words of, for the files of one hold.
_HELD = """
SELECT f.scope || ':' || f.name AS file, f.bytes, f.lost_at, NULL AS there_at, t.state, t.phase, t.attempts, t.error,
       t.not_before, t.method, t.started_at, t.stage_id, t.worker, t.owner, source.name AS source,
       target.id AS target_id, target.name AS target, target.writable, false AS soon
FROM hold h JOIN hold_file m ON m.hold_id = h.id JOIN file f ON f.id = m.file_id
JOIN storage target ON target.id = m.storage_id
LEFT JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = m.storage_id
LEFT JOIN storage source ON source.id = t.source_id
WHERE h.holder = $1 ORDER BY f.lost_at, t.error NULLS LAST, f.name LIMIT $2
"""
_NUMBER = "SELECT missing FROM hold WHERE holder = $1"
# What was there, or on its way, at that time; where copies came and went since, nobody knows it any more.
_THEN = """
SELECT f.scope || ':' || f.name AS file, f.bytes, target.name AS storage, source.name AS source, t.attempts, t.error,
       t.started_at, t.queued_at, t.done_at, f.lost_at <= $3 AS lost, r.created_at <= $3 AS there,
       t.queued_at <= $3 AND (t.done_at IS NULL OR t.done_at > $3) AS moving
FROM job_input i JOIN file f ON f.id = i.file_id
JOIN queue q ON q.id = $2 JOIN storage target ON target.id = q.storage_id
LEFT JOIN replica r ON r.file_id = i.file_id AND r.storage_id = target.id
LEFT JOIN transfer t ON t.file_id = i.file_id AND t.storage_id = target.id
LEFT JOIN storage source ON source.id = t.source_id
WHERE i.job_id = $1 ORDER BY f.lost_at, t.queued_at, f.name LIMIT $4
"""


async def held(conn: Connection, job: Job, holder: str, what: str) -> tuple[list[Reason], list[Missing]]:
    """Why each file of the hold is not there; ``what`` they are to the job, as ``its input``."""
    rows = await conn.fetch(_HELD, holder, TOLD)
    if not rows:
        return [Reason("all files are in place; it goes on at once", (NOTHING,))], []
    rooms = [room for room in await quotas.room(conn) if room.storage_id == rows[0]["target_id"]]
    silence = await signs.silence(conn, "move")
    reasons, missing = [], []
    for row in rows:
        state, words = waits.words_of(row, rooms)
        missing.append(_missing(row, state, words))
        where = f"{what} {row['file']} is not at {row['target']} yet"
        reasons.append(Reason(f"{where}: {_said(row, state, words)}", _cures(job, row, state, silence)))
    number = await conn.fetchval(_NUMBER, holder) or len(rows)
    if number > len(rows):
        reasons.append(Reason(f"{number - len(rows)} other files are not there yet either", (NOTHING,)))
    return reasons, missing


def _missing(row: Mapping[str, Any], state: str, words: str) -> Missing:
    return Missing(
        row["file"],
        row["target"],
        row["bytes"],
        row["source"],
        state,
        words,
        row["error"],
        row["not_before"] if state == "waiting" else None,
    )


def _said(row: Mapping[str, Any], state: str, words: str) -> str:
    if state == "lost":
        return "it is lost, no good copy is left anywhere"
    return f"its copy is {words}" if words.startswith(("queued", "being")) else words


def _cures(job: Job, row: Mapping[str, Any], state: str, silence: Cure | None) -> tuple[Cure, ...]:
    if state == "lost":
        good = "bring a good copy, and it goes on by itself"
        kill = f", or do without it: `prodchain job kill {job.id}`" if job.queue_id and not job.pilot else ""
        return (Cure("operator", good + kill, {"files": {row["file"]: "a good copy"}}),)
    if state == "waiting" and row["error"]:
        return (
            Cure(
                text=f"nothing to do if it passes: the next try is at {row['not_before']:%H:%M:%S} UTC; if it stays,"
                " mend the storage that the error names",
                change={"facts": {"copied": [row["file"]]}},
                command="prodchain transfer ls --state failing",
            ),
        )
    if not row["writable"]:
        return (
            Cure(
                "operator",
                f"make {row['target']} writable in the sites file",
                {"storage": {"writable": True}},
                "prodchain site apply FILE",
            ),
        )
    return (silence or Cure(text=NOTHING.text, change={"facts": {"copied": [row["file"]]}}),)


async def then(conn: Connection, job: Job, queue_id: int, at: datetime) -> tuple[list[Reason], list[Missing]]:
    """What the job's inputs lacked at the queue's storage at that time, as far as the record says."""
    rows = await conn.fetch(_THEN, job.id, queue_id, at, TOLD)
    missing = [Missing(**each) for row in rows if (each := _at_that_time(row)) is not None]
    reasons = [
        Reason(f"its input {each.file} was not at {each.storage} yet: {each.words}", (NOTHING,)) for each in missing
    ]
    return reasons, missing


def _at_that_time(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The file if it was missing; None if it was there."""
    if row["there"] and not row["moving"]:
        return None
    named = {name: row[name] for name in ("file", "storage", "bytes", "source")}
    if row["lost"]:
        return named | {"state": "lost", "words": "it was lost, no good copy was left anywhere"}
    if not row["moving"]:
        words = "copies of it came and went since, and the record does not say more"
        return named | {"state": "unknown", "words": words}
    words = f"its copy was asked for at {row['queued_at']:%Y-%m-%d %H:%M:%S} UTC"
    if row["done_at"] is not None:
        words += f", and arrived at {row['done_at']:%Y-%m-%d %H:%M:%S}"
    if row["error"]:
        words += f"; the last error on record: {row['error']} ({row['attempts']} tries in all)"
    return named | {"state": "queued", "words": words, "error": row["error"]}
