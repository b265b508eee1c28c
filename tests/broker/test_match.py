"""Which lane for which pilot, as data."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as offering

from prodchain.broker.matching.match import Choice, Fraction, Lane, Lanes, Offer, fits, lacking, match, refusal
from prodchain.broker.matching.shares import Share, Turns
from prodchain.broker.requirements import Requirement

SHARES = [Share(1, "production", None, 80), Share(2, "analysis", None, 20)]
OFFER = Offer(
    cores=8,
    memory_mb=16000,
    remaining_s=7200,
    disk_mb=20000,
    gpus=1,
    architecture="x86_64",
    software=("Athena/24.*",),
)
NEEDS = Requirement(cores=1, memory_mb=2000, walltime_s=3600)


def lane(
    share: int, requirement: int, *heads: tuple[int, int], needs: Requirement = NEEDS, more: bool = False
) -> Lane:
    return Lane(share, requirement, needs, heads, more)


def run(
    offers: list[Offer],
    lanes: list[Lane],
    use: dict[int, float] | None = None,
    fraction: Fraction | None = None,
    room: int | None = None,
) -> list[Choice]:
    return match(offers, lanes, Turns(SHARES, use or {}, {lane.share for lane in lanes}), fraction, room)


def test_a_job_fits_exactly_up_to_each_limit_of_the_offer() -> None:
    most = Requirement(8, 16000, 7200, 20000, 1, "x86_64", ("Athena/24.0.1",))
    assert fits(most, OFFER)
    beyond = {
        "cores": (9, ("9 cores", "8")),
        "memory_mb": (16001, ("16001 MB of memory", "16000 MB")),
        "walltime_s": (7201, ("7201 s", "7200 s")),
        "scratch_mb": (20001, ("20001 MB of disk", "20000 MB")),
        "gpus": (2, ("2 GPUs", "1")),
        "architecture": ("aarch64", ("aarch64", "x86_64")),
        "software": (("Athena/25.0",), ("Athena/25.0", "Athena/24.*")),
    }
    for field, (value, words) in beyond.items():
        assert list(lacking(replace(most, **{field: value}), OFFER)) == [words]  # type: ignore[arg-type]


def test_within_a_share_the_highest_priority_is_first_then_the_oldest() -> None:
    lanes = [lane(1, 1, (900, 1), (100, 2)), lane(1, 2, (900, 0), (500, 7))]
    chosen = [choice.lanes[0].requirement for choice in run([OFFER] * 4, lanes)]
    assert chosen == [2, 1, 2, 1]


def test_a_pilot_passes_over_what_does_not_fit_and_takes_another_share_rather_than_nothing() -> None:
    large = replace(NEEDS, memory_mb=32000)
    lanes = [lane(1, 1, (900, 1), needs=large), lane(2, 2, (1, 2))]
    [choice] = run([OFFER], lanes, {2: 1000.0})
    assert [one.share for one in choice.lanes] == [2]


def test_several_jobs_for_one_pilot_fit_into_its_slot_together() -> None:
    lanes = [lane(1, 1, *((100, n) for n in range(20)), needs=replace(NEEDS, cores=2, memory_mb=5000))]
    assert len(run([offering(OFFER, jobs=10)], lanes)[0].lanes) == 3  # 15,000 of 16,000 MB
    assert len(run([offering(OFFER, jobs=2)], lanes)[0].lanes) == 2
    assert len(run([offering(OFFER, jobs=10, memory_mb=10**6)], lanes)[0].lanes) == 4  # 8 cores
    assert len(run([offering(OFFER, jobs=10, memory_mb=10**6)], lanes, room=3)[0].lanes) == 3


def test_where_the_heads_that_are_known_are_used_up_a_pilot_waits_for_the_next_reading() -> None:
    lanes = [lane(1, 1, (900, 1), more=True), lane(1, 2, (1, 2))]
    first, second = run([OFFER, OFFER], lanes)
    assert ([one.requirement for one in first.lanes], first.unsure) == ([1], False)
    assert (second.lanes, second.unsure) == ([], True)


read = st.tuples(st.integers(0, 2), st.sets(st.integers(1, 30), max_size=5), st.booleans())


@given(st.lists(read | st.integers(1, 3), max_size=40))
def test_lanes_that_are_kept_and_read_again_give_what_new_ones_would(
    steps: list[tuple[int, set[int], bool] | int],
) -> None:
    kept, read_last, given = Lanes(), dict[int, Lane](), list[Lane]()
    for step in steps:
        if isinstance(step, tuple):
            cores, jobs, more = step
            heads = [(0, 3 * job + cores) for job in sorted(jobs)]
            read_last[cores] = lane(1, cores, *heads, needs=replace(NEEDS, cores=cores + 1), more=more)
            kept.put(read_last[cores])
            given = [each for each in given if each.requirement != cores]
            continue
        offer, new = offering(OFFER, cores=step), Lanes(read_last.values())
        for each in given:
            new.take(each)
        (found, unsure), (other, other_unsure) = (each.best(1, offer, each.kind(offer)) for each in (kept, new))
        assert (found and found.requirement, unsure) == (other and other.requirement, other_unsure)
        if found:
            kept.take(found)
            given.append(found)


def test_analysis_gets_its_part_of_a_queue_and_each_kind_what_the_other_leaves() -> None:
    both = [lane(1, 1, *((1, n) for n in range(1000))), lane(2, 1, *((1, n) for n in range(1000)))]

    def shares(lanes: list[Lane], percent: int) -> list[int]:
        choices = run([OFFER] * 200, lanes, fraction=Fraction(percent, {2}))
        return [one.share for choice in choices for one in choice.lanes]

    for percent in (0, 5, 50, 100):
        assert shares(both, percent).count(2) == 2 * percent
    assert shares(both[:1], 100) == [1] * 200
    assert shares(both[1:], 0) == [2] * 200


def test_a_pilot_that_gets_nothing_is_told_what_was_there() -> None:
    large = lane(1, 1, (1, 1), needs=replace(NEEDS, memory_mb=4000))
    larger = lane(1, 2, (1, 2), (1, 3), needs=replace(NEEDS, memory_mb=8000))
    small = offering(OFFER, memory_mb=2000)
    said = "3 jobs wait, the smallest needs 4000 MB of memory, the pilot offers 2000 MB"
    assert refusal(small, [larger, large], 3, None, None) == said
    assert refusal(OFFER, [], 0, None, None) == "no job is ready for this queue"
    assert refusal(OFFER, [large], 1, None, None) == "1 job waits, other pilots were first"
    assert refusal(OFFER, [large], 1, 0, 5) == "1 job waits, and the queue runs 5 jobs already, as many as it may"


needs = st.builds(
    Requirement,
    cores=st.integers(1, 4),
    memory_mb=st.sampled_from([1000, 2000, 4000]),
    walltime_s=st.sampled_from([600, 3600]),
    software=st.sampled_from([(), ("Athena/24.0",)]),
)
offers = st.lists(
    st.builds(
        Offer,
        cores=st.integers(1, 8),
        memory_mb=st.sampled_from([1000, 2000, 8000]),
        remaining_s=st.sampled_from([300, 1000, 5000]),
        disk_mb=st.just(0),
        software=st.sampled_from([(), ("Athena/*",)]),
        jobs=st.integers(1, 3),
    ),
    max_size=8,
)


@st.composite
def queues(draw: st.DrawFn) -> list[Lane]:
    ids = iter(draw(st.permutations(range(60))))
    lanes = []
    for share in (1, 2):
        for requirement in range(draw(st.integers(0, 3))):
            priorities = sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=8)), reverse=True)
            heads = sorted(((priority, next(ids)) for priority in priorities), key=lambda h: (-h[0], h[1]))
            lanes.append(Lane(share, requirement, draw(needs), tuple(heads), draw(st.booleans())))
    return lanes


@given(offers, queues(), st.none() | st.integers(0, 100))
def test_no_higher_priority_waits_behind_a_lower_one_and_nothing_is_idle_that_fits(
    offers: list[Offer], lanes: list[Lane], percent: int | None
) -> None:
    choices = run(offers, lanes, fraction=None if percent is None else Fraction(percent, {2}))
    left = {(one.share, one.requirement): list(one.heads) for one in lanes}
    for offer, choice in zip(offers, choices, strict=True):
        for taken in choice.lanes:
            assert fits(taken.needs, offer)
            rivals = [one for one in lanes if one.share == taken.share and fits(one.needs, offer)]
            best = min((-head[0], head[1]) for one in rivals for head in left[one.share, one.requirement][:1])
            head = left[taken.share, taken.requirement].pop(0)
            assert (-head[0], head[1]) == best
            offer = offer.less(taken.needs)  # noqa: PLW2901 - what is left of it
        if offer.jobs and not choice.unsure:
            assert not [one for one in lanes if fits(one.needs, offer) and left[one.share, one.requirement]]
