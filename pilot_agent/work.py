"""A job's pieces of work, each ending in an event: stage in, run, stage out, delete what was stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from . import payload, storage
from .errors import PilotError
from .events import Ended, Event, OutputsDeleted, StagedIn, StagedOut, WorkFailed
from .logtail import LogTail
from .messages import JobSpec, Output, Stored
from .report_file import JobReport

log = logging.getLogger("prodchain.pilot")


class Desk:
    """All that belongs to the job at hand outside the machine; ``stop`` breaks off its work."""

    def __init__(self, spec: JobSpec, work: Path, cores: int, watch: Callable[[int], None]) -> None:
        self.spec = spec
        self.work = work
        self.log = LogTail(work / payload.LOG)
        self.stop = threading.Event()
        self._cores = cores
        self._watch = watch
        self._report = JobReport()

    def stage_in(self) -> Event:
        return self._guarded(self._stage_in)

    def run(self) -> Event:
        return self._guarded(self._run)

    def stage_out(self) -> Event:
        return self._guarded(self._stage_out)

    def delete(self, outputs: list[Output]) -> Event:
        for error in storage.delete(outputs):
            log.warning("job %s: could not be deleted: %s", self.spec.job, error)
        return OutputsDeleted()

    def _guarded(self, do: Callable[[], Event]) -> Event:
        try:
            return do()
        except PilotError as error:
            return WorkFailed(f"{error} ({error.hint})" if error.hint else str(error))
        except Exception as error:  # a defect of the pilot must fail the job, not hang it
            log.exception("job %s", self.spec.job)
            return WorkFailed(f"error in the pilot: {type(error).__name__}: {error}")

    def _stage_in(self) -> Event:
        started = time.monotonic()
        size = storage.stage_in(self.spec.inputs, self.work, self.stop)
        return StagedIn({"stage_in_s": _since(started), "bytes_in": float(size)})

    def _run(self) -> Event:
        outcome = payload.run(
            self.spec.command,
            self.work,
            walltime_s=self.spec.walltime_s,
            cores=self._cores,
            stop=self.stop,
            watch=self._watch,
        )
        self._report = outcome.report
        self.log.finish()
        return Ended(outcome.exit_code, outcome.error, outcome.metrics)

    def _stage_out(self) -> Event:
        started = time.monotonic()
        contents = storage.stage_out(self.spec.outputs, self.work, self.spec.job, self.stop)
        outputs = []
        for index, (size, checksum) in enumerate(contents):
            lfn = self.spec.outputs[index].lfn
            outputs.append(Stored(lfn, self._report.guid(lfn), size, checksum, self._report.events(lfn)))
        bytes_out = float(sum(output.bytes for output in outputs))
        return StagedOut(outputs, {"stage_out_s": _since(started), "bytes_out": bytes_out})


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
