"""Sim_tf: simulation of the detector, EVNT -> HITS."""

import argparse

from .options import Options, flat
from .outcome import Outcome
from .transform import run


def main(argv: list[str] | None = None) -> int:
    """The program Sim_tf.py."""
    options = Options("Sim_tf.py", "Simulate the tracker with ACTS Fatras.")
    options.add_input("EVNT")
    options.add_output("HITS")
    options.add_range()
    options.add_seed()
    return run(options, _work, argv)


def _work(options: argparse.Namespace) -> Outcome:
    from .simulation import simulate  # heavy

    return simulate(
        flat(options.inputEVNTFile),
        options.outputHITSFile,
        seed=options.randomSeed,
        skip=options.skipEvents,
        count=options.maxEvents,
    )
