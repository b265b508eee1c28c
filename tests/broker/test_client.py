"""The broker's client: repeats what may be repeated, and says what is wrong."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodchain.broker import client as module
from prodchain.broker.client import ApiError, Client, TimedOut, Unreachable, default_home

from ..cli.other_end import JOB, NOW, TASK, Broker, serving


@pytest.fixture
def other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setattr(module, "BACK_OFF_S", (0.01, 0.02, 0.03))
    with serving(Broker(tmp_path)) as broker:
        yield broker


@pytest.fixture
def client(other_end: Broker) -> Iterator[Client]:
    with Client(other_end.url, "user-token") as client:
        yield client


@pytest.mark.parametrize("fault", ["drop", "away"])
def test_a_read_is_repeated_when_the_connection_or_the_database_is_lost(
    client: Client, other_end: Broker, fault: str
) -> None:
    other_end.faults = [fault, fault]
    assert client.task(TASK)["step"] == "sim"
    assert other_end.requests == [f"GET /api/tasks/{TASK}"] * 3


def test_a_submission_is_repeated_since_its_output_is_its_key(client: Client, other_end: Broker) -> None:
    other_end.faults = ["drop"]
    assert client.submit_task({"output": "mc:out"})["output"] == "mc:out"
    assert other_end.requests == ["POST /api/tasks"] * 2


def test_what_would_happen_twice_is_not_repeated(other_end: Broker) -> None:
    other_end.faults = ["drop"]
    with Client(other_end.url, "admin-token") as client, pytest.raises(Unreachable):
        client.create_token("user", "ada", 60)
    assert other_end.requests == ["POST /api/tokens"]


def test_repeating_ends(client: Client, other_end: Broker) -> None:
    other_end.faults = ["drop"] * 9
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        client.health()
    assert (caught.value.code, caught.value.object) == ("server-unreachable", other_end.url)
    assert len(other_end.requests) == 4


def test_a_database_that_stays_away_is_told_in_the_servers_words(client: Client, other_end: Broker) -> None:
    other_end.faults = ["away"] * 9
    with pytest.raises(Unreachable, match="the database does not answer") as caught:
        client.task(TASK)
    assert (caught.value.code, caught.value.hint) == ("unavailable", "wait")


def test_a_slow_answer_is_given_up_and_not_asked_for_again(other_end: Broker) -> None:
    other_end.faults = ["slow"]
    with Client(other_end.url, None, timeout_s=0.1) as client, pytest.raises(TimedOut) as caught:
        client.task(TASK)
    assert (caught.value.code, len(other_end.requests)) == ("timed-out", 1)


def test_an_error_carries_what_the_broker_said(client: Client) -> None:
    with pytest.raises(ApiError, match="no task 1") as caught:
        client.task(1)
    error = caught.value
    assert (error.status, error.code, error.object) == (404, "not-found", "1")
    assert error.hint == "GET /api/tasks lists the tasks"


def test_lists_turn_pages_up_to_the_limit(client: Client, other_end: Broker) -> None:
    dataset = other_end.add_dataset("mc.1.Z.reco.AOD.v1")
    for number in range(5):
        other_end.add_file(dataset, f"f{number}", b"x")
    assert [file["name"] for file in client.dataset_files("mc.1.Z.reco.AOD.v1")] == [f"f{n}" for n in range(5)]
    assert len(list(client.dataset_files("mc.1.Z.reco.AOD.v1", limit=3))) == 3
    assert len(client.job_story(JOB)) == 2


def test_every_route_of_the_plan_is_reached(client: Client, other_end: Broker) -> None:
    name = other_end.add_dataset("mc.1.Z.reco.AOD.v1")["did"]
    assert client.tasks(state="running")[0]["id"] == TASK
    assert client.task_why(TASK)["reasons"]
    assert client.task_story(TASK)[0]["at"] == NOW
    assert client.jobs(task=TASK)[0]["id"] == client.job(JOB)["id"] == JOB
    assert client.job_why(JOB)["verdicts"]
    assert client.job_log(JOB, 6) == "line\nsecond line\n"
    assert client.kill_job(JOB)["changes"]["state"][1] == "cancelled"
    assert client.kill_task(TASK)["changes"]["state"][1] == "aborted"
    assert client.datasets("mc*")[0]["did"] == client.dataset(name)["did"] == name
    assert client.close_dataset(name)["state"] == "closed"
    assert client.sites() and client.queues() and client.storages() and client.pilots()
    assert client.transfers() == []
    assert client.overview()["tasks"] and client.health()["status"] == "ok"


def test_something_else_at_the_address_is_told(client: Client, other_end: Broker) -> None:
    other_end.task = "<html>"  # type: ignore[assignment]
    with pytest.raises(Unreachable) as caught:
        client.task(TASK)
    assert caught.value.code == "not-a-broker"


def test_a_home_names_its_server_and_its_tokens(
    other_end: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PRODCHAIN_URL", "PRODCHAIN_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "server.json").write_text(f'{{"port": {other_end.url.rpartition(":")[2]}}}')
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "user.token").write_text("user-token\n")
    (tmp_path / "credentials" / "admin.token").write_text("admin-token\n")
    with Client.from_settings(tmp_path) as client, pytest.raises(ApiError) as caught:
        client.create_token("user", "ada", 60)
    assert caught.value.code == "forbidden"
    with Client.from_settings(tmp_path, role="admin") as client:
        assert client.create_token("user", "ada", 60)["token"] == "new-user"


def test_the_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRODCHAIN_HOME", str(tmp_path / "mine"))
    assert default_home() == tmp_path / "mine"
    monkeypatch.delenv("PRODCHAIN_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_home() == tmp_path / "prodchain"


def test_a_refusal_that_breaks_off_is_an_outage_and_no_refusal() -> None:
    """A server that is killed while it says 404 has said nothing yet."""

    def half_an_answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n{")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=half_an_answer, args=(server,), daemon=True).start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}", "token") as client, pytest.raises(Unreachable):
            client.task(1)


def test_an_address_that_is_none_is_said_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRODCHAIN_URL", "nonsense")
    with pytest.raises(Unreachable, match="'nonsense' is no address"):
        Client.from_settings(tmp_path)
