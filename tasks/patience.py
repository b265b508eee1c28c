"""Questions to the broker that outlast its restarts and outages."""

import asyncio
from collections.abc import Awaitable, Callable
from logging import Logger, LoggerAdapter
from typing import Any, TypeVar

from prodchain.broker.client import ApiError, Client, TimedOut, Unreachable

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

T = TypeVar("T")
Log = Logger | LoggerAdapter[Any]


def is_outage(error: ApiError) -> bool:
    """Whether the broker may answer the same question later; a refusal (4xx) or a defect (500) stays one."""
    return isinstance(error, Unreachable | TimedOut) or error.status in (429, 502, 503, 504)


def ask(question: Callable[[Client], T]) -> T:
    """The answer to one question. Address and token are read anew: a restart may have changed either."""
    with Client.from_settings() as client:
        return question(client)


async def ask_patiently(question: Callable[[Client], T], check: Callable[[], Awaitable[None]], log: Log) -> T:
    """The answer to a question that may be repeated, asked again for as long as the broker is away.

    There is no time limit: jobs go on without us, a run that waits is seen as such, and giving up would make
    somebody resume every chain after a long maintenance. ``check`` may raise to end the wait (cancelled run).
    """
    wait = FIRST_WAIT_S
    while True:
        try:
            return await asyncio.to_thread(ask, question)
        except ApiError as error:
            if not is_outage(error):
                raise
            log.warning("broker away (%s), next try in %.0f s: %s", error.object, wait, error)
        await check()
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
