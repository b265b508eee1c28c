"""Why something does not run, in sentences, with the verdict on each queue and its remedy."""

from prodchain.broker.client import Document

from .options import chosen
from .output import Column, draw_table, on_terminal, show_json
from .values import Kind, exact

VERDICTS = (
    Column("queue", "queue"),
    Column("verdict", lambda each: "suits" if each["passed"] else each["criterion"]),
    Column("reason", "reason"),
    Column("would run if", "remedy"),
    Column("weight", lambda each: f"{each['weight']:.3g}" if each["passed"] else None),
    Column("to move", "missing_bytes", Kind.BYTES),
)


def show_decisions(decisions: list[Document]) -> None:
    """A sentence for each, below it the table of verdicts."""
    for decision in decisions:
        print(f"{decision['jobs']} jobs: {decision['reason']}")
        _show_verdicts(decision["verdicts"])


def show_why(why: Document) -> None:
    """The sentences first, below each what to do; then the table of verdicts."""
    if chosen().json:
        show_json(why)
        return
    print(f"{why['object']} is {why['state']}")
    for reason in why["reasons"]:
        print(reason["what"])
        if reason["remedy"]:
            print(f"  do: {reason['remedy']}")
    _show_verdicts(why["verdicts"])


def _show_verdicts(verdicts: list[Document]) -> None:
    if verdicts and on_terminal():
        print()
        draw_table(verdicts, VERDICTS)
    elif verdicts:
        for verdict in verdicts:
            print("\t".join(exact(column.of(verdict), column.kind) for column in VERDICTS))
