"""What must hold of a broker's rows at any moment, and when all is done, whatever happened to it."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

from prodchain.broker.asks import ask_of
from prodchain.broker.models import Task
from prodchain.broker.splitting import Work

from .world import World

WRONG = """
WITH told AS MATERIALIZED (
    SELECT id, job_id, before, state FROM event WHERE job_id IS NOT NULL
    UNION ALL SELECT id, generate_series(lower(run), upper(run) - 1), before, state
    FROM (SELECT id, before, state, unnest(jobs) AS run FROM mass_event) AS many
)
SELECT 'a story leads to the state of its job, step by step' AS rule, coalesce(j.id, e.job_id) AS about
FROM job j FULL JOIN (
    SELECT job_id, bool_and(before IS NOT DISTINCT FROM previous) AS whole,
           (array_agg(state ORDER BY id DESC))[1] AS state
    FROM (SELECT *, lag(state) OVER (PARTITION BY job_id ORDER BY id) AS previous FROM told) AS steps
    GROUP BY job_id) e ON e.job_id = j.id
WHERE e.whole IS DISTINCT FROM true OR e.state IS DISTINCT FROM j.state
UNION ALL
SELECT 'ready is activated, in its own lane', coalesce(r.job_id, j.id)
FROM ready r FULL JOIN (SELECT * FROM job WHERE state = 'activated') j ON j.id = r.job_id
WHERE (r.queue_id, r.share_id, r.requirement_id, r.priority)
      IS DISTINCT FROM (j.queue_id, j.share_id, j.requirement_id, j.priority)
UNION ALL
SELECT 'unplaced is defined', coalesce(u.job_id, j.id)
FROM unplaced u FULL JOIN (SELECT id FROM job WHERE state = 'defined') j ON j.id = u.job_id
WHERE u.job_id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'a lease is with a pilot', coalesce(l.job_id, j.id) FROM lease l
FULL JOIN (SELECT id FROM job WHERE state IN ('sent', 'starting', 'running', 'holding')) j ON j.id = l.job_id
WHERE l.job_id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'an activated job has its inputs at its storage', j.id
FROM job j JOIN queue q ON q.id = j.queue_id JOIN job_input i ON i.job_id = j.id
WHERE j.state = 'activated' AND NOT EXISTS (
    SELECT FROM replica r WHERE r.file_id = i.file_id AND r.storage_id = q.storage_id)
UNION ALL
SELECT 'counters count jobs, events and cores', coalesce(c.task_id, j.task_id)
FROM (SELECT task_id, coalesce(queue_id, 0) AS q, share_id, state, sum(jobs) AS n, sum(events) AS e, sum(cores) AS c
      FROM job_count GROUP BY 1, 2, 3, 4 HAVING (sum(jobs), sum(events), sum(cores)) <> (0, 0, 0)) c
FULL JOIN (SELECT task_id, coalesce(queue_id, 0) AS q, share_id, state, count(*) AS n, sum(events) AS e,
                  sum(r.cores) AS c
           FROM job JOIN requirement r ON r.id = requirement_id GROUP BY 1, 2, 3, 4) j
USING (task_id, q, share_id, state)
WHERE (c.n, c.e, c.c) IS DISTINCT FROM (j.n, j.e, j.c)
UNION ALL
SELECT 'what was used is what pilots were through with', coalesce(w.q, e.q)
FROM (SELECT owner, group_name, share_id, queue_id AS q, state, sum(jobs) AS n FROM work_done
      GROUP BY 1, 2, 3, 4, 5) w
FULL JOIN (SELECT t.owner, t.group_name, j.share_id, j.queue_id AS q, e.state, count(*) AS n
           FROM told e JOIN job j ON j.id = e.job_id JOIN task t ON t.id = j.task_id
           WHERE e.before IN ('sent', 'starting', 'running', 'holding')
             AND e.state NOT IN ('sent', 'starting', 'running', 'holding') GROUP BY 1, 2, 3, 4, 5) e
