"""How work is cut into jobs: pure functions, every event in exactly one piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """One piece of a task's work, the same in every attempt.

    ``first_event`` counts from the task's first event (event generation), ``skip`` from the input's first event.
    """

    number: int
    events: int
    seed: int
    first_event: int = 0
    skip: int = 0
    files: tuple[int, ...] = ()

    @classmethod
    def load(cls, document: dict[str, Any]) -> "Work":
        return cls(**{**document, "files": tuple(document["files"])})


@dataclass(frozen=True)
class InputFile:
    id: int
    events: int


def split_events(
    events: int, events_per_job: int, *, first_event: int, seed: int, start: int = 0, limit: int | None = None
) -> list[Work]:
    """Pieces of event generation after the ``start`` first ones, at most ``limit``; a seed of its own for each."""
    count = -(-events // events_per_job)
    stop = count if limit is None else min(count, start + limit)
    return [
        Work(
            number=index + 1,
            events=min(events_per_job, events - index * events_per_job),
            seed=seed + index + 1,
            first_event=first_event + index * events_per_job,
        )
        for index in range(start, stop)
    ]


def split_files(
    files: Sequence[InputFile],
    *,
    start: int,
    seed: int,
    files_per_job: int | None = None,
    events_per_job: int | None = None,
    closed: bool,
) -> list[Work]:
    """Pieces made of new input files, numbered from ``start`` + 1.

    With ``events_per_job`` each file is cut into ranges; otherwise files are grouped, and a last group that is
    not full waits for more files until the input is closed. What is not in the answer is still to be done.
    """
    if events_per_job is not None:
        ranges = [(file, skip) for file in files for skip in range(0, max(file.events, 1), events_per_job)]
        return [
            Work(
                number=start + index + 1,
                events=min(events_per_job, file.events - skip),
                seed=seed,
                skip=skip,
                files=(file.id,),
            )
            for index, (file, skip) in enumerate(ranges)
        ]
    size = files_per_job or 1
    full = len(files) if closed else len(files) - len(files) % size
    return [
        Work(
            number=start + index // size + 1,
            events=sum(file.events for file in files[index : index + size]),
            seed=seed,
            files=tuple(file.id for file in files[index : index + size]),
        )
        for index in range(0, full, size)
    ]
