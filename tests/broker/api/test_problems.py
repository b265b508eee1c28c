"""What goes wrong is one kind of document, and the server survives what it is sent."""

import json
import logging
from typing import Any

import asyncpg
import pytest

from prodchain.broker import task_views
from prodchain.broker.api.envelope import LARGEST_BODY

from ..world import evgen
from .conftest import Broker, bearer, problem

MANY = "/api/pilot/updates"


@pytest.mark.parametrize(
    ("path", "status", "code", "about"),
    [
        ("/api/nothing", 404, "no-such-route", "/api/nothing"),
        ("/api/tasks/10000001", 404, "not-found", "task 10000001"),
        ("/api/jobs/5", 404, "not-found", "job 5"),
        ("/api/jobs/5/log", 404, "not-found", "job 5"),
        ("/api/tasks/abc", 422, "bad-request", "id"),
        ("/api/tasks/-1", 422, "bad-request", "id"),
        ("/api/tasks/99999999999999999999", 422, "bad-request", "id"),
        ("/api/tasks?limit=0", 422, "bad-request", "limit"),
        ("/api/tasks?limit=1001", 422, "bad-request", "limit"),
        ("/api/tasks?state=wrong", 422, "bad-request", "state"),
        ("/api/tasks?run=a%00b", 422, "bad-request", "request"),
        ("/api/datasets/mc26.nothing.here", 404, "dataset-not-found", "mc26:mc26.nothing.here"),
        ("/api/datasets/mc26.*", 400, "bad-name", "mc26.*"),
        ("/api/datasets/%2E%2E%2Fetc", 404, "no-such-route", "/api/datasets/../etc"),
        ("/api/pilots?after=nonsense", 422, "bad-request", "after"),
        ("/api/transfers?after=2026-01-01T00:00:00%2B00:00~1~99999999999999999999", 422, "bad-request", "request"),
    ],
)
async def test_a_mistake_is_named_with_code_object_and_hint(
    path: str, status: int, code: str, about: str, broker: Broker
) -> None:
    answer = await broker.client.get(path)
    document = problem(answer)
    assert (answer.status_code, document["code"], document["object"]) == (status, code, about)


async def test_an_unknown_parameter_is_refused_and_the_known_are_named(broker: Broker) -> None:
    document = problem(await broker.get("/api/jobs", satte="failed"))
    assert document["object"] == "satte"
    assert document["hint"] == "known are: after, limit, queue, site, state, task"
    assert problem(await broker.get("/api/health", verbose=1))["hint"] == "it takes none"


async def test_the_wrong_method_is_told_the_right_one(broker: Broker) -> None:
    document = problem(await broker.client.delete("/api/tasks"))
    assert document["code"] == "method-not-allowed"


async def test_mistakes_in_a_document_are_named_by_field(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    answer = await broker.post(
        "/api/tasks", {"step": "evgen", "output": "x", "command": ["a"], "cores": 0, "x": 1}, token
    )
    document = problem(answer)
    assert answer.status_code == 422
    assert "cores: " in document["detail"]
    assert "x: " in document["detail"]
    assert document["object"] in ("cores", "x")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"step": "\\ud800"}', b"1e999", b"NaN"],
)
async def test_a_body_that_is_no_document_is_a_mistake_of_the_client(body: bytes, broker: Broker) -> None:
    headers = bearer(await broker.token("user", "ann")) | {"Content-Type": "application/json"}
    answer = await broker.client.post("/api/tasks", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(declared: bool, broker: Broker) -> None:
    async def pieces() -> Any:
        for _ in range(LARGEST_BODY // 100_000 + 1):
            yield b" " * 100_000

    body: Any = b" " * (LARGEST_BODY + 1) if declared else pieces()
    headers = bearer(await broker.token("user", "ann")) | {"Content-Type": "application/json"}
    answer = await broker.client.post("/api/tasks", content=body, headers=headers)
    assert (answer.status_code, problem(answer)["code"]) == (413, "too-large")


async def test_a_conflict_tells_what_differs(broker: Broker) -> None:
    token = await broker.token("user", "ann")
    assert (await broker.post("/api/tasks", evgen().model_dump(), token)).status_code == 201
    assert (await broker.post("/api/tasks", evgen(run="other").model_dump(), token)).status_code == 200
    answer = await broker.post("/api/tasks", evgen(events=50).model_dump(), token)
    document = problem(answer)
    assert (answer.status_code, document["code"]) == (409, "task-conflict")
    assert "events" in document["detail"]


async def test_an_unexpected_error_is_told_by_its_id_and_its_story_is_in_the_log(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(task_views, "task", broken)
    answer = await broker.get("/api/tasks/10000000")
    document = problem(answer)
    assert (answer.status_code, document["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert document["instance"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("no"), asyncpg.ConnectionDoesNotExistError("gone"), TimeoutError()]
)
async def test_a_database_that_is_away_is_told_and_the_client_may_try_again(
    error: Exception, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(task_views, "tasks", away)
    answer = await broker.get("/api/tasks")
    assert (answer.status_code, problem(answer)["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_page_that_does_not_exist_is_answered_by_a_page(broker: Broker) -> None:
    answer = await broker.client.get("/takss", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


async def test_the_access_log_has_no_secrets_and_no_forged_lines(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = await broker.token("user", "ann")
    await broker.get("/api/tasks", token, run="secret-of-the-query")
    await broker.client.get("/api/tasks%0Aforged line", headers=bearer(token))
    lines = [record.getMessage() for record in caplog.records if record.name == "prodchain.access"]
    assert any("GET /api/tasks 200" in line and line.endswith(" ann") for line in lines)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("prodchain"))
    assert token not in ours
    assert "secret-of-the-query" not in ours
    assert not any("\n" in line for line in lines)


async def test_of_the_news_of_many_pilots_those_that_are_wrong_are_named(broker: Broker) -> None:
    token = await broker.token("pilot", "p", "A-BATCH")
    news = [{"pilot": f"p{n}", "updates": [{"job": n, "state": "running"}]} for n in (1, 2)]
    answers = (await broker.post(MANY, news, token)).json()
    assert [each["answers"][0]["command"] for each in answers] == ["discard", "discard"]
    news[1]["updates"] = [{"job": "x", "state": "running"}]
    found = problem(await broker.post(MANY, news, token))
    assert (found["code"], found["object"]) == ("bad-request", "[1].updates[0].job")


async def test_news_as_pythons_own_writer_writes_them_are_read(broker: Broker) -> None:
    token = await broker.token("pilot", "p", "A-BATCH")
    news = [{"pilot": "p1", "updates": [{"job": 1, "state": "running", "metrics": {"cpu_s": float("nan")}}]}]
    answer = await broker.client.post(MANY, content=json.dumps(news), headers=bearer(token))
    assert [each["command"] for each in answer.json()[0]["answers"]] == ["discard"]
