"""Why a task or job waits, or is where it is: reasons in sentences, what would help, and what was said before."""

from datetime import datetime

from .. import jobs, tasks
from ..database import Connection
from ..moments import past as past_moment
from . import now, of_tasks, past, past_of_tasks
from .reasons import View
from .signs import PILOT_SILENCE_S as PILOT_SILENCE_S


async def job_why(conn: Connection, job_id: int, at: datetime | None = None) -> View:
    """What a job waits for or does, or waited for at a time in the past (with its zone)."""
    job, moment = await jobs.get(conn, job_id), await past_moment(conn, at)
    answer = await (now.explain(conn, job, moment) if at is None else past.explain(conn, job, moment))
    return answer.document()


async def task_why(conn: Connection, task_id: int, at: datetime | None = None) -> View:
    """What holds a task up: itself, then its jobs by state, each by an example."""
    task, moment = await tasks.get(conn, task_id), await past_moment(conn, at)
    answer = await (of_tasks.explain(conn, task, moment) if at is None else past_of_tasks.explain(conn, task, moment))
    return answer.document()
