"""Gen_tf: Pythia 8 events -> EVNT."""

import argparse
from pathlib import Path

from .exit_codes import ExitCode, TransformError
from .options import Options, whole
from .outcome import Outcome
from .transform import run

HERE = Path(__file__).parent
RUN_NUMBER = 700001
ENERGY_GEV = 13600.0  # the LHC's proton-proton collisions since 2022


def main(argv: list[str] | None = None) -> int:
    """The program Gen_tf.py."""
    options = Options("Gen_tf.py", "Generate events with Pythia 8.")
    options.add_argument("--jobConfig", required=True, help=f"a path, or one of {', '.join(cards())}")
    options.add_argument("--maxEvents", type=whole(1), required=True, help="how many to make")
    options.add_argument("--firstEvent", type=whole(1), default=1, help="number of the first event")
    options.add_argument("--runNumber", type=whole(1, 2**32 - 1), default=RUN_NUMBER)
    options.add_argument("--ecmEnergy", type=float, default=ENERGY_GEV, help="GeV")
    options.add_seed()
    options.add_output("EVNT")
    return run(options, _work, argv)


def cards() -> dict[str, Path]:
    """The cards that come with the package, by name."""
    return {path.stem: path for path in sorted(HERE.glob("*.cmnd")) if path.stem != "common"}


def find_card(name: str) -> Path:
    """A card of the package, or one of the user's own."""
    path = cards().get(name, Path(name))
    if not path.is_file():
        text = f"no job configuration {name!r}: give a path, or one of {', '.join(cards())}"
        raise TransformError(ExitCode.ARG_ERROR, text)
    return path


def _work(options: argparse.Namespace) -> Outcome:
    card = find_card(options.jobConfig)
    from .generation import generate  # heavy

    return generate(
        options.outputEVNTFile,
        card=card,
        events=options.maxEvents,
        first_event=options.firstEvent,
        seed=options.randomSeed,
        run_number=options.runNumber,
        energy_gev=options.ecmEnergy,
    )
