"""The thin shell around the state machine: threads do what it says and bring back what happened."""

from __future__ import annotations

import logging
import platform
import queue
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from . import events as ev
from .http import Client
from .link import Link
from .machine import Limits, Machine
from .messages import Acquire
from .warden import Warden
from .work import Desk
from .workdir import WorkDirs, clear_stale

TICK_S = 0.2
log = logging.getLogger("prodchain.pilot")


@dataclass(frozen=True)
class Slot:
    """What the pilot was given to use."""

    name: str
    cores: int
    memory_mb: int
    work: Path
    keep_work: bool = False
    gpus: int | None = None
    """None: as the queue's slots are said to have."""
    software: tuple[str, ...] = ()

    def offer(self) -> Acquire:
        """What does not change from request to request."""
        return Acquire(
            pilot=self.name,
            request="",
            host=socket.gethostname(),
            cores=self.cores,
            memory_mb=self.memory_mb,
            remaining_s=0,
            gpus=self.gpus,
            architecture=platform.machine(),
            software=list(self.software),
        )


class Pilot:
    """Runs jobs until the machine says leave. Work and requests run in threads; the machine in the caller's."""

    def __init__(self, slot: Slot, limits: Limits, client: Client, warden: Warden) -> None:
        for folder in clear_stale(slot.work):
            log.info("removed the work directory of a dead pilot: %s", folder)
        self._slot = slot
        self._warden = warden
        self._dirs = WorkDirs(slot.work, slot.name)
        self._link = Link(client, slot.offer())
        self._machine = Machine(limits, _request_ids(), time.monotonic())
        # A SimpleQueue: its put() may be called from a signal handler while the same thread is in get().
        self._events: queue.SimpleQueue[ev.Event] = queue.SimpleQueue()
        self._desk: Desk | None = None

    def run(self) -> int:
        """Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            while True:
                event = self._next_event()
                _tell(event)
                for instruction in self._machine.handle(event, time.monotonic()):
                    if isinstance(instruction, ev.Leave):
                        log.info("leaving: %s", instruction.reason)
                        return instruction.code
                    self._carry_out(instruction)
        finally:
            self._warden.close()
            self._dirs.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(ev.StopAsked("pilot was stopped"))

    def _next_event(self) -> ev.Event:
        try:
            return self._events.get(timeout=TICK_S)
        except queue.Empty:
            return ev.Tick()

    def _carry_out(self, instruction: ev.Instruction) -> None:
        if isinstance(instruction, ev.AskForJob):
            self._in_thread(self._link.ask, instruction, self._dirs.free_mb())
        elif isinstance(instruction, ev.Received):
            work = self._dirs.make(instruction.spec.job)
            self._desk = Desk(instruction.spec, work, self._slot.cores, self._warden.watch)
        elif self._desk:
            self._carry_out_job(instruction, self._desk)

    def _carry_out_job(self, instruction: ev.Instruction, desk: Desk) -> None:
        if isinstance(instruction, ev.Report):
            log.info("job %s: %s %s", instruction.job, instruction.state, instruction.error)
            self._in_thread(self._link.report, instruction, desk.log)
        elif isinstance(instruction, ev.StageIn):
            self._in_thread(desk.stage_in)
        elif isinstance(instruction, ev.RunPayload):
            self._in_thread(desk.run)
        elif isinstance(instruction, ev.StageOut):
            self._in_thread(desk.stage_out)
        elif isinstance(instruction, ev.DeleteOutputs):
            self._in_thread(desk.delete, instruction.outputs)
        elif isinstance(instruction, ev.StopWork):
            log.info("job %s: stopping: %s", desk.spec.job, instruction.reason)
            desk.stop.set()
        elif isinstance(instruction, ev.Forget):
            self._forget(instruction, desk)

    def _forget(self, instruction: ev.Forget, desk: Desk) -> None:
        log.info("job %s: over: %s", desk.spec.job, instruction.note)
        if instruction.failed and self._slot.keep_work:
            log.info("job %s: its work directory is %s", desk.spec.job, self._dirs.keep(desk.work))
        else:
            self._dirs.remove(desk.work)
        self._desk = None

    def _in_thread(self, do: Callable[..., ev.Event], *what: object) -> None:
        """Do it in a thread that may be left behind at the end; its result is the next event."""
        threading.Thread(target=lambda: self._events.put(do(*what)), daemon=True).start()


def _request_ids() -> Iterator[str]:
    while True:
        yield uuid.uuid4().hex


def _tell(event: ev.Event) -> None:
    if isinstance(event, ev.GotJob):
        log.info("job %s: got it, attempt %s", event.spec.job, event.spec.attempt)
    elif isinstance(event, ev.AskFailed):
        log.warning("no answer to the request for work: %s", event.reason)
    elif isinstance(event, ev.ReportFailed):
        log.warning("job %s: report not taken: %s", event.job, event.reason)
