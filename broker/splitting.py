"""How work is cut into jobs: pure functions, every event (or file) in exactly one piece."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from types import MappingProxyType
from typing import Any, NamedTuple

FILES = 10_000
"""Files of one piece where nobody says how many: they are named on one command line."""


class Work(NamedTuple):
    """One piece of a task's work, the same in every attempt.

    ``first_event`` counts from the task's first event (event generation), ``skip`` from the first event of the
    first of ``files``; ``secondary`` is what it reads beside them, by the name of the secondary input.
    """

    number: int
    events: int
    seed: int
    first_event: int = 0
    skip: int = 0
    files: tuple[int, ...] = ()
    secondary: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> "Work":
        beside = {name: tuple(files) for name, files in document.get("secondary", {}).items()}
        return cls(**{**document, "files": tuple(document["files"]), "secondary": beside})

    def text(self) -> str:
        """As it is stored, in JSON; ``load`` takes what it says. Written out: jobs come by the hundred thousand."""
        beside = f', "secondary": {json.dumps(self.secondary)}' if self.secondary else ""
        return (
            f'{{"number": {self.number}, "events": {self.events}, "seed": {self.seed},'
            f' "first_event": {self.first_event}, "skip": {self.skip}, "files": {list(self.files)}{beside}}}'
        )

    @property
    def reads(self) -> set[int]:
        """All files that it needs where it runs."""
        return {*self.files, *(file for files in self.secondary.values() for file in files)}


class InputFile(NamedTuple):
    """A file that is worked through; ``taken``: how many of its first events are in pieces already."""

    id: int
    events: int
    bytes: int = 0
    dataset: int = 0
    name: str = ""
    taken: int = 0


@dataclass(frozen=True)
class Limits:
    """What one piece may have, and what it does not cross."""

    files: int | None = None
    bytes: int | None = None
    events: int | None = None
    boundary: str = "none"

    @classmethod
    def of(
        cls,
        files_per_job: int | None = None,
        bytes_per_job: int | None = None,
        events_per_job: int | None = None,
        boundary: str | None = None,
    ) -> "Limits":
        """As a request says it: without a word a piece is a file, and a range of events stays in one."""
        if events_per_job is not None:
            return cls(events=events_per_job, boundary=boundary or "file")
        if boundary == "file" or (files_per_job, bytes_per_job, boundary) == (None, None, None):
            files_per_job = files_per_job or 1
        elif bytes_per_job is not None:
            files_per_job = files_per_job or FILES
        return cls(files=files_per_job, bytes=bytes_per_job, boundary=boundary or "none")


@dataclass(frozen=True)
class Split:
    """Pieces, the files that are in pieces to their last event, and the one or few that are so in part."""

    works: list[Work]
    used: list[int]
    taken: dict[int, int]


class _Piece(NamedTuple):
    files: Sequence[InputFile]
    skip: int
    events: int
    left: int
    """Events of its last file that are in no piece so far."""


def split_events(
    events: int | None,
    *,
    events_per_job: int | None = None,
    jobs: int | None = None,
    first_event: int,
    seed: int,
    start: int = 0,
    position: int = 0,
    most: int | None = None,
) -> list[Work]:
    """Pieces of a task without input after ``position`` events, at most ``most``; a seed of its own for each.

    ``jobs`` spreads the events evenly. Without ``events`` the pieces have none, and ``position`` counts them.
    """
    if events is None:
        assert jobs is not None  # requests are validated
        sizes: Iterator[int] = (0 for _ in range(position, jobs))
    elif jobs is not None:
        sizes = _even(events, jobs, position)
    else:
        assert events_per_job is not None
        sizes = (min(events_per_job, events - at) for at in range(position, events, events_per_job))
    at = first_event + (position if events is not None else 0)
    works = []
    for number, size in enumerate(islice(sizes, most), start + 1):
        works.append(Work(number, size, seed + number, at))
        at += size
    return works


def _even(events: int, jobs: int, position: int) -> Iterator[int]:
    """The sizes after ``position`` events of pieces that differ by one event at most, the larger ones first."""
    size, larger = divmod(events, jobs)
    made = position // (size + 1)
    if made >= larger:
        made = (position - larger) // size
    return (size + 1 if index < larger else size for index in range(made, jobs))


def split_files(
    files: Sequence[InputFile],
    limits: Limits,
    *,
    seed: int,
    start: int = 0,
    growing: Collection[int] = (),
    most: int | None = None,
) -> Split:
    """Pieces made of input files, numbered from ``start`` + 1, at most ``most``.

    What is left at the end is no piece before it is full or no more files can come: ``growing`` are the datasets
    from which they may. The same files make the same pieces in whatever order they are given.
    """
    ordered = sorted(files, key=lambda file: (not file.taken, file.dataset, file.name, file.id))
    pieces = list(islice(_pieces(ordered, limits, growing), most))
    works = [
        Work(number, piece.events, seed, skip=piece.skip, files=tuple(file.id for file in piece.files))
        for number, piece in enumerate(pieces, start + 1)
    ]
    used, taken = [], {}
    for piece in pieces:
        *whole, last = piece.files
        used += [file.id for file in whole]
        taken[last.id] = last.events - piece.left
        if not piece.left:
            used.append(last.id)
    for file in used:
        taken.pop(file, None)
    return Split(works, used, taken)


def _pieces(files: Sequence[InputFile], limits: Limits, growing: Collection[int]) -> Iterator[_Piece]:
    cut = _groups if limits.events is None else _ranges
    if limits.boundary != "dataset":
        yield from cut(files, limits, bool(growing))
        return
    for dataset, members in groupby(sorted(files, key=lambda file: file.dataset), lambda file: file.dataset):
        yield from cut(list(members), limits, dataset in growing)


def _groups(files: Sequence[InputFile], limits: Limits, waits: bool) -> Iterator[_Piece]:
    """Whole files, as many as fit; one that is larger than the limit is a piece alone.

    So is the rest of one whose first events are in pieces: the task was for ranges of events before.
    """
    group: list[InputFile] = []
    size = 0
    for file in files:
        if file.taken:
            yield _Piece([file], file.taken, file.events - file.taken, 0)
            continue
        if group and (_full(group, size, limits) or (limits.bytes is not None and size + file.bytes > limits.bytes)):
            yield _whole(group)
            group, size = [], 0
        group.append(file)
        size += file.bytes
    if group and (_full(group, size, limits) or not waits):
        yield _whole(group)


def _full(group: Sequence[InputFile], size: int, limits: Limits) -> bool:
    return len(group) == limits.files or (limits.bytes is not None and size >= limits.bytes)


def _whole(group: Sequence[InputFile]) -> _Piece:
    return _Piece(group, 0, sum(file.events for file in group), 0)


def _ranges(files: Sequence[InputFile], limits: Limits, waits: bool) -> Iterator[_Piece]:
    """Ranges of events; a file of which nobody knows how many it has is a piece alone."""
    assert limits.events is not None
    open_files: list[InputFile] = []
    skip = have = 0
    for file in files:
        if file.events == 0:
            yield _Piece([file], 0, 0, 0)
            continue
        if file.taken and open_files:  # its events do not follow on those of the file before it
            yield _Piece(open_files, skip, have, 0)
            open_files, have = [], 0
        at = file.taken
        while at < file.events:
            if not open_files:
                skip = at
            take = min(limits.events - have, file.events - at)
            open_files, have, at = [*open_files, file], have + take, at + take
            if have == limits.events or (limits.boundary == "file" and at == file.events):
                yield _Piece(open_files, skip, have, file.events - at)
                open_files, have = [], 0
    if open_files and not waits:
        yield _Piece(open_files, skip, have, 0)


def in_turn(files: Sequence[int], each: int, number: int) -> tuple[int, ...]:
    """The files of a secondary input that the piece of that number gets, ``each`` of them: all are used alike."""
    first = (number - 1) * each
    return tuple(files[(first + index) % len(files)] for index in range(min(each, len(files))))
