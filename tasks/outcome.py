"""What the end of a broker's task means for the step that follows it. Pure."""

from .dataset import View
from .errors import WorkFailed

_ENDED = {
    "finished": "finished only partly",
    "failed": "failed",
    "aborted": "was aborted",
}


def failure(view: View) -> WorkFailed | None:
    """The error of a step whose task ended without all of its output; none if the task is done."""
    ended = _ENDED.get(view["state"])
    if ended is None:
        return None
    task, step = view["id"], view["step"]
    jobs = view["jobs"]
    counts = f"{jobs.get('finished', 0)} of {view['numbers']} jobs finished"
    reason = f": {view['reason']}" if view["reason"] else ""
    return WorkFailed(
        f"step {step}: task {task} {ended} ({counts}){reason}",
        object=f"task {task}",
        hint=f"`prodchain task why {task}` says why; after `prodchain task retry {task}` resume the chain",
    )
