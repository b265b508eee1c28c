"""Names of datasets and files: how they are read, checked, searched and laid out as paths.

Imports nothing heavy, and reads few expressions at once: the command line uses it for every command.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .errors import BadName

SCOPE_MAX = 25
DATASET_NAME_MAX = 200
FILE_NAME_MAX = 250
"""Longer than a dataset's, since a file's name is its dataset's plus ``._000007.root.1``."""

STORAGE_NAME_MAX = 40
OUTPUT_NAME_MAX = DATASET_NAME_MAX - len("_sub.") - STORAGE_NAME_MAX - len("_v99")
"""Room for what the system appends to the name of an output dataset (sub_name, dispatch_name)."""

_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FACETS = (
    r"(?P<project>(?:(?:user|group)\.)?[^.]+)\.(?P<number>\d{5,8})\.(?P<physics>[^.]+)"
    r"\.(?P<step>[^.]+)\.(?P<format>[^.]+)\.(?P<tags>[^.]+)(?:\..*)?"
)
_BOOKKEEPING_SUFFIX = r"(_dis\d+|_sub|_[a-z]+)$"
_RESERVED = r".*(_dis\d+|_sub\.[^.]+)"
_NOT_ROOT = frozenset(
    {"TXT", "LOG", "CSV", "JSON", "XML", "YAML", "HTML", "PDF", "PNG", "TAR", "TGZ", "ZIP"}
    | {"HEPMC", "LHE", "LHEF", "YODA", "HDF5", "H5", "NPZ", "PARQUET"}
)
"""Formats whose files are not ROOT files, and end with the format's own name."""
_USUAL = r"[A-Za-z0-9._-]"
_CHARSET = "letters, digits, '.', '_' and '-', beginning with a letter or digit"


class Did(NamedTuple):
    """A data identifier, written ``scope:name``; names are unique in a scope."""

    scope: str
    name: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"


class Pattern(NamedTuple):
    """A search with ``*`` (anything) and ``?`` (one character); without a scope it goes over all scopes."""

    scope: str
    name: str


def parse_did(text: str) -> Did:
    """The dataset identifier that somebody wrote, with or without its scope; BadName if it cannot be one."""
    return _parse(text, DATASET_NAME_MAX)


def parse_versioned(text: str) -> tuple[Did, int | None]:
    """The same with an optional version: ``NAME@2`` is the second, None the latest."""
    name, at, version = text.rpartition("@")
    if not at:
        return parse_did(text), None
    if re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII) is None:
        raise BadName(
            f"'{shown(version)}' is no version", object=shown(text), hint="versions are numbers from 1: NAME@2"
        )
    return parse_did(name), int(version)


def parse_file_did(text: str) -> Did:
    """The same for a file, whose name may be longer."""
    return _parse(text, FILE_NAME_MAX)


def check_file_did(did: Did) -> None:
    """BadName if there can be no such file; the same rules, quicker for one that was read already."""
    if (
        len(did.name) > FILE_NAME_MAX
        or len(did.scope) > SCOPE_MAX
        or _NAME.fullmatch(did.name) is None
        or _SCOPE.fullmatch(did.scope) is None
        or did.scope in ("user", "group")
    ):
        parse_file_did(str(did))


def parse_output_did(text: str) -> Did:
    """The same for a dataset that a task fills: with room for bookkeeping names, and not such a name itself."""
    did = _parse(text, OUTPUT_NAME_MAX)
    refuse_reserved(did)
    return did


def refuse_reserved(did: Did) -> None:
    """BadName for a name that the system gives its own datasets: it would find it taken when it needs it."""
    if re.fullmatch(_RESERVED, did.name):
        raise BadName(
            f"'{did.name}' ends like a dispatch dataset (_dis7) or a sub-dataset (_sub.STORAGE)",
            object=str(did),
            hint="choose a name without this ending",
        )


def parse_pattern(text: str) -> Pattern:
    """``mc11.*RDO*`` searches all scopes, ``mc1?:*RDO*`` those that fit."""
    scope, colon, name = text.strip().partition(":")
    return Pattern(scope, name) if colon else Pattern("*", scope)


def scope_of(name: str) -> str:
    """The scope that a name implies: its first field, or the first two for ``user.*`` and ``group.*``."""
    fields = name.split(".")
    return ".".join(fields[:2]) if fields[0] in ("user", "group") else fields[0]


def facets(name: str) -> dict[str, str]:
    """Fields of the nomenclature ``project.number.physics.step.format.tags``; empty if the name is free text.

    What a system or a site appends to the tags (``_dis12``, ``_sub.DISK``, ``_bnl``) is no part of them.
    """
    match = re.fullmatch(_FACETS, name)
    if match is None:
        return {}
    fields = match.groupdict()
    return fields | {"tags": re.sub(_BOOKKEEPING_SUFFIX, "", fields["tags"])}


