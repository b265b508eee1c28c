"""The rules in force, kept in the database; without any, those that come with the package."""

from typing import Any, NamedTuple

from ..database import Connection
from ..journal import Outcome, enter
from .rules import Rule, parse, shipped


class Book(NamedTuple):
    """Rules and where they come from; ``number`` 0: from the package."""

    number: int
    text: str
    rules: tuple[Rule, ...]


_read: dict[int, Book] = {}
"""The book read last: rules change seldom, jobs fail by the thousand."""


async def current(conn: Connection) -> Book:
    number = await conn.fetchval("SELECT max(id) FROM retry_rules") or 0
    if number not in _read:
        text = await conn.fetchval("SELECT text FROM retry_rules WHERE id = $1", number) if number else shipped()
        _read.clear()
        _read[number] = Book(number, text, parse(text, "rules"))
    return _read[number]


async def apply(conn: Connection, text: str, actor: str, reason: str, name: str = "rules") -> Outcome:
    """Put other rules in force; each rule that is new, gone or different is told. Mistakes name the file."""
    before = {rule.name: rule for rule in (await current(conn)).rules}
    after = {rule.name: rule for rule in parse(text, name)}
    changes: dict[str, list[Any]] = {
        name: [_shown(before.get(name)), _shown(after.get(name))]
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    }
    if list(before) != list(after) and not changes:
        changes = {"order": [list(before), list(after)]}
    if changes:
        await conn.execute("INSERT INTO retry_rules (actor, text) VALUES ($1, $2)", actor, text)
    outcome = Outcome("apply", "rules", changes, note="" if changes else "the same rules are in force already")
    return await enter(conn, outcome, actor, reason)


def _shown(rule: Rule | None) -> dict[str, object] | None:
    return None if rule is None else rule.model_dump(exclude={"name"}, exclude_defaults=True)
