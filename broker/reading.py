"""Reading storages in the server: in a few threads of their own, so that nothing else waits for slow ones."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

THREADS = 8
"""Files that the server reads at a time for all who upload, verify and test; the others wait."""

Args = ParamSpec("Args")
Result = TypeVar("Result")

_threads = ThreadPoolExecutor(THREADS, "storage")


async def in_thread(work: Callable[Args, Result], *args: Args.args, **named: Args.kwargs) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: work(*args, **named))
