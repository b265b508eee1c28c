"""Why something does not run, in sentences, with the verdict on each queue and its remedy."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from prodchain.broker.client import Document

from .options import chosen
from .output import Column, draw_table, on_terminal, show_json
from .values import Kind, exact, moment, time_before

At = Annotated[
    str | None, typer.Option(metavar="TIME", help="Ask for the past: 10min or 2h ago, or 2026-11-22T10:00 (UTC).")
]
VERDICTS = (
    Column("queue", "queue"),
    Column("verdict", lambda each: "suits" if each["passed"] else each["criterion"]),
    Column("reason", "reason"),
    Column("would run if", "remedy"),
    Column("weight", lambda each: f"{each['weight']:.3g}" if each["passed"] else None),
    Column("to move", "missing_bytes", Kind.BYTES),
)


def show_decisions(decisions: list[Document]) -> None:
    """A sentence for each, below them the table of verdicts: one for all that were reached on the same."""
    tables: list[list[Document]] = []
    for decision in decisions:
        if decision["verdicts"] not in tables:
            tables.append(decision["verdicts"])
    for verdicts in tables:
        for decision in decisions:
            if decision["verdicts"] == verdicts:
                print(f"{decision['jobs']} jobs: {decision['reason']}")
        _show_verdicts(verdicts)


def moment_of(text: str | None) -> str | None:
    """The time that ``--at`` names, as the broker takes it."""
    return time_before(text, datetime.now(UTC))


def said(at: str) -> str:
    """A time in a sentence."""
    return f"{moment(at):%Y-%m-%d %H:%M:%S} UTC"


def _was(state: str, at: str | None) -> str:
    return f"is {state}" if at is None else f"was {state} at {said(at)}"


def show_why(why: Document, at: str | None = None) -> None:
    """The sentences first, below each what to do; then what would help most cheaply, and the table of verdicts.

    ``at``: the time that was asked about, none for now.
    """
    if chosen().json:
        show_json(why)
        return
    print(f"{why['object']} {_was(why['state'], at)}")
    for reason in why["reasons"]:
        print(reason["what"])
        if reason["remedy"]:
            print(f"  do: {reason['remedy']}")
    best, first = why["cheapest"], why["reasons"][0]["remedy"]
    said = len(why["reasons"]) == 1 and best and best["command"] in first
    if best and best["who"] != "nobody" and not said:
        print(f"the least that would help ({best['who']}): {best['text']}")
        if best["command"]:
            print(f"  {best['command']}")
    _show_verdicts(why["verdicts"])


def _show_verdicts(verdicts: list[Document]) -> None:
    if verdicts and on_terminal():
        print()
        draw_table(verdicts, VERDICTS)
    elif verdicts:
        for verdict in verdicts:
            print("\t".join(exact(column.of(verdict), column.kind) for column in VERDICTS))
