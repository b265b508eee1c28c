"""Keeps one program running: starts it when what it needs is healthy, and again when it dies or hangs."""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from ..errors import CliError
from .home import Home, Note
from .program import Adopted, Program, Running, clear, end

POLL_S = 0.1
CHECK_S = 5.0
HUNG_AFTER = 12
"""Checks in a row that fail before a process that lives is taken for hung."""
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.2, 30.0
STEADY_S = 60.0
"""After so long the next failure is a new one, not one of a row."""
PATIENCE = 4
"""Starts that may fail before the program is said to fail."""
START_S = 180.0


class State(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"


class Watch(threading.Thread):
    """One thread per program. ``changed`` hears of every new state; ``stopping`` ends the thread, not the process."""

    def __init__(
        self, program: Program, home: Home, stopping: threading.Event, changed: "Callable[[Watch, State], None]"
    ) -> None:
        super().__init__(name=program.name, daemon=True)
        self.program = program
        self.home = home
        self.stopping = stopping
        self.changed = changed
        self.state = State.WAITING
        self.up = threading.Event()
        self.running: Running | None = None
        self.restarts = 0
        self.problem = ""
        self.needs: list[threading.Event] = []

    def connect(self, others: "Mapping[str, Watch]") -> None:
        self.needs = [others[name].up for name in self.program.needs]

    def run(self) -> None:
        try:
            self._keep()
        except Exception as error:  # a thread that ends silently would leave its program unwatched
            self.problem = f"{type(error).__name__}: {error}"
            self._enter(State.FAILED)

    def _keep(self) -> None:
        while not all(need.wait(POLL_S) for need in self.needs):
            if self.stopping.is_set():
                return
        back_off, failures = FIRST_BACK_OFF_S, 0
        while not self.stopping.is_set():
            began = time.monotonic()
            if self._live_once():
                return
            if self.stopping.is_set():
                return
            if time.monotonic() - began > STEADY_S:
                back_off, failures = FIRST_BACK_OFF_S, 0
            failures += 1
            never_up = not self.up.is_set() and (failures >= PATIENCE or self.program.once)
            self._enter(State.FAILED if never_up and self.program.essential else State.RESTARTING)
            self.restarts += 1
            self.stopping.wait(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF_S)

    def _live_once(self) -> bool:
        """Start a process and follow it to its end; True if that was all there was to do."""
        try:
            self.running = self._adopt() or self.program.launch()
        except (CliError, OSError) as error:
            self.problem = str(error)
            return False
        self._enter(State.STARTING)
        self._follow(self.running)
        if self.stopping.is_set():
            return False
        code = self.running.exit_code()
        if self.program.once and code == 0:
            self._enter(State.DONE)
            return True
        self.problem = self.problem or f"ended with exit code {code}"
        return False

    def _adopt(self) -> Running | None:
        """What an earlier supervisor left, if it is just what we would start; anything else is ended."""
        note = self.home.note(self.program.name)
        if note is None or not note.alive or self.restarts:
            return None
        left = Adopted(note.pid, note.started)
        if not self.program.once and note.fingerprint == self.program.fingerprint:
            return left
        stop([(left, note.signal)])
        return None

    def _follow(self, running: Running) -> None:
        """Watch the process until it ends, hangs (it is killed then), or we stop."""
        self.problem = ""
        began, failed = time.monotonic(), 0
        next_check = began + self.program.settle_s
        while running.alive() and not self.stopping.wait(POLL_S):
            if self.program.once or time.monotonic() < next_check:
                continue
            healthy = self._check()
            if healthy:
                failed = 0
                if self.state is not State.HEALTHY:
                    self._enter(State.HEALTHY)
            elif self.state is State.STARTING:
                if time.monotonic() - began > START_S:
                    return self._give_up(running, f"not healthy after {START_S:.0f} s")
                continue
            elif healthy is False:
                failed += 1
                if failed == 2:
                    self._enter(State.UNHEALTHY)
                if failed == HUNG_AFTER:
                    return self._give_up(running, "hangs: its health check fails")
            next_check = time.monotonic() + CHECK_S
        return None

    def _check(self) -> bool | None:
        try:
            return self.program.healthy()
        except Exception as error:  # a check that stumbles says nothing; it must not end the whole system
            self.problem = f"its health check failed: {type(error).__name__}: {error}"
            return None

    def _give_up(self, running: Running, why: str) -> None:
        self.problem = why
        stop([(running, self.program.stop_signal)])

    def _enter(self, state: State) -> None:
        self.state = state
        program, running = self.program, self.running
        if running is not None and not program.once:
            self.home.write_note(
                Note(
                    program.name,
                    running.pid,
                    running.started,
                    program.port,
                    program.stop_signal,
                    program.group,
                    program.fingerprint,
                    state,
                    self.restarts,
                )
            )
        if state in (State.HEALTHY, State.DONE):
            self.up.set()  # after the note: who hears that all is up finds it written
        self.changed(self, state)


def stop(group: list[tuple[Running, int]], patience_s: float = 30.0) -> None:
    """End these processes together, each by its signal; kill those that do not listen, and what they left."""
    for running, number in group:
        end(running, signal.Signals(number))
    until = time.monotonic() + patience_s
    for running, _ in group:
        while running.alive():
            if time.monotonic() > until:
                end(running, signal.SIGKILL)
            time.sleep(0.02)
        clear(running.pid)
