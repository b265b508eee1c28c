"""Rules for failed jobs: read, tried on a message, put in force."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..recovery import book
from ..recovery.rules import Failure, Run, decide
from ..requirements import Requirement
from .documents import RetryView, RulesView
from .ordering import ANSWER, Declaration, carried_out
from .parts import Document, Read, Write
from .policies import READER, Admin, actor_of

router = APIRouter(prefix="/api/rules", tags=["rules"])


@router.get("", dependencies=[READER], summary="The rules in force", responses={200: {"model": RulesView}})
async def show(conn: Read) -> Document:
    found = await book.current(conn)
    return Document(
        {
            "number": found.number,
            "text": found.text,
            "rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in found.rules],
        }
    )


@router.post("", summary="Put other rules in force", responses=ANSWER)
async def apply(rules: Declaration, caller: Admin, conn: Write) -> Document:
    return await carried_out(
        conn, rules, lambda: book.apply(conn, rules.text, actor_of(caller), rules.reason, rules.name or "rules")
    )


@router.get(
    "/test",
    dependencies=[READER],
    summary="Which rule would decide on an error, and what would follow",
    responses={200: {"model": RetryView}},
)
async def test(
    conn: Read,
    message: Annotated[str, Query(max_length=4000)],
    exit_code: int | None = None,
    step: Annotated[str, Query(max_length=40)] = "",
    owner: Annotated[str, Query(max_length=200)] = "",
    attempt: Annotated[int, Query(ge=1, le=1000)] = 1,
    max_attempts: Annotated[int, Query(ge=1, le=50)] = 3,
) -> Document:
    """As for a first run of one core and 1000 MB that may be cut in two."""
    run = Run(attempt, 0, max_attempts, Requirement(), divisible=True)
    retry = decide(Failure(message, exit_code, step, owner), run, (await book.current(conn)).rules)
    return Document({"rule": retry.rule, "again": retry.again, "reason": retry.reason})
