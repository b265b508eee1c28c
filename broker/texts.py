"""Texts from outside as the database takes them."""


def storable(text: str) -> str:
    """The text with what PostgreSQL refuses (NUL, halves of surrogate pairs) replaced; its length stays."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
