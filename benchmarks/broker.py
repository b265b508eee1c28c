"""The broker's speed: ``python -m benchmarks.broker [--quick] [--json]``.

Everything that the broker means is on: tokens, policies, shares, matching, verdicts, events, counters, the catalog.
Pilots are wrk's threads, each with its own name; the server and PostgreSQL are those of the product, on this machine.
CPU figures are those of server and database; ratios are of runs one after the other.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg
from msgspec.json import encode as json_of

from prodchain.broker import reports
from prodchain.broker.database import BY_INDEX, connect
from prodchain.broker.matching.dispatcher import Dispatcher
from prodchain.broker.matching.rounds import MAX_JOBS
from prodchain.broker.reports import Report
from prodchain.pilot_agent.messages import Acquire, Stored, Update, Updates

from . import broker_submit, brokerage, peer
from .client import Caller
from .farm import Farm, Server, farm, furnished, rss_mb, serve
from .load import Load, load


class Sizes(NamedTuple):
    """How large and how long."""

    seconds: float
    turns: int
    """How often what is compared is measured, one after the other: this machine is faster now and slower then."""
    stock: int
    """Jobs that are ready before each run of pilots, or the queue would run dry."""
    deep_ready: int
    deep_all: int
    parked: int
    known: int
    crowd: int
    beats: int
    """Pilots whose heartbeats come in one bulk call."""
    task: int
    straight: int
    """Jobs that statements see through without HTTP."""
    peer: int


FULL = Sizes(10, 3, 200_000, 1_000_000, 10_000_000, 500, 100_000, 10_000, 2000, 100_000, 15_000, 20_000)
QUICK = Sizes(1, 1, 20_000, 20_000, 100_000, 50, 300, 1000, 500, 6_000, 2_000, 1_000)
FARMS, BULK = 12, MAX_JOBS
"""Pilots that speak in bulk calls, and the jobs in each call: as many as one may get."""
READY_S = 20_000
"""Jobs that they might see through in a second."""
SENDERS, ROUNDS = 8, 2
"""Farms that send heartbeats in bulk calls at once, and how many such calls each has."""
NODES, SLOTS = 16, 256
"""Pilots that see jobs through, and the jobs that they have at once together."""
THREADS = 4
"""Of the load generator where pilots may share one: a thread for each of them would take CPU that servers need."""


def say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


async def rush(park: Farm, server: Server, pilots: int, sizes: Sizes) -> Load:
    """Pilots that get a job with each call; once more, with more jobs, if there were too few."""
    stock = sizes.stock
    while True:
        await park.stock(stock)
        found = await load(park, server, "dispatch", pilots=pilots, seconds=sizes.seconds, threads=THREADS)
        if found.given >= found.calls - found.errors:
            return found
        stock = 2 * max(stock, found.calls)


async def dispatch(found: dict[str, Any], park: Farm, server: Server, bare: Server, sizes: Sizes) -> Load:
    say("dispatch by the server, and by the bare loop")
    # Prepares statements, and makes tokens known.
    warm = (load(park, each, "dispatch", pilots=8, seconds=1, threads=THREADS) for each in (server, bare))
    await asyncio.gather(*warm)
    at_8, bare_8 = [await rush(park, each, 8, sizes) for each in (server, bare)]
    turns = [[await rush(park, each, 64, sizes) for each in (server, bare)] for _ in range(sizes.turns)]
    at_64, limit = (_middle(runs) for runs in zip(*turns, strict=True))
    park.stop(bare)
    found |= {
        "dispatch_per_s_64": round(at_64.per_s),
        "dispatch_per_s_8": round(at_8.per_s),
        "dispatch_p99_ms_64": at_64.p99_ms,
        "dispatch_cpu_ms": round(at_64.cpu_ms, 4),
        "dispatch_cpu_ms_server": round(at_64.server_cpu_s / at_64.calls * 1e3, 4),
        "dispatch_cpu_ms_database": round(at_64.database_cpu_s / at_64.calls * 1e3, 4),
        "bare_per_s": round(limit.per_s),
        "bare_per_s_8": round(bare_8.per_s),
        "bare_cpu_ms": round(limit.cpu_ms, 4),
        "dispatch_ratio_to_bare": round(at_64.per_s / limit.per_s, 3),
        "dispatch_turns_per_s": [[round(run.per_s) for run in runs] for runs in turns],
    }
    return at_64


def _middle(runs: Sequence[Load]) -> Load:
    return sorted(runs, key=lambda run: run.per_s)[len(runs) // 2]


async def _warm(park: Farm, sizes: Sizes) -> Server:
    """A server that has prepared its statements."""
    server, _ = await asyncio.gather(asyncio.to_thread(serve, park), park.stock(sizes.stock))
    await load(park, server, "dispatch", pilots=8, seconds=1, threads=THREADS)
    return server


async def several(found: dict[str, Any], park: Farm, server: Server, one: Load, sizes: Sizes) -> None:
    """The same pilots, half of them at a second server."""
    say("dispatch by two servers")
    second = await _warm(park, sizes)
    await park.stock(sizes.stock)
    before = await park.given()
    two = await asyncio.gather(
        *(
            load(park, each, "dispatch", pilots=32, seconds=sizes.seconds, threads=THREADS // 2)
            for each in (server, second)
        )
    )
    park.stop(second)
    jobs = sum(each.given for each in two)
    found |= {
        "servers_1_per_s": round(one.per_s),
        "servers_2_per_s": round(sum(each.per_s for each in two)),
        "servers_2_cpu_ms": round(max(each.server_cpu_s + each.database_cpu_s for each in two) / jobs * 1e3, 4),
        # Pilots that were told of a job which is not given would be those of a job that went out twice.
        "servers_2_twice": max(0, jobs - (await park.given() - before)),
    }


async def depth(found: dict[str, Any], park: Farm, server: Server, sizes: Sizes) -> None:
    """The same at many times the jobs, in turns with a farm that has few, beside it."""
    say(f"dispatch with {sizes.deep_all:,} jobs, and with few")
    async with furnished(park.folder, park.database, "few") as few:
        flat, _ = await asyncio.gather(_warm(few, sizes), _deepen(park, sizes))
        parks = ((park, server), (few, flat))
        turns = [[await rush(*each, 64, sizes) for each in parks] for _ in range(sizes.turns)]
    deep, shallow = (_middle(runs) for runs in zip(*turns, strict=True))
    found |= {
        "dispatch_depth_ratio": round(deep.per_s / shallow.per_s, 3),
        "dispatch_depth_cpu_ratio": round(deep.cpu_ms / shallow.cpu_ms, 3),
        "dispatch_depth_turns_per_s": [[round(run.per_s) for run in runs] for runs in turns],
        "jobs_deep": sizes.deep_all,
    }


async def _deepen(park: Farm, sizes: Sizes) -> None:
    await park.fill(sizes.deep_all - sizes.deep_ready, "finished")
    await park.fill(max(0, sizes.deep_ready - await park.ready()))


async def wakeup(found: dict[str, Any], park: Farm, server: Server, sizes: Sizes) -> None:
    """Jobs that become ready one by one, while pilots are parked that nothing else fits."""
    say(f"jobs for {sizes.parked} parked pilots")
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def pilot(number: int) -> None:
        caller = Caller(server.url, park.token)
        try:
            await caller.post("/api/pilot/acquire", ask(f"parked-{number}", cores=100, memory_mb=10**6, wait_s=60))
            arrived.put_nowait(time.monotonic())
        finally:
            caller.close()

    await park.pool.execute("DELETE FROM ready")
    await park.pool.execute("SELECT pg_notify('prodchain_ready', $1)", str(park.queue))
    tasks = [asyncio.create_task(pilot(number)) for number in range(sizes.parked)]
    await asyncio.sleep(0.5 + sizes.parked / 250)
    calls = min(sizes.parked, 200)
    first = await park.fill(calls, "assigned")
    times = []
    for number in range(calls):
        start = time.monotonic()
        await park.pool.execute("UPDATE job SET state = 'activated' WHERE id = $1", first + number)
        times.append((await asyncio.wait_for(arrived.get(), 30) - start) * 1e3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    times.sort()
    found |= {
        "wakeup_p50_ms": round(statistics.median(times), 2),
        "wakeup_p99_ms": round(times[int(len(times) * 0.99) - 1], 2),
        "parked": sizes.parked,
    }


def ask(pilot: str, **more: Any) -> Acquire:
    offer = {"cores": 8, "memory_mb": 16_000, "remaining_s": 86_400, "wait_s": 0.0, "disk_mb": 20_000} | more
    return Acquire(pilot, uuid.uuid4().hex, "node", **offer)


def finished(job: int, lfn: str) -> Update:
    stored = Stored(lfn, str(uuid.UUID(int=job)), 10**6, f"{job % 2**32:08x}", 1000)
    return Update(job, "finished", exit_code=0, outputs=[stored], metrics={"cpu_s": 3000.5})


async def life(found: dict[str, Any], park: Farm, server: Server, sizes: Sizes) -> None:
    """Dispatch, running, finished with one output registered: one job per call, then in bulk, then without HTTP."""
    say("whole lives")
    before = await park.finished()
    one = await load(park, server, "life", pilots=SLOTS, seconds=sizes.seconds, threads=NODES)
    lives = await park.finished() - before  # in the database: a pilot that is told to discard calls as often
    found |= {
        "life_per_s": round(lives / one.seconds),
        "life_cpu_ms": round((one.server_cpu_s + one.database_cpu_s) / lives * 1e3, 4),
        "life_p99_ms": one.p99_ms,
        "life_slots": SLOTS,
    }

    seconds = sizes.seconds + 1  # what is under way at the end does not count
    await park.stock(round(seconds * READY_S))
    before = await park.finished()
    many = await load(park, server, "farm", pilots=FARMS, seconds=seconds, threads=FARMS, PILOT_BULK=str(BULK))
    lives = await park.finished() - before
    found |= {
        "life_bulk_per_s": round(lives / many.seconds),
        "life_bulk_cpu_ms": round((many.server_cpu_s + many.database_cpu_s) / lives * 1e3, 4),
        "life_bulk_jobs": BULK,
    }
    sql = await straight(park, sizes.straight)
    found["life_sql_per_s"] = round(sql)
    found["life_ratio_to_sql"] = round(found["life_bulk_per_s"] / sql, 3)


def large(name: str) -> Acquire:
    return ask(name, cores=10_000, memory_mb=10**8, disk_mb=10**8, jobs=BULK)


async def straight(park: Farm, jobs: int) -> float:
    """Lives for each second of the statements alone: the same ones with the same rows, in the same batches."""
    spent = 0.0

    def noted(query: Any) -> None:
        nonlocal spent
        spent += query.elapsed

    async with await connect(park.url, size=1, planner=BY_INDEX) as pool, pool.acquire() as conn:
        conn.add_query_logger(noted)
        dispatcher = Dispatcher(_Only(conn), 60.0)  # type: ignore[arg-type]
        dispatcher._hears = True
        done = 0
        while done < jobs:
            given = await dispatcher.acquire(park.queue, large("straight"))
            for updates in (
                [Update(spec.job, "running") for spec in given.jobs],
                [finished(spec.job, spec.outputs[0].lfn) for spec in given.jobs],
            ):
                async with conn.transaction():
                    await reports.apply(conn, [Report(park.queue, Updates("straight", updates))], 60.0)
            done += len(given.specs)
        conn.remove_query_logger(noted)
        await dispatcher.stop()
    return done / spent


class _Only:
    """A pool of one connection: who asks while it is out is told that there is none."""

    def __init__(self, conn: Any) -> None:
        self._conn: Any = conn

    async def acquire(self, *, timeout: float) -> Any:  # noqa: ASYNC109 - as the pool's
        if self._conn is None:
            raise asyncpg.InterfaceError("there is one connection only")
        conn, self._conn = self._conn, None
        return conn

    async def release(self, conn: Any) -> None:
        self._conn = conn


async def heartbeats(found: dict[str, Any], park: Farm, server: Server, sizes: Sizes) -> None:
    say("heartbeats")
    pilots, each = 64, sizes.beats
    run = uuid.uuid4().hex[:8]
    first = await park.fill(pilots + SENDERS * ROUNDS * each, "running")
    await park.pool.execute(
        """
        WITH held AS (
            UPDATE job SET pilot = CASE WHEN id < $1 + $2
                                   THEN format('pilot-%s-%s', $3::text, lpad((id - $1)::text, 5, '0'))
                                        ELSE format('farm-%s', id) END
            WHERE id >= $1 AND state = 'running' RETURNING id, pilot
        )
        INSERT INTO lease (job_id, pilot, request, seat, until) SELECT id, pilot, id::text, 1, now() FROM held
        """,
        first,
        pilots,
        run,
    )
    single = await load(
        park,
        server,
        "beat",
        pilots=pilots,
        seconds=sizes.seconds,
        threads=THREADS,
        PILOT_RUN=run,
        PILOT_JOBS=str(first),
    )
    found |= {"heartbeats_per_s": round(single.per_s), "heartbeat_cpu_ms": round(single.cpu_ms, 4)}
    starts = [first + pilots + sender * ROUNDS * each for sender in range(SENDERS)]
    senders = [await _Sender.made(Caller(server.url, park.token), start, each) for start in starts]
    found["heartbeats_bulk_per_s"] = round(each * await _calls_per_s(*(one.beat(sizes.seconds) for one in senders)))
    passes = []
    for _ in range(sizes.turns):
        await park.pool.execute("UPDATE lease SET until = now() WHERE job_id >= $1", first)
        passes.append(each * await _calls_per_s(*(one.renew() for one in senders)))
    found["heartbeats_renewing_per_s"] = round(statistics.median(passes))


async def _calls_per_s(*work: Coroutine[Any, Any, int]) -> float:
    start = time.monotonic()
    return sum(await asyncio.gather(*work)) / (time.monotonic() - start)


class _Sender(NamedTuple):
    """A farm's bulk calls of heartbeats, with the answers to them."""

    caller: Caller
    calls: list[tuple[bytes, bytes]]

    @classmethod
    async def made(cls, caller: Caller, first: int, each: int) -> "_Sender":
        """What is sent, and answered, once: the next ones are heartbeats."""
        calls = []
        for start in range(first, first + ROUNDS * each, each):
            body = json_of([Updates(f"farm-{job}", [Update(job, "running")]) for job in range(start, start + each)])
            answer = await caller.send("/api/pilot/updates", body)
            assert answer.count(b'"command":"continue"') == each
            calls.append((body, answer))
        caller.close()  # rather than the server, which does so after seconds of silence
        return cls(caller, calls)

    async def beat(self, seconds: float) -> int:
        """The same jobs again and again, as fast as it goes: most leases are fresh."""
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            await self._send(*self.calls[0])
            sent += 1
        self.caller.close()
        return sent

    async def renew(self) -> int:
        """Each job once."""
        for call in self.calls:
            await self._send(*call)
        self.caller.close()
        return len(self.calls)

    async def _send(self, body: bytes, answer: bytes) -> None:
        assert await self.caller.send("/api/pilot/updates", body) == answer


