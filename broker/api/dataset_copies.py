"""Copies of datasets: wished for, declared bad, read again."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from prodchain.catalog import badreplicas, plans

from .. import dataset_views, subscription_views, verifying
from ..errors import Forbidden
from ..members import file_ids, refuse_shared
from ..models import TokenKind
from ..storage_views import named
from .dataset_changes import Change, own
from .documents import BadCopiesView, PlansView, VerifiedView
from .parameters import LARGEST_ID, DidText
from .parts import Document, Write, parts_of, tried
from .policies import User

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

Expression = Annotated[str, Field(min_length=1, max_length=1000)]
DAY_S = 86400
PRIORITY = 100
"""The highest that people give their wishes; what is more urgent is for admins to judge."""


class Wish(Change):
    """Copies at the storages that fit ``to``; ``standing``: what joins later follows."""

    to: Expression
    sources: Expression | None = None
    standing: bool = True
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    lifetime_s: Annotated[int | None, Field(ge=1, le=3650 * DAY_S)] = None


class Bad(Change):
    """Files of the dataset whose copies at the storage are damaged or gone."""

    storage: str
    files: Annotated[list[str], Field(min_length=1, max_length=10_000)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Verification(BaseModel):
    """Copies to read: of one storage or all, from file id ``after`` on."""

    model_config = ConfigDict(extra="forbid")

    at: str | None = None
    after: Annotated[int | None, Field(ge=0, le=LARGEST_ID)] = None


@router.post("/{did}/subscribe", summary="Wish for complete copies", responses={200: {"model": PlansView}})
async def subscribe(did: DidText, wish: Wish, caller: User, conn: Write) -> Document:
    """What has to be moved, about how long that takes and what the quota says; wished for at all storages or none."""
    if wish.priority > PRIORITY and caller.kind is not TokenKind.ADMIN:
        raise Forbidden(
            f"priority {wish.priority} is for admins",
            object=f"dataset {did}",
            hint=f"{PRIORITY} is the highest of users' wishes; ask an admin if it is more urgent than others'",
        )
    found = await dataset_views.find(conn, did)
    lifetime = timedelta(seconds=wish.lifetime_s) if wish.lifetime_s is not None else None
    made = await plans.subscribe(
        conn,
        dataset_views.id_of(found),
        wish.to,
        owner=caller.subject,
        standing=wish.standing,
        sources=wish.sources,
        priority=wish.priority,
        expires_at=datetime.now(UTC) + lifetime if lifetime is not None else None,
        dry_run=wish.dry_run,
    )
    return Document({"plans": [subscription_views.plan(each) for each in made]})


@router.post("/{did}/bad", summary="Declare copies damaged or gone", responses={200: {"model": BadCopiesView}})
async def bad(did: DidText, what: Bad, caller: User, conn: Write) -> Document:
    """Each is replaced from a good copy (recovering), or the file is lost; what is not there is left out.

    Files that are in datasets of others too are for admins.
    """
    async with tried(conn, what.dry_run):
        found = await own(conn, caller, did)
        storage = await named(conn, what.storage)
        ids = await file_ids(conn, found.scope, what.files, dataset_id=dataset_views.id_of(found))
        if caller.kind is not TokenKind.ADMIN:
            await refuse_shared(conn, caller.subject, ids)
        names = dict(zip(ids, what.files, strict=True))
        declared = await badreplicas.bad(conn, storage.id or 0, ids, caller.subject, what.reason)
        items = [{"file": names[each.file_id], "storage": storage.name, "state": each.state} for each in declared]
        return Document({"items": items})


@router.post("/{did}/verify", summary="Read copies again and compare them", responses={200: {"model": VerifiedView}})
async def verify(did: DidText, which: Verification, caller: User, request: Request) -> Document:
    """As many files as can be read in some seconds; `next` as `after` goes on. Changes nothing."""
    pool = parts_of(request).pool
    return Document(await verifying.verify(pool, did, at=which.at, after=which.after or 0))
