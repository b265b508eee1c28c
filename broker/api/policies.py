"""Who may call what. Every route declares exactly one policy; a test walks all routes and reads it.

    public   anybody
    reader   anybody where reading is free (settings.public_read), else every user
    user     people and their programs: users and admins
    pilot    pilots, each for its own queue
    admin    admins

Tokens come in the header. Pages may bring theirs in a cookie, but only to read: no other site's form can
make a browser do something here.
"""

from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.types import Scope

from .. import groups
from ..database import Connection
from ..errors import Forbidden
from ..models import TokenKind
from ..tokens import Caller, TokenMissing, Tokens, TokenUnknown
from .parts import parts_of

COOKIE = "prodchain_token"


class Policy(StrEnum):
    PUBLIC = "public"
    READER = "reader"
    USER = "user"
    PILOT = "pilot"
    ADMIN = "admin"


ALLOWED = {
    Policy.READER: (TokenKind.USER, TokenKind.ADMIN),
    Policy.USER: (TokenKind.USER, TokenKind.ADMIN),
    Policy.PILOT: (TokenKind.PILOT,),
    Policy.ADMIN: (TokenKind.ADMIN,),
}


class Open:
    """The public policy: nothing is checked."""

    policy = Policy.PUBLIC

    async def __call__(self) -> None:
        return None


class Access(SecurityBase):
    """A policy that looks at the caller's token."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.scheme_name = "token"
        self.model = HTTPBearer(description="`Authorization: Bearer TOKEN`")

    async def __call__(self, request: Request) -> Caller | None:
        parts = parts_of(request)
        free = self.policy is Policy.READER and parts.settings.public_read
        header = request.headers.get("authorization")
        token = bearer(header)
        if token is None and self.policy is Policy.READER and request.method in ("GET", "HEAD"):
            token = request.cookies.get(COOKIE)
        if free and header is None:
            return None
        return await self.admit(parts.tokens, token, request.scope, free=free)

    async def admit(self, tokens: Tokens, token: str | None, scope: Scope, *, free: bool = False) -> Caller:
        """Whose token it is; raises Forbidden for one of another kind, where the way is not ``free``."""
        caller = await tokens.check(token)
        scope["state"]["caller"] = caller  # for the access log
        if not free and caller.kind not in ALLOWED[self.policy]:
            raise Forbidden(
                f"a {caller.kind} token does not allow this",
                object=caller.subject,
                hint=f"this needs a token of kind {' or '.join(ALLOWED[self.policy])}",
            )
        return caller


def bearer(header: str | None) -> str | None:
    """The token in an Authorization header, None without one; raises TokenUnknown for any other scheme."""
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise TokenUnknown(
            "the Authorization header brings no bearer token",
            object="Authorization",
            hint="send `Authorization: Bearer TOKEN`",
        )
    if not token.strip():
        raise TokenMissing(
            "the Authorization header is empty", object="Authorization", hint="send `Authorization: Bearer TOKEN`"
        )
    return token.strip()


PUBLIC = Depends(Open())
READER = Depends(Access(Policy.READER))
User = Annotated[Caller, Depends(Access(Policy.USER))]
PilotCaller = Annotated[Caller, Depends(Access(Policy.PILOT))]
Admin = Annotated[Caller, Depends(Access(Policy.ADMIN))]


def actor_of(caller: Caller) -> str:
    """As stories and the journal name who did something."""
    return f"user:{caller.subject}"


async def may_steer(conn: Connection, caller: Caller, owner: str, group: str, what: str) -> None:
    """Owners steer their tasks, leaders those of their group, admins all."""
    if not (group and caller.kind is TokenKind.USER and await groups.leads(conn, group, caller.subject)):
        only_own(caller, owner, what, group)


def only_own(caller: Caller, owner: str, what: str, group: str = "") -> None:
    """Users act on what is theirs, admins on all."""
    if caller.kind is not TokenKind.ADMIN and caller.subject != owner:
        raise Forbidden(
            f"{what} belongs to {owner}, not to {caller.subject}",
            object=what,
            hint=f"ask {owner}{f', one who leads {group}' if group else ''} or an admin",
        )
