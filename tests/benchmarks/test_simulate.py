"""The scale simulator, a day of a small grid: nothing is lost, shares hold, what breaks is drained and comes back."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulate import __main__ as command
from benchmarks.simulate import troubles
from benchmarks.simulate.book import entitled
from benchmarks.simulate.desk import Desk
from benchmarks.simulate.knee import knee, slots_of_a_core
from benchmarks.simulate.load import LEAVES, SHARES, Size, sites
from benchmarks.simulate.run import simulate
from benchmarks.simulate.world import World
from prodchain.broker.matching.match import Offer
from prodchain.broker.matching.shares import Turns, targets
from prodchain.broker.requirements import Requirement

DAY = Size(days=1.0, slots=16_000, sites=12, load=1.1, stock_h=24.0, seed=3)
QUICK = Size(days=0.25, slots=4000, sites=8, stock_h=6.0)


@pytest.fixture(scope="module")
def day() -> dict[str, Any]:
    return simulate(DAY)


def test_every_job_of_a_day_is_found_where_it_belongs(day: dict[str, Any]) -> None:
    assert day["lost"] == 0
    assert day["jobs"] == day["finished"] + day["failed"] + sum(day["open"].values())
    assert day["finished"] > 0.5 * day["jobs"] > 10_000
    assert day["retried"] > 0


def test_shares_get_what_they_are_entitled_to_while_all_have_work(day: dict[str, Any]) -> None:
    assert day["slot_use_percent"] > 90
    counted = [share for share in day["shares"].values() if share["hours"] >= 4]
    assert len(counted) >= 4
    assert max(share["mean_error_percent"] for share in counted) < 2


def test_what_was_decided_and_moved_is_counted(day: dict[str, Any]) -> None:
    assert day["brokerage"]["jobs"] >= day["jobs"] - day["open"]["unplaced"]
    assert day["matching"]["offers"] >= day["runs"] > day["finished"]
    assert day["transfer_bytes"]["input"] == sum(day["transfer_bytes_by_day"]["input"]) > 10**10
    assert slots_of_a_core(day) > 10_000


def test_the_same_seed_gives_the_same_day() -> None:
    first, second, other = simulate(QUICK), simulate(QUICK), simulate(Size(**{**vars(QUICK), "seed": 2}))
    assert told(first) == told(second) != told(other)


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Without what the machine has to do with."""
    decisions = {name: found["brokerage"][name] for name in ("jobs", "bunches", "refused")}
    machine = ("brokerage", "matching", "decisions_per_s", "wall_s", "cpu_s", "rss_mb")
    return {name: value for name, value in found.items() if name not in machine} | decisions


def test_a_black_hole_is_drained_and_comes_back_when_it_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    hole = troubles.Trouble(troubles.BLACK_HOLE, 3600.0, 2 * 3600.0, site=1)
    monkeypatch.setattr(troubles, "troubles", lambda *_: [hole])
    world = World(Size(days=0.25, slots=4000, sites=8, stock_h=12.0))
    world.run()
    assert world.watch.drains >= 1
    assert world.watch.drains == world.watch.returns
    assert all(world.watch.good(site.queue) for site in world.sites)
    assert world.errors["no-such-program"] > 0
    assert world.where()["lost"] == 0


def test_a_site_that_is_down_runs_nothing_and_its_work_goes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    down = troubles.Trouble(troubles.DOWN, 3600.0, 10**6, site=0)
    monkeypatch.setattr(troubles, "troubles", lambda *_: [down])
    world = World(QUICK)
    world.run()
    assert not world.running[0]
    assert not world.watch.good(0)
    assert not world.desks[0].waiting
    assert world.counts["rebrokered"] > 0
    assert world.where()["lost"] == 0


def test_inputs_behind_a_broken_link_are_sought_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [troubles.Trouble(troubles.LINK, 0.0, 10**6, site, source) for site in range(8) for source in range(8)]
    monkeypatch.setattr(troubles, "troubles", lambda *_: broken)
    world = World(Size(days=0.25, slots=4000, sites=8, stock_h=12.0))
    world.run()
    assert world.counts["moved_jobs"] == 0
    assert world.counts["cut_off"] > 0
    assert world.where()["lost"] == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 3)), min_size=1, max_size=8))
def test_a_desk_gives_each_job_once_and_higher_priorities_first(chunks: list[tuple[int, int]]) -> None:
    desk = Desk([Requirement(1, 1000, 600)])
    first = 0
    for number, priority in chunks:
        desk.add((3, 0), priority, range(first, first + number))
        first += number
    assert sorted(desk.jobs()) == list(range(first))
    rank = [priority for number, priority in chunks for _ in range(number)]
    got: list[int] = []
    while desk.waiting:
        choices = desk.give([Offer(1, 2000, 3600, 0)] * 100, Turns(SHARES, {}, {3}))
        got += [job for choice in choices for job in choice.jobs]
    assert sorted(got) == list(range(first))
    assert [rank[job] for job in got] == sorted(rank, reverse=True)


def test_a_desk_gives_the_oldest_of_those_that_it_knows_first() -> None:
    desk = Desk([Requirement(1, 1000, 600)])
    desk.add((3, 0), 1000, [9, 2, 5])
    desk.add((3, 0), 1000, [7, 4])
    choices = desk.give([Offer(1, 2000, 3600, 0)] * 5, Turns(SHARES, {}, {3}))
    assert [job for choice in choices for job in choice.jobs] == [2, 4, 5, 7, 9]


def test_a_grid_has_all_its_slots_and_few_large_sites() -> None:
    found = sites(Size(), random.Random(1))
    assert sum(site.pilots for site in found) * 8 == Size().slots
    largest = sorted((site.pilots for site in found), reverse=True)
    assert sum(largest[:15]) > 0.3 * sum(largest)
    assert largest[-1] * 5 < largest[0]


def test_shares_with_work_divide_what_the_others_leave_siblings_first() -> None:
    whole = {leaf: 100 * target for leaf, target in targets(SHARES).items() if leaf in LEAVES}
    assert entitled(whole, frozenset(LEAVES)) == pytest.approx(whole)
    idle = {**whole, 4: 0.0, 9: whole[9] + whole[4]}
    due = entitled(idle, frozenset(LEAVES) - {4})
    assert due[4] == 0
    assert due[3] == pytest.approx(whole[3] + whole[4])  # its sibling
    assert due[9] == pytest.approx(whole[9])


def test_the_knee_is_where_slots_in_use_fall_short_of_what_is_submitted() -> None:
    points = [{"load": load, "slot_use_percent": use} for load, use in ((0.6, 60), (0.8, 80), (1.0, 90), (1.2, 91))]
    assert knee(points) == 0.9
    assert knee(points[:2]) is None


def test_the_command_prints_draws_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, kept = tmp_path / "scale.svg", tmp_path / "scale.json"
    words = ["--days", "1", "--slots", "800", "--sites", "4", "--no-knee"]
    command.main([*words, "--json", "--plot", str(picture), "--keep", str(kept)])
    found = json.loads(capsys.readouterr().out)
    assert found["lost"] == 0
    assert json.loads(kept.read_text())["jobs"] == found["jobs"]
    drawn = picture.read_text()
    assert Counter(drawn.split('"'))["#999"] >= 1
    assert all(f">{name}<" in drawn for name in LEAVES.values())
