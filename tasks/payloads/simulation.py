"""The work of Sim_tf: ACTS Fatras simulation of the generic tracker, EVNT -> HITS.

Particles fly through the magnetic field and scatter, lose energy and radiate in the material; photons convert.
There is no calorimeter and there are no hadronic interactions.
"""

from pathlib import Path
from typing import Any

import acts
import acts.examples
import acts.examples.simulation
import awkward as ak
import numpy as np

from .detector import BLOCK, GEV, MM, WARNING, Detector, Maker, Rows, Sink, Source, consecutive
from .event_files import EventFiles, EventWriter
from .exit_codes import ExitCode
from .formats import EVNT, HEADER, HITS
from .outcome import Outcome

# What is worth simulating: particles from inside the beam pipe that can reach the tracker and leave a track.
MAX_RADIUS_MM = 24.0
MAX_Z_MM = 1000.0
MAX_ETA = 3.0
MIN_PT_GEV = 0.3


def simulate(inputs: list[Path], output: Path, *, seed: int, skip: int = 0, count: int = -1) -> Outcome:
    """Simulate `count` events (-1: all) of the inputs after the first `skip`."""
    files = EventFiles(inputs, EVNT)
    files.check_unique(ExitCode.INPUT_FILE_VALIDATION_FAIL)
    wanted = files.selected(skip, count)
    detector = Detector("Sim_tf", seed)
    with EventWriter(output, HITS, wanted) as writer:
        for block in files.blocks(BLOCK, skip, count):
            for first, events in consecutive(block):
                writer.write(_simulated(detector, first, events))
    return writer.outcome(files, simulator="ACTS Fatras", geometry="ACTS generic detector")


def _simulated(detector: Detector, first: int, events: ak.Array) -> ak.Array:
    """The events with their hits in place of their particles."""
    source = Source(first, len(events))
    particles = _particles(events.particle)
    source.provide("particles_generated", acts.examples.SimParticleContainer, particles)
    sink = Sink("simhits", acts.examples.SimHitContainer, lambda hits: [_row(hit) for hit in hits])
    tables = detector.run(source, lambda sequencer: _add_simulation(sequencer, detector), sink)
    types = HITS.collections["hit"]
    rows = [row for table in tables for row in table]
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    flat = {name: np.array(column, types[name]) for name, column in zip(types, columns, strict=True)}
    hits = ak.unflatten(ak.zip(flat), [len(table) for table in tables])
    header = {name: events[name][: len(tables)] for name in HEADER}
    return ak.zip(header | {"hit": hits}, depth_limit=1)


def _particles(records: ak.Array) -> Maker:
    """Makes the ACTS particles of an event; the particle's place in the event is its bar code."""
    rows = Rows(records, list(EVNT.collections["particle"]))

    def make(index: int) -> Any:
        container = acts.examples.SimParticleContainer()
        for place, (pdg, mass, charge, px, py, pz, *vertex) in enumerate(rows.of(index), start=1):
            barcode = acts.examples.SimBarcode()
            barcode.vertexPrimary = 1
            barcode.particle = place
            particle = acts.examples.SimParticle(barcode, acts.PdgParticle(pdg), charge, mass * GEV)
            particle.fourPosition = acts.Vector4(*(v * MM for v in vertex))
            particle.direction = acts.Vector3(px, py, pz)
            particle.absoluteMomentum = (px * px + py * py + pz * pz) ** 0.5 * GEV
            container.insert(particle)
        return container

    return make


def _row(hit: Any) -> tuple[Any, ...]:
    """The columns of a hit, in the order of the HITS format."""
    barcode, at, before, after = hit.particleId, hit.fourPosition, hit.momentum4Before, hit.momentum4After
    px, py, pz, e = before[0], before[1], before[2], before[3]
    return (
        hit.geometryId.value,
        *(barcode.vertexPrimary, barcode.vertexSecondary, barcode.particle),
        *(barcode.generation, barcode.subParticle),
        *(at[0], at[1], at[2], at[3]),
        *(px, py, pz, e),
        *(after[0] - px, after[1] - py, after[2] - pz, after[3] - e),
        hit.index,
    )


def _add_simulation(sequencer: Any, detector: Detector) -> None:
    selection = acts.examples.simulation.ParticleSelectorConfig(
        rho=(0.0, MAX_RADIUS_MM * MM),
        absZ=(0.0, MAX_Z_MM * MM),
        eta=(-MAX_ETA, MAX_ETA),
        pt=(MIN_PT_GEV * GEV, None),
    )
    acts.examples.simulation.addGenParticleSelection(sequencer, selection, logLevel=WARNING)
    acts.examples.simulation.addFatras(
        sequencer, detector.geometry, detector.field, rnd=detector.random, logLevel=WARNING
    )
