"""Command-line options of the payloads: ATLAS's names, checked before anything heavy is imported."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .exit_codes import ExitCode, TransformError

MAX_SEED = 900_000_000  # Pythia 8, "Random Numbers": allowed range; 0 would take the seed from the clock


class Options(argparse.ArgumentParser):
    """argparse with the payloads' exit code for a bad argument, and no abbreviations of options."""

    def __init__(self, program: str, description: str) -> None:
        super().__init__(prog=program, description=description, allow_abbrev=False)
        self.add_argument("--reportName", type=Path, default=Path("jobReport.json"), help="where to report")

    def error(self, message: str) -> NoReturn:
        raise TransformError(ExitCode.ARG_ERROR, message)

    def add_input(self, kind: str, *, required: bool = True) -> None:
        """`--input<kind>File a,b`, which may also be repeated."""
        self.add_argument(
            f"--input{kind}File",
            nargs="+",
            action="extend",
            type=paths,
            required=required,
            metavar="FILE[,FILE]",
            help=f"{kind} files to read, in any order",
        )

    def add_output(self, kind: str, *, required: bool = True) -> None:
        """`--output<kind>File a`."""
        self.add_argument(
            f"--output{kind}File", type=Path, required=required, metavar="FILE", help=f"{kind} file to write"
        )

    def add_seed(self) -> None:
        self.add_argument("--randomSeed", type=whole(1, MAX_SEED), default=1, help="1 (default) or more")

    def add_range(self) -> None:
        """`--skipEvents` and `--maxEvents`, counted over all input files in the order of event numbers."""
        self.add_argument("--skipEvents", type=whole(0), default=0, help="leave out the first ones")
        self.add_argument("--maxEvents", type=whole(-1), default=-1, help="stop after so many (-1: all)")


def paths(text: str) -> list[Path]:
    """Several files may come as one argument, joined by commas."""
    return [Path(part) for part in text.split(",") if part]


def flat(lists: list[list[Path]] | None) -> list[Path]:
    """All files that were given for an input option."""
    return [path for part in lists or [] for path in part]


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number in a range."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"{value} is out of range ({limits})")
        return value

    return parse
