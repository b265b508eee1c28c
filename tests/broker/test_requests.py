"""What can never run is refused before anything changes."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from prodchain.broker.errors import BadRequest
from prodchain.catalog.errors import BadName

from .world import World, evgen, sim

NAME = "mc26.700001.Z.evgen.EVNT.v1"


@pytest.mark.parametrize(
    "word",
    [
        "{events:{foo}}",
        "{events!r}",
        "{events:99999999999d}",
        "{events:c}",
        "{output:>40}",
        "{file}",
        "{",
        "{inputs[0]}",
    ],
)
def test_a_template_that_may_not_become_a_command_is_refused(word: str) -> None:
    with pytest.raises(ValidationError):
        evgen(command=["Gen_tf.py", word])


@pytest.mark.parametrize("word", ["{number:06d}", "{number:6}", "{events}", "{{braces}}", "--out={output}"])
def test_fields_plain_or_as_padded_numbers_are_taken(word: str) -> None:
    assert evgen(command=["Gen_tf.py", word]).command[1].format(number=1, events=2, output="x")


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "a\0b"},
        {"run": "\ud800"},
        {"command": ["a\0"]},
        {"destination": "A\0"},
        {"events": 10**18},
        {"events": 10**9, "events_per_job": 1},
        {"walltime_s": 2**31},
        {"first_event": 10**30},
        {"software": ["x" * 2001]},
        {"software": [f"Athena/{n}" for n in range(100)]},
        {"merge": {"command": ["Merge", "{inputs}", "{output}", "\0"], "files_per_job": 5}},
    ],
)
def test_what_the_database_cannot_keep_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        evgen(**changes)


MERGE = {"command": ["Merge_tf.py", "{inputs}", "{output}"], "files_per_job": 5}
LOG = {"log": "mc26.700001.Z.evgen.LOG.v1"}


@pytest.mark.parametrize(
    ("request_of", "changes", "words"),
    [
        (sim, {"events_per_job": 5, "files_per_job": 5}, "events_per_job or files_per_job, not both"),
        (sim, {"events_per_job": 5, "bytes_per_job": 5}, "events_per_job or bytes_per_job, not both"),
        (sim, {"jobs": 5}, "jobs belongs to tasks without input"),
        (sim, {"boundary": "file", "files_per_job": 2}, "one file"),
        (sim, {"target_walltime_s": 60}, "needs scouts"),
        (sim, {"target_walltime_s": 60, "scouts": 1, "boundary": "file"}, "give events_per_job"),
        (evgen, {"jobs": 4}, "jobs or events_per_job, not both"),
        (evgen, {"jobs": 101, "events_per_job": None}, "100 events are not enough for 101 jobs"),
        (evgen, {"events": None}, "needs events with events_per_job"),
        (evgen, {"events": None, "events_per_job": None}, "needs events and events_per_job, or jobs"),
        (evgen, {"events": None, "events_per_job": None, "jobs": 2, "scouts": 1, "target_walltime_s": 9}, "any"),
        (evgen, {"bytes_per_job": 5}, "needs an input"),
        (evgen, {"boundary": "dataset"}, "needs an input"),
        (evgen, {"outputs": LOG}, "does not name {log}"),
        (evgen, {"outputs": {"seed": LOG["log"]}}, "cannot name an output"),
        (evgen, {"outputs": {"Log": LOG["log"]}}, "cannot name an output"),
        (evgen, {"outputs": {"log": NAME}, "command": ["{log}"]}, "a dataset of its own"),
        (evgen, {"outputs": {"log": "data26.1.x"}, "command": ["{log}"]}, "one scope"),
        (evgen, {"outputs": LOG, "secondary": {"log": {"dataset": "mc26.x"}}, "command": ["{log}"]}, "once"),
        (evgen, {"secondary": {"mb": {"dataset": NAME}}, "command": ["{mb}"]}, "both input and output"),
        (evgen, {"merge": MERGE | {"files_per_job": None}}, "needs files_per_job or bytes_per_job"),
        (evgen, {"merge": MERGE | {"command": ["Merge_tf.py"]}}, "names its {inputs} and its {output}"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(request_of: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        request_of(**changes)


async def test_a_command_that_does_not_name_its_output_is_refused_without_a_trace(world: World) -> None:
    with pytest.raises(BadRequest, match=re.escape("the command of evgen does not name {output}")) as refused:
        await world.submit(evgen(command=["Gen_tf.py", "--maxEvents={events}"]))
    assert (refused.value.object, "{output}" in refused.value.hint) == ("command", True)
    assert await world.value("SELECT count(*) FROM dataset") == 0


def test_a_name_that_leaves_no_room_for_small_outputs_is_refused_with_a_merge_only() -> None:
    name = f"mc26.{'x' * 146}"
    assert evgen(output=name).output == name
    with pytest.raises(BadName):
        evgen(output=name, merge=MERGE)


async def test_so_many_jobs_of_one_size_are_the_same_request_as_that_size(world: World) -> None:
    first = await world.submit(evgen(events_per_job=25))
    assert (await world.submit(evgen(jobs=4, events_per_job=None))).id == first.id


def test_a_dataset_is_not_its_own_input_however_it_is_written() -> None:
    with pytest.raises(ValidationError, match="both input and output"):
        sim(input=NAME, output=f"mc26:{NAME}")


@pytest.mark.parametrize("output", [f"{NAME}_sub.A-DISK", f"{NAME}_dis12", f"mc26.{'x' * 151}"])
def test_an_output_needs_a_name_that_leaves_room_for_the_system_s_own(output: str) -> None:
    with pytest.raises(BadName):
        evgen(output=output)


async def test_a_destination_that_is_unknown_or_takes_nothing_is_refused_without_a_trace(world: World) -> None:
    await world.pool.execute("UPDATE storage SET writable = false WHERE name = 'B-DISK'")
    for destination in ("C-DISK", "B-DISK"):
        with pytest.raises(BadRequest):
            await world.submit(evgen(destination=destination))
    assert await world.value("SELECT count(*) FROM dataset") == 0


async def test_the_same_dataset_with_and_without_its_scope_is_the_same_request(world: World) -> None:
    first = await world.submit(evgen())
    assert (await world.submit(evgen(output=f"mc26:{NAME}"))).id == first.id
