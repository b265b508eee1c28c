"""``prodchain retry``: the rules for failed jobs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..documents import text_of
from ..options import chosen
from ..orders import DryRun, Reason, say_rest
from ..output import Column, show_item, show_items, show_json

app = typer.Typer(
    help="Look at the rules for failed jobs, try and change them.\n\n"
    'Examples:\n  prodchain retry test --message "std::bad_alloc"'
)


def _actions(rule: Document) -> str:
    told = ("name", "match", "exit_codes", "steps", "owners", "remedy")
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in rule.items() if key not in told)


DETAILS = (
    Column("rule", "name"),
    Column("error", lambda rule: rule.get("match", "")),
    Column("exit codes", lambda rule: " ".join(map(str, rule.get("exit_codes", [])))),
    Column("then", _actions),
    Column("remedy", lambda rule: rule.get("remedy", "")),
)
COLUMNS = tuple(column for column in DETAILS if column.title in ("rule", "then", "remedy"))
LINES = (Column("rule", "rule"), Column("tried again", "again"), Column("what follows", "reason"))


@app.command()
def show(
    long: Annotated[bool, typer.Option("-l", "--long", help="Also the errors that each rule is for.")] = False,
    toml: Annotated[bool, typer.Option("--toml", help="As the text that `retry apply` takes.")] = False,
) -> None:
    """Show the rules in force, in the order in which they are asked.

    Examples:
      prodchain retry show
      prodchain retry show --toml > rules.toml
    """
    with chosen().client() as client:
        found = client.rules()
    if toml:
        print(found["text"], end="")
    elif chosen().json:
        show_json(found)
    else:
        show_items(found["rules"], DETAILS if long else COLUMNS)


@app.command()
def test(
    message: Annotated[str, typer.Option(help="The error, as `job show` prints it.")],
    exit_code: Annotated[int | None, typer.Option(help="The payload's exit code.")] = None,
    step: Annotated[str | None, typer.Option(help="As if a job of this step had failed.")] = None,
    owner: Annotated[str | None, typer.Option(help="As if it were this user's.")] = None,
    attempt: Annotated[int, typer.Option(min=1, help="Which run of the work it was.")] = 1,
) -> None:
    """Say which rule would decide on an error, and what would follow.

    Examples:
      prodchain retry test --message "killed by signal 9 (SIGKILL)"
      prodchain retry test --message "exit code 65" --exit-code 65 --attempt 3
    """
    with chosen().client() as client:
        show_item(client.test_rules(message, exit_code=exit_code, step=step, owner=owner, attempt=attempt), LINES)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="TOML document with the rules.")],
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Put the rules of a file in force. Needs an administrator's token.

    Examples:
      prodchain retry show --toml > rules.toml
      prodchain retry apply rules.toml --dry-run
    """
    text = text_of(file, "rules, as `retry show --toml` prints them")
    with chosen().client("admin") as client:
        outcome = client.apply_rules(text, reason, name=str(file), dry_run=dry_run)
    if chosen().json:
        show_json(outcome)
        return
    for name, (before, after) in outcome["changes"].items():
        what = "new" if before is None else "gone" if after is None else "changed"
        print(f"{name}\t{what}")
    say_rest(outcome)
