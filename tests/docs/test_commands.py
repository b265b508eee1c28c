"""Every command line that a page shows exists, with these options."""

from pathlib import Path
from typing import Any

import pytest
import typer

from prodchain.cli.main import COMMANDS, load, program

from .pages import ROOT, commands, mentions, pages

PLACEHOLDER = ("...", "COMMAND", "VERB")


def parse(words: list[str], *, complete: bool = True) -> None:
    """Take the words as the program would, without running anything; raises what is wrong with them."""
    command: Any = program()
    rest = words[1:]
    while hasattr(command, "commands"):
        rest = _skip_common(rest)
        if not rest or rest[0] in ("--help", "--version", *PLACEHOLDER):
            return
        name, *rest = rest
        if command.name is None or command.name not in COMMANDS:
            command = load(name) if name in COMMANDS else _unknown(words)
        else:
            command = command.commands.get(name) or _unknown(words)
    if "--help" in rest:
        return
    context = type(command).context_class(command, info_name=words[0])
    values, left, _ = command.make_parser(context).parse_args(list(rest))
    assert not left, f"{' '.join(words)}: too many words: {left}"
    for parameter in command.params:
        if complete and parameter.required:
            assert values.get(parameter.name) is not None, f"{' '.join(words)}: {parameter.name} is missing"


def _skip_common(words: list[str]) -> list[str]:
    while words and words[0] in ("--home", "--json"):
        words = words[2:] if words[0] == "--home" else words[1:]
    return words


def _unknown(words: list[str]) -> Any:
    raise AssertionError(f"no such command: {' '.join(words)}")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_the_page_exist(page: Path) -> None:
    for words in commands(page):
        parse(words)
    for words in mentions(page):
        parse(words, complete=False)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for wrong in (
        ["prodchain", "fetch"],
        ["prodchain", "task", "explain", "1"],
        ["prodchain", "get"],
        ["prodchain", "get", "A", "B", "C"],
    ):
        with pytest.raises(AssertionError):
            parse(wrong)
    with pytest.raises(typer.TyperException):
        parse(["prodchain", "task", "why", "1", "--loud"])


def test_pages_show_commands() -> None:
    assert sum(len(commands(page)) + len(mentions(page)) for page in pages()) > 100
