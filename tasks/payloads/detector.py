"""The detector that sim and reco share: ACTS's generic silicon tracker in a 2 T solenoid field.

Random numbers: ACTS seeds every algorithm with a hash of (seed, event number, position of the algorithm in
the sequence). So an event comes out the same in whatever job and file it is processed, provided that the
sequencer counts by event number and the algorithms stay in the same order. The seed is also made different
for every program, because one `--randomSeed` for sim and reco would else give both the same numbers.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import acts
import acts.examples
import awkward as ak
import numpy as np

WARNING = acts.logging.WARNING
GEV = acts.UnitConstants.GeV
MM = acts.UnitConstants.mm
FIELD_T = 2.0  # that of the inner detectors of ATLAS and of ACTS's own examples
BLOCK = 100  # events in memory at a time

Maker = Callable[[int], Any]


class Source(acts.examples.IReader):  # type: ignore[misc]
    """Feeds the sequencer with objects made from events `first` up to `first` + `count`."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__("Source", WARNING)
        self._range = (first, first + count)
        self._outputs: list[tuple[Any, Maker]] = []

    def provide(self, key: str, container: type, make: Maker) -> None:
        """`make(index of the event)` gives the object for `key`."""
        handle = acts.examples.WriteDataHandle(self, container, key)
        handle.initialize(key)
        self._outputs.append((handle, make))

    def release(self) -> None:
        """Forget the events: in ACTS's bindings a handle and its owner keep each other alive for ever."""
        self._outputs.clear()

    def availableEvents(self) -> tuple[int, int]:  # noqa: N802 (ACTS calls it)
        return self._range

    def read(self, context: Any) -> Any:
        for handle, make in self._outputs:
            handle(context, make(context.eventNumber - self._range[0]))
        return acts.examples.ProcessCode.SUCCESS


class Sink(acts.examples.IAlgorithm):  # type: ignore[misc]
    """Collects what a function takes out of the object `key` of every event (copies: ACTS frees the object)."""

    def __init__(self, key: str, container: type, take: Callable[[Any], Any]) -> None:
        super().__init__("Sink", WARNING)
        self._handle = acts.examples.ReadDataHandle(self, container, key)
        self._handle.initialize(key)
        self._take = take
        self._taken: list[Any] = []

    def execute(self, context: Any) -> Any:
        self._taken.append(self._take(self._handle(context.eventStore)))
        return acts.examples.ProcessCode.SUCCESS

    def drain(self) -> list[Any]:
        """What was taken, event by event; the sink forgets it, for the reason that Source gives."""
        taken, self._taken = self._taken, []
        return taken


class Detector:
    """Geometry, field and random numbers, and sequencers to run over blocks of events."""

    def __init__(self, program: str, seed: int) -> None:
        self._detector = acts.examples.GenericDetector(logLevel=WARNING)  # owns the geometry
        self.geometry = self._detector.trackingGeometry()
        self.field = acts.ConstantBField(acts.Vector3(0, 0, FIELD_T * acts.UnitConstants.T))
        digest = hashlib.sha256(f"{program} {seed}".encode()).digest()
        self.random = acts.examples.RandomNumbers(seed=int.from_bytes(digest[:8]))

    def run(self, source: Source, algorithms: Callable[[Any], None], sink: Sink) -> list[Any]:
        """Process the source's events and return what the sink took.

        In one thread, as readers written in Python are not thread-safe.
        """
        sequencer = acts.examples.Sequencer(numThreads=1, logLevel=WARNING, outputDir="", trackFpes=False)
        sequencer.addReader(source)
        algorithms(sequencer)
        sequencer.addAlgorithm(sink)
        sequencer.run()
        source.release()
        return sink.drain()


def consecutive(events: ak.Array) -> Iterator[tuple[int, ak.Array]]:
    """Pieces whose event numbers have no gap, as the sequencer wants them, each with its first number."""
    numbers = ak.to_numpy(events.eventNumber).astype("i8")
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1), len(numbers)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield int(numbers[start]), events[start:stop]


class Rows:
    """The records of a collection, event by event, as plain Python numbers.

    Taking single numbers out of arrays is what costs time when ACTS's objects are filled one by one.
    """

    def __init__(self, records: ak.Array, columns: list[str]) -> None:
        offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(records)))])
        self._offsets = offsets.tolist()
        flat = ak.flatten(records)
        self._columns = [ak.to_numpy(flat[column]).tolist() for column in columns]

    def of(self, index: int) -> Iterator[tuple[Any, ...]]:
        start, stop = self._offsets[index], self._offsets[index + 1]
        return zip(*(column[start:stop] for column in self._columns), strict=True)
