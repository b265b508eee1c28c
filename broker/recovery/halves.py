"""A piece of work cut in two, for a retry with less: every event is in one of the halves."""

from collections.abc import Mapping
from dataclasses import replace

from ..splitting import Work


def divisible(work: Work, *, by_events: bool) -> bool:
    return work.events > 1 if by_events or not work.files else len(work.files) > 1


def halve(work: Work, number: int, events_of: Mapping[int, int], *, by_events: bool) -> tuple[Work, Work]:
    """The first half keeps the piece's number, the second is piece ``number``.

    Work on ranges of events (``by_events``, or without input) is cut between events, else between files;
    ``events_of`` tells how many events each file has.
    """
    if by_events or not work.files:
        half = (work.events + 1) // 2
        second = replace(work, number=number, events=work.events - half)
        if work.files:
            second = replace(second, skip=work.skip + half)
        else:  # event generation: the seed goes by the number
            second = replace(second, first_event=work.first_event + half, seed=work.seed - work.number + number)
        return replace(work, events=half), second
    middle = (len(work.files) + 1) // 2
    first, rest = work.files[:middle], work.files[middle:]
    return (
        replace(work, files=first, events=sum(events_of[file] for file in first)),
        replace(work, number=number, files=rest, events=sum(events_of[file] for file in rest)),
    )
