"""Whose turn it is: the tree of shares, and how use follows targets."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.matching.shares import Share, Turns, leaf_for, leaves, of_analysis, targets

TREE = [
    Share(1, "production", None, 70, {"activity": "production"}),
    Share(2, "higgs", 1, 3, {"group": "higgs*"}),
    Share(3, "top", 1, 1, {"group": "top"}),
    Share(4, "rest", 1, 1),
    Share(5, "analysis", None, 30, {"activity": "analysis"}),
]
BUSY = {2, 3, 4, 5}


def give(use: Counter[int], holders: set[int], jobs: int, cores: int = 1, shares: list[Share] = TREE) -> None:
    turns = Turns(shares, use, holders)
    for _ in range(jobs):
        share = next(turns.order())
        turns.give(share, cores)
        use[share] += cores


def parts(use: Counter[int]) -> dict[int, float]:
    return {share: round(cores / use.total(), 3) for share, cores in use.items()}


def test_targets_are_parts_of_the_part_above() -> None:
    wanted = {1: 0.7, 2: 0.42, 3: 0.14, 4: 0.14, 5: 0.3}
    assert {share: round(part, 9) for share, part in targets(TREE).items()} == wanted
    retired = [*TREE[:3], Share(4, "rest", 1, 1, retired=True), TREE[4]]
    assert targets(retired)[4] == 0
    assert round(targets(retired)[3], 9) == 0.175


def test_a_task_belongs_to_the_first_leaf_that_takes_it_and_whose_parents_do() -> None:
    def leaf(**task: str) -> str:
        return leaf_for(TREE, task).name

    assert leaf(activity="production", group="higgs-bb") == "higgs"
    assert leaf(activity="production", group="susy") == "rest"
    assert leaf(activity="analysis", group="higgs-bb") == "analysis"
    assert leaf(activity="calibration") == "analysis"  # nobody's: the last leaf's
    assert [share.name for share in leaves(TREE)] == ["higgs", "top", "rest", "analysis"]
    assert of_analysis(TREE) == {5}


def test_with_work_for_all_use_follows_targets() -> None:
    use: Counter[int] = Counter()
    for _ in range(40):
        give(use, BUSY, 25)
    assert parts(use) == {2: 0.42, 3: 0.14, 4: 0.14, 5: 0.3}


def test_what_a_share_leaves_goes_to_its_siblings_before_the_parents_siblings_get_it() -> None:
    use: Counter[int] = Counter()
    give(use, {3, 4, 5}, 1000)
    assert parts(use) == {3: 0.35, 4: 0.35, 5: 0.3}
    use.clear()
    give(use, {5}, 1000)
    assert parts(use) == {5: 1.0}


def test_a_share_that_comes_back_gets_its_part_as_slots_become_free() -> None:
    use: Counter[int] = Counter()
    give(use, {5}, 1000)
    for _ in range(300):
        use[5] -= 10  # the only jobs that end
        give(use, BUSY, 10)
    assert parts(use) == {2: 0.42, 3: 0.14, 4: 0.14, 5: 0.3}


def test_a_share_without_target_gets_what_is_left_and_a_retired_one_goes_on_until_it_is_through() -> None:
    shares = [Share(1, "a", None, 1), Share(2, "b", None, 0), Share(3, "old", None, 1, retired=True)]
    use: Counter[int] = Counter()
    give(use, {1, 2, 3}, 100, shares=shares)
    assert parts(use) == {1: 0.5, 3: 0.5}
    give(use, {2}, 100, shares=shares)
    assert use[2] == 100
    assert leaf_for(shares, {}).name == "a"


def test_jobs_of_a_share_that_was_divided_since_go_on_beside_its_children() -> None:
    use: Counter[int] = Counter()
    give(use, {1, 2, 3, 4, 5}, 3000)
    middle = 5 / 3
    assert abs(use[1] / 3000 - 0.7 * middle / (5 + middle)) < 0.002
    assert use[5] == 900


def test_a_share_that_is_newer_than_the_tree_is_served_last() -> None:
    assert list(Turns(TREE, {}, {5, 99}).order()) == [5, 99]


values = st.integers(1, 20).map(float)


@st.composite
def trees(draw: st.DrawFn) -> list[Share]:
    shares = [Share(1, "1", None, draw(values))]
    for number in range(2, draw(st.integers(2, 9)) + 1):
        above = draw(st.none() | st.sampled_from([share.id for share in shares]))
        shares.append(Share(number, str(number), above, draw(values)))
    return shares


@given(trees(), st.data())
def test_in_any_tree_each_share_with_work_is_within_a_job_of_its_part(
    shares: list[Share], data: st.DataObject
) -> None:
    holders = {share.id for share in leaves(shares)}
    busy = data.draw(st.sets(st.sampled_from(sorted(holders)), min_size=1))
    jobs = 400
    use: Counter[int] = Counter()
    for _ in range(8):
        give(use, busy, jobs // 8, shares=shares)
    assert use.total() == jobs  # nothing is idle
    wanted = _water(shares, busy)
    depth = len(shares)
    assert all(abs(use[share] - jobs * wanted[share]) <= depth for share in busy)


def _water(shares: list[Share], busy: set[int]) -> dict[int, float]:
    """Each busy share's part: what idle ones leave is divided among the siblings that have work below them."""

    def active(share: Share) -> bool:
        children = [each for each in shares if each.parent == share.id]
        return any(active(child) for child in children) if children else share.id in busy

    alive = [share for share in shares if active(share)]
    return targets(alive)