USING (owner, group_name, share_id, q, state)
WHERE w.n IS DISTINCT FROM e.n
UNION ALL
SELECT 'each run that ended is noted once', coalesce(r.job_id, e.job_id)
FROM (SELECT job_id, count(*) AS n FROM run_end GROUP BY 1) r
FULL JOIN (SELECT job_id FROM told WHERE before IN ('sent', 'starting', 'running', 'holding')
           AND state IN ('finished', 'transferring', 'failed')) e USING (job_id)
WHERE r.n IS DISTINCT FROM 1 OR e.job_id IS NULL
UNION ALL
SELECT 'a piece has one run that lives or has made something', min(id) FROM job
WHERE state NOT IN ('failed', 'cancelled') GROUP BY task_id, number HAVING count(*) > 1
UNION ALL
SELECT 'a piece is registered once', m.dataset_id
FROM task_output o JOIN dataset_file m ON m.dataset_id = o.dataset_id JOIN file f ON f.id = m.file_id
GROUP BY m.dataset_id, substring(f.name FROM '[.]_([0-9]+)[.]') HAVING count(*) > 1
UNION ALL
SELECT 'what is registered is made', coalesce(f.id, j.id)
FROM (SELECT f.id, f.name, d.kind
      FROM task_output o JOIN dataset d ON d.id = o.dataset_id JOIN dataset_file m ON m.dataset_id = d.id
      JOIN file f ON f.id = m.file_id WHERE EXISTS (SELECT FROM replica r WHERE r.file_id = f.id)) f
FULL JOIN (SELECT j.id, made ->> 'lfn' AS name, t.parent_id IS NULL AND t.request -> 'merge' <> 'null' AS passing
           FROM job j JOIN task t ON t.id = j.task_id CROSS JOIN json_array_elements(j.spec -> 'outputs') AS made
           WHERE j.state IN ('transferring', 'finished') AND t.step <> 'canary') j USING (name)
WHERE (f.id IS NULL AND NOT j.passing) OR (j.id IS NULL AND f.kind <> 'log')
UNION ALL
SELECT 'a finished output is at its destination', j.id
FROM job j JOIN task t ON t.id = j.task_id CROSS JOIN json_array_elements(j.spec -> 'outputs') AS made
JOIN file f ON f.name = made ->> 'lfn'
WHERE j.state = 'finished' AND NOT EXISTS (
    SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = t.destination_id)
  AND NOT EXISTS (SELECT FROM dataset_file m JOIN dataset d ON d.id = m.dataset_id
                  WHERE m.file_id = f.id AND d.kind = 'sub' AND d.name LIKE '%.unmerged%')
UNION ALL
SELECT 'every file of a dataset has a copy, or is lost; every copy of one in none goes', f.id FROM file f
WHERE CASE WHEN EXISTS (SELECT FROM dataset_file m WHERE m.file_id = f.id)
           THEN f.lost_at IS NULL AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id)
           ELSE EXISTS (SELECT FROM replica r
                        WHERE r.file_id = f.id AND r.tombstone_at IS DISTINCT FROM '-infinity') END
UNION ALL
SELECT 'only who waits or works holds files', h.id
FROM hold h LEFT JOIN job j ON j.id = split_part(h.holder, ':', 2)::bigint
WHERE CASE split_part(h.holder, ':', 1) WHEN 'deliver' THEN j.state <> 'transferring'
      WHEN 'release' THEN j.state NOT IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding') END
UNION ALL
SELECT 'who waits for files has a transfer', m.hold_id FROM hold_file m
WHERE NOT EXISTS (SELECT FROM transfer t WHERE t.file_id = m.file_id AND t.storage_id = m.storage_id
                                           AND t.state = 'queued')
