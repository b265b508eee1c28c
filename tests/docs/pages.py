"""The pages that people read: which there are, their code blocks, the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(prodchain [^`]+)`")
SHELLS = ("sh", "console")
ENDS = ("|", "||", "&&", ";", ">", "2>", "<", "&", "#")
"""What a command line ends at."""


class Block(NamedTuple):
    """A code block: its page, its language, its text."""

    page: Path
    language: str
    text: str


def pages() -> list[Path]:
    """All pages but the plans, which are contracts between the parts and not for readers."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return found + sorted(page for page in (ROOT / "docs").rglob("*.md") if "plans" not in page.parts)


def blocks(page: Path) -> Iterator[Block]:
    for language, text in FENCE.findall(page.read_text()):
        yield Block(page, language, text)


def commands(page: Path) -> list[list[str]]:
    """The command lines of prodchain that a page's blocks show, as words."""
    lines = [
        line.removeprefix("$ ")
        for block in blocks(page)
        if block.language in SHELLS
        for line in block.text.replace("\\\n", " ").splitlines()
        if block.language == "sh" or line.startswith("$ ")
    ]
    return [words for line in lines for words in _calls(line)]


def mentions(page: Path) -> list[list[str]]:
    """The same for command lines in a page's text, which may leave arguments out."""
    return [words for line in INLINE.findall(FENCE.sub("", page.read_text())) for words in _calls(line)]


def _calls(line: str) -> Iterator[list[str]]:
    """The calls of prodchain in one line of a shell, also behind a pipe; what xargs adds is one word."""
    words: list[str] = []
    added: list[str] = []
    for word in (*shlex.split(line, comments=True), ";"):
        if word in ENDS:
            if words:
                yield words + added
            words, added = [], []
        elif words or word == "prodchain":
            words.append(word)
        elif word == "xargs":
            added = ["1"]
