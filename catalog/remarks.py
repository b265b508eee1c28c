"""What people remark about a file or a dataset: an object of JSON, short enough to be read with every list."""

import json
from collections.abc import Mapping
from typing import Any

from .errors import BadName
from .names import Did

MOST = 10_000
"""Characters of the text."""


def check(did: Did, meta: Mapping[str, Any]) -> None:
    """BadName for what the database or a reader could not take."""
    try:
        text = json.dumps(dict(meta), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _refused(did, "this metadata", f"it must be an object of JSON: {error}") from None
    if len(text) > MOST:
        raise _refused(did, f"{len(text)} characters of metadata", f"{MOST} at most: keep the rest in a file")
    if "\\u0000" in text:
        raise _refused(did, "the character NUL in its metadata", "leave it out")


def _refused(did: Did, what: str, hint: str) -> BadName:
    return BadName(f"{did} cannot have {what}", object=str(did), hint=hint)
