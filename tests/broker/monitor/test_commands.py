"""Each block of a page shows the command that tells the same, and the command line takes it."""

import html
import re
import shlex
from typing import Any

import httpx
import pytest

from prodchain.cli.main import load

from .production import Production
from .test_pages import PAGES

BLOCKS = {
    "/tasks/10000001": (
        *("task show", "task why", "task story", "task set", "job ls", "retry test", "brokerage replay", "share ls"),
        "journal --object 'task 10000001'",
    ),
    "/jobs/4208": ("job show", "job why", "job story", "job log", "brokerage replay"),
    "/jobs/4202": ("retry test --message 'exit code 65: std::bad_alloc' --exit-code 65 --step sim --attempt 1",),
    "/errors": ("retry test", "retry show", "job ls --state failed"),
    "/shares": ("share ls", "share set", "share apply"),
    "/queues": ("queue ls", "queue drain", "queue online"),
    "/sites/SITE-A": ("queue show SITE-A-BATCH", "queue drain SITE-A-BATCH --dry-run"),
    "/journal?by=ann&verb=kill": ("journal --by ann --verb kill",),
}


def commands(page: str) -> list[str]:
    return [html.unescape(line) for line in re.findall(r"<code>(prodchain [^<]+)</code>", page)]


@pytest.mark.parametrize(("page", "expected"), BLOCKS.items())
async def test_blocks_show_their_commands(monitor: httpx.AsyncClient, page: str, expected: tuple[str, ...]) -> None:
    shown = commands((await monitor.get(page)).text)
    for line in expected:
        assert any(each.startswith(f"prodchain {line}") for each in shown), f"{line}: {shown}"


def parsed(line: str) -> None:
    """The command line takes it: the command is there, and so are its options and arguments."""
    _, name, *rest = shlex.split(line)
    command: Any = load(name)
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, list(rest))


@pytest.mark.parametrize("page", [*PAGES, *BLOCKS])
async def test_the_command_line_takes_what_pages_show(
    monitor: httpx.AsyncClient, production: Production, page: str
) -> None:
    production.all_jobs[0] |= {"error": "a 'quoted' $thing; rm -rf /"}
    for line in commands((await monitor.get(page)).text):
        if "..." not in line and "VALUE" not in line and "FILE" not in line:
            parsed(line)
