"""What comes while too much is under way is refused: an answer that costs little, one line of the log for many."""

import asyncio
import logging
from collections import Counter

from starlette.types import Receive, Scope, Send

from ..errors import Busy
from .problems import problem

RETRY_AFTER_S = 1
"""When to come again; whoever waits adds a random part."""
HELD_S = 1.0
"""The refusal waits for that long: who comes again at once would cost as much as the work of others."""
TELL_S = 10.0

log = logging.getLogger("prodchain.server")


class Refusals:
    """Counts them, and tells how many there were every ten seconds in which there are any."""

    def __init__(self) -> None:
        self._refused: Counter[str] = Counter()

    async def answer(self, error: Busy, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._refused:
            asyncio.get_running_loop().call_later(TELL_S, self._tell)
        self._refused[error.object] += 1
        await asyncio.sleep(HELD_S)
        headers = {
            "Retry-After": str(RETRY_AFTER_S),
            "X-Request-ID": request_id,
            "X-Content-Type-Options": "nosniff",
        }
        answer = problem(request_id, error.status, error.code, str(error), error.object, error.hint, headers)
        await answer(scope, receive, send)

    def _tell(self) -> None:
        refused, self._refused = self._refused, Counter()
        what = ", ".join(f"{calls} of {kind}" for kind, calls in refused.most_common())
        log.warning("overload: refused %s within %.0f s; who is refused comes again", what, TELL_S)
