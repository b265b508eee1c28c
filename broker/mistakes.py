"""What is wrong with a document from outside, in words for whoever wrote it."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel


def mistakes(errors: Iterable[Mapping[str, Any]], model: type[BaseModel] | None = None) -> list[tuple[str, str]]:
    """Of each error of pydantic the field, empty for the whole, and a sentence; ``model`` has the fields that are."""
    known = list(getattr(model, "model_fields", ()))
    return [(".".join(map(str, error["loc"])), _sentence(error, known)) for error in errors]


def _sentence(error: Mapping[str, Any], known: list[str]) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), known, 1) if len(error["loc"]) == 1 else []
        return "there is no such field" + (f"; did you mean {close[0]}?" if close else "")
    told = str(error["msg"]).removeprefix("Value error, ").partition(", unable to parse")[0]
    return told.replace("a valid integer", "a whole number").replace("a valid number", "a number")
