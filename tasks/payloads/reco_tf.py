"""Reco_tf: reconstruction of tracks and jets, HITS -> AOD."""

import argparse

from .options import Options, flat
from .outcome import Outcome
from .transform import run


def main(argv: list[str] | None = None) -> int:
    """The program Reco_tf.py."""
    options = Options("Reco_tf.py", "Reconstruct tracks with ACTS and jets with FastJet.")
    options.add_input("HITS")
    options.add_output("AOD")
    options.add_range()
    options.add_seed()
    return run(options, _work, argv)


def _work(options: argparse.Namespace) -> Outcome:
    from .reconstruction import reconstruct  # heavy

    return reconstruct(
        flat(options.inputHITSFile),
        options.outputAODFile,
        seed=options.randomSeed,
        skip=options.skipEvents,
        count=options.maxEvents,
    )
