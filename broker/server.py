"""The server process: API and monitor pages. ``python -m prodchain.broker.server``"""

import asyncio
import gc
import logging
import socket
import sys

import uvicorn

from .api.app import create_app
from .api.hot import HotApp
from .api.wire import Protocol
from .database import BY_INDEX, Pool, connect
from .errors import BrokerError, Unavailable
from .settings import Settings, load

BACKLOG = 2048
COLLECT = (10_000, 20, 50)
"""When garbage in circles, of which calls leave hardly any, is looked for: as often as is usual (700, 10, 10) it took
16 µs of each call, and now 3."""
GRACE_S = 1
"""Seconds that running requests get when the server stops; repeating them is safe."""

log = logging.getLogger("prodchain.server")


class Server(uvicorn.Server):
    """Sends parked pilots home first, so that a stop waits for no long poll."""

    def __init__(self, config: uvicorn.Config, app: HotApp) -> None:
        super().__init__(config)
        self._application = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._application.parts.dispatcher.stop()
        await super().shutdown(sockets)
        self._captured_signals.clear()  # or it would end itself by the signal: a stop on request is no failure


def listening(host: str, port: int) -> socket.socket:
    """The server's socket, taken before anything else starts; Unavailable says who is in the way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(BACKLOG)  # from here on the place is taken, and clients wait until we serve
    except OSError as error:
        found.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}",
            object=f"{host}:{port}",
            hint="stop what listens there, or set PRODCHAIN_PORT to another port (0: any free one)",
        ) from None
    return found


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    place = listening(settings.host, settings.port)
    try:
        pool = await connect(settings.database_url, size=20)
        hot = await connect(settings.database_url, size=8, planner=BY_INDEX)
    except BrokerError:
        place.close()
        raise
    try:
        if await pool.fetchval("SELECT to_regclass('agent')") is None:
            raise Unavailable(
                "the database has no tables of ours", object="database", hint="run python -m prodchain.broker.migrate"
            )
        await _run(settings, pool, hot, place)
    finally:
        for each in (pool, hot):
            each.terminate()  # what still runs is rolled back, and will be repeated


async def _run(settings: Settings, pool: Pool, hot: Pool, place: socket.socket) -> None:
    app = create_app(settings, pool, hot)
    gc.collect()
    gc.freeze()  # what was loaded stays: a collection need not look at it again and again
    gc.set_threshold(*COLLECT)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        proxy_headers=False,  # nothing here asks who the client is
        lifespan="on",
        ws="none",
        access_log=False,  # its own would hold queries
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    log.info("listening on http://%s:%s", settings.host, place.getsockname()[1])
    server = Server(config, app)
    await server.serve(sockets=[place])
    if not server.started:
        raise Unavailable("the server could not start", object="server", hint="its log says why, above")


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout
    )
    try:
        settings = load()
        with asyncio.Runner(loop_factory=uvicorn.Config("", loop="uvloop").get_loop_factory()) as runner:
            runner.run(serve(settings))
    except BrokerError as error:
        sys.exit(f"error: {error}\nobject: {error.object}\nhint: {error.hint}")


if __name__ == "__main__":
    main()
