"""The same physics without any production system: the yardstick for what a production delivers.

Every step is done once, in this process, over all events; only event generation is cut into the jobs of the
production, because Pythia's random numbers run through a job.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from .event_files import read
from .formats import AOD, HEADER
from .gen_tf import ENERGY_GEV, RUN_NUMBER, find_card
from .generation import generate
from .reconstruction import reconstruct
from .simulation import simulate


def produce(
    directory: Path,
    pieces: Sequence[int],
    *,
    first_event: int = 1,
    gen_seed: int = 1,
    sim_seed: int = 1,
    reco_seed: int = 1,
    card: str = "Zmumu",
    run_number: int = RUN_NUMBER,
    energy_gev: float = ENERGY_GEV,
) -> ak.Array:
    """The AOD's events, from files made in `directory`; `pieces`: how many events each job of the generation makes.

    The seeds are those of the tasks (job n: gen_seed + n).
    """
    chunks: list[Path] = []
    for number, events in enumerate(pieces, start=1):
        chunks.append(directory / f"EVNT._{number:06}.root")
        generate(
            chunks[-1],
            card=find_card(card),
            events=events,
            first_event=first_event + sum(pieces[: number - 1]),
            seed=gen_seed + number,
            run_number=run_number,
            energy_gev=energy_gev,
        )
    hits, aod = directory / "HITS.root", directory / "AOD.root"
    simulate(chunks, hits, seed=sim_seed)
    reconstruct([hits], aod, seed=reco_seed)
    return read(aod, AOD)


def read_aod(paths: list[Path]) -> ak.Array:
    """The events of AOD files, to be compared."""
    return ak.concatenate([read(path, AOD) for path in paths])


def compare(one: ak.Array, other: ak.Array) -> str | None:
    """The first difference of two AODs, or None if they agree to the last bit, apart from the order of events."""
    if len(one) != len(other):
        return f"{len(one)} events against {len(other)}"
    one, other = _ordered(one), _ordered(other)
    events = ak.to_numpy(one.eventNumber)
    for name in HEADER:
        if place := _first(ak.to_numpy(one[name]), ak.to_numpy(other[name])):
            return f"event {events[place[0]]}: {name} {one[name][place[0]]} against {other[name][place[0]]}"
    for collection, columns in AOD.collections.items():
        lengths = [ak.to_numpy(ak.num(side[collection])) for side in (one, other)]
        if place := _first(*lengths):
            here, there = (length[place[0]] for length in lengths)
            return f"event {events[place[0]]}: {here} {collection}s against {there}"
        for column in columns:
            values = [ak.to_numpy(ak.flatten(side[collection][column])) for side in (one, other)]
            if place := _first(*values):
                event = events[np.searchsorted(np.cumsum(lengths[0]), place[0], side="right")]
                here, there = (value[place[0]] for value in values)
                return f"event {event}: {collection}.{column} {here!r} against {there!r}"
    return None


def _ordered(events: ak.Array) -> ak.Array:
    return events[np.lexsort([ak.to_numpy(events.eventNumber), ak.to_numpy(events.runNumber)])]


def _first(one: Any, other: Any) -> tuple[int] | None:
    """The first place where two arrays differ; values that are no numbers agree with each other."""
    differ = (one != other) & ~((one != one) & (other != other))
    places = np.flatnonzero(differ)
    return (int(places[0]),) if len(places) else None
