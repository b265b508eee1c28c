"""What is wrong with a document is told by field, in words, with the field that was meant."""

import pytest
from pydantic import ValidationError

from prodchain.broker.mistakes import mistakes
from prodchain.broker.requests import TaskRequest

GOOD = {"step": "sim", "output": "a:a.b", "command": ["sim", "{output}"], "jobs": 2}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memroy_mb": 500}, ("memroy_mb", "there is no such field; did you mean memory_mb?")),
        ({"colour": "red"}, ("colour", "there is no such field")),
        ({"merge": {"comand": [], "command": ["cat"]}}, ("merge.comand", "there is no such field")),
        ({"memory_mb": "lots"}, ("memory_mb", "Input should be a whole number")),
        ({"jobs": None}, ("", "a task without input needs events and events_per_job, or jobs")),
    ],
)
def test_a_mistake_is_named_by_field_and_in_words(change: dict[str, object], told: tuple[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        TaskRequest.model_validate(GOOD | change)
    assert told in mistakes(raised.value.errors(), TaskRequest)


def test_what_is_left_out_is_missing() -> None:
    with pytest.raises(ValidationError) as raised:
        TaskRequest.model_validate({"output": "a:a.b", "jobs": 1})
    assert mistakes(raised.value.errors()) == [("step", "is missing"), ("command", "is missing")]
