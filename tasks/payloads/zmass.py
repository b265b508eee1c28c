"""The result of the chain: the mass of the muon pairs from Z decays, in GeV."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import vector

from .event_files import EventFiles
from .formats import AOD

MUON_MASS_GEV = 0.1056584  # PDG 2024
MIN_PT_GEV = 20.0
CONE = 0.3
MAX_ISOLATION = 0.15  # of the other tracks' pt in the cone, as a part of the muon's
PEAK_GEV = (80.0, 100.0)
PLOTTED_GEV = (60.0, 120.0)
EDGES_GEV = np.linspace(*PLOTTED_GEV, 61)
BLOCK = 5000

vector.register_awkward()


@dataclass(frozen=True)
class ZMass:
    """Masses of the selected pairs, the median of those in the peak, and the histogram."""

    events: int
    masses: Any
    median: float
    counts: Any
    edges: Any


def measure(paths: list[Path]) -> ZMass:
    """Select muon pairs in AOD files."""
    files = EventFiles(paths, AOD)
    masses = np.concatenate([select(events) for events in files.blocks(BLOCK)])
    low, high = PEAK_GEV
    peak = masses[(masses > low) & (masses < high)]
    counts, edges = np.histogram(masses, EDGES_GEV)
    return ZMass(len(files.ids), masses, float(np.median(peak)) if len(peak) else float("nan"), counts, edges)


def select(events: ak.Array) -> Any:
    """Masses of the two hardest isolated tracks, where they have opposite charges."""
    tracks = ak.zip(
        {
            "pt": events.track.pt,
            "eta": events.track.eta,
            "phi": events.track.phi,
            "mass": ak.full_like(events.track.pt, MUON_MASS_GEV),
            "charge": events.track.charge,
        },
        with_name="Momentum4D",
    )
    hard = tracks[tracks.pt > MIN_PT_GEV]
    candidates, others = ak.unzip(ak.cartesian([hard, tracks], nested=True))
    distance = candidates.deltaR(others)
    near = (distance > 1e-4) & (distance < CONE)  # the track itself is at 0
    isolation = ak.sum(ak.where(near, others.pt, 0.0), axis=-1) / hard.pt
    muons = hard[isolation < MAX_ISOLATION]
    muons = muons[ak.argsort(muons.pt, ascending=False)]
    pairs = muons[ak.num(muons) >= 2]
    first, second = pairs[:, 0], pairs[:, 1]
    return ak.to_numpy((first + second).mass[first.charge * second.charge < 0])


def plot(result: ZMass, path: Path) -> None:
    """A histogram in the style of ATLAS, as PNG or whatever the path's suffix says."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import mplhep

    with plt.style.context(mplhep.style.ATLAS):
        figure, axes = plt.subplots()
        mplhep.histplot(
            result.counts, result.edges, ax=axes, histtype="errorbar", yerr=np.sqrt(result.counts), color="k"
        )
        axes.set(xlabel=r"$m_{\mu\mu}$ [GeV]", ylabel="Events / GeV", xlim=PLOTTED_GEV, ylim=(0, None))
        axes.text(0.05, 0.9, f"{len(result.masses)} pairs, median {result.median:.2f} GeV", transform=axes.transAxes)
        figure.savefig(path, dpi=100)
        plt.close(figure)


def lines(result: ZMass, width: int = 50, bin_gev: int = 2) -> list[str]:
    """The histogram for a terminal, one line per bin, bars in eighths of a character."""
    counts = result.counts.reshape(-1, bin_gev).sum(axis=1)
    edges = result.edges[::bin_gev]
    scale = width / max(counts.max(), 1)
    return [f"{low:5.0f} GeV {_bar(float(count * scale))} {count}" for low, count in zip(edges, counts, strict=False)]


def _bar(length: float) -> str:
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()
