"""Working groups: who is in them, who leads them, and so who may run and steer for them."""

from . import journal
from .database import Connection
from .errors import Forbidden, unknown
from .journal import Outcome, View
from .models import TokenKind
from .tokens import Caller


async def leads(conn: Connection, group: str, user: str) -> bool:
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM membership WHERE group_name = $1 AND user_name = $2 AND leads)", group, user
    )
    return found


async def check(conn: Connection, owner: str, group: str, caller: Caller) -> None:
    """Raises Forbidden where the owner of a request is not in the group that it is for; admins may name any."""
    if not group or caller.kind is TokenKind.ADMIN:
        return
    members = await _members(conn, group)
    if owner not in members:
        who = " or ".join(name for name, leader in members.items() if leader) or "an admin"
        raise Forbidden(
            f"{owner} is not in the group {group}" if members else f"there is no group {group}",
            object=f"group {group}",
            hint=f"ask {who} to add you" if members else "see `prodchain group ls`",
        )


async def add(conn: Connection, group: str, user: str, actor: str, reason: str = "", *, leader: bool) -> Outcome:
    """Make the user a member, or a leader, of the group; a group is there as long as it has members."""
    before = (await _members(conn, group)).get(user)
    if before == leader:
        return Outcome("add", f"group {group}", note=f"{user} {_is(before)} {group} already: nothing changes")
    await conn.execute(
        """
        INSERT INTO membership (group_name, user_name, leads) VALUES ($1, $2, $3)
        ON CONFLICT (group_name, user_name) DO UPDATE SET leads = $3
        """,
        group,
        user,
        leader,
    )
    changes = {user: [_role(before), _role(leader)]}
    return await journal.enter(conn, Outcome("add", f"group {group}", changes), actor, reason)


async def remove(conn: Connection, group: str, user: str, actor: str, reason: str = "") -> Outcome:
    """Take the user out of the group; tasks that were submitted for it go on."""
    before = (await _members(conn, group)).get(user)
    if before is None:
        return Outcome("remove", f"group {group}", note=f"{user} is not in {group}: nothing changes")
    await conn.execute("DELETE FROM membership WHERE group_name = $1 AND user_name = $2", group, user)
    changes = {user: [_role(before), None]}
    return await journal.enter(conn, Outcome("remove", f"group {group}", changes), actor, reason)


async def refuse_unknown(conn: Connection, name: str) -> None:
    """Raises NotFound for a group that nobody is in: what is said of it would hold for nobody."""
    if not await _members(conn, name):
        known = [row["name"] for row in await conn.fetch("SELECT DISTINCT group_name AS name FROM membership")]
        raise unknown("group", name, sorted(known))


async def groups(
    conn: Connection, *, user: str | None = None, limit: int = 1000, after: str | None = None
) -> tuple[list[View], str | None]:
    """Groups with their members, all or those of a user; the second value continues the list (``after``)."""
    rows = await conn.fetch(
        """
        SELECT group_name AS name, array_agg(user_name ORDER BY user_name) FILTER (WHERE leads) AS leaders,
               array_agg(user_name ORDER BY user_name) FILTER (WHERE NOT leads) AS members
        FROM membership WHERE ($1::text IS NULL OR group_name > $1)
          AND ($2::text IS NULL OR group_name IN (SELECT group_name FROM membership WHERE user_name = $2))
        GROUP BY group_name ORDER BY group_name LIMIT $3
        """,
        after,
        user,
        limit + 1,
    )
    views = [_view(row["name"], row["leaders"] or [], row["members"] or []) for row in rows[:limit]]
    return views, views[-1]["name"] if len(rows) > limit else None


async def group(conn: Connection, name: str) -> View:
    members = await _members(conn, name)
    if not members:
        raise unknown("group", name)
    return _view(name, [who for who in members if members[who]], [who for who in members if not members[who]])


def _view(name: str, leaders: list[str], members: list[str]) -> View:
    return {"name": name, "leaders": leaders, "members": members}


async def _members(conn: Connection, group: str) -> dict[str, bool]:
    """By name, in order: whether they lead."""
    rows = await conn.fetch("SELECT user_name, leads FROM membership WHERE group_name = $1 ORDER BY user_name", group)
    return {row["user_name"]: row["leads"] for row in rows}


def _role(leader: bool | None) -> str | None:
    return None if leader is None else "leader" if leader else "member"


def _is(leader: bool | None) -> str:
    return "leads" if leader else "is in"
