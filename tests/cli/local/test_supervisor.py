"""The supervisor, with small real processes: what dies comes back, and a stop leaves nothing."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest

from prodchain.cli.errors import CliError, FailedWork, Usage
from prodchain.cli.local import overview, process, supervisor, watch
from prodchain.cli.local.home import Home, Note
from prodchain.cli.local.ports import is_free, port_for
from prodchain.cli.local.program import Program
from prodchain.cli.local.supervisor import NAME, AlreadyRuns, Change, Supervisor, held
from prodchain.cli.local.watch import State

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.prepare()
    yield made
    overview.stop_all(made)
    assert made.notes() == []


def program(home: Home, name: str, command: list[str] = SLEEP, **more: object) -> Program:
    return Program(name, command, home.log(name), **more)  # type: ignore[arg-type]


def eventually(true: Callable[[], object], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


class Running:
    """A supervisor in a thread, and all that it told."""

    def __init__(self, home: Home, *programs: Program, then: Callable[[str], list[Program]] | None = None) -> None:
        self.home = home
        self.told: list[Change] = []
        self.ready = threading.Event()
        self.failure: CliError | None = None
        self.supervisor = Supervisor(home, programs, self.told.append, then or (lambda name: []))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with held(self.home):
                self.supervisor.run(self.ready.set)
        except CliError as error:
            self.failure = error

    def note(self, name: str) -> Note:
        note = self.home.note(name)
        assert note is not None
        return note

    def stop(self) -> None:
        self.supervisor.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def start(home: Home) -> Iterator[Callable[..., Running]]:
    begun: list[Running] = []

    def run(*programs: Program, **more: object) -> Running:
        begun.append(Running(home, *programs, **more))  # type: ignore[arg-type]
        return begun[-1]

    yield run
    for each in begun:
        each.stop()


Start = Callable[..., Running]


def test_all_programs_come_up_and_a_stop_leaves_no_process_and_no_note(home: Home, start: Start) -> None:
    running = start(program(home, "one"), program(home, "two"))
    assert running.ready.wait(20)
    notes = [running.note("one"), running.note("two")]
    assert all(note.alive for note in notes)
    running.stop()
    assert not any(note.alive for note in notes)
    assert home.notes() == []


def test_a_program_that_is_killed_is_started_again(home: Home, start: Start) -> None:
    running = start(program(home, "one"))
    assert running.ready.wait(20)
    first = running.note("one")
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: running.note("one").pid != first.pid and running.note("one").state == "healthy")
    assert running.note("one").restarts == 1


def test_a_program_waits_for_what_it_needs(home: Home, start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    running = start(program(home, "late", needs=("early",)), program(home, "early", healthy=flag.exists))
    eventually(lambda: any(change.name == "early" for change in running.told))
    time.sleep(0.3)
    assert home.note("late") is None
    flag.touch()
    assert running.ready.wait(20)
    assert running.note("late").alive


def test_programs_stop_in_reverse_order_of_their_groups(home: Home, start: Start, tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.2)\n"
        "    open(sys.argv[2], 'a').write(sys.argv[1])\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('set', flush=True)\n"
        "time.sleep(600)\n"
    )

    def said(name: str) -> Callable[[], bool]:
        return lambda: "set" in home.log(name).read_text()

    programs = [
        program(home, name, [sys.executable, "-c", code, name, str(ends)], group=group, healthy=said(name))
        for group, name in enumerate("abc")
    ]
    running = start(*programs)
    assert running.ready.wait(20)
    running.stop()
    assert ends.read_text() == "cba"


def test_a_program_that_ignores_its_signal_is_killed(
    home: Home, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "stop", lambda group: watch.stop(group, patience_s=0.3))
    running = start(program(home, "deaf", STUBBORN, healthy=lambda: "deaf" in home.log("deaf").read_text()))
    assert running.ready.wait(20)
    note = running.note("deaf")
    running.stop()
    assert not note.alive


def test_children_are_out_of_reach_of_the_terminals_ctrl_c(home: Home, start: Start) -> None:
    running = start(program(home, "one"))
    assert running.ready.wait(20)
    assert os.getsid(running.note("one").pid) != os.getsid(0)


def test_a_program_that_never_comes_up_stops_everything_and_says_why(home: Home, start: Start) -> None:
    command = [sys.executable, "-c", "print('no such table'); exit(3)"]
    running = start(program(home, "good"), program(home, "bad", command, settle_s=5))
    eventually(lambda: running.failure is not None)
    assert isinstance(running.failure, FailedWork)
    assert "bad does not start: ended with exit code 3" in str(running.failure)
    assert "no such table" in str(running.failure)
    assert str(home.log("bad")) in running.failure.hint
    assert home.notes() == []


def test_a_program_that_hangs_is_started_again(
    home: Home, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CHECK_S", 0.05)
    monkeypatch.setattr(watch, "HUNG_AFTER", 3)
    hangs = tmp_path / "hangs"
    running = start(program(home, "one", healthy=lambda: not hangs.exists()))
    assert running.ready.wait(20)
    first = running.note("one")
    hangs.touch()
    eventually(lambda: not first.alive)
    hangs.unlink()
    eventually(lambda: running.note("one").state == "healthy" and running.note("one").pid != first.pid)


def test_a_check_that_cannot_tell_restarts_nothing(home: Home, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CHECK_S", 0.02)
    monkeypatch.setattr(watch, "HUNG_AFTER", 3)
    answers: list[bool | None] = [True]
    running = start(program(home, "one", healthy=lambda: answers[-1]))
    assert running.ready.wait(20)
    first = running.note("one")
    answers.append(None)
    time.sleep(1)
    assert running.note("one").pid == first.pid


def test_programs_that_follow_from_one_that_is_done_are_started(home: Home, start: Start) -> None:
    once = program(home, "once", [sys.executable, "-c", ""], once=True)
    running = start(once, then=lambda name: [program(home, "more", needs=("once",))] if name == "once" else [])
    assert running.ready.wait(20)
    eventually(lambda: home.note("more") is not None and running.note("more").state == "healthy")


def fork_supervisor(home: Home, *programs: Program) -> int:
    """A supervisor as a process of its own; its pid when all is up."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with held(home):
                Supervisor(home, programs).run(lambda: os.write(writer, b"ready") and None)
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 5) == b"ready"
    os.close(reader)
    return pid


