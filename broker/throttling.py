"""The agent that stops tasks whose account is over its quota, with a sentence, and lets them go on."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from . import bytequotas, workquotas
from .database import Connection, wake
from .models import Task

ACTOR = "throttle"
WORK, BYTES = "work", "bytes"


class Lot(NamedTuple):
    """Open tasks that are judged together; ``owner`` is empty where they are a group's."""

    owner: str
    group: str
    destination: int


class Stopped(NamedTuple):
    """Whether some of a lot wait for room in a quota of work, or of bytes."""

    work: bool
    bytes: bool


class Ruling(NamedTuple):
    """Why tasks wait, as a sentence, and what their quota is of; both empty: they do not."""

    sentence: str = ""
    by: str = ""


async def admit(conn: Connection, task: Task) -> str:
    """Stop a new task at once if its account is over its quota; the sentence, which its owner is told."""
    ruling = _ruling(
        await workquotas.notice(conn, task.owner, task.group_name),
        await bytequotas.notice(conn, task.owner, task.group_name, task.destination_id),
    )
    if ruling.sentence:
        await conn.execute("UPDATE task SET throttled = $2, throttled_by = $3 WHERE id = $1", task.id, *ruling)
        await _tell(conn, {task.id or 0: ruling.sentence})
    return ruling.sentence


async def throttle(conn: Connection) -> int:
    """Set or clear the sentence of each open task; returns how many tasks changed between waiting and going on."""
    subjects = [row["subject"] for row in await conn.fetch("SELECT subject FROM work_quota")]
    accounts = await bytequotas.accounts(conn)
    lots = await _lots(conn, everybody=bool(subjects or accounts))
    if not lots:
        return 0
    work = await _of_work(conn, lots, subjects)
    stores = await _of_bytes(conn, lots, accounts)
    changed = await _apply(conn, {lot: _ruling(work.get(lot[:2], ""), stores.get(lot, "")) for lot in lots})
    if changed:
        await wake(conn, "generate", "place")
    return changed


def _ruling(work: str, stores: str) -> Ruling:
    """What lasts longer is told: cores come back by themselves."""
    if stores:
        return Ruling(stores, BYTES)
    return Ruling(work, WORK) if work else Ruling()


async def _lots(conn: Connection, *, everybody: bool) -> dict[Lot, Stopped]:
    """All open tasks, or those that wait."""
    # The states are spelt out, so that the partial index task_open serves.
    rows = await conn.fetch(
        """
        SELECT CASE group_name WHEN '' THEN owner ELSE '' END AS owner, group_name, destination_id,
               bool_or(throttled_by = 'work') AS work, bool_or(throttled_by = 'bytes') AS bytes
        FROM task WHERE state NOT IN ('done', 'finished', 'failed', 'aborted') AND ($1 OR throttled <> '')
        GROUP BY 1, 2, 3
        """,
        everybody,
    )
    return {Lot(*row[:3]): Stopped(*row[3:]) for row in map(tuple, rows)}


async def _of_work(
    conn: Connection, lots: Mapping[Lot, Stopped], subjects: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Sentences by account: one is stopped as long as a task of it is."""
    stopped = {lot[:2] for lot, waits in lots.items() if waits.work}
    sentences = {}
    for owner, group in workquotas.accounts([lot[:2] for lot in lots], subjects):
        limits = await workquotas.limits_of(conn, owner, group)
        if limits is not None:
            use = await workquotas.use_of(conn, limits.subject, limits.days)
            day = await workquotas.today(conn)
            sentences[owner, group] = workquotas.stop(limits, use, day, stopped=(owner, group) in stopped)
    return sentences


async def _of_bytes(conn: Connection, lots: Mapping[Lot, Stopped], accounts: Set[str]) -> dict[Lot, str]:
    """Sentences by account and destination."""
    places = {lot: (bytequotas.account_of(lot.owner, lot.group), lot.destination) for lot in lots}
    uses = await bytequotas.uses(conn, accounts & {account for account, _ in places.values()})
    return {
        lot: bytequotas.stop(uses[place], stopped=lots[lot].bytes) for lot, place in places.items() if place in uses
    }


async def _apply(conn: Connection, rulings: Mapping[Lot, Ruling]) -> int:
    """Tasks that somebody works on at the moment are passed over: the next turn comes to them."""
    rows = await conn.fetch(
        """
        UPDATE task t SET throttled = old.sentence, throttled_by = old.by FROM (
            SELECT t.id, t.throttled_by AS before, r.sentence, r.by
            FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::text[])
                AS r (owner, group_name, destination_id, sentence, by)
            JOIN task t ON t.group_name = r.group_name AND t.destination_id = r.destination_id
                AND (t.owner = r.owner OR r.group_name <> '')
            WHERE t.state NOT IN ('done', 'finished', 'failed', 'aborted') AND t.throttled <> r.sentence
            ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
        ) old WHERE t.id = old.id RETURNING t.id, old.before, old.sentence, old.by
        """,
        *_columns(rulings),
    )
    await _tell(
        conn,
        {
            row["id"]: row["sentence"] or "there is room in its quota again: it goes on"
            for row in rows
            if row["before"] != row["by"]
        },
    )
    return sum(not row["before"] or not row["by"] for row in rows)


def _columns(rulings: Mapping[Lot, Ruling]) -> list[list[object]]:
    rows = [(*lot, *ruling) for lot, ruling in rulings.items()]
    return [list(column) for column in zip(*rows, strict=True)]


async def _tell(conn: Connection, words: Mapping[int, str]) -> None:
    """Its story says from when to when a task was stopped: `why` of the past looks there. The state stays."""
    await conn.execute(
        """
        INSERT INTO event (task_id, before, state, actor, reason)
        SELECT t.id, t.state, t.state, $3, n.words FROM unnest($1::bigint[], $2::text[]) AS n (id, words)
        JOIN task t USING (id) ORDER BY t.id
        """,
        list(words),
        list(words.values()),
        ACTOR,
    )
