"""Times that questions about the past name."""

from datetime import datetime

from .database import Connection
from .errors import BadRequest


async def past(conn: Connection, at: datetime | None) -> datetime:
    """The time that is asked about (with its zone), now if none is; BadRequest for one to come."""
    moment: datetime = await conn.fetchval("SELECT clock_timestamp()")
    if at is not None and at > moment:
        raise BadRequest(
            f"{at:%Y-%m-%d %H:%M:%S %Z} is in the future", object="at", hint="ask for a time that was, or for now"
        )
    return at or moment
