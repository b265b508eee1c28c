"""The shares as they are kept: which one a task gets, and how admins and leaders change them."""

from collections.abc import Sequence
from typing import Any

from prodchain.catalog.names import facets, parse_did

from . import groups, journal
from .database import Connection
from .errors import Forbidden, NotFound
from .journal import Outcome
from .matching.shares import Share, leaf_for, path, targets
from .matching.standing import shares
from .models import TokenKind
from .requests import TaskRequest
from .sharefile import ShareSpec
from .tokens import Caller


async def leaf_of(conn: Connection, request: TaskRequest, owner: str) -> int:
    """The leaf that a task of this request belongs to."""
    task = {
        "activity": str(request.activity),
        "group": request.group,
        "owner": owner,
        "step": request.step,
        "tag": facets(parse_did(request.output).name).get("tags", ""),
    }
    return leaf_for(await shares(conn), task).id


async def apply(conn: Connection, wanted: Sequence[ShareSpec], actor: str, reason: str = "") -> Outcome:
    """Make the tree what is declared; a share that is not in it any more is retired: its jobs go on."""
    await _lock(conn)
    before = await shares(conn)
    names = [spec.name for spec in wanted]
    await conn.execute(
        """
        INSERT INTO share (name, value, match, place)
        SELECT * FROM unnest($1::text[], $2::float[], $3::jsonb[], $4::int[])
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, match = excluded.match, place = excluded.place,
            retired = false
        """,
        names,
        [spec.value for spec in wanted],
        [spec.match for spec in wanted],
        list(range(1, len(wanted) + 1)),
    )
    await conn.execute(
        """
        UPDATE share s SET parent_id = p.id
        FROM unnest($1::text[], $2::text[]) AS w (name, parent) LEFT JOIN share p ON p.name = w.parent
        WHERE s.name = w.name
        """,
        names,
        [spec.parent for spec in wanted],
    )
    await conn.execute("UPDATE share SET retired = true WHERE name <> ALL($1)", names)
    outcome = Outcome("apply", "shares", _changes(before, await shares(conn)))
    if not outcome.changed:
        return Outcome("apply", "shares", note="the shares are so already: nothing changes")
    return await journal.enter(conn, outcome, actor, reason)


async def set_value(conn: Connection, name: str, value: float, actor: str, reason: str = "") -> Outcome:
    """Give one share another value; the outcome has all the targets that it moves."""
    await _lock(conn)
    before = await shares(conn)
    share = _named(before, name)
    await conn.execute("UPDATE share SET value = $2 WHERE id = $1", share.id, value)
    outcome = Outcome("set", f"share {name}", _changes(before, await shares(conn)))
    if not outcome.changed:
        return Outcome("set", f"share {name}", note=f"the value of {name} is {value:g} already: nothing changes")
    return await journal.enter(conn, outcome, actor, reason)


async def may_set(conn: Connection, caller: Caller, name: str) -> None:
    """Admins set any value, leaders those below a share that is their group's alone."""
    if caller.kind is TokenKind.ADMIN:
        return
    tree = await shares(conn)
    share = _named(tree, name)
    for above in path({each.id: each for each in tree}, share.id)[1:]:
        group = above.match.get("group")
        if group and await groups.leads(conn, group, caller.subject):
            return
    raise Forbidden(
        f"{caller.subject} may not set the value of {name}",
        object=f"share {name}",
        hint="ask an admin; who leads a group sets the values below the group's own share",
    )


async def _lock(conn: Connection) -> None:
    """One change of the tree at a time; tasks are submitted meanwhile."""
    await conn.execute("LOCK TABLE share IN SHARE ROW EXCLUSIVE MODE")


def _named(tree: Sequence[Share], name: str) -> Share:
    for share in tree:
        if share.name == name and not share.retired:
            return share
    known = ", ".join(share.name for share in tree if not share.retired)
    raise NotFound(f"there is no share {name}", object=f"share {name}", hint=f"known are {known}")


def _changes(before: Sequence[Share], after: Sequence[Share]) -> dict[str, list[Any]]:
    """Each field of each share that differs, its part of the whole among them (percent)."""
    old, new = _facts(before), _facts(after)
    return {field: [old.get(field), new.get(field)] for field in {**old, **new} if old.get(field) != new.get(field)}


def _facts(tree: Sequence[Share]) -> dict[str, Any]:
    names = {share.id: share.name for share in tree}
    parts = targets(tree)
    found: dict[str, Any] = {}
    for share in tree:
        if share.retired:
            continue
        found[f"{share.name}.target_percent"] = round(100 * parts[share.id], 3)
        found[f"{share.name}.value"] = share.value
        found[f"{share.name}.parent"] = names[share.parent] if share.parent is not None else None
        found[f"{share.name}.match"] = dict(share.match)
    return found
