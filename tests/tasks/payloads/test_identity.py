"""The physics is the same, bit by bit, however the work is split."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from prodchain.tasks.payloads import reference
from prodchain.tasks.payloads.event_files import read
from prodchain.tasks.payloads.formats import AOD, EVNT, HITS
from prodchain.tasks.payloads.gen_tf import find_card
from prodchain.tasks.payloads.generation import generate
from prodchain.tasks.payloads.merging import merge
from prodchain.tasks.payloads.reconstruction import reconstruct
from prodchain.tasks.payloads.simulation import simulate

from .conftest import EVENTS, FIRST, PER_JOB, RUN, Small


def test_event_numbers_are_unique_and_as_asked_for(small: Small) -> None:
    numbers = [read(path, EVNT).eventNumber.to_list() for path in small.evnt]
    assert [len(part) for part in numbers] == [PER_JOB] * 3
    assert list(chain.from_iterable(numbers)) == list(range(FIRST, FIRST + EVENTS))
    assert set(small.events.runNumber.to_list()) == {RUN}


def test_a_job_per_file_equals_one_process(small: Small, tmp_path: Path) -> None:
    aod = []
    for number, evnt in enumerate(small.evnt):
        hits = tmp_path / f"HITS.{number}.root.1"
        simulate([evnt], hits, seed=7)
        aod.append(tmp_path / f"AOD.{number}.root.1")
        reconstruct([hits], aod[-1], seed=1)
    assert reference.compare(reference.read_aod(aod), small.events) is None
    merged = tmp_path / "merged.root"
    merge([aod[2], aod[0], aod[1]], merged, AOD)
    assert reference.compare(reference.read_aod([merged]), small.events) is None
    assert reference.read_aod([merged]).eventNumber.to_list() == list(range(FIRST, FIRST + EVENTS))


def test_programs_in_processes_of_their_own_equal_one_process(small: Small, tmp_path: Path) -> None:
    job = f"--firstEvent {FIRST + PER_JOB} --maxEvents {PER_JOB} --randomSeed 3"  # the second of seed 1
    for command in (
        f"Gen_tf.py --jobConfig Zmumu {job} --outputEVNTFile E.root",
        "Sim_tf.py --inputEVNTFile E.root --randomSeed 7 --outputHITSFile H.root",
        "Reco_tf.py --inputHITSFile H.root --outputAODFile A.root",
        "Merge_tf.py --inputAODFile A.root --outputAOD_MRGFile M.root",
    ):
        program, *arguments = command.split()
        subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=tmp_path, check=True)
    middle = small.events[PER_JOB : 2 * PER_JOB]
    assert reference.compare(reference.read_aod([tmp_path / "M.root"]), middle) is None


def test_ranges_over_several_files_equal_one_process(small: Small, tmp_path: Path) -> None:
    hits = [tmp_path / "HITS.1.root", tmp_path / "HITS.2.root"]
    shuffled = [small.evnt[1], small.evnt[2], small.evnt[0]]
    simulate(shuffled, hits[0], seed=7, skip=0, count=20)
    simulate(shuffled, hits[1], seed=7, skip=20)
    aod = [tmp_path / f"AOD.{n}.root" for n in range(3)]
    reconstruct(hits[::-1], aod[0], seed=1, skip=0, count=11)
    reconstruct(hits, aod[1], seed=1, skip=11, count=22)
    reconstruct(hits[:1] + hits[1:], aod[2], seed=1, skip=33)
    assert [len(reference.read_aod([path])) for path in aod] == [11, 22, 15]
    assert reference.compare(reference.read_aod(aod), small.events) is None


def test_files_with_a_gap_between_them(small: Small, tmp_path: Path) -> None:
    hits, aod = tmp_path / "HITS.root", tmp_path / "AOD.root"
    simulate([small.evnt[2], small.evnt[0]], hits, seed=7)
    reconstruct([hits], aod, seed=1)
    ends = ak.concatenate([small.events[:PER_JOB], small.events[-PER_JOB:]])
    assert reference.compare(reference.read_aod([aod]), ends) is None


def test_small_blocks_equal_big_ones(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodchain.tasks.payloads.reconstruction.BLOCK", 5)
    aod = tmp_path / "AOD.root"
    reconstruct([small.hits], aod, seed=1)
    assert reference.compare(reference.read_aod([aod]), small.events) is None


def test_another_seed_gives_other_events(small: Small, tmp_path: Path) -> None:
    hits = tmp_path / "HITS.root"
    simulate(small.evnt[:1], hits, seed=8, count=2)
    ours, theirs = read(hits, HITS), read(small.hits, HITS, 0, 2)
    assert ours.eventNumber.to_list() == theirs.eventNumber.to_list()
    assert ak.num(ours.hit).to_list() != ak.num(theirs.hit).to_list()


def test_generation_depends_on_its_seed_only(small: Small, tmp_path: Path) -> None:
    again, other = tmp_path / "again.root", tmp_path / "other.root"
    for path, seed in ((again, 2), (other, 3)):
        generate(
            path,
            card=find_card("Zmumu"),
            events=5,
            first_event=FIRST,
            seed=seed,
            run_number=RUN,
            energy_gev=13600.0,
        )
    first = read(small.evnt[0], EVNT, 0, 5)
    assert ak.array_equal(read(again, EVNT), first)
    assert not ak.array_equal(read(other, EVNT).particle.px, first.particle.px)


def test_compare_names_the_first_difference(small: Small) -> None:
    events = small.events
    assert reference.compare(events, events[::-1]) is None
    assert reference.compare(events, events[1:]) == f"{EVENTS} events against {EVENTS - 1}"
    shifted = ak.with_field(events, events.eventNumber + np.uint64(1), "eventNumber")
    assert reference.compare(events, shifted) == "event 201: eventNumber 201 against 202"
    fewer = ak.with_field(events, events.track[:, 1:], "track")
    assert str(reference.compare(events, fewer)).startswith("event 201: ")
    moved = ak.where(events.eventNumber == 203, events.track.eta + np.float32(1e-6), events.track.eta)
    changed = ak.with_field(events, ak.with_field(events.track, moved, "eta"), "track")
    assert str(reference.compare(events, changed)).startswith("event 203: track.eta ")
