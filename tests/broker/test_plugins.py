"""Criteria and weights of other packages take part, and one that breaks is a verdict, not a stop."""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prodchain.broker import why
from prodchain.broker.brokerage import plugins
from prodchain.broker.brokerage.decide import decide, judge
from prodchain.broker.brokerage.facts import Need, Offer

from .world import World, evgen, inside

CODE = """
def even_only(need, offer):
    if offer.queue % 2:
        return f"{offer.name} is odd", "take an even one"

def broken(need, offer):
    return 1 / 0

def prefers_large(need, offer):
    return (offer.slots / 100, f"{offer.slots} slots of 100")

def too_good(need, offer):
    return 3
"""
NEED = Need((1,))
ODD, EVEN = (Offer(queue=n, name=f"Q{n}", storage=1, pilots=1) for n in (1, 2))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package, as pip leaves one; ``entry_points.txt`` is the test's."""
    folder = tmp_path / "site-packages"
    info = folder / "our_rules-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-rules\nVersion: 1.0\n")
    (folder / "our_rules.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    plugins.installed.cache_clear()
    sys.modules.pop("our_rules", None)
    yield info
    plugins.installed.cache_clear()


def install(package: Path, group: str, *functions: str, module: str = "our_rules") -> None:
    lines = "".join(f"{name} = {module}:{name}\n" for name in functions)
    (package / "entry_points.txt").write_text(f"[prodchain.{group}]\n{lines}")


def test_a_criterion_of_a_package_refuses_with_its_reason_and_remedy(package: Path) -> None:
    install(package, "criteria", "even_only")
    rules, names = plugins.installed()
    assert names == ("prodchain.criteria/our-rules:even_only",)
    (failure,) = judge(NEED, ODD, rules).failures
    assert (failure.criterion, failure.reason, failure.remedies[0].text) == (
        "our-rules:even_only", "Q1 is odd", "take an even one",
    )  # fmt: skip
    assert decide(NEED, [ODD, EVEN], rules)[0][0].queue == 2


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("our_rules", "criterion broken of package our-rules raised ZeroDivisionError: division by zero"),
        (
            "not_there",
            "criterion broken of package our-rules raised ModuleNotFoundError: No module named 'not_there'",
        ),
    ],
)
def test_a_criterion_that_raises_is_a_verdict_of_its_own(package: Path, module: str, words: str) -> None:
    install(package, "criteria", "broken", module=module)
    (failure,) = judge(NEED, ODD, plugins.installed()[0]).failures
    assert failure.reason == words
    assert failure.remedies[0].text == "mend or uninstall our-rules, and restart the agents"


def test_a_weight_of_a_package_counts_with_its_words(package: Path) -> None:
    install(package, "weights", "prefers_large")
    verdict = judge(NEED, ODD, plugins.installed()[0])
    assert verdict.weight == 0.01
    assert "1 slots of 100" in verdict.reason


def test_a_weight_that_is_none_counts_as_one_and_says_so(package: Path) -> None:
    install(package, "weights", "too_good")
    verdict = judge(NEED, ODD, plugins.installed()[0])
    assert verdict.weight == 1
    assert (
        "weight too_good of package our-rules raised ValueError: 3 is no factor above 0 and up to 1, and counts as 1"
        in (verdict.reason)
    )


def test_the_rules_that_the_documentation_shows_work(package: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "brokerage.md").read_text()
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    points = tomllib.loads(toml)["project"]["entry-points"]
    (package.parent / "our_rules.py").write_text(code)
    lines = (f"[{group}]\n" + "".join(f"{n} = {at}\n" for n, at in named.items()) for group, named in points.items())
    (package / "entry_points.txt").write_text("\n".join(lines))
    sys.modules.pop("our_rules", None)
    rules, names = plugins.installed()
    assert len(names) == 2
    (failure,) = judge(replace(NEED, group="higgs"), ODD, rules).failures
    assert failure.reason == "Q1 has 1 slots, higgs takes ten or more"
    verdict = judge(NEED, replace(ODD, site="SITE-A"), rules)
    assert verdict.words.split(", ")[2] == "20 g CO2 an hour"
    assert verdict.weight == 0.998004


def test_only_the_plugins_that_are_named_take_part(package: Path) -> None:
    install(package, "criteria", "even_only", "broken")
    rules, names = plugins.rules_of(["prodchain.criteria/our-rules:even_only", "prodchain.criteria/gone:x"])
    assert names == ("prodchain.criteria/our-rules:even_only",)
    assert "our-rules:broken" not in rules.criteria


async def test_why_shows_what_a_package_said(package: Path, world: World) -> None:
    install(package, "criteria", "even_only")
    task = await world.submit(evgen())
    await world.agents()
    job = await world.value("SELECT min(id) FROM job WHERE task_id = $1", task.id)
    answer = await inside(world.pool, why.job_why, job)
    odd = next(v for v in answer["verdicts"] if v["queue"] == "A-BATCH")
    assert (odd["passed"], odd["criterion"], odd["reason"]) == (False, "our-rules:even_only", "A-BATCH is odd")
