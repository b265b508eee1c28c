"""Work cut in two: every event is in one of the halves."""

from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.recovery.halves import divisible, halve
from prodchain.broker.splitting import Work


def events_of(work: Work, sizes: dict[int, int], *, by_events: bool) -> list[tuple[int, int]]:
    """Which events of which file a piece takes; file 0 stands for the generator."""
    if not work.files:
        return [(0, work.first_event + n) for n in range(work.events)]
    every = [(file, n) for file in work.files for n in range(sizes[file])]
    return every[work.skip : work.skip + work.events] if by_events else every


@given(events=st.integers(2, 500), first=st.integers(0, 1000), number=st.integers(1, 50))
def test_generated_events_are_made_once_and_each_half_has_its_own_seed(events: int, first: int, number: int) -> None:
    work = Work(number, events, seed=100 + number, first_event=first)
    assert divisible(work, by_events=True)
    one, two = halve(work, 77, {}, by_events=True)
    assert events_of(one, {}, by_events=True) + events_of(two, {}, by_events=True) == events_of(
        work, {}, by_events=True
    )
    assert (one.number, two.number, one.seed, two.seed) == (number, 77, 100 + number, 177)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), data=st.data())
def test_a_range_of_events_is_cut_between_events(sizes: list[int], data: st.DataObject) -> None:
    files = dict(enumerate(sizes, 1))
    skip = data.draw(st.integers(0, sum(sizes) - 1))
    work = Work(3, data.draw(st.integers(1, sum(sizes) - skip)), 5, skip=skip, files=tuple(files))
    if not divisible(work, by_events=True):
        assert work.events == 1
        return
    halves = halve(work, 9, files, by_events=True)
    assert [event for half in halves for event in events_of(half, files, by_events=True)] == events_of(
        work, files, by_events=True
    )
    assert all(half.events for half in halves)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_whole_files_are_cut_between_files(sizes: list[int]) -> None:
    files = dict(enumerate(sizes, 1))
    work = Work(3, sum(sizes), 5, files=tuple(files))
    if not divisible(work, by_events=False):
        assert len(sizes) == 1
        return
    one, two = halve(work, 9, files, by_events=False)
    assert one.files + two.files == work.files
    assert one.events == sum(files[file] for file in one.files)
    assert one.events + two.events == work.events


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), data=st.data())
def test_a_range_of_events_stays_one_whatever_the_task_asks_for_since(sizes: list[int], data: st.DataObject) -> None:
    files = dict(enumerate(sizes, 1))
    skip = data.draw(st.integers(1, sizes[0]))
    work = Work(3, data.draw(st.integers(2, sum(sizes))), 5, skip=skip, files=tuple(files))
    work = work._replace(events=min(work.events, sum(sizes) - skip))
    halves = halve(work, 9, files, by_events=False) if divisible(work, by_events=False) else [work]
    assert [event for half in halves for event in events_of(half, files, by_events=True)] == events_of(
        work, files, by_events=True
    )


def test_a_file_whose_events_nobody_knows_is_in_one_of_the_halves() -> None:
    sizes = {1: 10, 2: 0, 3: 10}
    one, two = halve(Work(3, 20, 5, files=(1, 2, 3)), 9, sizes, by_events=True)
    assert one.files + two.files == (1, 2, 3)