async def crowd(found: dict[str, Any], park: Farm, server: Server, sizes: Sizes) -> None:
    """Many pilots that the server knows, and many parked at once: what they cost in memory."""
    say(f"{sizes.known:,} pilots, {sizes.crowd:,} of them parked")
    while await park.pool.fetchval("SELECT count(*) FROM pilot") < sizes.known:
        await load(park, server, "crowd", pilots=64, seconds=sizes.seconds, threads=THREADS)
        await asyncio.sleep(2.5)  # they are noted every two seconds
    waiting: set[int] = set()

    async def pilot(number: int) -> None:
        caller = Caller(server.url, park.token)
        try:
            while True:
                waiting.add(number)
                with suppress(RuntimeError):  # refused: too many at once
                    await caller.post("/api/pilot/acquire", ask(f"crowd-{number}", cores=1, memory_mb=1, wait_s=60))
                waiting.discard(number)
                await asyncio.sleep(random.uniform(0.5, 1.5))
        finally:
            caller.close()

    tasks = []
    for number in range(sizes.crowd):
        tasks.append(asyncio.create_task(pilot(number)))
        if number % 100 == 99:
            await asyncio.sleep(0.05)
    await asyncio.sleep(10 if sizes.crowd > 1000 else 1)  # who was refused has come again
    found |= {
        "server_rss_mb": rss_mb(server.pid),
        "pilots_known": await park.pool.fetchval("SELECT count(*) FROM pilot"),
        "pilots_parked": len(waiting),
    }
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def measure(sizes: Sizes) -> dict[str, Any]:
    # Each parked pilot is a connection, here and at the server.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
    async with farm() as park:
        await park.stock(sizes.stock)
        bare_loop = [sys.executable, "-m", "benchmarks.bare", str(park.queue)]
        server, bare = await asyncio.gather(asyncio.to_thread(serve, park), asyncio.to_thread(serve, park, bare_loop))
        at_64 = await dispatch(found, park, server, bare, sizes)
        await several(found, park, server, at_64, sizes)
        await depth(found, park, server, sizes)
        await park.stock(sizes.stock)
        await life(found, park, server, sizes)
        await heartbeats(found, park, server, sizes)
        await wakeup(found, park, server, sizes)
        say(f"a task of {sizes.task:,} jobs")
        await broker_submit.submit(found, park, sizes.task)
        await crowd(found, park, server, sizes)  # after that, as its pilots have nothing to offer
        say("decisions, and the peer")
        found["decisions_per_s"] = brokerage.decisions(100)["decisions_per_s"]
        found["peers"] = {"pgqueuer": await peer.measure(park.database.create_database("pgqueuer"), sizes.peer)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, within 50 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    found = asyncio.run(measure(QUICK if options.quick else FULL))
    if options.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:28} {value}")


if __name__ == "__main__":
    main()
