"""Every event (or file) in exactly one piece, limits and boundaries kept, whatever the order and the slices."""

import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.recovery.halves import divisible, halve
from prodchain.broker.splitting import (
    InputFile,
    Limits,
    Work,
    in_turn,
    split_events,
    split_files,
)

events_or_none = st.one_of(st.just(0), st.integers(1, 300))


@st.composite
def inputs(draw: st.DrawFn) -> list[InputFile]:
    """Files of up to three datasets; names do not follow the ids."""
    size = draw(st.integers(0, 15))
    names = draw(st.permutations(range(size)))
    return [
        InputFile(
            index, draw(events_or_none), draw(st.integers(0, 50)), draw(st.integers(1, 3)), f"{names[index]:03d}"
        )
        for index in range(size)
    ]


limits = st.one_of(
    st.builds(
        lambda n, at: Limits.of(events_per_job=n, boundary=at),
        st.integers(1, 200),
        st.sampled_from(["file", "dataset", "none"]),
    ),
    st.builds(
        lambda n, size, at: Limits.of(n, size, None, at),
        st.none() | st.integers(1, 6),
        st.none() | st.integers(1, 120),
        st.sampled_from([None, "dataset", "none"]),
    ),
)


def covered(works: Sequence[Work], files: Sequence[InputFile]) -> list[tuple[int, int]]:
    """The events in the pieces as (file, event); a file of no known events counts as its event -1."""
    by_id = {file.id: file for file in files}
    found = []
    for work in works:
        left, skip = work.events, work.skip
        for number in work.files:
            there = by_id[number].events
            if there == 0:
                found.append((number, -1))
                continue
            take = min(left, there - skip)
            assert take > 0
            found += [(number, event) for event in range(skip, skip + take)]
            left, skip = left - take, 0
        assert left == 0
    return found


def every(files: Sequence[InputFile]) -> list[tuple[int, int]]:
    return [(file.id, event) for file in files for event in (range(file.events) if file.events else [-1])]


def kept(works: Sequence[Work], files: Sequence[InputFile], limit: Limits) -> None:
    by_id = {file.id: file for file in files}
    for work in works:
        mine = [by_id[number] for number in work.files]
        if limit.events is not None and any(file.events for file in mine):
            assert work.events <= limit.events
        if limit.files is not None:
            assert len(mine) <= limit.files
        if limit.bytes is not None and len(mine) > 1:
            assert sum(file.bytes for file in mine) <= limit.bytes
        if limit.boundary == "file":
            assert len(mine) == 1
        if limit.boundary == "dataset":
            assert len({file.dataset for file in mine}) == 1


@given(files=inputs(), limit=limits, seed=st.integers(0, 10**6))
def test_a_closed_input_is_in_pieces_once_in_whatever_order_it_is_given(
    files: list[InputFile], limit: Limits, seed: int
) -> None:
    split = split_files(files, limit, seed=seed)
    assert sorted(covered(split.works, files)) == sorted(every(files))
    kept(split.works, files, limit)
    assert [work.number for work in split.works] == list(range(1, len(split.works) + 1))
    assert sorted(split.used) == sorted(file.id for file in files) and not split.taken
    shuffled = Random(seed).sample(files, len(files))
    assert split_files(shuffled, limit, seed=seed) == split


@given(files=inputs(), limit=limits, seed=st.integers(0, 10**6), most=st.integers(1, 5))
def test_an_input_that_arrives_and_is_split_in_slices_is_in_pieces_once(
    files: list[InputFile], limit: Limits, seed: int, most: int
) -> None:
    random = Random(seed)
    coming = random.sample(files, len(files))
    waiting: dict[int, InputFile] = {}
    works: list[Work] = []
    while coming or waiting:
        arrived, coming = coming[: (new := random.randint(0, 4))], coming[new:]
        waiting |= {file.id: file for file in arrived}
        growing = {file.dataset for file in coming}
        split = split_files(list(waiting.values()), limit, seed=1, start=len(works), growing=growing, most=most)
        works += split.works
        for used in split.used:
            del waiting[used]
        for part, taken in split.taken.items():
            waiting[part] = waiting[part]._replace(taken=taken)
        assert split.works or growing or not waiting  # nothing is kept back once no more can come
    assert sorted(covered(works, files)) == sorted(every(files))
    kept(works, files, limit)
    assert [work.number for work in works] == list(range(1, len(works) + 1))


@given(files=inputs(), limit=limits)
def test_what_may_become_a_larger_piece_waits_while_more_can_come(files: list[InputFile], limit: Limits) -> None:
    split = split_files(files, limit, seed=1, growing={1, 2, 3})
    if limit.boundary == "file":
        assert len(split.used) == len(files)
    for work in split.works:
        mine = [file for file in files if file.id in work.files]
        full = (
            len(mine) == limit.files
            or work.events == limit.events
            or limit.boundary == "file"
            or not work.events
            or limit.bytes is not None  # the next one did not fit
        )
        assert full


