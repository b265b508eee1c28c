"""The pilot's loop as a state machine: events in, instructions out; no I/O, no clock, no randomness.

    idle -> acquiring -> staging in -> running -> staging out -> reporting -> idle

Machine asks for work and knows when to leave; what happens with a job is in run.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import events as ev
from .run import RETRY_S, Phase, Run

WAIT_S = 20.0
"""How long the broker may park a request for work."""
STOP_GRACE_S = 25.0
"""A pilot that was told to leave goes after this time, reported or not: batch systems kill after about 30 s."""
ASK_PATIENCE_S = 60.0
LAST_ASK_PATIENCE_S = 2.0
LONGEST_PAUSE_S = 30.0
OK, FAILED, TOKEN_REFUSED, UNREACHABLE = 0, 1, 4, 5
"""The pilot's exit codes."""


@dataclass(frozen=True)
class Limits:
    """When a pilot leaves by itself; 0 means never for ``idle_s`` and ``max_jobs``.

    ``once``: one job or none, then leave; FAILED if the job failed. ``give_up_s``: without any contact.
    """

    lifetime_s: float = 86400.0
    idle_s: float = 600.0
    max_jobs: int = 0
    give_up_s: float = 600.0
    once: bool = False


class Machine:
    """One pilot. ``requests`` yields a new id for each wish for work; ``now`` is seconds on any steady clock."""

    def __init__(self, limits: Limits, requests: Iterator[str], now: float) -> None:
        self.limits = limits
        self.run: Run | None = None
        self._phase = Phase.IDLE
        self._requests = requests
        self._request = ""
        self._now = self._born = self._contact = self._idle_since = self._asked = self._next_ask = now
        self._jobs = self._quick_answers = 0
        self._stopping = ""
        self._leave_by = float("inf")
        self._out: list[ev.Instruction] = []
        self._handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.StopAsked: lambda event: self._stop(event.reason),
            ev.GotJob: self._got_job,
            ev.NoJob: self._no_job,
            ev.AskFailed: self._ask_failed,
        }

    def handle(self, event: ev.Event, now: float) -> list[ev.Instruction]:
        """Take one event; returns what to do, in order."""
        if self.phase is Phase.OVER:
            return []
        self._now, self._out = now, []
        if self.run:
            self.run.handle(event, now, self._out)
        if type(event) in self._handlers:
            self._handlers[type(event)](event)
        self._watch_time()
        return self._out

    @property
    def phase(self) -> Phase:
        return self.run.phase if self.run else self._phase

    @property
    def _remaining_s(self) -> float:
        return self._born + self.limits.lifetime_s - self._now

    def _watch_time(self) -> None:
        if self._remaining_s <= 0:
            self._stop(f"the pilot's lifetime of {self.limits.lifetime_s:.0f} s is over")
        if self.run:
            self.run.watch_time()
            if self.run.phase is Phase.OVER:
                self._job_over(self.run)
        if self.phase is Phase.IDLE and self._now >= self._next_ask:
            self._ask()
        if self.phase is not Phase.OVER and self._now >= self._leave_by:
            self._out.append(ev.StopWork(self._stopping))
            self._leave(OK, f"{self._stopping}; not all was reported")

    def _stop(self, reason: str) -> None:
        if self._stopping:
            return
        self._stopping = reason
        self._leave_by = self._now + STOP_GRACE_S
        if self.run:
            self.run.stop(reason)
        elif self.phase is Phase.ACQUIRING:
            # A job may be on its way to us. Nothing fits into 0 s, so this repeat brings that job or none.
            self._out.append(ev.AskForJob(self._request, 0, 0.0, LAST_ASK_PATIENCE_S))
        elif self.phase is Phase.IDLE:
            self._leave(OK, reason)

    def _leave(self, code: int, reason: str) -> None:
        self.run, self._phase = None, Phase.OVER
        self._out.append(ev.Leave(code, reason))

    def _job_over(self, run: Run) -> None:
        self.run, self._phase = None, Phase.IDLE
        self._contact = run.contact
        self._idle_since = self._next_ask = self._now
        if self._stopping:
            self._leave(OK, self._stopping)
        elif self.limits.once:
            self._leave(FAILED if run.failed else OK, "one job done, as wanted")

    # Asking for work

    def _ask(self) -> None:
        limits, idle_s = self.limits, self._now - self._idle_since
        if limits.max_jobs and self._jobs >= limits.max_jobs:
            self._leave(OK, f"{self._jobs} jobs done, as many as wanted")
        elif limits.idle_s and idle_s >= limits.idle_s:
            self._leave(OK, f"no work for {idle_s:.0f} s")
        else:
            self._request = self._request or next(self._requests)
            wait_s = min(WAIT_S, self._remaining_s, limits.idle_s - idle_s if limits.idle_s else WAIT_S)
            patience_s = min(ASK_PATIENCE_S, limits.give_up_s)
            self._phase, self._asked = Phase.ACQUIRING, self._now
            self._out.append(ev.AskForJob(self._request, int(self._remaining_s), wait_s, patience_s))

    def _got_job(self, event: ev.GotJob) -> None:
        if self.phase is Phase.ACQUIRING:  # else the second answer to a repeated request
            self._request, self._quick_answers = "", 0
            self._jobs += 1
            self.run = Run(event.spec, self._now, self._out)
            self.run.start(self._stopping)

    def _no_job(self, event: ev.NoJob) -> None:
        if self.phase is not Phase.ACQUIRING:
            return
        self._request, self._contact = "", self._now
        if self._stopping or self.limits.once:
            self._leave(OK, self._stopping or f"no work: {event.reason}")
            return
        # A broker that does not park requests is not to be asked in a tight loop.
        parked = self._now - self._asked >= WAIT_S / 4
        self._quick_answers = 0 if parked else self._quick_answers + 1
        pause_s = 0.0 if parked else min(LONGEST_PAUSE_S, 0.5 * 2.0 ** min(self._quick_answers, 10))
        pause_s = max(pause_s, min(LONGEST_PAUSE_S, event.retry_after_s))
        idle_end = self._idle_since + (self.limits.idle_s or float("inf"))
        self._phase, self._next_ask = Phase.IDLE, min(self._now + pause_s, idle_end)

    def _ask_failed(self, event: ev.AskFailed) -> None:
        silent_s = self._now - self._contact
        if self.phase is not Phase.ACQUIRING:
            return
        if self._stopping:
            self._leave(OK, self._stopping)
        elif event.trouble is ev.Trouble.TOKEN:
            self._leave(TOKEN_REFUSED, event.reason)
        elif event.trouble is ev.Trouble.REJECTED:
            self._leave(FAILED, event.reason)
        elif silent_s >= self.limits.give_up_s:
            self._leave(UNREACHABLE, f"no contact with the broker for {silent_s:.0f} s: {event.reason}")
        else:
            self._phase, self._next_ask = Phase.IDLE, self._now + RETRY_S