def test_after_kill_9_of_the_supervisor_the_next_one_adopts_what_runs(home: Home, start: Start) -> None:
    one, gone = program(home, "one"), program(home, "gone")
    changed = program(home, "changed", environment={"VALUE": "1"})
    pid = fork_supervisor(home, one, gone, changed)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    left = {note.name: note for note in home.notes()}
    assert left["one"].alive
    running = start(one, program(home, "changed", environment={"VALUE": "2"}))
    assert running.ready.wait(20)
    assert running.note("one").pid == left["one"].pid
    assert running.note("changed").pid != left["changed"].pid
    assert not left["changed"].alive
    eventually(lambda: not left["gone"].alive)
    os.kill(left["one"].pid, signal.SIGKILL)
    eventually(lambda: running.note("one").pid != left["one"].pid)


def test_down_stops_what_a_killed_supervisor_left(home: Home) -> None:
    pid = fork_supervisor(home, program(home, "one"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    note = home.note("one")
    assert note is not None
    assert overview.overview(home)["running"] is False
    assert overview.stop_all(home) == ["one"]
    assert not note.alive


def test_a_note_whose_pid_is_another_process_now_harms_nobody(home: Home, start: Start) -> None:
    other = process.start_time(os.getpid())
    assert other is not None
    one = program(home, "one")
    home.write_note(Note("one", os.getpid(), other - 1, None, signal.SIGKILL, 1, one.fingerprint, "healthy"))
    running = start(one)
    assert running.ready.wait(20)
    assert running.note("one").pid != os.getpid()


def test_a_home_has_one_supervisor(home: Home) -> None:
    with held(home), pytest.raises(AlreadyRuns, match="already runs"), held(home):
        pass
    assert home.note(NAME) is None


def test_the_overview_tells_state_pid_port_and_log(home: Home, start: Start) -> None:
    running = start(program(home, "server", port=4711))
    assert running.ready.wait(20)
    document = overview.overview(home)
    assert document["running"] and document["healthy"]
    assert document["links"] == {"monitor": "http://127.0.0.1:4711"}
    server = next(each for each in document["processes"] if each["name"] == "server")
    assert (server["state"], server["port"], server["restarts"]) == (State.HEALTHY, 4711, 0)
    assert server["pid"] == running.note("server").pid
    assert server["log"] == str(home.log("server"))
    assert server["uptime_s"] >= 0


def test_a_busy_port_is_named_with_a_remedy(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(Usage) as caught:
            port_for(home, "server", port)
    assert caught.value.object == f"port {port}"
    assert str(port) in caught.value.hint


def test_a_free_port_is_kept_over_restarts_unless_something_took_it(home: Home) -> None:
    first = port_for(home, "server", 0)
    assert port_for(home, "server", 0) == first
    assert port_for(home, "prefect", 0) != first
    with socket.create_server(("127.0.0.1", first)):
        assert not is_free(first, "127.0.0.1")
        assert port_for(home, "server", 0) != first


def test_credentials_and_notes_are_private(home: Home) -> None:
    assert home.credentials.stat().st_mode & 0o777 == 0o700
    assert home.run.stat().st_mode & 0o777 == 0o700


def test_a_sites_file_of_the_user_is_not_touched(home: Home) -> None:
    home.sites.write_text("mine")
    home.prepare()
    assert home.sites.read_text() == "mine"


def test_a_health_check_that_stumbles_stops_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is killed while it answers breaks its check, not the system."""
    monkeypatch.setattr(watch, "CHECK_S", 0.02)
    said: list[str] = []

    def check() -> bool:
        said.append("asked")
        if len(said) == 2:
            raise IncompleteRead(b"{")
        return True

    running = Running(home, program(home, "server", healthy=check), program(home, "other"))
    eventually(lambda: len(said) > 4)
    running.stop()
    assert running.failure is None
    assert [change.state for change in running.told if change.name == "server"] == [State.STARTING, State.HEALTHY]