def path_of(did: Did) -> str:
    """The path below a storage's URL: Rucio's hash, so that a later move to Rucio moves no file."""
    digest = hashlib.md5(str(did).encode(), usedforsecurity=False).hexdigest()
    # Not scope_of's rule: Rucio tests the bare prefix, and paths must agree with its servers.
    scope = did.scope.replace(".", "/") if did.scope.startswith(("user", "group")) else did.scope
    return f"{scope}/{digest[:2]}/{digest[2:4]}/{did.name}"


def url_of(storage_url: str, did: Did) -> str:
    """Where a file of that name is at a storage, if it is there."""
    return url_prefix(storage_url) + path_of(did)


def url_prefix(storage_url: str) -> str:
    """What the URLs of all files at a storage begin with."""
    return f"{storage_url.rstrip('/')}/"


def file_name(dataset: str, number: int, attempt: int) -> str:
    """The output of one attempt of one job; every attempt writes another name, so none overwrites another."""
    return f"{dataset}._{number:06d}.{_extension(dataset)}.{attempt}"


@lru_cache(10_000)
def _extension(dataset: str) -> str:
    """Of files of the dataset's format: ``root``, but for what is known to be none; free names have it anywhere."""
    wanted = facets(dataset).get("format")
    fields = [wanted] if wanted else reversed(dataset.split("."))
    return next((field.lower() for field in fields if field in _NOT_ROOT), "root")


def dispatch_name(output: str, assignment: int) -> str:
    """The dataset of inputs that an assignment lacks at its storage."""
    return f"{output}_dis{assignment}"


def sub_name(output: str, storage: str, version: int = 1) -> str:
    """The part of an output dataset, or of a later version of it, that was made at one storage."""
    return f"{output}_sub.{storage}" + (f"_v{version}" if version > 1 else "")


def like(pattern: str) -> str:
    """The pattern as an SQL LIKE pattern with backslash escapes: ``_`` and ``%`` mean themselves."""
    escaped = re.sub(r"([\\%_])", r"\\\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")


def literal_prefix(pattern: str) -> str:
    """What every match begins with: the part of an index that a search must read."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def near_misses(wanted: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like the wanted one, best first; differences of case count for nothing."""
    import difflib  # which only mistakes need

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted.lower(), by_lower, n=limit, cutoff=0.8)
    return [by_lower[name] for name in close]


def _parse(text: str, longest: int) -> Did:
    scope, colon, name = text.partition(":")
    if not colon:
        scope, name = scope_of(text), text
    _check("name", name, _NAME, longest, text)
    _check("scope", scope, _SCOPE, SCOPE_MAX, text)
    if scope in ("user", "group"):
        raise BadName(
            f"'{text}' does not say whose it is", object=shown(text), hint=f"begin with {scope}.NAME, as in user.ada"
        )
    return Did(scope, name)


def _check(what: str, value: str, charset: re.Pattern[str], longest: int, text: str) -> None:
    """BadName with the rule that is broken, the first one if several are."""
    if len(value) <= longest and charset.fullmatch(value) is not None:
        return
    problem, hint = _broken_rule(what, value, longest)
    raise BadName(problem, object=shown(text), hint=hint)


def _broken_rule(what: str, value: str, longest: int) -> tuple[str, str]:
    rule = f"a {what} is {_CHARSET}"
    if not value:
        return f"the {what} is empty", "write SCOPE:NAME, or a name whose first field is its scope"
    if len(value) > longest:
        return (
            f"the {what} '{shown(value[:40])}...' has {len(value)} characters, {longest} at most",
            "shorten it, or give a short scope: SCOPE:NAME",
        )
    if value.startswith("/"):
        return f"'{shown(value)}' is an absolute path, no {what}", rule
    if "/" in value or "\\" in value:
        return f"'{shown(value)}' is a path, no {what}", rule
    strange = next((character for character in value if not re.fullmatch(_USUAL, character)), None)
    if strange is not None:
        return f"'{shown(value)}' cannot be a {what}: it has {_described(strange)}", rule
    if value.startswith("-"):
        return f"'{value}' cannot be a {what}: it begins with a dash, as options do", rule
    if value.startswith("."):
        return f"'{value}' cannot be a {what}: it begins with a dot", rule
    return f"'{value}' cannot be a {what}", rule


def _described(character: str) -> str:
    """The character by its name, which tells Cyrillic а from Latin a."""
    code = f"U+{ord(character):04X}"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"the control character {code}" + (f" ({name})" if (name := unicodedata.name(character, "")) else "")
    if character.isascii():
        return "a space" if character == " " else f"'{character}'"
    return f"'{shown(character)}' ({code}, {unicodedata.name(character, 'no name')})"


def shown(text: str) -> str:
    """The text with what a terminal would obey or hide written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
