"""What a step says about its task: progress and end."""

import logging
from typing import Any

import pytest

from prodchain.broker.client import ApiError, Client, Unreachable
from prodchain.tasks import patience
from prodchain.tasks.outcome import failure
from prodchain.tasks.progress import description, percent


def _view(**changes: Any) -> dict[str, Any]:
    view = {
        "id": 10_000_001, "step": "sim", "state": "running", "numbers": 4, "generated": True,
        "jobs": {"finished": 1, "running": 2, "failed": 1}, "events_done": 200, "events_total": 800, "reason": "",
    }  # fmt: skip
    return {**view, **changes}


def test_progress_counts_events_where_they_are_known() -> None:
    assert percent(_view()) == 25
    assert percent(_view(events_total=0, events_done=0)) == 25
    assert percent(_view(events_total=0, generated=False)) == 0
    assert percent(_view(events_done=800)) == 99  # its input may still grow
    assert percent(_view(state="done")) == 100


def test_the_line_under_the_ring() -> None:
    assert description(_view()) == "sim running: 1/4 jobs finished, 2 running, 1 failed attempts, 200/800 events"
    assert "1/4+ jobs" in description(_view(generated=False))


@pytest.mark.parametrize("state", ["running", "paused", "done"])
def test_no_error(state: str) -> None:
    assert failure(_view(state=state)) is None


@pytest.mark.parametrize(
    ("state", "words"), [("finished", "finished only partly"), ("failed", "failed"), ("aborted", "was aborted")]
)
def test_the_error_names_task_first_error_and_remedy(state: str, words: str) -> None:
    error = str(failure(_view(state=state, reason="job 3: exit code 15")))
    assert f"task 10000001 {words} (1 of 4 jobs finished): job 3: exit code 15" in error
    assert "prodchain task why 10000001" in error and "prodchain task retry 10000001" in error


async def test_outages_are_waited_for_and_refusals_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("PRODCHAIN_URL", "http://127.0.0.1:9")
    answers: list[ApiError | str] = [
        Unreachable("server-unreachable", "away", "url", "wait"),
        ApiError("too-many", "slow down", "url", "wait", 429),
        "here",
        ApiError("forbidden", "no", "url", "ask", 403),
    ]
    checks: list[int] = []

    def question(broker: Client) -> str:
        answer = answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def check() -> None:
        checks.append(1)

    assert await patience.ask_patiently(question, check, logging.getLogger()) == "here"
    assert len(checks) == 2
    with pytest.raises(ApiError, match="no"):
        await patience.ask_patiently(question, check, logging.getLogger())
