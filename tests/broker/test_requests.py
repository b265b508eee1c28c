"""What can never run is refused before anything changes."""

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
    ],
)
def test_what_the_database_cannot_keep_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        evgen(**changes)


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
