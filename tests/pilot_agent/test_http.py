"""The HTTP client: what it retries, and what it makes of errors."""

import email.utils
import time
from pathlib import Path

import pytest

from prodchain.pilot_agent.errors import Refusal, TokenRefused, Unreachable
from prodchain.pilot_agent.http import Client
from prodchain.pilot_agent.messages import Acquire, encode

from .other_end import LOSE, Broker

ASK = encode(Acquire("pilot", "request", "host", 1, 2000, 100))


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(broker: Broker, token_file: Path, pauses: list[float]) -> Client:
    return Client(broker.url, token_file, sleep=pauses.append)


def ask(client: Client, patience_s: float = 5.0) -> object:
    return client.post("/api/pilot/acquire", ASK, timeout_s=5.0, patience_s=patience_s)


def test_an_answer_comes_as_a_document(client: Client) -> None:
    assert ask(client) == {"jobs": [], "reason": "nothing to do", "retry_after_s": 0.0}


def test_server_errors_and_lost_answers_are_tried_again_ever_later(
    client: Client, broker: Broker, pauses: list[float]
) -> None:
    broker.mishaps["acquire"] = [500, LOSE, 503]
    ask(client, patience_s=60)
    assert len(pauses) == 3
    assert 0.25 <= pauses[0] <= 0.75
    assert 1.0 <= pauses[2] <= 3.0


def test_a_server_that_says_when_to_come_back_is_obeyed(client: Client, broker: Broker, pauses: list[float]) -> None:
    broker.mishaps["acquire"] = [429]
    broker.retry_after = "7"
    ask(client, patience_s=60)
    broker.mishaps["acquire"] = [429]
    broker.retry_after = email.utils.formatdate(time.time() + 30)
    ask(client, patience_s=60)
    assert 7 <= pauses[0] <= 10.5  # not all at once
    assert 25 < pauses[1] <= 45


def test_patience_ends_and_the_error_says_what_the_server_said(client: Client, broker: Broker) -> None:
    broker.mishaps["acquire"] = [503] * 5
    with pytest.raises(Unreachable, match="HTTP 503 Not now: the test says so"):
        ask(client, patience_s=0)


def test_a_server_that_is_not_there_is_unreachable(client: Client, broker: Broker) -> None:
    broker.stop()
    with pytest.raises(Unreachable, match="Connection refused"):
        ask(client, patience_s=0)


def test_a_refused_token_is_no_unreachable_server_and_is_not_tried_again(
    client: Client, broker: Broker, pauses: list[float]
) -> None:
    broker.token = "another"
    with pytest.raises(TokenRefused, match="HTTP 401 Unauthorized: the token is expired") as caught:
        ask(client)
    assert caught.value.hint == "renew it"
    assert pauses == []


def test_a_problem_document_becomes_one_error(client: Client, broker: Broker, pauses: list[float]) -> None:
    broker.mishaps["acquire"] = [422]
    with pytest.raises(Refusal, match="HTTP 422 Not now: the test says so"):
        ask(client)
    assert pauses == []


def test_a_redirect_is_not_followed_since_the_token_would_go_along(client: Client, broker: Broker) -> None:
    broker.mishaps["acquire"] = [302]
    with pytest.raises(Refusal, match="HTTP 302"):
        ask(client)
    assert broker.asked == []


def test_a_token_file_that_is_missing_or_empty_is_a_refused_token(
    client: Client, token_file: Path, broker: Broker
) -> None:
    token_file.write_text("\n")
    with pytest.raises(TokenRefused, match="no token in"):
        ask(client)
    token_file.unlink()
    with pytest.raises(TokenRefused, match="No such file"):
        ask(client)


def test_an_address_that_is_none_is_refused(token_file: Path) -> None:
    with pytest.raises(Refusal, match="no server address"):
        Client("broker.example.org", token_file)
