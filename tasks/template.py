"""Command templates: a step's options are filled in here, the fields of each job by the broker."""

from collections.abc import Collection, Mapping, Sequence
from string import Formatter

from .errors import BadStep

JOB_FIELDS = frozenset({"events", "skip", "first_event", "seed", "job_seed", "number", "inputs", "output"})
"""What the broker fills in for each job."""


def _parts(word: str) -> list[tuple[str, str | None]]:
    try:
        parsed = list(Formatter().parse(word))
    except ValueError as error:
        raise BadStep(f"{word!r}: {error}", object=word, hint="write braces that are no field doubled") from None
    for _, field, format_spec, conversion in parsed:
        if field is not None and (not field.isidentifier() or format_spec or conversion):
            raise BadStep(
                f"{word!r}: a field is a plain name in braces",
                object=word,
                hint="write braces that are no field doubled",
            )
    return [(text, field) for text, field, _, _ in parsed]


def fields(command: Sequence[str]) -> frozenset[str]:
    """The names in braces in a command."""
    return frozenset(field for word in command for _, field in _parts(word) if field is not None)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def fill(command: Sequence[str], options: Mapping[str, object], files: Collection[str] = ()) -> list[str]:
    """The command with options in place and the fields of jobs left for the broker, also those named in ``files``.

    Text is doubled again where it holds braces, since the broker reads the result as a template.
    """

    def word_of(word: str) -> str:
        filled = ""
        for text, field in _parts(word):
            filled += _doubled(text)
            if field in JOB_FIELDS or field in files:
                filled += f"{{{field}}}"
            elif field is not None:
                filled += _doubled(str(options[field]))
        return filled

    return [word_of(word) for word in command]
