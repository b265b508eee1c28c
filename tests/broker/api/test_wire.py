"""Hot calls on a real connection: however they come, the answers are those of the application behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.broker.api import refusals
from prodchain.broker.api.wire import Protocol

from .conftest import Broker, bearer
from .test_policies import acquire

ACQUIRE, UPDATE = "/api/pilot/acquire", "/api/pilot/update"
NEWS = {"pilot": "p1", "updates": [{"job": 1, "state": "running"}]}


@dataclass
class Wire:
    """The server at a port; each connection takes whole requests as bytes."""

    broker: Broker
    port: int
    token: str

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def request(
        self, path: str, document: Any, *headers: str, token: str | None = None, version: str = "1.1"
    ) -> bytes:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        lines = [
            f"POST {path} HTTP/{version}",
            "Host: x",
            f"Authorization: Bearer {token or self.token}",
            "Content-Type: application/json",
            *headers,
        ]
        if not any(header.startswith("Transfer-Encoding") for header in headers):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def ask(self, *pieces: bytes, answers: int = 1) -> list[httpx.Response]:
        """Send the pieces one by one, and read so many answers."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.002)
        found = [await read(reader) for _ in range(answers)]
        writer.close()
        await writer.wait_closed()
        return found


async def read(reader: asyncio.StreamReader) -> httpx.Response:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
    if head[0] == "HTTP/1.1 100 Continue":
        return await read(reader)
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return httpx.Response(int(head[0].split()[1]), headers=headers, content=body)


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def wire(broker: Broker) -> AsyncIterator[Wire]:
    config = uvicorn.Config(
        broker.app,
        http=Protocol,
        port=0,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        log_config=None,
        server_header=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Wire(broker, port, await broker.token("pilot", "p", "A-BATCH"))
    server.should_exit = True
    await serving


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """All that does not differ from call to call."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    document = {name: value for name, value in answer.json().items() if name != "instance"}
    return answer.status_code, headers, document


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (ACQUIRE, acquire(wait_s=0)),
        (ACQUIRE, acquire(cores="many")),
        (UPDATE, NEWS),
        (UPDATE, {"pilot": "p1", "updates": [{"job": 1, "state": "lost"}]}),
        (UPDATE, b'{"pilot": "p1", "updates": [{"job": 1, "state": "running", "metrics": {"x": NaN}}]}'),
        (UPDATE, b"no JSON"),
        (UPDATE, b""),
        ("/api/pilot/updates", [NEWS, NEWS]),
    ],
)
async def test_an_answer_on_the_wire_is_that_of_the_application(path: str, document: Any, wire: Wire) -> None:
    [answer] = await wire.ask(wire.request(path, document))
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    expected = await wire.broker.client.post(
        path, content=body, headers=bearer(wire.token) | {"content-type": "application/json"}
    )
    if path.endswith("updates"):
        assert (answer.status_code, answer.json()) == (expected.status_code, expected.json())
    else:
        assert told(answer) == told(expected)
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("token", ["nobody", "of a user"])
async def test_who_may_not_call_is_refused_on_the_wire(token: str, wire: Wire) -> None:
    token = token if token == "nobody" else await wire.broker.token("user", "ann")
    [answer] = await wire.ask(wire.request(UPDATE, NEWS, token=token))
    assert answer.status_code == (401 if token == "nobody" else 403)
    expected = await wire.broker.post(UPDATE, NEWS, token)
    assert told(answer) == told(expected)


async def test_a_call_that_is_refused_for_want_of_room_is_told_when_to_come_again(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "HELD_S", 0.0)
    monkeypatch.setattr("prodchain.broker.reporting.REPORTING", 0)
    busy, *_ = await wire.ask(wire.request(UPDATE, NEWS))
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["code"]) == (503, "1", "busy")


async def test_a_mistake_of_ours_is_answered_on_the_wire_and_the_connection_goes_on(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> list[bytes]:
        raise RuntimeError("a mistake")

    call = wire.request(UPDATE, NEWS)
    with monkeypatch.context() as patched:
        patched.setattr("prodchain.broker.reporting.Reports.report", broken)
        reader, writer = await wire.connect()
        writer.write(call)
        answer = await read(reader)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    writer.write(call)
    assert (await read(reader)).status_code == 200
    writer.close()


@pytest.mark.parametrize(
    ("headers", "version", "ends"),
    [
        (("Connection: close",), "1.1", True),
        (("Expect: 100-continue",), "1.1", False),
        ((), "1.0", True),
    ],
)
async def test_what_a_client_says_of_its_connection_is_heeded(
    headers: Sequence[str], version: str, ends: bool, wire: Wire
) -> None:
    reader, writer = await wire.connect()
    writer.write(wire.request(UPDATE, NEWS, *headers, version=version))
    assert (await read(reader)).json() == {"answers": [{"job": 1, "command": "discard", "reason": NOT_YOURS}]}
    if ends:
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


NOT_YOURS = "the job is not this pilot's"


async def test_a_body_that_comes_after_the_headers_goes_the_short_way_too(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(*_: Any) -> None:
        raise AssertionError("it went uvicorn's way")

    monkeypatch.setattr("prodchain.broker.api.hot.HotApp.__call__", serve)
    call = wire.request(UPDATE, NEWS)
    at = call.index(b"\r\n\r\n") + 4
    for pieces in ((call[:at], call[at:]), (call[:20], call[20:at], call[at:-5], call[-5:])):
        [answer] = await wire.ask(*pieces)
        assert (answer.status_code, answer.json()["answers"][0]["reason"]) == (200, NOT_YOURS)


async def test_a_body_that_is_late_is_waited_for_as_others_are(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodchain.broker.api.wire.LATE_S", 0.05)
    monkeypatch.setattr("prodchain.broker.api.hot.BODY_S", 0.3)
    call = wire.request(UPDATE, NEWS)
    reader, writer = await wire.connect()
    writer.write(call[:-5])
    await asyncio.sleep(0.15)
    writer.write(call[-5:])
    assert (await read(reader)).status_code == 200
    writer.write(call[:-5])
    assert (await read(reader)).status_code == 408
    writer.close()


async def test_a_long_body_has_the_same_answer(wire: Wire) -> None:
    many = [{"pilot": f"p{number}", "updates": [{"job": number, "state": "running"}]} for number in range(1, 3000)]
    [answer] = await wire.ask(wire.request("/api/pilot/updates", many))
    assert [each["answers"][0]["job"] for each in answer.json()] == list(range(1, 3000))


async def test_a_body_in_chunks_is_one_body(wire: Wire) -> None:
    body = json.dumps(NEWS).encode()
    chunked = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    call = wire.request(UPDATE, chunked, "Transfer-Encoding: chunked")
    for pieces in ((call,), (call[:-20], call[-20:])):
        [answer] = await wire.ask(*pieces)
        assert (answer.status_code, answer.json()["answers"][0]["reason"]) == (200, NOT_YOURS)


async def test_what_is_no_http_is_refused_and_the_connection_closed(wire: Wire) -> None:
    call = wire.request(UPDATE, b"zz\r\n", "Transfer-Encoding: chunked")
    reader, writer = await wire.connect()
    writer.write(call)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
    writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(1, 700), max_size=4), calls=st.lists(st.sampled_from("run"), min_size=1, max_size=4))
async def test_calls_one_behind_the_other_are_answered_in_order_however_they_are_cut(
    cuts: list[int], calls: list[str], wire: Wire
) -> None:
    """Hot calls with a job each, refused ones, and calls of other routes between them."""
    expected: list[Any] = []
    data = b""
    for number, call in enumerate(calls, 1):
        if call == "n":
            data += b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
            expected.append("ok")
            continue
        news = {"pilot": "p1", "updates": [{"job": number, "state": "running" if call == "r" else "lost"}]}
        data += wire.request(UPDATE, news)
        expected.append(number if call == "r" else f"job {number}")
    places = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    answers = await wire.ask(*(data[start:end] for start, end in pairwise(places)), answers=len(calls))
    documents = [answer.json() for answer in answers]
    found = [
        each["answers"][0]["job"] if "answers" in each else each.get("object", each.get("status"))
        for each in documents
    ]
    assert found == expected


async def test_a_pilot_that_hangs_up_while_it_is_parked_is_forgotten(wire: Wire) -> None:
    reader, writer = await wire.connect()
    writer.write(wire.request(ACQUIRE, acquire(wait_s=50)))
    desks = wire.broker.app.parts.dispatcher._desks

    await until(lambda: any(desk.parked for desk in desks.values()))
    writer.close()
    await until(lambda: not any(desk.parked for desk in desks.values()))
    assert await reader.read() == b""
