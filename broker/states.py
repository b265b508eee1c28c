"""The states of jobs and tasks and the ways between them, as data.

The database holds the same table and refuses any other way (migrations); a test compares the two.
"""

from enum import StrEnum


class JobState(StrEnum):
    DEFINED = "defined"
    ASSIGNED = "assigned"
    ACTIVATED = "activated"
    SENT = "sent"
    STARTING = "starting"
    RUNNING = "running"
    HOLDING = "holding"
    TRANSFERRING = "transferring"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class TaskState(StrEnum):
    REGISTERED = "registered"
    READY = "ready"
    SCOUTING = "scouting"
    RUNNING = "running"
    MERGING = "merging"
    PAUSED = "paused"
    EXHAUSTED = "exhausted"
    DONE = "done"
    FINISHED = "finished"
    FAILED = "failed"
    ABORTED = "aborted"


_J, _T = JobState, TaskState

ON_PILOT = (_J.SENT, _J.STARTING, _J.RUNNING, _J.HOLDING)
"""A pilot has the job and keeps its lease alive."""
WAITING = (_J.DEFINED, _J.ASSIGNED, _J.ACTIVATED)
"""The job is not with a pilot yet."""
AT_QUEUE = (_J.ASSIGNED, _J.ACTIVATED)
"""The job waits at a queue: for its inputs, or for a pilot."""
MADE = (_J.TRANSFERRING, _J.FINISHED)
"""The outputs are in the output dataset: such a job cannot be undone, or its events would be made twice."""
JOB_FINAL = (_J.FINISHED, _J.FAILED, _J.CANCELLED, _J.CLOSED)
TASK_FINAL = (_T.DONE, _T.FINISHED, _T.FAILED, _T.ABORTED)
TASK_OPEN = tuple(state for state in TaskState if state not in TASK_FINAL)

JOB_WAYS: dict[JobState, tuple[JobState, ...]] = {
    _J.DEFINED: (_J.ASSIGNED, _J.ACTIVATED, _J.CANCELLED, _J.CLOSED),
    _J.ASSIGNED: (_J.ACTIVATED, _J.DEFINED, _J.CANCELLED, _J.CLOSED),
    _J.ACTIVATED: (_J.SENT, _J.DEFINED, _J.CANCELLED, _J.CLOSED),
    _J.SENT: (_J.STARTING, _J.RUNNING, _J.HOLDING, _J.TRANSFERRING, _J.FINISHED, _J.FAILED, _J.CANCELLED),
    _J.STARTING: (_J.RUNNING, _J.HOLDING, _J.TRANSFERRING, _J.FINISHED, _J.FAILED, _J.CANCELLED),
    _J.RUNNING: (_J.HOLDING, _J.TRANSFERRING, _J.FINISHED, _J.FAILED, _J.CANCELLED),
    _J.HOLDING: (_J.TRANSFERRING, _J.FINISHED, _J.FAILED, _J.CANCELLED),
    _J.TRANSFERRING: (_J.FINISHED, _J.FAILED),
    _J.FINISHED: (),
    _J.FAILED: (),
    _J.CANCELLED: (),
    _J.CLOSED: (),
}

TASK_WAYS: dict[TaskState, tuple[TaskState, ...]] = {
    _T.REGISTERED: (_T.READY, _T.PAUSED, _T.FAILED, _T.ABORTED),
    _T.READY: (_T.SCOUTING, _T.RUNNING, _T.PAUSED, _T.DONE, _T.FAILED, _T.ABORTED),
    _T.SCOUTING: (_T.RUNNING, _T.EXHAUSTED, _T.PAUSED, _T.FAILED, _T.ABORTED),
    _T.RUNNING: (_T.MERGING, _T.EXHAUSTED, _T.PAUSED, _T.DONE, _T.FINISHED, _T.FAILED, _T.ABORTED),
    _T.MERGING: (_T.RUNNING, _T.PAUSED, _T.DONE, _T.FINISHED, _T.FAILED, _T.ABORTED),
    _T.PAUSED: (_T.REGISTERED, _T.READY, _T.SCOUTING, _T.RUNNING, _T.MERGING, _T.ABORTED),
    _T.EXHAUSTED: (_T.SCOUTING, _T.RUNNING, _T.FINISHED, _T.FAILED, _T.ABORTED),
    _T.DONE: (_T.RUNNING,),
    _T.FINISHED: (_T.RUNNING,),
    _T.FAILED: (_T.RUNNING,),
    _T.ABORTED: (_T.RUNNING,),
}
