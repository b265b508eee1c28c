"""Work on many things at once, by as many threads as it takes to be fast."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

FIRST = 4
MOST = 16
END_S = 5.0
LOOK_S = 1.0
"""How long a number of threads is tried before it is judged."""
BETTER = 1.1
"""A rate that is better by less is no reason for more threads."""


class Tuner:
    """How many at once: more as long as that is faster, back by one when it is not. Pure: rates in, numbers out."""

    def __init__(self, first: int = FIRST, most: int = MOST) -> None:
        self.number = first
        self._most = most
        self._best = 0.0
        self._up = True

    def judge(self, rate: float) -> int:
        """The number for the next moment, after one with this rate (anything per second)."""
        if not self._up:
            return self.number
        if rate > self._best * BETTER:
            self._best = rate
            if self.number == self._most:
                self._up = False
            self.number = min(self.number * 2, self._most)
        else:
            self.number = max(1, self.number * 3 // 4)
            self._up = False
        return self.number


class Crew(Generic[T, R]):
    """Threads that share a list of things; their number is fixed, or tuned by what they get done."""

    def __init__(self, threads: int | None) -> None:
        self._tuner = Tuner() if threads is None else None
        self._wanted = threads or FIRST
        self._running = 0
        self._lock = threading.Lock()
        self._things: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[R | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended = False

    def work(self, one: Callable[[T], R], things: Sequence[T], done: Callable[[], int]) -> Iterator[R]:
        """Results as they come; the first exception is raised. ``done`` tells how much is done, as in bytes."""
        for thing in things:
            self._things.put(thing)
        left, before, since = len(things), done(), time.monotonic()
        while left:
            self._man(one, left)
            try:
                result = self._results.get(timeout=LOOK_S)
            except queue.Empty:
                pass
            else:
                if isinstance(result, BaseException):
                    raise result
                left -= 1
                yield result
            span = time.monotonic() - since
            if self._tuner and span >= LOOK_S:
                now = done()
                self._wanted = self._tuner.judge((now - before) / span)
                before, since = now, time.monotonic()

    def end(self) -> None:
        """Begin nothing more, and wait a moment for what was begun: a silent server must not hold up the end."""
        self._ended = True
        until = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _man(self, one: Callable[[T], R], left: int) -> None:
        with self._lock:
            missing = min(self._wanted, left) - self._running
            self._running += max(0, missing)
        for _ in range(missing):
            thread = threading.Thread(target=self._run, args=(one,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, one: Callable[[T], R]) -> None:
        while True:
            with self._lock:
                if self._ended or self._running > self._wanted or self._things.empty():
                    self._running -= 1
                    return
                thing = self._things.get()
            try:
                self._results.put(one(thing))
            except BaseException as error:
                self._ended = True
                self._results.put(error)
