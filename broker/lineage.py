"""Where a dataset comes from and what was made of it: datasets and the tasks between them, both ways.

Three things lead from one dataset to another: a task that reads one and fills the other, a version that begins with
the one before it, a container that has it as a member.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prodchain.catalog.datasets import by_id

from .database import Connection
from .requests import TaskRequest
from .task_views import View

DEPTH = 50
"""Steps that are followed each way, unless the caller says otherwise."""
SIZE = 1000
"""Datasets that one document tells of."""

_UP = """
SELECT t.output_id AS id, t.input_id AS next, t.id AS task FROM task t WHERE t.output_id = ANY($1::bigint[])
UNION ALL
SELECT d.id, p.id, NULL FROM dataset d
JOIN dataset p ON p.scope = d.scope AND p.name = d.name AND p.version = d.version - 1 WHERE d.id = ANY($1::bigint[])
UNION ALL
SELECT c.parent_id, c.child_id, NULL FROM dataset_child c WHERE c.parent_id = ANY($1::bigint[])
ORDER BY 1, 2
"""
_DOWN = """
SELECT t.input_id AS id, t.output_id AS next, t.id AS task FROM task t WHERE t.input_id = ANY($1::bigint[])
UNION ALL
SELECT d.id, n.id, NULL FROM dataset d
JOIN dataset n ON n.scope = d.scope AND n.name = d.name AND n.version = d.version + 1 WHERE d.id = ANY($1::bigint[])
UNION ALL
SELECT c.child_id, c.parent_id, NULL FROM dataset_child c WHERE c.child_id = ANY($1::bigint[])
ORDER BY 1, 2
"""
_NAME = "d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END"
_DATASETS = f"""
SELECT d.id, {_NAME} AS did, d.version, d.kind, d.state, d.owner, d.files, d.bytes, d.events, d.created_at,
       d.closed_at, d.deleted_at, d.tags,
       ARRAY(SELECT n.id FROM dataset n
             WHERE n.scope = d.scope AND n.name = d.name AND n.version = d.version - 1) AS revises,
       ARRAY(SELECT c.child_id FROM dataset_child c WHERE c.parent_id = d.id ORDER BY c.child_id) AS members
FROM dataset d WHERE d.id = ANY($1::bigint[]) ORDER BY d.id
"""  # noqa: S608 - text of this module
_TASKS = """
SELECT t.id, t.step, t.state, t.owner, t.run, t.request, t.numbers, t.input_id, t.output_id, t.created_at,
       t.changed_at, s.name AS destination,
       (SELECT jsonb_object_agg(q.name, n.jobs) FROM (
            SELECT queue_id, sum(jobs) AS jobs FROM job_count WHERE task_id = t.id AND state = 'finished'
            GROUP BY queue_id HAVING sum(jobs) > 0
        ) n JOIN queue q ON q.id = n.queue_id) AS jobs
FROM task t JOIN storage s ON s.id = t.destination_id WHERE t.id = ANY($1::bigint[]) ORDER BY t.id
"""


@dataclass
class _Walk:
    """What was found so far: datasets with the steps to them (up is negative), and tasks."""

    steps: dict[int, int]
    tasks: set[int] = field(default_factory=set)
    cut: bool = False

    async def go(self, conn: Connection, statement: str, sign: int, depth: int) -> None:
        """Level by level, so that whatever is reached by many ways is read once."""
        start = front = [number for number, steps in self.steps.items() if steps == 0]
        seen = set(start)
        for step in range(1, depth + 2):
            rows = await conn.fetch(statement, front)
            new = sorted({row["next"] for row in rows if row["next"] is not None} - seen)
            if new and (step > depth or len(self.steps) + len(new) > SIZE):
                self.cut = True
                new = [] if step > depth else new[: SIZE - len(self.steps)]
            seen.update(new)
            self.steps |= {number: self.steps.get(number, sign * step) for number in new}
            self.tasks |= {row["task"] for row in rows if row["task"] and row["next"] in {*seen, None}}
            front = new
            if not front:
                return


async def lineage(conn: Connection, dataset_id: int, *, up: int = DEPTH, down: int = DEPTH) -> View:
    """The datasets that it was made from, up to event generation, and that were made of it, with the tasks between.

    ``datasets`` has the asked one first (step 0), then what it comes from (-1, -2, ...) and what came of it (1, ...);
    ``cut`` says that there is more than ``up`` and ``down`` steps, or SIZE datasets, could show.
    """
    asked = await by_id(conn, dataset_id)
    walk = _Walk({dataset_id: 0})
    await walk.go(conn, _UP, -1, up)
    await walk.go(conn, _DOWN, 1, down)
    known = {row["id"]: dict(row) for row in await conn.fetch(_DATASETS, list(walk.steps))}
    dids = {number: row["did"] for number, row in known.items()}
    tasks = [_task(dict(row), dids) for row in await conn.fetch(_TASKS, sorted(walk.tasks))]
    makers = {task["output"]: task["id"] for task in tasks}
    order = sorted(known, key=lambda number: (abs(walk.steps[number]), walk.steps[number], number))
    return {
        "did": dids[asked.id or 0],
        "datasets": [_dataset(known[number], walk.steps[number], dids, makers) for number in order],
        "tasks": tasks,
        "cut": walk.cut,
    }


def _dataset(row: dict[str, Any], step: int, dids: dict[int, str], makers: dict[str, int]) -> View:
    links = {name: _known(row.pop(name), dids) for name in ("revises", "members")}
    del row["id"]
    return row | {"step": step, "made_by": makers.get(row["did"])} | links


def _known(ids: Iterable[int], dids: dict[int, str]) -> list[str]:
    return [dids[number] for number in ids if number in dids]


def _task(row: dict[str, Any], dids: dict[int, str]) -> View:
    """What it ran: the transformation is the command's program; its release stands in the output's tags."""
    request = TaskRequest.model_validate(row.pop("request"))
    numbers = row["numbers"]
    # Event generation gives each job a seed of its own (splitting.split_events), other steps share one.
    seeds = [request.seed + 1, request.seed + numbers] if request.input is None else [request.seed, request.seed]
    return row | {
        "input": dids.get(row.pop("input_id")),
        "output": dids.get(row.pop("output_id")),
        "transformation": request.command[0],
        "command": request.command,
        "first_event": request.first_event if request.input is None else None,
        "events": request.events,
        "seeds": seeds if numbers else [],
        "jobs": row["jobs"] or {},
    }
