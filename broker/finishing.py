"""Jobs that finished: their outputs are registered where they are and sent home if they are away, many at once."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from math import isfinite
from operator import itemgetter
from typing import NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from prodchain.catalog import datasets, holds, made, subscriptions
from prodchain.catalog.errors import DatasetConflict
from prodchain.catalog.files import NewFile
from prodchain.catalog.made import Made
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, file_name, sub_name
from prodchain.pilot_agent.messages import Stored, Update

from .database import Connection, wake
from .jobs import deliver_holder, release_holder
from .states import JobState
from .texts import storable

OUTPUTS = """
    SELECT t.id AS task, t.destination_id, o.role, d.id, d.scope, d.name, d.kind, d.version, d.state, d.deleted_at,
           coalesce(d.charged, d.owner) AS account
    FROM task t JOIN task_output o ON o.task_id = t.id JOIN dataset d ON d.id = o.dataset_id
    WHERE t.id = ANY($1) ORDER BY d.id
"""
OUTPUTS_LOCKED = OUTPUTS + "FOR NO KEY UPDATE OF d"
END = """
    WITH over AS (
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[])
            AS o (id, state, actor, reason, exit_code, metrics)
    ), freed AS (
        DELETE FROM lease WHERE job_id = ANY($1)
    )
    UPDATE job j SET state = o.state, actor = o.actor, reason = o.reason, exit_code = o.exit_code,
                     metrics = o.metrics::jsonb, changed_at = now()
    FROM over o WHERE j.id = o.id
