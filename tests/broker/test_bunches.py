"""What a pilot gets is written as text: it says what the fields of the job say, whatever is in them."""

import json
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.bunches import PATIENCE, Bunch, Pace
from prodchain.broker.requests import TaskRequest
from prodchain.broker.requirements import Requirement
from prodchain.catalog.names import Did, file_name, url_of
from prodchain.pilot_agent.messages import Input, JobSpec, Output, decode

EVNT, LOG = "mc26.700001.Z.evgen.EVNT.v1", "mc26.700001.Z.evgen.LOG.v1"
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{}"), max_size=20)
NUMBERS = st.integers(0, 2**40)
FILES: list[dict[str, Any]] = [
    {"id": n, "scope": "mc26", "name": f"in._{n}.root", "bytes": n * 10, "adler32": f"{n:08x}", "storages": [1]}
    for n in (7, 8, 9)
]


def bunch(words: list[str], row: dict[str, Any], inputs: list[dict[str, Any]]) -> Bunch:
    request = TaskRequest.model_construct(command=words, output=f"mc26:{EVNT}", seed=40)
    jobs = {5: {"attempt": 2, "files": None, "secondary": None, "requirement_id": 3, "avoid": None} | row}
    pace = Pace(3.0, 15.0)
    return Bunch(11, request, jobs, {3: Requirement(walltime_s=77)}, {5: inputs}, {"": EVNT, "log": LOG}, pace)


@given(
    words=st.lists(WORDS, max_size=5),
    url=WORDS.map("file:///{}".format),
    row=st.fixed_dictionaries(dict.fromkeys(("number", "events", "seed", "skip", "first_event"), NUMBERS)),
    read=st.booleans(),
)
def test_the_text_is_the_spec(words: list[str], url: str, row: dict[str, Any], read: bool) -> None:
    template = [*words, "{seed} {job_seed} {events} {skip} {first_event} {number:06d} {{}}", "{output}+{log}"]
    if read:
        row |= {"files": [8, 7], "secondary": {"pile": [9]}}
        template.append("{inputs}/{pile}")
    inputs = FILES if read else []
    lfns = [file_name(name, row["number"], 2) for name in (EVNT, LOG)]
    command = [
        *words,
        f"{row['seed']} {40 + row['number']} {row['events'] or -1} {row['skip']} {row['first_event']}"
        f" {row['number']:06d} {{}}",
        "+".join(lfns),
        *(["in._8.root,in._7.root/in._9.root"] if read else []),
    ]

    (text,) = bunch(template, row, inputs).specs([5], url)

    document = json.loads(text)
    assert set(document) == {field.name for field in fields(JobSpec)}
    assert decode(JobSpec, document) == JobSpec(
        job=5,
        task=11,
        attempt=2,
        command=command,
        inputs=[Input(f["name"], url_of(url, Did("mc26", f["name"])), f["bytes"], f["adler32"]) for f in inputs],
        outputs=[Output(lfn, url_of(url, Did("mc26", lfn))) for lfn in lfns],
        walltime_s=77,
        heartbeat_s=3.0,
        lease_s=15.0 * PATIENCE,
    )
