"""A piece of work cut in two, for a retry with less: every event is in one of the halves."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from ..splitting import Work


def divisible(work: Work, *, by_events: bool) -> bool:
    return work.events > 1 if by_events or not work.files else len(work.files) > 1


def halve(work: Work, number: int, events_of: Mapping[int, int], *, by_events: bool) -> tuple[Work, Work]:
    """The first half keeps the piece's number, the second is piece ``number``.

    A range of events is cut between events, else work is cut between files; what the task asks for by now
    (``by_events``) decides only where both can be. ``events_of`` tells how many events each file has.
    """
    if not work.files or _between_its_events(work, events_of, by_events):
        half = (work.events + 1) // 2
        second = work._replace(number=number, events=work.events - half)
        if work.files:
            return _between_events(work, second, half, events_of)
        # event generation: the seed goes by the number
        second = second._replace(first_event=work.first_event + half, seed=work.seed - work.number + number)
        return work._replace(events=half), second
    middle = (len(work.files) + 1) // 2
    first, rest = work.files[:middle], work.files[middle:]
    return (
        work._replace(files=first, events=sum(events_of[file] for file in first)),
        work._replace(number=number, files=rest, events=sum(events_of[file] for file in rest)),
    )


def _between_its_events(work: Work, events_of: Mapping[int, int], by_events: bool) -> bool:
    sizes = [events_of[file] for file in work.files]
    if work.skip or work.events != sum(sizes):
        return True
    # Of a file of 0 events nobody knows how many it has: it is in no range.
    return by_events and (len(sizes) == 1 or all(sizes))


def _between_events(work: Work, second: Work, half: int, events_of: Mapping[int, int]) -> tuple[Work, Work]:
    """Each with the files that it has events of: the one with the event before the cut may be that with the next."""
    ends = list(accumulate(events_of[file] for file in work.files))
    cut = work.skip + half
    last, first = bisect_right(ends, cut - 1), bisect_right(ends, cut)
    return (
        work._replace(files=work.files[: last + 1], events=half),
        second._replace(files=work.files[first:], skip=cut - (ends[first - 1] if first else 0)),
    )
