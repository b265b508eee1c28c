"""Steps are data: the documents that they make are what the broker takes."""

from typing import Any

import pytest

from prodchain.broker.requests import TaskRequest
from prodchain.tasks.errors import BadStep, OutsideChain
from prodchain.tasks.steps import Step, evgen, merge, reco, sim
from prodchain.tasks.template import fields, fill

FACETS = {"project": "mc26", "run_number": 700001, "physics": "Zmumu", "tag": "v1"}
OUT, IN = "mc26:out", "mc26:in"


def _request(step: Step, source: str | None, **wishes: Any) -> dict[str, Any]:
    request = step.request(output=OUT, source=source, wishes=wishes, facets=FACETS)
    TaskRequest(**request)  # the broker takes it
    return request


def test_evgen() -> None:
    request = _request(evgen, None, events=800, jobs=3, job_config="Zmumu", seed=7)
    assert request == {
        "step": "evgen",
        "output": OUT,
        "input": None,
        "command": [
            "Gen_tf.py",
            "--jobConfig=Zmumu",
            "--ecmEnergy=13600",
            "--runNumber=700001",
            "--firstEvent={first_event}",
            "--maxEvents={events}",
            "--randomSeed={seed}",
            "--outputEVNTFile={output}",
        ],
        "events": 800,
        "jobs": 3,
        "seed": 7,
    }


@pytest.mark.parametrize("step", [sim, reco, merge])
def test_steps_with_input(step: Step) -> None:
    request = _request(step, IN, memory_mb=2000)
    assert (request["input"], request["memory_mb"]) == (IN, 2000)
    assert request["files_per_job"] == step.defaults["files_per_job"]


def test_a_split_that_is_wished_for_replaces_the_default() -> None:
    request = _request(sim, IN, events_per_job=50)
    assert request["events_per_job"] == 50 and "files_per_job" not in request


def test_further_outputs_and_inputs_are_fields_of_the_command() -> None:
    digi = Step("digi", command=["Digi.py", "{inputs}", "{output}", "{log}", "--pile={minbias}"], format="RDO")
    with pytest.raises(BadStep, match="needs log"):
        _request(digi, IN)
    wishes = {"outputs": {"log": "mc26:log"}, "secondary": {"minbias": {"dataset": "mc26:mb", "files_per_job": 2}}}
    request = _request(digi, IN, **wishes)
    assert request["command"][-2:] == ["{log}", "--pile={minbias}"]
    assert request["outputs"] == {"log": "mc26:log"}


def test_wishes_for_the_split_reach_the_broker() -> None:
    merge = {"command": ["Merge.py", "{inputs}", "{output}"], "files_per_job": 5}
    request = _request(sim, IN, bytes_per_job=10**9, scouts=4, target_walltime_s=3600, merge=merge, sites=["A"])
    assert "files_per_job" not in request
    assert (request["bytes_per_job"], request["scouts"], request["merge"], request["sites"]) == (
        10**9,
        4,
        merge,
        ["A"],
    )
    toys = Step("toys", command=["toys.py", "--seed={job_seed}", "{output}"], format="TOY")
    assert _request(toys, None, jobs=5)["jobs"] == 5


def test_an_own_step_has_options_of_its_own() -> None:
    skim = Step("skim", command=["skim", "-i", "{inputs}", "-o", "{output}", "--pt={pt}"], format="NTUP")
    assert skim.options == {"pt"}
    assert _request(skim, IN, pt="{a}")["command"][-1] == "--pt={{a}}"  # text for the broker, not a field
    with pytest.raises(BadStep, match="needs pt"):
        _request(skim, IN)


def test_fields_of_jobs_and_doubled_braces_stay() -> None:
    assert fill(["awk '{{print}}' {inputs} {x}"], {"x": 1}) == ["awk '{{print}}' {inputs} 1"]
    assert fields(["{{no}} {yes}"]) == {"yes"}


@pytest.mark.parametrize("word", ["{", "{a!r}", "{a:>3}", "{a.b}", "{}"])
def test_templates_that_are_none(word: str) -> None:
    with pytest.raises(BadStep):
        fields([word])


@pytest.mark.parametrize(
    ("step", "source", "wishes", "message"),
    [
        (sim, IN, {"events": 5}, "takes all events of its input"),
        (evgen, IN, {"events": 5, "jobs": 1, "job_config": "Z"}, "takes no input"),
        (evgen, None, {"events": 5, "jobs": 0, "job_config": "Z"}, "jobs=0"),
        (evgen, None, {"jobs": 1, "job_config": "Z"}, "needs the number of events"),
    ],
)
def test_calls_that_make_no_task(step: Step, source: str | None, wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadStep, match=message):
        _request(step, source, **wishes)


def test_defaults_must_be_of_the_step() -> None:
    with pytest.raises(BadStep, match="defaults for"):
        Step("s", command=["{output}"], format="X", defaults={"colour": 1})


def test_a_step_outside_a_chain_says_so() -> None:
    with pytest.raises(OutsideChain):
        evgen(events=1, jobs=1)
