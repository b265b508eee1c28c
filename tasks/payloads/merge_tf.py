"""Merge_tf: several files of one format -> one."""

import argparse

from .exit_codes import ExitCode, TransformError
from .formats import FORMATS
from .options import Options, flat
from .outcome import Outcome
from .transform import run


def main(argv: list[str] | None = None) -> int:
    """The program Merge_tf.py."""
    options = Options("Merge_tf.py", "Merge files of one format; no event may come twice.")
    for name in FORMATS:
        options.add_input(name, required=False)
        options.add_output(f"{name}_MRG", required=False)
    return run(options, _work, argv)


def _work(options: argparse.Namespace) -> Outcome:
    given = vars(options)
    pairs = {name: (given[f"input{name}File"], given[f"output{name}_MRGFile"]) for name in FORMATS}
    chosen = [name for name, pair in pairs.items() if any(pair)]
    if len(chosen) != 1 or not all(pairs[chosen[0]]):
        text = (
            f"give input and output of exactly one of {', '.join(FORMATS)}, as --inputAODFile and --outputAOD_MRGFile"
        )
        raise TransformError(ExitCode.ARG_ERROR, text)
    from .merging import merge  # heavy

    inputs, output = pairs[chosen[0]]
    return merge(flat(inputs), output, FORMATS[chosen[0]])
