"""Track jets: anti-kt (Cacciari, Salam, Soyez, JHEP 04 (2008) 063) as FastJet implements it."""

import awkward as ak
import fastjet
import fastjet._swig
import numpy as np
import vector

RADIUS = 0.4
MIN_PT_GEV = 10.0
PION_MASS_GEV = 0.13957  # PDG 2024; most tracks are pions

vector.register_awkward()
# FastJet greets on stdout; its authors provide this switch. The papers to cite are named in the documentation.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)


def cluster(tracks: ak.Array) -> ak.Array:
    """Jets of each event, hardest first, with `pt`, `eta`, `phi` and `mass` in GeV."""
    constituents = ak.zip(
        {
            "px": tracks.pt * np.cos(tracks.phi),
            "py": tracks.pt * np.sin(tracks.phi),
            "pz": tracks.pt * np.sinh(tracks.eta),
            "E": np.hypot(tracks.pt * np.cosh(tracks.eta), PION_MASS_GEV),
        },
        with_name="Momentum4D",
    )
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    found = fastjet.ClusterSequence(constituents, definition).inclusive_jets(min_pt=MIN_PT_GEV)
    jets = ak.zip({name: getattr(found, name) for name in ("pt", "eta", "phi", "mass")})
    return jets[ak.argsort(jets.pt, ascending=False, stable=True)]
