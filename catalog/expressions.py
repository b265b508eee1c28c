"""Storage expressions: ``cloud=DE & !kind=tape | CERN-*`` picks storages by name, site, kind and attributes.

``!`` binds closest, then ``&``, then ``|``; ``*`` stands for anything and, alone, for all storages. A storage that
lacks an attribute does not fit ``KEY=VALUE``, and so fits ``!KEY=VALUE``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from .errors import BadExpression
from .models import Storage
from .names import near_misses

KEYS = ("name", "site", "kind")
"""What every storage has; further keys are attributes."""
LONGEST = 1000
DEEPEST = 50
"""Nested parentheses and ``!``; the parser calls itself once for each."""

_TOKEN = re.compile(r"[&|!()=]|[^\s&|!()=]+")


@dataclass(frozen=True)
class Match:
    """A key's value fits a pattern with ``*``."""

    key: str
    pattern: str

    def __str__(self) -> str:
        return self.pattern if self.key == "name" else f"{self.key}={self.pattern}"


@dataclass(frozen=True)
class Not:
    inner: "Expression"

    def __str__(self) -> str:
        return f"!{_in(self.inner, And, Or)}"


@dataclass(frozen=True)
class And:
    left: "Expression"
    right: "Expression"

    def __str__(self) -> str:
        return f"{_in(self.left, Or)} & {_in(self.right, And, Or)}"


@dataclass(frozen=True)
class Or:
    left: "Expression"
    right: "Expression"

    def __str__(self) -> str:
        return f"{self.left} | {_in(self.right, Or)}"


Expression: TypeAlias = Match | Not | And | Or


def _in(inner: Expression, *weaker: type) -> str:
    """In parentheses if it would be read otherwise without them."""
    return f"({inner})" if isinstance(inner, weaker) else str(inner)


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """What somebody wrote, or BadExpression, which shows the place. ``parse(str(e)) == e``."""
    if len(text) > LONGEST:
        raise _bad(text[:LONGEST], LONGEST, f"ends, at {LONGEST} characters at most")
    return _Parser(text).whole()


def fits(expression: Expression, storage: Storage) -> bool:
    """Whether the storage is one of those that the expression picks."""
    match expression:
        case Match():
            value = _facts(storage).get(expression.key)
            return value is not None and _glob(expression.pattern).fullmatch(value) is not None
        case Not():
            return not fits(expression.inner, storage)
        case And():
            return fits(expression.left, storage) and fits(expression.right, storage)
        case Or():
            return fits(expression.left, storage) or fits(expression.right, storage)


def select(text: str, storages: Sequence[Storage]) -> list[Storage]:
    """The storages that fit, in their order; BadExpression if none does, or if a part of it can mean none."""
    expression = parse(text)
    for match in _matches(expression):
        _check(text, match, storages)
    chosen = [storage for storage in storages if fits(expression, storage)]
    if not chosen:
        names = ", ".join(storage.name for storage in storages)
        raise BadExpression(f"no storage fits '{text}'", object=text, hint=f"there are: {names or 'none'}")
    return chosen


class _Parser:
    """Recursive descent over the tokens; each knows where it stands in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [(found.group(), found.start()) for found in _TOKEN.finditer(text)]
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._either()
        if self._next:
            raise self._unexpected("'&', '|' or the end")
        return expression

    @property
    def _next(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str) -> bool:
        if self._next != wanted:
            return False
        self._at += 1
        return True

    def _either(self) -> Expression:
        expression = self._both()
        while self._take("|"):
            expression = Or(expression, self._both())
        return expression

    def _both(self) -> Expression:
        expression = self._one()
        while self._take("&"):
            expression = And(expression, self._one())
        return expression

    def _one(self) -> Expression:
        if self._next not in ("!", "("):
            return self._match()
        if self._depth == DEEPEST:
            raise self._unexpected(f"at most {DEEPEST} '!' and '(' inside each other")
        self._depth += 1
        if self._take("!"):
            expression: Expression = Not(self._one())
        else:
            self._at += 1
            expression = self._either()
            if not self._take(")"):
                raise self._unexpected("')'")
        self._depth -= 1
        return expression

    def _match(self) -> Match:
        word = self._word("a storage's name, KEY=VALUE, '!' or '('")
        return Match(word, self._word(f"a value of {word}")) if self._take("=") else Match("name", word)

    def _word(self, wanted: str) -> str:
        word = self._next
        if not word or word in "&|!()=":
            raise self._unexpected(wanted)
        self._at += 1
        return word

    def _unexpected(self, wanted: str) -> BadExpression:
        at, got = self._tokens[self._at][1] if self._next else len(self._text), f"'{self._next}'"
        return _bad(self._text, at, f"has {got if self._next else 'its end'} where {wanted} is expected")


def _bad(text: str, at: int, what: str) -> BadExpression:
    return BadExpression(
        f"the expression {what}, at character {at + 1}:\n{text}\n{' ' * at}^",
        object=text,
        hint="write as in 'cloud=DE & !kind=tape | CERN-*'",
    )


def _matches(expression: Expression) -> Iterator[Match]:
    match expression:
        case Match():
            yield expression
        case Not():
            yield from _matches(expression.inner)
        case And() | Or():
            yield from _matches(expression.left)
            yield from _matches(expression.right)


def _check(text: str, match: Match, storages: Iterable[Storage]) -> None:
    """A misspelt key or value would pick nothing, or with ``!`` everything, without a word."""
    facts = [_facts(storage) for storage in storages]
    keys = sorted({key for each in facts for key in each}.difference(KEYS))
    if match.key not in (*KEYS, *keys):
        raise BadExpression(
            f"no storage has a '{match.key}', in '{text}'{_meant(match.key, [*KEYS, *keys])}",
            object=text,
            hint=f"keys are {', '.join((*KEYS, *keys))}",
        )
    values = sorted({each[match.key] for each in facts if match.key in each})
    if not any(_glob(match.pattern).fullmatch(value) for value in values):
        raise BadExpression(
            f"no storage has the {match.key} '{match.pattern}', in '{text}'{_meant(match.pattern, values)}",
            object=text,
            hint=f"there are: {', '.join(values[:20]) or 'none'}",
        )


def _meant(wanted: str, known: Sequence[str]) -> str:
    misses = near_misses(wanted, known)
    return f": did you mean {' or '.join(misses)}?" if misses else ""


def _facts(storage: Storage) -> dict[str, str]:
    return {**(storage.attributes or {}), "name": storage.name, "site": storage.site, "kind": str(storage.kind)}


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
