"""Where the microseconds of a call for work go: ``python -m benchmarks.way [FILE]``.

The server is started several times, each time with one stage more; what it adds to the CPU of a call is its own. 64
pilots ask at once, again and again. On a machine with other work the lowest window of many is nearest to the truth.
"""

import asyncio
import itertools
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prodchain.broker import server
from prodchain.broker.api.hot import HotRoute
from prodchain.broker.matching import statements
from prodchain.broker.matching.dispatcher import Dispatcher, Given

from .farm import Farm, Server, cpu_of, farm, serve

PILOTS, ROUNDS, WINDOWS = 64, 2, 20
STAGES = ("protocol", "route", "matching", "statement", "bare")
"""The protocol alone; with policy, decoding and answer; with the dispatcher; all. And the loop without broker."""
SPEC = json.dumps({"job": 1, "command": ["Gen_tf.py"] * 7, "inputs": [], "outputs": [{"lfn": "x" * 40}] * 6})
ASK = (
    '{{"pilot":"way-{0}","request":"way-{0}-{1}","host":"node-{0}","cores":8,"memory_mb":16000,"remaining_s":86400,'
    '"wait_s":0,"disk_mb":20000,"gpus":0,"architecture":"x86_64","software":["Athena/24.*"],"jobs":1}}'
)


class Pilots:
    """Each with a connection; all ask, then all read."""

    def __init__(self, server: Server, token: str) -> None:
        place = urlsplit(server.url)
        self._links = [socket.create_connection((place.hostname, place.port)) for _ in range(PILOTS)]
        self._head = f"POST /api/pilot/acquire HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
        self._head += "content-type: application/json\r\ncontent-length: "
        self._run, self._count = os.urandom(4).hex(), itertools.count()

    def ask(self) -> None:
        number = f"{self._run}-{next(self._count)}"
        for pilot, link in enumerate(self._links):
            body = ASK.format(f"{pilot:05d}", number)
            link.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        for link in self._links:
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += link.recv(65536)
            head, _, body_read = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), answer
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            while len(body_read) < length:
                body_read += link.recv(65536)
            assert b'"job"' in body_read, body_read

    def close(self) -> None:
        for link in self._links:
            link.close()


def lowest(park: Farm, running: Server) -> tuple[float, float]:
    """CPU of a call in server and database, in microseconds: of each the lowest window."""
    pilots = Pilots(running, park.token)
    found = []
    for number in range(WINDOWS + 3):
        before = cpu_of(running.pid), cpu_of(park.database.pid)
        for _ in range(ROUNDS):
            pilots.ask()
        after = cpu_of(running.pid), cpu_of(park.database.pid)
        if number >= 3:
            found.append(tuple((b - a) / PILOTS / ROUNDS * 1e6 for a, b in zip(before, after, strict=True)))
    pilots.close()
    of_server, of_database = zip(*found, strict=True)
    return min(of_server), min(of_database)


async def constant(*_: object) -> bytes:
    return f'{{"jobs":[{SPEC}]}}'.encode()


async def at_once(*_: object) -> Given:
    return Given([SPEC])


async def from_memory(_conn: object, _queue: int, seats: Any, _lease_s: float) -> list[tuple[Any, ...]]:
    return [(seat.place, seat.number, seat.job, SPEC) for seat in seats]


def run(stage: str) -> None:
    """The server up to that stage."""
    if stage == "protocol":
        HotRoute.answer = constant  # type: ignore[method-assign]
    elif stage == "route":
        Dispatcher.acquire = at_once  # type: ignore[method-assign]
    elif stage == "matching":
        statements.give = from_memory
    server.main()


async def measure() -> dict[str, Any]:
    found: dict[str, Any] = {"pilots": PILOTS, "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    async with farm() as park:
        await park.fill(30_000)
        for stage in STAGES:
            module = ["benchmarks.bare", str(park.queue)] if stage == "bare" else ["benchmarks.way", "serve", stage]
            running = serve(park, [sys.executable, "-m", *module])
            found[stage] = [round(us, 1) for us in await asyncio.to_thread(lowest, park, running)]
            park.stop(running)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        run(sys.argv[2])
    else:
        text = json.dumps(asyncio.run(measure()), indent=1)
        print(text)
        if sys.argv[1:]:
            Path(sys.argv[1]).write_text(text + "\n")
