"""Find one thing by name in a list that is short enough to read whole."""

from collections.abc import Sequence

from prodchain.broker.client import Document
from prodchain.catalog.names import near_misses

from .errors import NotFound


def pick(kind: str, name: str, things: Sequence[Document]) -> Document:
    """The thing of that name, or an error that names near misses."""
    for thing in things:
        if thing["name"] == name:
            return thing
    near = near_misses(name, [thing["name"] for thing in things])
    hint = f"did you mean {' or '.join(near)}?" if near else f"`prodchain {kind} ls` lists them"
    raise NotFound(f"there is no {kind} {name}", object=f"{kind} {name}", hint=hint)
