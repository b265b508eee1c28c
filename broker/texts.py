"""Texts, and numbers in text, as the database takes them."""

from collections.abc import Iterable


def storable(text: str) -> str:
    """The text with what PostgreSQL refuses (NUL, halves of surrogate pairs) replaced; its length stays."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def lines(documents: Iterable[str]) -> str:
    """JSON documents of a line each, for ``string_to_array``; what ``array`` is for numbers."""
    return "\n".join(documents)


def array(numbers: Iterable[int]) -> str:
    """Numbers as the text of an array, for thousands of them: asyncpg asks each whether it is a list itself."""
    return "{" + ",".join(map(str, numbers)) + "}"
