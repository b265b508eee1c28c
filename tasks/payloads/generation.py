"""The work of Gen_tf: Pythia 8 events -> EVNT."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc

from .event_files import EventWriter
from .exit_codes import ExitCode, TransformError
from .formats import EVNT
from .outcome import Outcome

BATCH = 100
COMMON = Path(__file__).with_name("common.cmnd")


def generate(
    output: Path, *, card: Path, events: int, first_event: int, seed: int, run_number: int, energy_gev: float
) -> Outcome:
    """Generate events `first_event` and following; cross sections in the metadata are in pb."""
    pythia = _pythia(card, seed, energy_gev)
    with EventWriter(output, EVNT, events) as writer:
        while writer.entries < events:
            batch = pythia.nextBatch(min(BATCH, events - writer.entries))
            if not len(batch):
                raise TransformError(ExitCode.EXEC_FAIL, f"Pythia gives no more events with {card.name}")
            writer.write(_block(pythia, batch, first_event + writer.entries, run_number))
    info = pythia.infoPython()
    return writer.outcome(
        None,
        generator=f"Pythia {pythia.settings.parm('Pythia:versionNumber')}",
        crossSection_pb=info.sigmaGen() * 1e9,
        crossSectionError_pb=info.sigmaErr() * 1e9,
    )


def _pythia(card: Path, seed: int, energy_gev: float) -> Any:
    pythia = pythia8mc.Pythia("", False)  # no banner
    settings = ["Random:setSeed = on", f"Random:seed = {seed}", f"Beams:eCM = {energy_gev}"]
    good = pythia.readFile(str(COMMON)) and pythia.readFile(str(card))
    if not (good and all(pythia.readString(setting) for setting in settings)):
        raise TransformError(ExitCode.ARG_ERROR, f"Pythia does not understand {card}")
    if not pythia.init():
        raise TransformError(ExitCode.EXEC_FAIL, f"Pythia cannot start with {card}")
    return pythia


def _block(pythia: Any, batch: ak.Array, first_event: int, run_number: int) -> ak.Array:
    """Header and final-state particles of a batch."""
    final = batch.prt[batch.prt.status > 0]  # positive: still there at the end of the event
    momenta = {name: final.p[name] for name in ("px", "py", "pz")}
    # Pythia names the four components of a vertex like those of a momentum; a vertex at the origin may be missing.
    vertex = {
        f"v{to}": ak.fill_none(final.vProd[of], 0.0) for to, of in zip("xyzt", ("px", "py", "pz", "e"), strict=True)
    }
    charges = _charges(pythia, final.id)
    particles = ak.zip({"pdg": final.id, "m": final.m, "q": charges} | momenta | vertex)
    header = {
        "runNumber": np.full(len(batch), run_number),
        "eventNumber": np.arange(first_event, first_event + len(batch)),
        "weight": np.ones(len(batch)),  # the cards ask for unweighted events
    }
    return ak.zip(header | {"particle": particles}, depth_limit=1)


def _charges(pythia: Any, ids: ak.Array) -> ak.Array:
    """Charges in units of e, looked up once per kind of particle."""
    kinds, places = np.unique(ak.to_numpy(ak.flatten(ids)), return_inverse=True)
    charges = np.array([pythia.particleData.charge(int(kind)) for kind in kinds])
    return ak.unflatten(charges[places], ak.num(ids))
