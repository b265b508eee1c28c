"""What dispatch is measured against: raw ASGI over the same batched SQL, without tokens, shares and matching.

``python -m benchmarks.bare QUEUE``: any job for any pilot, those that come together in one statement.
"""

import asyncio
import os
import sys
from typing import Any

import uvicorn

from prodchain.broker.database import BY_INDEX, Pool, connect
from prodchain.broker.matching.statements import GIVE

HEADS = "SELECT job_id FROM ready WHERE queue_id = $1 AND job_id > $2 ORDER BY job_id LIMIT 4096"


class Bare:
    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._pool: Pool | None = None
        self._waiting: list[tuple[str, asyncio.Future[str]]] = []
        self._serving = False
        self._heads: list[int] = []
        self._last = self._number = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        message = await receive()
        body = b"{}"
        if scope["method"] == "POST":
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting.append((message["body"][10:30].decode(), answer))
            if not self._serving:
                self._serving = True
                asyncio.get_running_loop().create_task(self._serve())
            body = b'{"jobs":[' + (await answer).encode() + b"]}"
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._pool = await connect(os.environ["PRODCHAIN_DATABASE_URL"], planner=BY_INDEX)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self) -> None:
        assert self._pool is not None
        while self._waiting:
            batch, self._waiting = self._waiting[:256], self._waiting[256:]
            async with self._pool.acquire() as conn:
                if len(self._heads) < len(batch):
                    rows = await conn.fetch(HEADS, self._queue, self._last)
                    self._heads = [row[0] for row in reversed(rows)] + self._heads
                    self._last = rows[-1][0] if rows else self._last
                jobs = [self._heads.pop() if self._heads else None for _ in batch]
                places = list(range(len(batch)))
                requests = [f"bare-{self._number + place}" for place in places]
                self._number += len(batch)
                ones = [1] * len(batch)
                pilots = [pilot for pilot, _ in batch]
                rows = await conn.fetch(
                    GIVE, self._queue, places, pilots, requests, [False] * len(batch), jobs, ones, 30
                )
            specs = {row[0]: row[3] for row in rows}
            for place, (_, answer) in enumerate(batch):
                answer.set_result(specs.get(place, ""))
        self._serving = False


if __name__ == "__main__":
    # As the product's server does.
    uvicorn.run(
        Bare(int(sys.argv[1])),
        lifespan="on",
        host="127.0.0.1",
        port=int(os.environ["PRODCHAIN_PORT"]),
        loop="uvloop",
        http="httptools",
        proxy_headers=False,
        access_log=False,
        log_level="warning",
    )
