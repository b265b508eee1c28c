"""A decision explains itself: one verdict for each queue, the reason for the choice; and how good queues are."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prodchain.broker.brokerage import weights
from prodchain.broker.brokerage.decide import Rules, decide, judge
from prodchain.broker.brokerage.facts import Files, Link, Need, Network, Offer, Store

GB = 10**9
STORES = {1: Store("A-DISK"), 2: Store("B-DISK"), 3: Store("T-TAPE", tape=True)}
NEED = Need(jobs=(1,))
A = Offer(
    queue=1, name="A", storage=1, storage_name="A-DISK", slots=2, pilots=1, pilots_ever=True, network=Network(STORES)
)
B = replace(A, queue=2, name="B", storage=2, storage_name="B-DISK")


def jobs(number: int, *inputs: Files) -> Need:
    return replace(NEED, jobs=tuple(range(1, number + 1)), inputs=inputs)


def shared(need: Need, *offers: Offer) -> dict[int | None, int]:
    return {decision.queue: len(decision.jobs) for decision in decide(need, offers)[0]}


def test_of_two_idle_queues_the_one_with_the_data_is_taken() -> None:
    (decision,), _ = decide(jobs(1, Files((2,), 1, 50_000_000)), [A, B])
    assert decision.queue == 2
    assert decision.reason == (
        "B: weight 1, 2 queues can take it (0 waiting and 0 executing for 2 slots, all inputs in place)"
    )
    assert decision.verdicts[0].missing_bytes == 50_000_000
    assert "50.0 MB to move" in decision.verdicts[0].reason


def test_moving_fewer_bytes_wins_all_else_equal() -> None:
    need = jobs(1, Files((3, 2), 1, GB), Files((3, 1), 1, 2 * GB))
    assert shared(need, A, B) == {1: 1}


def test_a_bunch_is_spread_over_idle_queues() -> None:
    assert shared(jobs(4, Files((1,), 4, 4_000_000)), A, B) == {1: 2, 2: 2}


def test_a_queue_gets_what_fits_and_the_rest_waits_with_the_verdicts_after_it() -> None:
    need = jobs(10)
    decisions, after = decide(need, [replace(A, waiting_limit=3)])
    assert [(decision.queue, decision.jobs) for decision in decisions] == [
        (1, (1, 2, 3)),
        (None, (4, 5, 6, 7, 8, 9, 10)),
    ]
    assert decisions[1].reason == ("no queue can take it: A: 3 jobs wait there already, the limit is 3 for 2 slots")
    assert (after[0].assigned, after[0].waiting) == (3, 3)


def test_what_a_storage_takes_bounds_what_is_sent_there() -> None:
    need = jobs(10, Files((2,), 10, 10 * GB))
    assert shared(need, replace(A, free_bytes=4 * GB)) == {1: 4, None: 6}
    assert shared(need, replace(A, incoming_limit=GB * 5 // 2)) == {1: 3, None: 7}
    _, (after,) = decide(need, [replace(A, free_bytes=4 * GB)])
    assert (after.free_bytes, after.incoming_bytes) == (0, 4 * GB)


def test_no_more_is_placed_than_the_quota_has_room_for() -> None:
    decisions, _ = decide(replace(jobs(5), room=2, owner="ann"), [A])
    assert [(d.queue, len(d.jobs)) for d in decisions] == [(1, 2), (None, 3)]
    assert decisions[1].reason == "the quota of user:ann is used up: more is placed as its jobs end"
    assert decide(replace(jobs(1), room=0), [A])[0][0].queue is None


def test_without_any_queue_the_decision_says_so() -> None:
    (decision,), _ = decide(NEED, [])
    assert (decision.queue, decision.reason) == (None, "no queue is configured")


def test_a_queue_where_the_work_failed_is_taken_again_only_if_there_is_no_other() -> None:
    need = replace(NEED, avoid=(1,))
    assert shared(need, A, B) == {2: 1}
    assert shared(need, A, replace(B, status="offline")) == {1: 1}
    (decision,), _ = decide(need, [A])
    assert decision.reason.endswith("this work failed there or was sent away, but no other queue can take it)")
    full = replace(B, activated=20)
    assert shared(need, A, full) == {None: 1}  # it waits for a queue that will have room


def test_a_new_empty_site_gets_first_jobs_though_no_pilot_has_called_there() -> None:
    old = replace(A, slots=4, activated=2, executing=4, finished=100)
    new = replace(B, pilots=0, pilots_ever=False)
    assert shared(jobs(3), old, new)[2] == weights.FIRST_JOBS
    assert "no pilot has called yet" in judge(NEED, new).words
    quiet = replace(new, pilots_ever=True)
    assert shared(jobs(3), old, quiet) == {1: 3}


def test_of_many_queues_only_those_that_may_be_the_heaviest_are_weighed_before_verdicts_are_read() -> None:
    weighed: list[int] = []

    def half(need: Need, offer: Offer) -> tuple[float, str]:
        weighed.append(offer.queue)
        return 0.5, "half"

    offers = [replace(A, queue=number, name=f"Q{number}", activated=number) for number in range(1, 20)]
    (decision,), _ = decide(NEED, offers[::-1], Rules(weights={**weights.WEIGHTS, "half": half}))
    assert decision.queue == 1
    assert set(weighed) <= {1, 2}  # free slots alone make the others lighter
    assert [verdict.words.endswith("half") for verdict in decision.verdicts] == [True] * 19
    assert set(weighed) == set(range(1, 20))
    assert max(decision.verdicts, key=lambda verdict: verdict.weight).queue == 1


def test_a_queue_is_lighter_the_more_wait_and_run_there() -> None:
    assert weights.busy(A) == 1
    assert weights.busy(replace(A, executing=2)) == 0.5 > weights.busy(replace(A, activated=2))
    assert weights.busy(replace(A, assigned=4)) == weights.busy(A, 4)


def test_jobs_that_wait_weigh_less_where_many_have_finished() -> None:
    slow, fast = replace(A, activated=10), replace(B, activated=10, finished=1000)
    assert weights.busy(fast) > 5 * weights.busy(slow)
    assert shared(NEED, slow, fast) == {2: 1}


def test_a_queue_whose_jobs_fail_is_lighter_and_says_so() -> None:
    bad = replace(A, finished=1, failed=9)
    assert weights.failures(NEED, bad) == (6 / 15, "9 of 10 jobs failed lately")
    assert shared(NEED, bad, B) == {2: 1}


def test_the_link_that_carries_faster_wins_and_the_slow_one_loses_with_its_next_facts() -> None:
    need = jobs(1, Files((3,), 1, GB))
    fast, slow = Link(100e6, 10, 0), Link(1e6, 10, 0)

    def with_links(first: Link, second: Link) -> list[Offer]:
        network = Network({**STORES, 3: Store("C-DISK")}, {(3, 1): first, (3, 2): second})
        return [replace(A, network=network), replace(B, network=network)]

    assert shared(need, *with_links(fast, slow)) == {1: 1}
    assert shared(need, *with_links(slow, fast)) == {2: 1}
    assert shared(need, *with_links(replace(fast, failures=1000), Link(50e6, 10, 0))) == {2: 1}
    seconds = weights.moving_s(need, with_links(slow, fast)[0])
    assert seconds == 1000.0
    assert weights.network(need, with_links(slow, fast)[0]) == (1 / (1 + 1000 / 600), "in 1000 s")


def test_what_is_on_its_way_to_a_storage_comes_first() -> None:
    need = jobs(1, Files((3,), 1, GB))
    assert shared(need, replace(A, incoming_bytes=50 * GB), B) == {2: 1}


def test_inputs_on_tape_only_are_taken_but_weigh_little() -> None:
    need = jobs(1, Files((3,), 7, 1000))
    assert weights.closeness(need, A) == (weights.TAPE, "7 files on tape only")
    assert weights.closeness(jobs(1, Files((2, 3), 7, 1000)), A) == (1.0, "")
    assert shared(need, A) == {1: 1}


@settings(deadline=None)
@given(
    number=st.integers(1, 60), slots=st.integers(1, 9), waiting=st.lists(st.integers(0, 30), min_size=1, max_size=3)
)
def test_a_bunch_is_spread_as_if_each_job_were_judged_alone(number: int, slots: int, waiting: list[int]) -> None:
    offers = [
        replace(A, queue=i, name=f"Q{i}", slots=slots, activated=n, finished=7 * i, waiting_limit=25)
        for i, n in enumerate(waiting)
    ]
    together = shared(jobs(number), *offers)
    alone: dict[int | None, int] = {}
    for _ in range(number):
        (decision,), offers = decide(NEED, offers)
        best, *others = sorted((verdict.weight for verdict in decision.verdicts), reverse=True)
        assume(not others or best == 0 or others[0] < 0.99999 * best)  # either is right: weights are rounded
        alone[decision.queue] = alone.get(decision.queue, 0) + 1
    assert together == alone
