"""What pilots report: states, logs and final results, each applied once however often it is sent.

The news of many pilots are applied together, by a handful of statements for all of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import asyncpg

from prodchain.catalog import holds, made
from prodchain.catalog.errors import CatalogError
from prodchain.pilot_agent.messages import Answer, Answers, Update, Updates

from .database import Connection
from .errors import BadRequest
from .failing import fail
from .finishing import Finished, exit_code_of, finish, made_for, outputs_of
from .jobs import get, release_holder
from .leases import KEPT
from .states import MADE, ON_PILOT
from .texts import storable

WORDS = {"starting": "fetching inputs", "running": "payload started", "holding": "storing outputs"}
"""The states on the way, and what they mean."""
NOT_YOURS = "the job is not this pilot's"
FINAL = ("finished", "failed")
ERROR_LIMIT = 4000
"""Characters of an error that are kept."""
LOG_LIMIT = 2_000_000
"""Characters of a job's log that are kept."""
LARGEST_JOB = 2**63 - 1
"""What the database takes: one number that it refuses would be in the way of all that came with it."""

PROGRESS = f"""
    WITH mine AS MATERIALIZED (
        SELECT j.id, n.pilot, n.state, n.reason,
               array_position($5::text[], j.state) < array_position($5, n.state) AS moves
        FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::text[], $6::text[])
            AS n (job, pilot, queue, state, reason)
        JOIN job j ON j.id = n.job AND j.pilot = n.pilot AND j.queue_id = n.queue AND j.state = ANY($5)
        ORDER BY j.id FOR NO KEY UPDATE OF j
    ), moved AS (
        UPDATE job j SET state = m.state, actor = 'pilot:' || m.pilot, reason = m.reason, changed_at = now()
        FROM mine m WHERE j.id = m.id AND m.moves
    ), due AS MATERIALIZED (
        SELECT job_id FROM lease
        WHERE job_id = ANY(ARRAY(SELECT id FROM mine)) AND until < now() + make_interval(secs => $7 * {KEPT})
        ORDER BY job_id FOR UPDATE
    ), kept AS (
        UPDATE lease SET until = now() + make_interval(secs => $7) WHERE job_id = ANY(ARRAY(SELECT job_id FROM due))
    )
    SELECT id FROM mine
"""  # noqa: S608
"""States go forward only, news that were overtaken change nothing; jobs are locked before leases, as everywhere."""

LOCK = f"""
    WITH held AS MATERIALIZED ({holds.LOCK_HOLDERS})
    SELECT j.id, j.task_id, j.number, j.attempt, j.state, j.pilot, j.queue_id, j.reason,
           s.id AS storage_id, s.name AS storage, 'release:' || j.id = ANY(ARRAY(SELECT holder FROM held)) AS held
    FROM job j LEFT JOIN queue q ON q.id = j.queue_id LEFT JOIN storage s ON s.id = q.storage_id
    WHERE j.id = ANY($2) AND (SELECT count(*) FROM held) >= 0 ORDER BY j.id FOR UPDATE OF j
"""  # noqa: S608
"""Holds of inputs are locked before the jobs' rows; of all that draws on jobs, nothing else has one that is with a
pilot."""
LOGS = """
    INSERT INTO job_log (job_id, start, text) SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[])
    ON CONFLICT DO NOTHING
"""


class Report(NamedTuple):
    """A pilot's news, and the queue that its token is for."""

    queue: int
    news: Updates


class _Item(NamedTuple):
    """One update; ``place``: which report, and where in it."""

    place: tuple[int, int]
    queue: int
    pilot: str
    update: Update


def refuse(news: Updates) -> None:
    """Raises BadRequest for a state that no pilot may report."""
    for update in news.updates:
        if update.state not in WORDS and update.state not in FINAL:
            raise BadRequest(
                f"no pilot may report the state {storable(str(update.state))!r}",
                object=f"job {update.job}",
                hint=f"known are {', '.join((*WORDS, *FINAL))}",
            )


async def apply(
    conn: Connection, reports: Sequence[Report], lease_s: float, *, careful: bool = False
) -> list[Answers]:
    """Apply news in one transaction of the caller; the answers are in the order of the reports and their updates.

    What is only on the way needs no transaction: each statement may be repeated. Where an output cannot be
    registered the error is raised; if ``careful``, which takes its time, only its own job fails.
    """
    answers: dict[tuple[int, int], Answer] = {}
    for wave in _waves(reports):
        known = [item for item in wave if 0 < item.update.job <= LARGEST_JOB]
        on_the_way = [item for item in known if item.update.state in WORDS]
        final = [item for item in known if item.update.state not in WORDS]
        strange = [item for item in wave if not 0 < item.update.job <= LARGEST_JOB]
        answers |= {item.place: Answer(item.update.job, "discard", NOT_YOURS) for item in strange}
        if on_the_way:
            answers |= await _progress(conn, on_the_way, lease_s)
        if final:
            answers |= await _end(conn, final, careful)
    return [
        Answers([answers[number, place] for place in range(len(report.news.updates))])
        for number, report in enumerate(reports)
    ]


