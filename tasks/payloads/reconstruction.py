"""The work of Reco_tf: HITS -> AOD with tracks and track jets.

Digitisation by smearing, space points in the pixels, triplet seeds, combinatorial Kalman filter, greedy
ambiguity resolution (all ACTS), then anti-kt jets of the tracks (FastJet). Cuts: those of ACTS's example for
this detector (Examples/Scripts/Python/ckf_tracks.py) with two instead of ten candidates per surface, as in its
chain for the Open Data Detector. Files: `digitisation.json` names its source; `seeding.json` lists the pixel
layers that give seeds, after Examples/Configs/generic-seeding-config.json.
"""

from pathlib import Path
from typing import Any

import acts
import acts.examples
import acts.examples.reconstruction as reco
import acts.examples.simulation
import awkward as ak
import numpy as np

from .detector import BLOCK, GEV, MM, WARNING, Detector, Maker, Rows, Sink, Source, consecutive
from .event_files import EventFiles, EventWriter
from .exit_codes import ExitCode
from .formats import AOD, HEADER, HITS
from .jets import cluster
from .outcome import Outcome

HERE = Path(__file__).parent
MIN_PT_GEV = 0.5
MAX_ETA = 3.0
MAX_D0_MM = 4.0
MIN_MEASUREMENTS = 7


def reconstruct(inputs: list[Path], output: Path, *, seed: int, skip: int = 0, count: int = -1) -> Outcome:
    """Reconstruct `count` events (-1: all) of the inputs after the first `skip`."""
    files = EventFiles(inputs, HITS)
    files.check_unique(ExitCode.INPUT_FILE_VALIDATION_FAIL)
    wanted = files.selected(skip, count)
    detector = Detector("Reco_tf", seed)
    tracks = 0
    with EventWriter(output, AOD, wanted) as writer:
        for block in files.blocks(BLOCK, skip, count):
            for first, events in consecutive(block):
                reconstructed = _reconstructed(detector, first, events)
                tracks += int(ak.count(reconstructed.track.pt))
                writer.write(reconstructed)
    return writer.outcome(files, geometry="ACTS generic detector", tracksPerEvent=round(tracks / wanted, 2))


def _reconstructed(detector: Detector, first: int, events: ak.Array) -> ak.Array:
    """The events with tracks and jets in place of their hits."""
    source = Source(first, len(events))
    source.provide("simhits", acts.examples.SimHitContainer, _hits(events.hit))
    # ACTS's standard sequence matches tracks to true particles, which nobody reads here: none are enough.
    source.provide("particles", acts.examples.SimParticleContainer, lambda _: acts.examples.SimParticleContainer())
    sink = Sink("tracks", acts.examples.ConstTrackContainer, _columns)
    found = detector.run(source, lambda sequencer: _add_reconstruction(sequencer, detector), sink)
    parameters, measurements, chi2, ndf = (np.concatenate(column) for column in zip(*found, strict=True))
    d0, z0, phi, theta, q_over_p, _ = parameters.T
    flat = {
        "pt": np.abs(np.sin(theta) / q_over_p) / GEV,
        "eta": -np.log(np.tan(theta / 2)),
        "phi": phi,
        "d0": d0 / MM,
        "z0": z0 / MM,
        "chi2ndf": chi2 / np.maximum(ndf, 1),
        "charge": np.sign(q_over_p),
        "measurements": measurements,
    }
    types = AOD.collections["track"]
    stored = ak.zip({name: column.astype(types[name]) for name, column in flat.items()})
    tracks = ak.unflatten(stored, [len(columns[0]) for columns in found])
    header = {name: events[name][: len(found)] for name in HEADER}
    return ak.zip(header | {"track": tracks, "jet": cluster(tracks)}, depth_limit=1)


def _hits(records: ak.Array) -> Maker:
    """Makes the ACTS hits of an event."""
    rows = Rows(records, list(HITS.collections["hit"]))

    def make(index: int) -> Any:
        container = acts.examples.SimHitContainer()
        for surface, v, s, p, g, d, x, y, z, t, px, py, pz, e, dpx, dpy, dpz, de, step in rows.of(index):
            barcode = acts.examples.SimBarcode()
            barcode.vertexPrimary, barcode.vertexSecondary, barcode.particle = v, s, p
            barcode.generation, barcode.subParticle = g, d
            at = acts.Vector4(x * MM, y * MM, z * MM, t * MM)
            before = acts.Vector4(px * GEV, py * GEV, pz * GEV, e * GEV)
            after = acts.Vector4((px + dpx) * GEV, (py + dpy) * GEV, (pz + dpz) * GEV, (e + de) * GEV)
            identifier = acts.GeometryIdentifier(surface)
            container.insert(acts.examples.SimHit(identifier, barcode, at, before, after, step))
        return container

    return make


def _columns(tracks: Any) -> tuple[Any, ...]:
    """Parameters, measurements, chi2 and degrees of freedom; ACTS hands out views, which need copying."""
    views = (tracks.parameters, tracks.nMeasurements, tracks.chi2, tracks.ndf)
    return tuple(np.array(view) for view in views)


def _add_reconstruction(sequencer: Any, detector: Detector) -> None:
    acts.examples.simulation.addDigitization(
        sequencer,
        detector.geometry,
        detector.field,
        digiConfigFile=HERE / "digitisation.json",
        rnd=detector.random,
        logLevel=acts.logging.ERROR,  # it warns of every hit that smearing moves off its sensor
    )
    degree = acts.UnitConstants.degree
    reco.addSeeding(
        sequencer,
        detector.geometry,
        detector.field,
        geoSelectionConfigFile=HERE / "seeding.json",
        initialSigmas=[1 * MM, 1 * MM, 1 * degree, 1 * degree, 0 / GEV, 1 * acts.UnitConstants.ns],
        initialSigmaQoverPt=0.1 / GEV,
        initialSigmaPtRel=0.1,
        initialVarInflation=[1.0] * 6,
        selectedParticles="particles",
        logLevel=WARNING,
    )
    reco.addCKFTracks(
        sequencer,
        detector.geometry,
        detector.field,
        trackSelectorConfig=reco.TrackSelectorConfig(
            pt=(MIN_PT_GEV * GEV, None),
            absEta=(None, MAX_ETA),
            loc0=(-MAX_D0_MM * MM, MAX_D0_MM * MM),
            nMeasurementsMin=MIN_MEASUREMENTS,
            maxHoles=2,
            maxOutliers=2,
        ),
        ckfConfig=reco.CkfConfig(
            chi2CutOffMeasurement=15.0,
            chi2CutOffOutlier=25.0,
            numMeasurementsCutOff=2,
            seedDeduplication=True,
            stayOnSeed=True,
        ),
        writeTrackSummary=False,
        writePerformance=False,
        logLevel=WARNING,
    )
    reco.addAmbiguityResolution(
        sequencer,
        reco.AmbiguityResolutionConfig(maximumSharedHits=3, nMeasurementsMin=MIN_MEASUREMENTS),
        writeTrackSummary=False,
        writePerformance=False,
        logLevel=WARNING,
    )
