"""Documents of named tables of one sort, as the rules for failed jobs and the shares: each table is a model."""

import tomllib
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import BadRequest
from .mistakes import mistakes
from .tomllines import Keys, lines_of

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Sort(Generic[Model]):
    """Tables [word.NAME], each a model that has its ``name``; ``called`` and ``hint`` are for errors."""

    word: str
    model: type[Model]
    called: str
    hint: str

    def read(self, text: str, name: str) -> list[Model]:
        """The tables of a document in their order. BadRequest names the line, the table and the key."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadRequest(f"{name}: {error}", object=name, hint=self.hint) from None
        tables = document.pop(self.word, {})
        if document or not isinstance(tables, dict):
            key = next(iter(document), self.word)
            raise BadRequest(f"{name}: {key!r} is no {self.called}", object=name, hint=self.hint)
        lines = lines_of(text)
        return [self._model(key, table, lines, name) for key, table in tables.items()]

    def _model(self, key: str, table: Any, lines: dict[Keys, int], name: str) -> Model:
        about = f"{self.word} {key}"
        try:
            found = self.model(**{"name": key, **table})
        except (ValidationError, TypeError) as error:
            field, what = "", "it is no table"
            if isinstance(error, ValidationError):
                field, what = mistakes(error.errors(), self.model)[0]
            line = lines.get((self.word, key, field.partition(".")[0])) or lines.get((self.word, key), 1)
            raise BadRequest(f"{name}:{line}: {about}: {field}: {what}", object=about, hint=self.hint) from None
        if "\\u0000" in found.model_dump_json():
            raise BadRequest(f"{name}: {about} has a NUL, which cannot be kept", object=about, hint="leave it out")
        return found