def _waves(reports: Sequence[Report]) -> Iterator[list[_Item]]:
    """All first news of each job, then all second ones, and so on: the next news of a job meet its new state."""
    waves: dict[int, list[_Item]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)
    for number, report in enumerate(reports):
        pilot = storable(report.news.pilot)
        for place, update in enumerate(report.news.updates):
            waves[seen[update.job]].append(_Item((number, place), report.queue, pilot, update))
            seen[update.job] += 1
    yield from waves.values()


async def _progress(conn: Connection, items: Sequence[_Item], lease_s: float) -> dict[tuple[int, int], Answer]:
    rows = await conn.fetch(
        PROGRESS,
        [item.update.job for item in items],
        [item.pilot for item in items],
        [item.queue for item in items],
        [item.update.state for item in items],
        list(ON_PILOT),
        [WORDS[item.update.state] for item in items],
        lease_s,
    )
    kept = {row[0] for row in rows}
    answers, rest = {}, []
    for item in items:
        if item.update.job in kept:
            answers[item.place] = Answer(item.update.job, "continue")
        else:
            rest.append(item)
    if rest:
        runs = await _locked(conn, [item.update.job for item in rest])
        answers |= {
            item.place: _refusal(runs.get(item.update.job), item) or Answer(item.update.job, "continue")
            for item in rest
        }
    await _keep_logs(conn, [item for item in items if item.update.job in kept])
    return answers


async def _locked(conn: Connection, jobs: Sequence[int]) -> dict[int, asyncpg.Record]:
    rows = await conn.fetch(LOCK, [release_holder(job) for job in jobs], jobs)
    return {row["id"]: row for row in rows}


def _refusal(run: asyncpg.Record | None, item: _Item) -> Answer | None:
    """The answer to news of a job that is not the pilot's, or not any more."""
    if run is None or run["pilot"] != item.pilot or run["queue_id"] != item.queue:
        return Answer(item.update.job, "discard", NOT_YOURS)
    if run["state"] in MADE:  # also for news that were overtaken: a discard would delete a registered output
        return Answer(item.update.job, "continue", "registered already")
    if run["state"] not in ON_PILOT:
        return Answer(item.update.job, "discard", f"the job is {run['state']}: {run['reason']}")
    return None


async def _keep_logs(conn: Connection, items: Sequence[_Item]) -> None:
    pieces = [item.update for item in items if item.update.log and 0 <= item.update.log_offset < LOG_LIMIT]
    if pieces:
        await conn.execute(
            LOGS,
            [piece.job for piece in pieces],
            [piece.log_offset for piece in pieces],
            [storable(piece.log[: LOG_LIMIT - piece.log_offset]) for piece in pieces],
        )


async def _end(conn: Connection, items: Sequence[_Item], careful: bool) -> dict[tuple[int, int], Answer]:
    runs = await _locked(conn, [item.update.job for item in items])
    answers: dict[tuple[int, int], Answer] = {}
    open_: list[_Item] = []
    for item in items:
        refused = _refusal(runs.get(item.update.job), item)
        if refused:
            answers[item.place] = refused
        else:
            open_.append(item)
    await _keep_logs(conn, open_)
    problems = await _finish(conn, [item for item in open_ if item.update.state == "finished"], runs, careful)
    for item in open_:
        problem = problems.get(item.update.job, "")
        if item.update.state == "finished" and not problem:
            answers[item.place] = Answer(item.update.job, "continue", "registered")
            continue
        why = problem or storable(item.update.error)[:ERROR_LIMIT] or "the pilot gave no reason"
        job = await get(conn, item.update.job)
        await fail(conn, job, f"pilot:{item.pilot}", why, exit_code=exit_code_of(item.update))
        answers[item.place] = Answer(item.update.job, "discard" if problem else "continue", problem)
    return answers


async def _finish(
    conn: Connection, items: Sequence[_Item], runs: Mapping[int, asyncpg.Record], careful: bool
) -> dict[int, str]:
    """Register outputs; by job, what is wrong with a report, or why the catalog refuses it: no use to repeat it."""
    if not items:
        return {}
    problems = {}
    good = []
    outputs = await outputs_of(conn, {runs[item.update.job]["task_id"] for item in items}, careful=careful)
    for item in items:
        run = runs[item.update.job]
        stored, problem = made_for(run, outputs[run["task_id"]], item.update)
        if problem:
            problems[item.update.job] = problem
        else:
            good.append(Finished(run, stored, f"pilot:{item.pilot}", item.update))
    if not careful:
        if good:
            await finish(conn, good)
        return problems
    for each in good:
        try:
            async with conn.transaction():
                await finish(conn, [each], made.take_known)
        except (CatalogError, asyncpg.DataError, ValueError) as error:
            problems[each.job] = storable(str(error))[:ERROR_LIMIT]
    return problems
