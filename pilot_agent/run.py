"""One job in a pilot's hands, from its acquisition to the last word on it: the inner half of machine.py.

Work (staging, payload, deleting) and reports go on side by side, at most one of each. An order to stop is kept
as the job's *fate* and carried out when the work that goes on has ended, so every moment is handled alike.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from . import events as ev
from .messages import JobSpec, Output, Stored

RETRY_S = 2.0
"""Pause after a request that failed (the HTTP client has retried on its own before)."""


class Phase(Enum):
    """Where a pilot is. In each phase with a job one piece of work goes on, except in REPORTING."""

    IDLE = "idle"
    ACQUIRING = "acquiring"
    STAGING_IN = "staging in"
    RUNNING = "running"
    STAGING_OUT = "staging out"
    CLEANING = "deleting outputs"
    REPORTING = "reporting"
    OVER = "over"


class Fate(Enum):
    """What is to become of the job; it only gets worse."""

    GO_ON = 0
    KILL = 1
    DISCARD = 2


STATES = {Phase.STAGING_IN: "starting", Phase.RUNNING: "running", Phase.STAGING_OUT: "holding"}
"""The job's state on the wire while work goes on."""


class Run:
    """``contact``: when the broker was last heard of (s); the run is over when ``phase`` is OVER."""

    def __init__(self, spec: JobSpec, now: float, out: list[ev.Instruction]) -> None:
        self.spec = spec
        self.phase = Phase.STAGING_IN
        self.contact = self._now = self._next_report = now
        self._out = out
        self._state = "starting"
        self._fate = Fate.GO_ON
        self._why = self._error = ""
        self._exit_code: int | None = None
        self._outputs: list[Stored] = []
        self._metrics: dict[str, float] = {}
        self._in_flight: ev.Report | None = None
        self._finished_sent = False  # the broker may have taken the outputs: only its word deletes them now
        self._handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.StagedIn: self._staged_in,
            ev.Ended: self._ended,
            ev.StagedOut: self._staged_out,
            ev.WorkFailed: self._work_failed,
            ev.OutputsDeleted: self._outputs_deleted,
            ev.Answered: self._answered,
            ev.ReportFailed: self._report_failed,
        }

    def start(self, stopping: str) -> None:
        """Begin; a pilot that is ``stopping`` only reports that it cannot."""
        self._out.append(ev.Received(self.spec))
        if stopping:
            self._fate, self._why = Fate.KILL, stopping
            self._conclude()
        else:
            self._begin(Phase.STAGING_IN, ev.StageIn)

    def handle(self, event: ev.Event, now: float, out: list[ev.Instruction]) -> None:
        self._now, self._out = now, out
        if type(event) in self._handlers:
            self._handlers[type(event)](event)

    def watch_time(self) -> None:
        """Notice a lost lease; report what is due."""
        if self.phase is not Phase.OVER and self._now - self.contact > self.spec.lease_s:
            self._lose_contact()
        due = self._now >= self._next_report and not self._in_flight
        if due and self.phase is not Phase.OVER and self._fate is not Fate.DISCARD:
            self._report()

    def stop(self, why: str) -> None:
        """The pilot must leave: kill the job, unless it is finished but for the broker's answer."""
        self._doom(Fate.KILL, why)

    @property
    def failed(self) -> bool:
        return self._fate is not Fate.GO_ON or self._error != ""

    # Work

    def _begin(self, phase: Phase, instruction: Callable[[JobSpec], ev.Instruction]) -> None:
        self.phase, self._state, self._next_report = phase, STATES[phase], self._now
        self._out.append(instruction(self.spec))

    def _staged_in(self, event: ev.StagedIn) -> None:
        if self.phase is Phase.STAGING_IN:
            self._metrics.update(event.metrics)
            self._go_on(Phase.RUNNING, ev.RunPayload)

    def _ended(self, event: ev.Ended) -> None:
        if self.phase is Phase.RUNNING:
            self._metrics.update(event.metrics)
            self._exit_code, self._error = event.exit_code, event.error
            self._go_on(Phase.STAGING_OUT, ev.StageOut)

    def _go_on(self, phase: Phase, instruction: Callable[[JobSpec], ev.Instruction]) -> None:
        if self.failed:
            self._conclude()
        else:
            self._begin(phase, instruction)

    def _staged_out(self, event: ev.StagedOut) -> None:
        if self.phase is Phase.STAGING_OUT:
            self._metrics.update(event.metrics)
            self._outputs = event.outputs
            self._conclude()

    def _work_failed(self, event: ev.WorkFailed) -> None:
        if self.phase in STATES:
            self._error = event.error
            self._conclude()

    def _outputs_deleted(self, event: ev.OutputsDeleted) -> None:
        if self.phase is Phase.CLEANING:
            self._outputs = []
            self._conclude()

    def _conclude(self) -> None:
        """No work goes on any more: delete what must not stay, then report or forget."""
        if self._fate is Fate.KILL:
            self._error = self._why
        if self._outputs and self.failed:
            self.phase = Phase.CLEANING
            names = {stored.lfn for stored in self._outputs}
            stored: list[Output] = [output for output in self.spec.outputs if output.lfn in names]
            self._out.append(ev.DeleteOutputs(self.spec, stored))
        elif self._fate is Fate.DISCARD:
            self._forget(f"discarded: {self._why}")
        else:
            self.phase, self._next_report = Phase.REPORTING, self._now

    def _forget(self, note: str) -> None:
        self.phase = Phase.OVER
        self._out.append(ev.Forget(self.spec, self.failed, note))

    # Reports and the broker's word

    def _report(self) -> None:
        final = self.phase is Phase.REPORTING
        state = ("failed" if self.failed else "finished") if final else self._state
        self._finished_sent |= state == "finished"
        self._next_report = self._now if final else self._now + self.spec.heartbeat_s
        self._in_flight = ev.Report(
            self.spec.job,
            state,
            before=self._state,
            final=final,
            exit_code=self._exit_code if final else None,
            error=self._error if state == "failed" else "",
            outputs=list(self._outputs) if state == "finished" else [],
            metrics=dict(self._metrics),
        )
        self._out.append(self._in_flight)

    def _answered(self, event: ev.Answered) -> None:
        if event.job != self.spec.job or not self._in_flight:
            return  # a late word on a job that is forgotten
        final, self._in_flight = self._in_flight.final, None
        self.contact = self._now
        if event.command == "discard":
            self._doom(Fate.DISCARD, event.reason)
        elif event.command == "kill" and not final:
            self._doom(Fate.KILL, event.reason or "killed by the broker")
        elif final and self.failed and self._outputs:
            # The broker had rejected our `finished` and now took `failed`: nobody wants the outputs.
            self._doom(Fate.DISCARD, self._error)
        elif final:
            self._forget(self._error or "finished")

    def _report_failed(self, event: ev.ReportFailed) -> None:
        if event.job != self.spec.job or not self._in_flight:
            return
        sent, self._in_flight = self._in_flight, None
        if event.trouble is not ev.Trouble.REJECTED:
            if sent.final or self.phase is not Phase.REPORTING:
                self._next_report = self._now + min(RETRY_S, self.spec.heartbeat_s)
            return
        self.contact = self._now
        if sent.final:
            before, self._error = self._error, f"the broker rejected the report: {event.reason}"
            if sent.state == "failed":
                self._forget(f"{self._error} (it said: {before})")

    def _doom(self, fate: Fate, why: str) -> None:
        """Let the job end badly; work that goes on is stopped first, its end concludes."""
        if fate.value <= self._fate.value or (fate is Fate.KILL and self._finished_sent):
            return
        if self._fate is Fate.GO_ON and self.phase in STATES:
            self._out.append(ev.StopWork(why))
        self._fate, self._why = fate, why
        if self.phase is Phase.REPORTING:
            self._conclude()

    def _lose_contact(self) -> None:
        why = f"no contact with the broker for {self.spec.lease_s:.0f} s, so the lease is gone"
        if self.phase is Phase.REPORTING and self._finished_sent:
            self._forget(f"{why}; outputs stay, since the broker may have them")
        else:
            self._doom(Fate.DISCARD, why)
