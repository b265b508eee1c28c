"""The journal of orders, for everybody who may read."""

from fastapi import APIRouter

from .. import journal
from .documents import JournalView, Page
from .parameters import AfterId, Limit, Word
from .parts import Document, Read, page
from .policies import READER

router = APIRouter(prefix="/api/journal", tags=["journal"])


@router.get(
    "",
    dependencies=[READER],
    summary="What people ordered, newest first",
    responses={200: {"model": Page[JournalView]}},
)
async def listing(
    conn: Read,
    object: Word = None,  # noqa: A002
    by: Word = None,
    verb: Word = None,
    limit: Limit = 100,
    after: AfterId = None,
) -> Document:
    """``object`` as in `task 10000001` or `queue SITE-A-BATCH`, ``by`` a user's name."""
    return page(await journal.entries(conn, object=object, by=by, verb=verb, limit=limit, after=after))
