"""``python -m benchmarks.simulate``: a month of a grid of ATLAS's size; the sweep of loads in a second process."""

import argparse
import json
from pathlib import Path

from .draw import draw
from .knee import described, slots_of_a_core, sweep
from .load import SITES, SLOTS, Size
from .run import simulate

SHORT = ("by_hour", "transfer_bytes_by_day")
"""What is for the picture."""


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    add = parser.add_argument
    add("--days", type=float, default=30)
    add("--slots", type=int, default=SLOTS)
    add("--sites", type=int, default=SITES)
    add("--load", type=float, default=1.0, help="submitted work as a part of what all slots can do")
    add("--seed", type=int, default=1)
    add("--no-troubles", dest="troubles", action="store_false", help="nothing breaks but payloads")
    add("--no-knee", dest="knee", action="store_false", help="without the sweep of loads")
    add("--keep", type=Path, metavar="FILE", help="write the report so far there after each day")
    add("--plot", type=Path, metavar="FILE", help="draw it as SVG")
    add("--json", action="store_true", help="all figures, with those of each hour")
    options = parser.parse_args(words)
    size = Size(
        options.days, options.slots, options.sites, options.load, troubles=options.troubles, seed=options.seed
    )
    if options.knee:
        with sweep() as points:
            found = simulate(size, options.keep, told=True)
            found["knee"] = described(points.get())
    else:
        found = simulate(size, options.keep, told=True)
    found["slots_of_a_core"] = slots_of_a_core(found)
    if options.plot is not None:
        options.plot.write_text(draw(found))
    shown = found if options.json else {name: value for name, value in found.items() if name not in SHORT}
    print(json.dumps(shown, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
