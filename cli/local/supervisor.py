"""Starts and watches all programs of a home, and stops them in reverse order.

Nothing depends on its life: after a kill -9 of the supervisor the programs go on, and the next one adopts them.
"""

import fcntl
import os
import queue
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import CliError, FailedWork
from . import process
from .home import Home, Note
from .program import Adopted, Program, Running
from .watch import State, Watch, stop

NAME = "supervisor"


class AlreadyRuns(CliError):
    """Another supervisor holds this home."""

    code = "already-runs"


@dataclass(frozen=True)
class Change:
    """What listeners hear: a program entered a state, so many seconds after the start."""

    name: str
    state: State
    after_s: float
    problem: str = ""


class Supervisor:
    """``then`` makes further programs when a program that runs once is done (pilots, when the sites are known)."""

    def __init__(
        self,
        home: Home,
        programs: Iterable[Program],
        heard: Callable[[Change], None] = lambda change: None,
        then: Callable[[str], list[Program]] = lambda name: [],
    ) -> None:
        self._home = home
        self._heard = heard
        self._then = then
        self._stopping = threading.Event()
        self._changes: queue.Queue[tuple[Watch, State]] = queue.Queue()
        self._watches: dict[str, Watch] = {}
        self._began = time.monotonic()
        self._first = list(programs)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Supervise until ``stop``. Raises FailedWork, with everything stopped, if a program never comes up."""
        try:
            self._add(self._first)
            told = False
            while not self._stopping.is_set():
                self._next_change()
                if not told and self._changes.empty() and all(watch.up.is_set() for watch in self._essential()):
                    told = True
                    stop_notes(self._home, self._others())
                    sign(self._home, State.HEALTHY)
                    ready()
        finally:
            self._stop_all()

    def stop(self) -> None:
        self._stopping.set()

    def _essential(self) -> list[Watch]:
        return [watch for watch in self._watches.values() if watch.program.essential]

    def _add(self, programs: list[Program]) -> None:
        new = [Watch(program, self._home, self._stopping, self._change) for program in programs]
        self._watches.update({watch.program.name: watch for watch in new})
        for watch in new:
            watch.connect(self._watches)
            watch.start()

    def _change(self, watch: Watch, state: State) -> None:
        self._changes.put((watch, state))

    def _next_change(self) -> None:
        try:
            watch, state = self._changes.get(timeout=0.2)
        except queue.Empty:
            return
        self._heard(Change(watch.program.name, state, time.monotonic() - self._began, watch.problem))
        if state is State.DONE:
            self._add(self._then(watch.program.name))
        if state is State.FAILED:
            raise FailedWork(
                f"{watch.program.name} does not start: {watch.problem}{last_words(watch.program)}",
                object=watch.program.name,
                hint=f"read {watch.program.log}",
            )

    def _others(self) -> list[Note]:
        """What an earlier supervisor left and we do not run, such as pilots of a queue that is gone."""
        return [note for note in self._home.notes() if note.name not in {*self._watches, NAME}]

    def _stop_all(self) -> None:
        self._stopping.set()
        if self._home.note(NAME) is not None:
            sign(self._home, State.STOPPING)  # what is left of the notes must not look like a healthy system
        for watch in self._watches.values():
            watch.join()
        groups: dict[int, list[Watch]] = defaultdict(list)
        for watch in self._watches.values():
            if watch.running is not None and watch.running.alive():
                groups[watch.program.group].append(watch)
        for _, watches in sorted(groups.items(), reverse=True):
            stop([(watch.running, watch.program.stop_signal) for watch in watches if watch.running is not None])
        for watch in self._watches.values():
            self._home.forget(watch.program.name)
        stop_notes(self._home, self._others())


def stop_notes(home: Home, notes: list[Note]) -> None:
    """End the processes of these notes in the order of their groups, and forget the notes."""
    groups: dict[int, list[tuple[Running, int]]] = defaultdict(list)
    for note in notes:
        if note.alive:
            groups[note.group].append((Adopted(note.pid, note.started), note.signal))
    for _, members in sorted(groups.items(), reverse=True):
        stop(members)
    for note in notes:
        home.forget(note.name)


def last_words(program: Program) -> str:
    try:
        lines = program.log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n{line}" for line in lines[-5:])


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Be the one supervisor of this home; AlreadyRuns if another one is."""
    with (home.run / f"{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRuns(
                f"prodchain already runs in {home.path}",
                object=str(home.path),
                hint="`prodchain status` shows it, `prodchain down` stops it",
            ) from None
        sign(home, State.STARTING)
        try:
            yield
        finally:
            home.forget(NAME)


def sign(home: Home, state: State) -> None:
    """Leave the note of this supervisor."""
    pid = os.getpid()
    home.write_note(Note(NAME, pid, process.start_time(pid) or 0, None, signal.SIGTERM, 99, "", state))
