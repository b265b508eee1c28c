"""Quotas of bytes as work meets them: a task waits while its account has no room at the task's destination.

The catalog counts (catalog.quotas). Outputs of jobs that run are registered and sent home in any case.
"""

from collections.abc import Collection, Mapping

from prodchain.catalog import quotas
from prodchain.catalog.quotas import QuotaUse, in_words

from . import groups
from .database import Connection
from .errors import BadRequest
from .workquotas import GO_ON, at_least, subject_of

GROUP = "group:"


def account_of(owner: str, group: str) -> str:
    """The account of a task's data, as quotas of bytes name it."""
    return f"{GROUP}{group}" if group else owner


def subject(account: str) -> str:
    """The same as quotas of work name it."""
    return account if account.startswith(GROUP) else subject_of(account, "")


def stop(use: QuotaUse, *, stopped: bool) -> str:
    """Why tasks that fill the storage get no more jobs for now, and when they go on; empty: they get them.

    Tasks that are ``stopped`` go on when the use has fallen well below the limit.
    """
    if use.used + use.moving < at_least(use.limit, GO_ON if stopped else 1.0):
        return ""
    used = f"{in_words(use.used)} of {in_words(use.limit)} at {use.storage} are used"
    moving = f", {in_words(use.moving)} more are on their way" if use.moving else ""
    then = "it goes on when something there is deleted or the limit is raised"
    return f"quota of {subject(use.owner)}: {used}{moving}; {then}"


def enough(use: QuotaUse) -> int:
    """A limit with which tasks that are stopped go on, if nothing is added."""
    return int((use.used + use.moving) / GO_ON) + 1


def too_much(use: QuotaUse) -> int:
    """Bytes that must go before tasks that are stopped go on."""
    return use.used + use.moving - at_least(use.limit, GO_ON) + 1


async def accounts(conn: Connection) -> set[str]:
    """Those that have a quota somewhere."""
    return {row["owner"] for row in await conn.fetch("SELECT DISTINCT owner FROM quota")}


async def uses(conn: Connection, of: Collection[str]) -> Mapping[tuple[str, int], QuotaUse]:
    """Quotas of these accounts, by account and storage."""
    found = await quotas.of_many(conn, of) if of else []
    return {(use.owner, use.storage_id): use for use in found}


async def at(conn: Connection, owner: str, group: str, storage_id: int) -> QuotaUse | None:
    """The quota that the data of a task counts in at a storage; none: it has none."""
    return next(iter(await quotas.of(conn, account_of(owner, group), storage_id)), None)


async def notice(conn: Connection, owner: str, group: str, storage_id: int) -> str:
    """What somebody who submits should know: that the work will wait, and why; empty if it will not."""
    use = await at(conn, owner, group, storage_id)
    return "" if use is None else stop(use, stopped=False)


async def account_named(conn: Connection, text: str, *, limited: bool) -> str:
    """The account that somebody names: a user, with or without ``user:``, or ``group:NAME``.

    Raises BadRequest for what is no account, NotFound where a group that nobody is in would be ``limited``.
    """
    account = text.removeprefix("user:")
    kind, _, name = subject(account).partition(":")
    if name in ("", "*"):
        raise BadRequest(
            f"there is no account {text} for bytes",
            object=text,
            hint="name one user, or group:NAME: each has a quota",
        )
    if limited and kind == "group":
        await groups.refuse_unknown(conn, name)
    return account