def test_words_of_a_request_as_limits() -> None:
    assert Limits.of() == Limits(files=1)
    assert Limits.of(boundary="file") == Limits(files=1, boundary="file")
    assert Limits.of(events_per_job=5) == Limits(events=5, boundary="file")
    assert Limits.of(boundary="dataset") == Limits(boundary="dataset")
    assert Limits.of(files_per_job=3, bytes_per_job=9) == Limits(files=3, bytes=9)


def test_a_piece_of_events_goes_on_in_the_next_file() -> None:
    files = [InputFile(1, 70), InputFile(2, 70), InputFile(3, 10)]
    works = split_files(files, Limits(events=100), seed=4).works
    assert works == [Work(1, 100, 4, files=(1, 2)), Work(2, 50, 4, skip=30, files=(2, 3))]


def test_a_file_larger_than_the_limit_is_a_piece_alone() -> None:
    files = [InputFile(1, 0, 5), InputFile(2, 0, 50), InputFile(3, 0, 5), InputFile(4, 0, 5)]
    works = split_files(files, Limits(bytes=10), seed=1).works
    assert [work.files for work in works] == [(1,), (2,), (3, 4)]


sizes = st.one_of(
    st.builds(lambda n: {"events_per_job": n}, st.integers(1, 700)),
    st.builds(lambda n: {"jobs": n}, st.integers(1, 90)),
)


@given(events=st.integers(90, 1500), size=sizes, first=st.integers(0, 10**6), seed=st.integers(0, 10**6))
def test_generation_makes_every_event_once_with_a_seed_for_each_job(
    events: int, size: dict[str, int], first: int, seed: int
) -> None:
    works = split_events(events, **size, first_event=first, seed=seed)
    made = [event for work in works for event in range(work.first_event, work.first_event + work.events)]
    assert made == list(range(first, first + events))
    assert [work.number for work in works] == list(range(1, len(works) + 1))
    assert len({work.seed for work in works}) == len(works)
    if "jobs" in size:
        assert len(works) == size["jobs"]
        assert max(work.events for work in works) - min(work.events for work in works) <= 1
    else:
        assert all(0 < work.events <= size["events_per_job"] for work in works)


@given(events=st.integers(90, 500), size=sizes, step=st.integers(1, 90))
def test_generation_in_bunches_makes_the_same_pieces(events: int, size: dict[str, int], step: int) -> None:
    whole = split_events(events, **size, first_event=1, seed=5)
    parts: list[Work] = []
    while part := split_events(
        events, **size, first_event=1, seed=5, start=len(parts), position=sum(w.events for w in parts), most=step
    ):
        parts += part
    assert parts == whole


def test_jobs_without_events_are_numbered_and_seeded() -> None:
    works = split_events(None, jobs=3, first_event=1, seed=10, start=1, position=1)
    assert works == [Work(2, 0, 12, 1), Work(3, 0, 13, 1)]


@given(files=st.integers(1, 12), each=st.integers(1, 12), jobs=st.integers(1, 40))
def test_files_of_a_secondary_input_are_used_alike_and_once_in_a_job(files: int, each: int, jobs: int) -> None:
    handed = [in_turn(range(files), each, number) for number in range(1, jobs + 1)]
    assert all(len(set(some)) == len(some) == min(each, files) for some in handed)
    used = [sum(file in some for some in handed) for file in range(files)]
    assert max(used) - min(used) <= 1 or each > files


@given(files=inputs(), limit=limits, data=st.data())
def test_both_halves_of_a_piece_are_the_piece(files: list[InputFile], limit: Limits, data: st.DataObject) -> None:
    by_events = limit.events is not None
    works = [work for work in split_files(files, limit, seed=1).works if divisible(work, by_events=by_events)]
    if works:
        work = data.draw(st.sampled_from(works))
        halves = halve(work, 99, {file.id: file.events for file in files}, by_events=by_events)
        assert sorted(covered(halves, files)) == sorted(covered([work], files))
        assert [half.number for half in halves] == [work.number, 99]
        kept(halves, files, limit)


@pytest.mark.parametrize("secondary", [{}, {"minbias": (4, 5)}])
def test_work_survives_its_way_through_the_database(secondary: dict[str, tuple[int, ...]]) -> None:
    work = Work(number=3, events=10, seed=4, skip=20, files=(7, 8), secondary=secondary)
    assert Work.load(json.loads(work.text())) == work
    assert work.reads == {7, 8, *secondary.get("minbias", ())}


def test_of_a_file_that_is_in_pieces_in_part_only_the_rest_is_taken_where_pieces_are_files_now() -> None:
    files = [InputFile(1, 15, taken=10), InputFile(2, 5)]
    split = split_files(files, Limits.of(files_per_job=2), seed=1)
    assert [(work.files, work.skip, work.events) for work in split.works] == [((1,), 10, 5), ((2,), 0, 5)]
    assert (sorted(split.used), split.taken) == ([1, 2], {})
