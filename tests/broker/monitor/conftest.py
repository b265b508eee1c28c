"""The monitor over a made-up production: in process, and as a real server for a real browser."""

import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from prodchain.broker.monitor.assets import assets
from prodchain.broker.monitor.failures import failure
from prodchain.broker.monitor.routes import routes

from .production import Production

Browser = Any
"""selenium's webdriver, which is imported only when Chromium is there."""


def application(production: Production) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(routes(production))
    app.include_router(assets())

    @app.exception_handler(HTTPException)
    async def unknown(request: Any, error: HTTPException) -> Any:
        return failure(request, error)

    return app


@pytest.fixture
def production() -> Production:
    return Production()


@pytest.fixture
async def monitor(production: Production) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the pages."""
    transport = httpx.ASGITransport(application(production))
    async with httpx.AsyncClient(transport=transport, base_url="http://monitor") as client:
        yield client


@pytest.fixture
def address(production: Production) -> Iterator[str]:
    """The address of a real server with the pages of ``production``, which tests may change as it runs."""
    config = uvicorn.Config(application(production), port=0, log_level="warning", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        assert not os.environ.get("CI"), "CI tests the pages in Chromium, and there is none"
        pytest.skip("no chromium and chromedriver here")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = program
    for flag in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
        *("disable-background-networking", "disable-component-update", "window-size=1440,1100"),
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Chromium on an empty page, in daylight, with its logs emptied."""
    chromium.get("about:blank")
    daylight = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", daylight)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    yield chromium
    chromium.get("about:blank")  # the page stops asking a server that goes away


@pytest.fixture(scope="session")
def screenshots(repository: Path) -> Path:
    folder = repository / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