UNION ALL
SELECT 'what is done is closed', t.id FROM task t JOIN dataset d ON d.id = t.output_id
WHERE t.parent_id IS NULL AND (t.state = 'done') <> (d.state = 'closed')
UNION ALL
SELECT 'a done task has made all', t.id FROM task t JOIN dataset d ON d.id = t.output_id
WHERE t.state = 'done' AND t.request -> 'merge' = 'null' AND d.files <> t.numbers
UNION ALL
SELECT 'pieces are numbered without gaps', t.id
FROM task t LEFT JOIN LATERAL (
    SELECT count(DISTINCT number) AS n, max(number) AS last FROM job WHERE task_id = t.id) j ON true
WHERE (j.n, coalesce(j.last, 0)) <> (t.numbers, t.numbers)
"""
LEFT = """
SELECT 'lease' AS what, count(*) AS n FROM lease
UNION ALL SELECT 'hold', count(*) FROM hold WHERE holder LIKE 'release:%' OR holder LIKE 'deliver:%'
UNION ALL SELECT 'ready', count(*) FROM ready
UNION ALL SELECT 'unplaced', count(*) FROM unplaced
UNION ALL SELECT 'open order', count(*) FROM open_order
UNION ALL SELECT 'open task', count(*) FROM task WHERE state NOT IN ('done', 'finished', 'failed', 'aborted')
"""
NEWEST = "SELECT DISTINCT ON (number) work FROM job WHERE task_id = $1 ORDER BY number, attempt DESC"


async def wrong(world: World) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await world.fetch(WRONG)]


async def left(world: World) -> dict[str, int]:
    """What nobody should hold when all is done."""
    return {row["what"]: row["n"] for row in await world.fetch(LEFT) if row["n"]}


async def places(world: World) -> dict[int, str]:
    """What each file is a run's output of: one that was lost on its way and made again is the same."""
    rows = await world.fetch("SELECT id, regexp_replace(name, '[.]root[.][0-9]+$', '.root') AS place FROM file")
    return {row["id"]: row["place"] for row in rows}


async def spans(world: World, task_id: int) -> dict[str, list[tuple[int, int]]]:
    """Ranges of events in the newest attempts of a task's pieces, by file (empty: made from nothing), in order."""
    sizes = {row["id"]: row["events"] for row in await world.fetch("SELECT id, events FROM file")}
    names = await places(world)
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in await world.fetch(NEWEST, task_id):
        work = Work.load(row["work"])
        if not work.files:
            found[""].append((work.first_event, work.first_event + work.events))
        left_, skip = work.events, work.skip
        for file in work.files:
            take = min(left_, sizes[file] - skip)
            found[names[file]].append((skip, skip + take))
            left_, skip = left_ - take, 0
        assert not work.files or left_ == 0, f"task {task_id}, piece {work.number} has more events than its files"
    return {file: sorted(ranges) for file, ranges in found.items()}


async def no_event_twice(world: World, task_id: int) -> None:
    for file, ranges in (await spans(world, task_id)).items():
        for one, next_ in pairwise(ranges):
            assert one[1] <= next_[0], f"task {task_id} has events of {file} twice: {one}, {next_}"


async def every_event_once(world: World, task: Task) -> None:
    """The pieces of a task that made all, edge to edge, are its input (or the events that it was to make)."""
    assert task.id is not None
    ask, found = ask_of(task), await spans(world, task.id)
    if task.input_id is None:
        wanted = {"": (ask.first_event, ask.first_event + (ask.events or 0))}
    else:
        rows = await world.fetch(
            "SELECT f.id, f.events FROM task_file u JOIN file f ON f.id = u.file_id WHERE u.task_id = $1", task.id
        )
        names = await places(world)
        wanted = {names[row["id"]]: (0, row["events"]) for row in rows}
    assert set(found) == set(wanted), f"task {task.id} reads other files than its input has"
    for file, ranges in found.items():
        edges = [edge for each in ranges for edge in each if each[0] != each[1]]
        inner = edges[1:-1]
        assert (not edges and wanted[file][0] == wanted[file][1]) or (edges[0], edges[-1]) == wanted[file]
        assert inner[::2] == inner[1::2], f"task {task.id} does not have each event of {file} once: {ranges}"
