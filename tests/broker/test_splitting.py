"""Every event exactly once, limits kept."""

from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.splitting import InputFile, Work, split_events, split_files

file_lists = st.lists(st.integers(0, 500), max_size=20).map(
    lambda sizes: [InputFile(i, n) for i, n in enumerate(sizes)]
)


@given(events=st.integers(1, 5000), size=st.integers(1, 700), first=st.integers(0, 10**6), seed=st.integers(0, 10**6))
def test_generation_makes_every_event_once_with_a_seed_for_each_job(
    events: int, size: int, first: int, seed: int
) -> None:
    works = split_events(events, size, first_event=first, seed=seed)
    made = [event for work in works for event in range(work.first_event, work.first_event + work.events)]
    assert made == list(range(first, first + events))
    assert all(0 < work.events <= size for work in works)
    assert [work.number for work in works] == list(range(1, len(works) + 1))
    assert len({work.seed for work in works}) == len(works)


@given(events=st.integers(1, 5000), size=st.integers(1, 700), step=st.integers(1, 9))
def test_generation_in_bunches_makes_the_same_pieces(events: int, size: int, step: int) -> None:
    whole = split_events(events, size, first_event=1, seed=5)
    parts: list[Work] = []
    while part := split_events(events, size, first_event=1, seed=5, start=len(parts), limit=step):
        parts += part
    assert parts == whole


@given(files=file_lists, size=st.integers(1, 100), start=st.integers(0, 50))
def test_ranges_of_files_hold_every_event_once(files: list[InputFile], size: int, start: int) -> None:
    works = split_files(files, start=start, seed=1, events_per_job=size, closed=True)
    seen = [(work.files[0], event) for work in works for event in range(work.skip, work.skip + work.events)]
    assert seen == [(file.id, event) for file in files for event in range(file.events)]
    assert all(work.events <= size for work in works)
    assert [work.number for work in works] == list(range(start + 1, start + len(works) + 1))


@given(files=file_lists, size=st.integers(1, 7), closed=st.booleans())
def test_groups_of_files_hold_every_file_once_and_only_the_last_is_smaller(
    files: list[InputFile], size: int, closed: bool
) -> None:
    works = split_files(files, start=0, seed=1, files_per_job=size, closed=closed)
    taken = [file for work in works for file in work.files]
    assert taken == [file.id for file in files][: len(taken)]
    assert len(files) - len(taken) < (1 if closed else size)
    assert all(len(work.files) == size for work in works[:-1])
    assert all(work.events == sum(files[i].events for i in work.files) for work in works)


def test_work_survives_its_way_through_the_database() -> None:
    work = Work(number=3, events=10, seed=4, skip=20, files=(7, 8))
    assert Work.load({"number": 3, "events": 10, "seed": 4, "first_event": 0, "skip": 20, "files": [7, 8]}) == work
