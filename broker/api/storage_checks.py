"""Storages looked at: a self-test with a small file, and the comparison of their listing with the catalog."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from prodchain.catalog import audit, probe, sites

from ..connections import connection
from ..reading import in_thread
from .documents import Shape
from .parts import Document, parts_of
from .policies import Admin

router = APIRouter(prefix="/api/storages", tags=["sites"])

Name = Annotated[str, Path(min_length=1, max_length=100, description="the storage's name")]


class StepView(Shape):
    name: str
    ok: bool
    seconds: float
    words: str
    hint: str


class TestView(Shape):
    storage: str
    ok: bool
    steps: list[StepView]


class AuditWish(BaseModel):
    """``declare``: lost and wrong copies are bad; ``give_up``: dark files are deleted after a day."""

    model_config = ConfigDict(extra="forbid")

    declare: bool = False
    give_up: bool = False


class OddView(Shape):
    path: str
    there: int | None
    known: int | None


class AuditView(Shape):
    storage: str
    began: datetime
    listed: int
    registered: int
    clean: bool
    counts: dict[str, int]
    files: dict[str, list[OddView]]
    declared_bad: int
    given_up: int


@router.post("/{name}/test", summary="Try everything at it", responses={200: {"model": TestView}})
async def test(name: Name, caller: Admin, request: Request) -> Document:
    """Puts, reads, lists and deletes a small file; the first step that fails is the last."""
    async with connection(parts_of(request).pool) as conn:
        url = (await sites.storage(conn, name)).url
    steps = await in_thread(lambda: [asdict(step) for step in probe.probe(url)])
    return Document({"storage": name, "ok": all(step["ok"] for step in steps), "steps": steps})


@router.post("/{name}/audit", summary="Compare its listing", responses={200: {"model": AuditView}})
async def compare(name: Name, wish: AuditWish, caller: Admin, request: Request) -> Document:
    """Reads the whole listing of the storage, which may take long."""
    pool = parts_of(request).pool
    found = await audit.compare(pool, name, actor=caller.subject, declare=wish.declare, give_up=wish.give_up)
    return Document(asdict(found) | {"clean": found.clean})
