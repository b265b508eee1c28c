"""The background agents, one process: ``python -m prodchain.broker.agents``.

Each agent is a function that does what there is to do in transactions of its own and says how much it was. It runs
when NOTIFY says that there may be work, and every second in any case: news may be lost, work may not.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from prodchain.catalog import deletion, folding, purging, queueing, recount, slices, withdrawals
from prodchain.catalog.mover import Mover
from prodchain.catalog.rucio import recorder
from prodchain.catalog.rucio.client import Client
from prodchain.catalog.stager import Stager

from . import (
    canaries,
    decisions,
    generation,
    hooks,
    leases,
    order_slices,
    rebrokerage,
    throttling,
    watchdogs,
    watching,
)
from .bunches import Pace
from .database import Connection, Pool, connect, listen
from .errors import BrokerError
from .patience import Placer
from .settings import Settings, load

log = logging.getLogger("prodchain.agents")
Step: TypeAlias = Callable[[], Awaitable[int]]
IDLE_S = 1.0
FOLD_S = 30.0
STUCK_S = 5.0
HEALTH_S = 2.0
THROTTLE_S = 5.0
STAGE_S = 5.0
EXPIRE_S = 20.0
FORGET_S = 60.0
RECOUNT_S = 600.0
"""How often it asks whether a day has gone by."""


class Agents:
    """The loops over one pool; ``stop`` lets each finish its transaction."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._mover = Mover(pool, f"{socket.gethostname()}:{os.getpid()}", settings.movers, settings.lease_s)
        self._placer = Placer(Pace(settings.heartbeat_s, settings.lease_s))
        self._watch = canaries.Watch(canaries.limits_of(settings))
        self._stopping = asyncio.Event()
        self._wake: dict[str, asyncio.Event] = {}

    def stop(self) -> None:
        self._stopping.set()
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Run all agents until ``stop``."""
        listener = asyncio.create_task(listen(self._pool, "prodchain_work", self._heard))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop("generate", self._each(generation.growing_tasks, generation.generate)))
            group.create_task(self._loop("place", self._each(self._placer.due, self._placer.place)))
            group.create_task(self._loop("move", self._mover.step))
            group.create_task(self._loop("stage", Stager(self._pool).step, STAGE_S))
            group.create_task(self._loop("clean", self._mover.clean))
            group.create_task(self._loop("close", self._each(watching.ending, watching.complete)))
            group.create_task(self._loop("watch", self._once(leases.reclaim)))
            group.create_task(self._loop("stuck", self._once(self._stuck), STUCK_S))
            group.create_task(self._loop("health", self._each(self._watch.due, self._watch.look), HEALTH_S))
            group.create_task(self._loop("rebroker", self._rebroker, STUCK_S))
            group.create_task(self._loop("sweep", self._each(watching.left_behind, watching.sweep)))
            group.create_task(self._loop("orders", self._each(order_slices.unfinished, order_slices.carry_on)))
            group.create_task(self._loop("throttle", self._once(throttling.throttle), THROTTLE_S))
            group.create_task(self._loop("fold", self._once(watching.fold)))
            group.create_task(self._loop("forget", self._once(self._forget), FORGET_S))
            group.create_task(self._loop("end wishes", self._each(withdrawals.expired, withdrawals.expire)))
            group.create_task(self._loop("queue", self._each(slices.wishes, slices.advance)))
            group.create_task(self._loop("fill versions", self._each(slices.versions, slices.fill)))
            group.create_task(self._loop("withdraw", self._once(queueing.sweep), FOLD_S))
            group.create_task(self._loop("fold use", self._once(_fold_use), FOLD_S))
            group.create_task(self._loop("expire", self._once(deletion.Expiry().step), EXPIRE_S))
            group.create_task(self._loop("purge", self._once(purging.purge), EXPIRE_S))
            group.create_task(self._loop("reap", self._each(purging.reapable, purging.reap), EXPIRE_S))
            group.create_task(self._loop("recount", partial(recount.nightly, self._pool), RECOUNT_S))
            if self._settings.rucio_url:
                group.create_task(self._record())
        listener.cancel()
        await self._mover.close()

    async def _record(self) -> None:
        async with Client(self._settings.rucio_url, self._settings.rucio_account) as client:
            await self._loop("record", recorder.Recorder(self._pool, client).step)

    async def _loop(self, name: str, step: Step, idle_s: float = IDLE_S) -> None:
        wake = self._wake.setdefault(name, asyncio.Event())
        while not self._stopping.is_set():
            wake.clear()
            done = 0
            try:
                done = await step()
                await self._alive(name)
            except Exception:  # whatever it was: an agent that stops would stop all work
                log.exception("agent %s", name)
            if not done:
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), idle_s)

    async def _alive(self, name: str) -> None:
        await self._pool.execute(
            "INSERT INTO agent (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET seen_at = now()", name
        )

    def _once(self, work: Callable[[Connection], Awaitable[int]]) -> Step:
        async def run() -> int:
            async with self._pool.acquire() as conn, conn.transaction():
                return await work(conn)

        return run

    def _each(
        self, find: Callable[[Connection], Awaitable[list[int]]], work: Callable[[Connection, int], Awaitable[int]]
    ) -> Step:
        """A transaction for each task (or job), so that one that cannot be served does not stop the others."""

        async def run() -> int:
            done = 0
            async with self._pool.acquire() as conn:
                for number in await find(conn):
                    try:
                        async with conn.transaction():
                            done += await work(conn, number)
                    except Exception:
                        if conn.is_closed():
                            raise
                        log.exception("%s %s", work.__name__, number)
            return done

        return run

    async def _forget(self, conn: Connection) -> int:
        await canaries.forget(conn, canaries.limits_of(self._settings))
        return await decisions.forget(conn, self._settings.decisions_days)

    async def _rebroker(self) -> int:
        """A transaction for each watchdog."""
        sent = 0
        for dog in rebrokerage.WATCHDOGS:
            async with self._pool.acquire() as conn, conn.transaction():
                sent += await rebrokerage.look(conn, self._settings, dog)
        return sent

    async def _stuck(self, conn: Connection) -> int:
        return await watchdogs.look(conn, self._settings)

    def _heard(self, payload: str) -> None:
        event = self._wake.get(payload)
        if event is not None:
            event.set()


async def _fold_use(conn: Connection) -> int:
    """All is summed up in one turn; what changes meanwhile waits for the next."""
    await folding.fold(conn)
    return 0


async def serve(settings: Settings) -> None:
    """Run the agents until SIGTERM or SIGINT."""
    hooks.install()
    pool = await connect(settings.database_url)
    await recorder.switch(pool, settings.rucio_url)
    agents = Agents(pool, settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agents.stop)
    log.info("agents run, pid %s", os.getpid())
    await agents.run()
    await pool.close()


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout
    )
    try:
        asyncio.run(serve(load()))
    except BrokerError as error:
        sys.exit(f"error: {error}\nobject: {error.object}\nhint: {error.hint}")


if __name__ == "__main__":
    main()
