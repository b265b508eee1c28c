"""How far a task of the broker is, in words and per cent. Pure."""

from .dataset import View

ACTIVE = ("sent", "starting", "running", "holding", "transferring")
FINAL = ("done", "finished", "failed", "aborted")
"""States of a task in which nothing more happens by itself."""


def percent(view: View) -> float:
    """By events where they are known, else by jobs; below 100 until the task is done, as inputs may still grow."""
    if view["state"] == "done":
        return 100.0
    total = view["events_total"] or (view["numbers"] if view["generated"] else 0)
    done = view["events_done"] if view["events_total"] else view["jobs"].get("finished", 0)
    return min(99.0, 100.0 * done / total) if total else 0.0


def description(view: View) -> str:
    """The line under the progress ring: jobs and events, with what runs and what went wrong."""
    jobs = view["jobs"]
    more = "" if view["generated"] else "+"
    words = [f"{jobs.get('finished', 0)}/{view['numbers']}{more} jobs finished"]
    if active := sum(jobs.get(state, 0) for state in ACTIVE):
        words.append(f"{active} running")
    if failed := jobs.get("failed", 0):
        words.append(f"{failed} failed attempts")
    if view["events_total"]:
        words.append(f"{view['events_done']}/{view['events_total']} events")
    return f"{view['step']} {view['state']}: " + ", ".join(words)
