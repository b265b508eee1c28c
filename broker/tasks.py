"""Tasks as their owners see them: submitted once whatever is repeated."""

from .database import Connection, one
from .errors import WrongState, unknown
from .models import Task
from .states import TaskState


async def get(conn: Connection, task_id: int, *, lock: bool = False) -> Task:
    # Not FOR UPDATE: decisions that name the task check its key, and must not wait for us.
    how = "FOR NO KEY UPDATE" if lock else ""
    row = await conn.fetchrow(f"SELECT * FROM task WHERE id = $1 {how}", task_id)  # noqa: S608
    if row is None:
        raise unknown("task", task_id)
    return Task.model_validate(dict(row))


async def refuse_to_close(conn: Connection, dataset_id: int, did: str) -> None:
    """Raises WrongState while a task that is not done fills the dataset: its jobs could not register any more."""
    task = await conn.fetchrow(
        """
        SELECT t.id, t.state FROM task_output o JOIN task t ON t.id = o.task_id
        WHERE o.dataset_id = $1 AND t.state <> 'done'
        """,
        dataset_id,
    )
    if task is not None:
        raise WrongState(
            f"{did} is made by task {task['id']}, which is {task['state']}",
            object=did,
            hint=f"it closes by itself when the task is done; see `prodchain task why {task['id']}`",
        )


async def move(conn: Connection, task_id: int, state: TaskState, actor: str, reason: str) -> Task:
    """Change the state; the event is written by the database."""
    row = await one(
        conn,
        "UPDATE task SET state = $2, actor = $3, reason = $4, changed_at = now() WHERE id = $1 RETURNING *",
        task_id,
        state,
        actor,
        reason,
    )
    return Task.model_validate(dict(row))
