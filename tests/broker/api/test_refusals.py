"""What comes while too much is under way: refused with the time to come again, told once, in nobody else's way."""

import pytest

from prodchain.broker.api import refusals

from .conftest import Broker
from .test_problems import problem


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "HELD_S", 0.0)


ACQUIRE = {"pilot": "p1", "request": "r1", "host": "n", "cores": 1, "memory_mb": 2000, "remaining_s": 60, "wait_s": 0}
UPDATE = {"pilot": "p1", "updates": [{"job": 1, "state": "running"}]}


async def test_reports_are_taken_while_requests_for_work_are_refused_and_the_log_has_one_line(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodchain.broker.matching.dispatcher.ASKING", 0)
    pilot = await broker.token("pilot", "p", "A-BATCH")
    told: list[str] = []
    monkeypatch.setattr(refusals.log, "warning", lambda text, *values: told.append(text % values))
    monkeypatch.setattr(refusals, "TELL_S", 600.0)
    for _ in range(3):
        answer = await broker.post("/api/pilot/acquire", ACQUIRE, pilot)
        assert (answer.status_code, problem(answer)["code"]) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-request-id"] == problem(answer)["instance"]
    broker.app._refusals._tell()  # type: ignore[attr-defined]
    assert told == ["overload: refused 3 of requests for work within 600 s; who is refused comes again"]
    assert (await broker.post("/api/pilot/update", UPDATE, pilot)).status_code == 200


async def test_too_many_reports_and_other_calls_are_refused_each_for_themselves(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    pilot = await broker.token("pilot", "p", "A-BATCH")
    monkeypatch.setattr("prodchain.broker.reporting.REPORTING", 0)
    answer = await broker.post("/api/pilot/update", UPDATE, pilot)
    assert (answer.status_code, problem(answer)["code"]) == (503, "busy")
    assert (await broker.post("/api/pilot/acquire", ACQUIRE, pilot)).status_code == 200
    monkeypatch.setattr("prodchain.broker.api.hot.OTHERS", 0)
    answer = await broker.get("/api/tasks")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await broker.post("/api/pilot/acquire", ACQUIRE, pilot)).status_code == 200
