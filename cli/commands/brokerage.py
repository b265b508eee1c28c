"""``prodchain brokerage``: decisions reached again."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..options import chosen
from ..output import show_json
from ..reasons import At, moment_of, said, show_decisions

app = typer.Typer(
    help="Look at decisions of the brokerage again.\n\nExamples:\n  prodchain brokerage replay --task 10000001"
)


@app.command()
def replay(
    task: Annotated[int, typer.Option(help="Number of the task.")],
    at: At = None,
) -> None:
    """Decide again as at that time, from what the brokerage knew then, and say whether it is what was done.

    Examples:
      prodchain brokerage replay --task 10000001
      prodchain brokerage replay --task 10000001 --at 2026-11-22T10:00 --json
    """
    with chosen().client() as client:
        found = client.replay(task, moment_of(at))
    if chosen().json:
        show_json(found)
        return
    print(f"task {task}, round {found['round']} of {said(found['decided_at'])}: {_verdict(found)}")
    for note in found["notes"]:
        print(f"  {note}")
    show_decisions(found["decisions"])


def _verdict(found: Document) -> str:
    return "the same decision" if found["same"] else "another decision than was stored"
