"""Event files: ROOT files with one tree, named like the format, and one entry per event.

In a file a collection is a set of jagged branches (`track_pt`, with the counter `ntrack`). In memory a block of
events is an awkward array with the header's fields and one field of records per collection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import awkward as ak
import numpy as np
import uproot

from .exit_codes import ExitCode, TransformError
from .formats import HEADER, Format
from .outcome import FileFacts, Outcome


@contextmanager
def _reading(path: Path, format_: Format) -> Iterator[Any]:
    """The open tree; whatever goes wrong while reading is the fault of the file."""
    if not path.is_file():
        raise TransformError(ExitCode.INPUT_FILE_ERROR, f"{path} does not exist")
    try:
        with uproot.open(path) as file:
            yield file[format_.name]
    except Exception as error:
        text = f"{path} is no readable {format_.name} file: {type(error).__name__}: {error}"
        raise TransformError(ExitCode.INPUT_FILE_VALIDATION_FAIL, text) from error


def read(path: Path, format_: Format, start: int = 0, stop: int | None = None) -> ak.Array:
    """The events of a file from entry `start` up to `stop`."""
    with _reading(path, format_) as tree:
        flat = tree.arrays(format_.branches(), entry_start=start, entry_stop=stop)
    records = {
        name: ak.zip({column: flat[f"{name}_{column}"] for column in columns})
        for name, columns in format_.collections.items()
    }
    return ak.zip({name: flat[name] for name in HEADER} | records, depth_limit=1)


def facts(path: Path, format_: Format) -> FileFacts:
    """Entries and GUID of a file; the GUID is the UUID that ROOT keeps in the file's header."""
    with _reading(path, format_) as tree:
        return FileFacts(path.name, str(tree.file.uuid).upper(), tree.num_entries)


class EventFiles:
    """Several files of one format as one sequence of events, in the order of their first event numbers."""

    def __init__(self, paths: list[Path], format_: Format) -> None:
        self.format = format_
        ids = {path: self._ids(path) for path in paths}
        self.paths = sorted(paths, key=lambda path: min(ids[path][:, 1].tolist(), default=0))
        self.facts = [facts(path, format_) for path in self.paths]
        self.ids = np.concatenate([ids[path] for path in self.paths])

    def _ids(self, path: Path) -> Any:
        with _reading(path, self.format) as tree:
            columns = tree.arrays(["runNumber", "eventNumber"], library="np")
        return np.stack([columns["runNumber"].astype("u8"), columns["eventNumber"]], axis=1)

    def check_unique(self, code: ExitCode) -> None:
        """End with `code` if two events have the same run and event numbers."""
        unique, counts = np.unique(self.ids, axis=0, return_counts=True)
        if extra := len(self.ids) - len(unique):
            run, event = unique[counts > 1][0]
            raise TransformError(code, f"{extra} duplicate events in the inputs, first: run {run} event {event}")

    def selected(self, skip: int, count: int) -> int:
        """How many events are left to process; none at all is an error of who asked for them."""
        left = len(self.ids) - skip
        if left <= 0:
            text = f"nothing left to do: {skip} of {len(self.ids)} events in the inputs are to be skipped"
            raise TransformError(ExitCode.NOEVENTS, text)
        return left if count < 0 else min(left, count)

    def blocks(self, size: int, skip: int = 0, count: int = -1) -> Iterator[ak.Array]:
        """At most `size` events at a time, which bounds the memory."""
        stop = skip + self.selected(skip, count)
        base = 0
        for path, entries in ((path, fact.entries) for path, fact in zip(self.paths, self.facts, strict=True)):
            last = min(stop - base, entries)
            for start in range(max(skip - base, 0), last, size):
                yield read(path, self.format, start, min(start + size, last))
            base += entries


class EventWriter:
    """Writes under a temporary name; the file gets its own name only when all `expected` events are in it."""

    def __init__(self, path: Path, format_: Format, expected: int) -> None:
        self.path = path
        self.format = format_
        self.expected = expected
        self.entries = 0
        self._partial = path.with_name(f".{path.name}.part")

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():  # uproot would make it, also where nobody looks for outputs
            raise self._unwritable("there is no such folder")
        try:
            self._file = uproot.recreate(self._partial, compression=uproot.ZSTD(5))
            self._tree = self._file.mktree(self.format.name, HEADER | _record_types(self.format))
        except BaseException as error:
            raise self._abandoned(error) from error
        return self

    def write(self, events: ak.Array) -> None:
        """Append a block of events, brought to the types of the format."""
        data: dict[str, Any] = {name: ak.to_numpy(events[name]).astype(t) for name, t in HEADER.items()}
        for name, columns in self.format.collections.items():
            data[name] = ak.zip({c: ak.values_astype(events[name][c], np.dtype(t)) for c, t in columns.items()})
        self._tree.extend(data)
        self.entries += len(events)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as failure:
            error = error or failure
        if error is None and self.entries != self.expected:
            text = f"{self.expected} events in, {self.entries} events out"
            error = TransformError(ExitCode.EXEC_VALIDATION_EVENTCOUNT, text)
        if error is not None:
            raise self._abandoned(error)
        self._partial.replace(self.path)

    def _abandoned(self, error: BaseException) -> BaseException:
        """The error to raise after the partial file is gone; reading has turned its own OSErrors into others."""
        self._partial.unlink(missing_ok=True)
        return self._unwritable(error) if isinstance(error, OSError) else error

    def _unwritable(self, why: OSError | str) -> TransformError:
        return TransformError(ExitCode.OUTPUT_FILE_ERROR, f"cannot write {self.path}: {why}")

    def outcome(self, inputs: EventFiles | None, **metadata: str | int | float) -> Outcome:
        """What to report, with the facts read back from the finished file."""
        output = facts(self.path, self.format)
        if output.entries != self.entries:
            text = f"{self.entries} events written to {self.path}, {output.entries} read back"
            raise TransformError(ExitCode.OUTPUT_FILE_VALIDATION_FAIL, text)
        return Outcome(self.expected, self.entries, inputs.facts if inputs else [], output, metadata)


def _record_types(format_: Format) -> dict[str, Any]:
    """The types of the collections, as uproot wants them."""
    return {
        name: ak.types.from_datashape(
            "var * {" + ", ".join(f"{c}: {np.dtype(t).name}" for c, t in columns.items()) + "}", highlevel=False
        )
        for name, columns in format_.collections.items()
    }