"""


Take: TypeAlias = Callable[[Connection, Sequence[Made]], Awaitable[list[int]]]
"""Registers files: ``made.take`` or ``made.take_known``."""


class Finished(NamedTuple):
    """A job, locked (reports.LOCK), with the outputs of its task and what was made for each, and its report."""

    run: asyncpg.Record
    outputs: Sequence[tuple[asyncpg.Record, Stored]]
    actor: str
    update: Update

    @property
    def job(self) -> int:
        return self.update.job


class _Made(NamedTuple):
    """An output, registered: the dataset that it was made for, and the file."""

    dataset: asyncpg.Record
    file: int


async def outputs_of(conn: Connection, tasks: Collection[int], *, careful: bool) -> dict[int, list[asyncpg.Record]]:
    """The datasets that the jobs of tasks fill, the main one first.

    Kept to this transaction, unless ``careful``, for ``made.take``; raises DatasetConflict if it must not have them.
    """
    rows = await conn.fetch(OUTPUTS if careful else OUTPUTS_LOCKED, list(tasks))
    if not careful and not all(map(datasets.is_plain, rows)):
        raise DatasetConflict(
            "a dataset does not take just any file",
            object=f"tasks {', '.join(map(str, sorted(tasks)))}",
            hint="register their outputs one after the other",
        )
    found: dict[int, list[asyncpg.Record]] = {task: [] for task in tasks}
    for row in sorted(rows, key=itemgetter("role")):
        found[row["task"]].append(row)
    return found


def made_for(
    run: asyncpg.Record, outputs: Sequence[asyncpg.Record], update: Update
) -> tuple[list[tuple[asyncpg.Record, Stored]], str]:
    """Each output of the job with its file, and what is wrong with a report of success; empty if nothing."""
    stored = {file.lfn: file for file in update.outputs}
    found, missing = [], []
    for output in outputs:
        lfn = file_name(output["name"], run["number"], run["attempt"])  # as the job was told (bunches.Bunch.specs)
        if file := stored.pop(lfn, None):
            found.append((output, file))
        else:
            missing.append(lfn)
    if missing:
        return found, f"the output {min(missing)} is missing"
    return found, f"the output {min(stored)} was not asked for" if stored else ""


def exit_code_of(update: Update) -> int | None:
    """Batch systems and Windows report more than a byte; the column takes 32 bits."""
    return None if update.exit_code is None else max(-(2**31), min(update.exit_code, 2**31 - 1))


async def finish(conn: Connection, over: Sequence[Finished], take: Take = made.take) -> None:
    """Register outputs and end their jobs, whose inputs are kept no longer.

    Raises CatalogError, DataError or ValueError where one cannot be, and what ``take`` does.
    """
    done = await _register(conn, over, take)
    away: dict[int, list[_Made]] = defaultdict(list)
    for each in over:
        for output in done[each.job]:
            # Small outputs do not travel: the jobs that merge them go where they are.
            if (
                output.dataset["destination_id"] != each.run["storage_id"]
                and output.dataset["kind"] != DatasetKind.SUB
            ):
                away[each.job].append(output)
    missing = await _send_home(conn, away, await _gather(conn, over, done, away)) if away else {}
    if held := [release_holder(each.job) for each in over if each.run["held"]]:
        await holds.drop(conn, held)
    await _end(conn, over, missing)
    if away:
        await holds.drop(conn, [deliver_holder(job) for job in away if not missing.get(job)])


async def _register(conn: Connection, over: Sequence[Finished], take: Take) -> dict[int, list[_Made]]:
    """Make the outputs known, each in the dataset that it was made for, where it is; by job, the main one first."""
    wanted: list[tuple[int, asyncpg.Record]] = []
    new: list[Made] = []
    for each in over:
        for output, file in each.outputs:
            known = NewFile(Did(output["scope"], file.lfn), UUID(file.guid), file.bytes, file.adler32, file.events)
            new.append(Made(output["id"], each.run["storage_id"], known))
            wanted.append((each.job, output))
    found: dict[int, list[_Made]] = {each.job: [] for each in over}
    for (job, output), file_id in zip(wanted, await take(conn, new), strict=True):
        found[job].append(_Made(output, file_id))
    return found


async def _gather(
    conn: Connection,
    over: Sequence[Finished],
    done: Mapping[int, list[_Made]],
    away: Mapping[int, list[_Made]],
) -> dict[int, int]:
    """Put what was made at a storage for elsewhere into a dataset of its own; by job, which."""
    subs: dict[int, int] = {}
    names: dict[Did, int] = {}
    members: dict[int, list[int]] = defaultdict(list)
    for each in over:
        job = each.job
        if job not in away:
            continue
        main = done[job][0].dataset
        did = Did(main["scope"], sub_name(main["name"], each.run["storage"], main["version"]))
        if did not in names:
            sub = await datasets.create(conn, did, DatasetKind.SUB, "prodchain")
            sub = await datasets.charge(conn, sub, main["account"])
            assert sub.id is not None
            names[did] = sub.id
        subs[job] = names[did]
        members[names[did]] += [output.file for output in away[job]]
    await datasets.fill(conn, members)
    return subs


async def _send_home(conn: Connection, away: Mapping[int, list[_Made]], subs: Mapping[int, int]) -> dict[int, int]:
    """By job: how many files are missing at the destination."""
    for sub, destination in sorted({(subs[job], away[job][0].dataset["destination_id"]) for job in away}):
        await subscriptions.subscribe(conn, sub, destination)
    await wake(conn, "move")
    waits = [
        holds.NewHold(
            deliver_holder(job),
            outputs[0].dataset["destination_id"],
            [output.file for output in outputs],
            subs[job],
        )
        for job, outputs in away.items()
    ]
    missing = await holds.place_many(conn, waits)
    return {job: missing[deliver_holder(job)] for job in away}


async def _end(conn: Connection, over: Sequence[Finished], missing: Mapping[int, int]) -> None:
    waits = [bool(missing.get(each.job)) for each in over]
    await conn.execute(
        END,
        [each.job for each in over],
        [JobState.TRANSFERRING if wait else JobState.FINISHED for wait in waits],
        [each.actor for each in over],
        ["outputs registered" + (", on their way to their destination" if wait else "") for wait in waits],
        [exit_code_of(each.update) for each in over],
        [_text(each.update.metrics) for each in over],
    )


def _text(metrics: Mapping[str, float]) -> str:
    """As JSON, which has no numbers that are not finite."""
    return msgspec.json.encode({storable(name): value for name, value in metrics.items() if isfinite(value)}).decode()
