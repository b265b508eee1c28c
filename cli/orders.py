"""Orders: tried first, so that everybody sees what they would do; asked about where much is hit; then carried out."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import typer

from prodchain.broker.client import Document

from .confirm import confirm
from .options import chosen
from .output import on_terminal, say, show_json
from .values import exact, readable

MANY = 100
"""Jobs from which on an order is asked about, whatever it is."""

DRY = "nothing was changed: this was a dry run"

Order: TypeAlias = Callable[[bool], Document]
"""An order, and whether it is a dry run."""
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for the journal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def carry_out(orders: Sequence[Order], *, dry_run: bool, yes: bool = True, ask: bool = False) -> None:
    """All or, if one of them is refused when it is tried, none; ``ask`` also where few jobs are hit."""
    trials = [order(True) for order in orders]
    if not dry_run:
        hit = sum(sum(trial["jobs"].values()) for trial in trials)
        if (ask or hit >= MANY) and any(_changes(trial) for trial in trials):
            confirm("\n".join(in_words(trial) for trial in trials), yes=yes)
        trials = [order(False) for order in orders]
    show(trials)
    if dry_run:
        say(DRY)


def show(outcomes: Sequence[Document]) -> None:
    """What was done, or would be; the document itself if there is one only."""
    if chosen().json:
        show_json(outcomes[0] if len(outcomes) == 1 else {"items": list(outcomes)})
        return
    for outcome in outcomes:
        if on_terminal():
            print(in_words(outcome))
            continue
        for field, (before, after) in outcome["changes"].items():
            print("\t".join([outcome["object"], field, exact(before), exact(after)]))
        for state, jobs in outcome["jobs"].items():
            print("\t".join([outcome["object"], "jobs", state, exact(jobs)]))
        if outcome["note"]:
            print(outcome["note"], file=sys.stderr)


def say_rest(outcome: Document) -> None:
    """What is to be said beside the changes."""
    if outcome["note"] or outcome["dry_run"]:
        say(outcome["note"] or DRY)


def in_words(outcome: Document) -> str:
    """``pause task 10000001: state running -> paused; jobs: 12 activated``."""
    parts = [
        f"{field} {readable(before)} -> {readable(after)}" for field, (before, after) in outcome["changes"].items()
    ]
    if outcome["jobs"]:
        parts.append(f"jobs: {readable(outcome['jobs'])}")
    if outcome["note"]:
        parts.append(outcome["note"])
    return f"{outcome['verb']} {outcome['object']}: {'; '.join(parts)}"


def _changes(outcome: Document) -> bool:
    return bool(outcome["changes"] or outcome["jobs"])
