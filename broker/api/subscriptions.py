"""Wishes for complete copies, and quotas."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from prodchain.catalog import quotas, subscriptions, withdrawals
from prodchain.catalog.models import SubscriptionState

from .. import bytequotas, dataset_views, journal, subscription_views
from ..database import wake
from ..journal import Outcome
from ..storage_views import named
from .documents import Page, QuotaView, SubscriptionSummaryView, SubscriptionView
from .parameters import AfterId, AfterMark, Id, Limit, Word
from .parts import Document, Read, Write, page, tried
from .policies import READER, Admin, User, actor_of, only_own

router = APIRouter(prefix="/api", tags=["subscriptions"])

State = Annotated[SubscriptionState | None, Query()]


@router.get(
    "/subscriptions",
    dependencies=[READER],
    summary="Wishes, newest first",
    responses={200: {"model": Page[SubscriptionView]}},
)
async def listing(
    conn: Read,
    dataset: Word = None,
    at: Word = None,
    state: State = None,
    owner: Word = None,
    limit: Limit = 100,
    after: AfterId = None,
) -> Document:
    """With how much of each is there, and what fails."""
    of = dataset_views.id_of(await dataset_views.find(conn, dataset)) if dataset is not None else None
    return page(
        await subscription_views.subscriptions(
            conn, dataset_id=of, at=at, state=state, owner=owner, limit=limit, after=after
        )
    )


@router.get(
    "/subscriptions/summary",
    dependencies=[READER],
    summary="What is active, missing and failing, by kind",
    responses={200: {"model": SubscriptionSummaryView}},
)
async def summary(conn: Read) -> Document:
    return Document(await subscription_views.summary(conn))


@router.get(
    "/subscriptions/{id}", dependencies=[READER], summary="One wish", responses={200: {"model": SubscriptionView}}
)
async def one(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await subscription_views.subscription(conn, id))


@router.delete("/subscriptions/{id}", summary="End a wish", responses={200: {"model": SubscriptionView}})
async def cancel(id: Id, caller: User, conn: Write) -> Document:  # noqa: A002
    """What is queued for nobody else is not copied; what has arrived stays."""
    wish = await subscriptions.by_id(conn, id)
    only_own(caller, wish.owner, f"subscription {id}")
    await withdrawals.cancel(conn, wish.dataset_id, wish.storage_id, caller.subject)
    return Document(await subscription_views.subscription(conn, id))


class QuotaWish(BaseModel):
    """Most bytes of the datasets of a user or of group:NAME at a storage; null: no limit."""

    model_config = ConfigDict(extra="forbid")

    owner: Annotated[str, Field(min_length=1, max_length=100)]
    storage: str
    limit_bytes: Annotated[int | None, Field(ge=0, le=2**63 - 1)]
    dry_run: bool = False


@router.get(
    "/quotas", dependencies=[READER], summary="Quotas and their use", responses={200: {"model": Page[QuotaView]}}
)
async def quota_list(conn: Read, owner: Word = None, limit: Limit = 1000, after: AfterMark = None) -> Document:
    return page(await subscription_views.quotas(conn, owner, limit=limit, after=after))


@router.post("/quotas", summary="Set a quota, or take it away", responses={200: {"model": QuotaView}})
async def set_quota(wish: QuotaWish, caller: Admin, conn: Write) -> Document:
    async with tried(conn, wish.dry_run):
        account = await bytequotas.account_named(conn, wish.owner, limited=wish.limit_bytes is not None)
        storage = await named(conn, wish.storage)
        assert storage.id is not None
        before = (await subscription_views.quota(conn, account, storage.name))["limit_bytes"]
        if wish.limit_bytes is None:
            await quotas.remove(conn, account, storage.id, caller.subject)
        else:
            await quotas.set(conn, account, storage.id, wish.limit_bytes, caller.subject)
        if before != wish.limit_bytes:
            changes = {f"bytes at {storage.name}": [before, wish.limit_bytes]}
            outcome = Outcome("quota set", bytequotas.subject(account), changes)
            await journal.enter(conn, outcome, actor_of(caller), "")
            await wake(conn, "throttle")
        return Document(await subscription_views.quota(conn, account, storage.name))
