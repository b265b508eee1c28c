"""The program of the experiment: copies or makes events, one a line, and takes the time and memory it is told to."""

import argparse
import json
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--first", type=int, default=1)
parser.add_argument("--events", type=int, default=0)
parser.add_argument("--inputs", default="")
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--seconds", type=float, default=0.2)
parser.add_argument("--megabytes", type=int, default=10)
options = parser.parse_args()

memory = bytearray(options.megabytes * 1_000_000)
lines = [line for name in options.inputs.split(",") if name for line in Path(name).read_text().splitlines()]
events = [" ".join(line.split()[:2]) for line in lines]  # what follows is the weight of the input
events += [f"event {number}" for number in range(options.first, options.first + options.events)]
time.sleep(options.seconds)
options.output.write_text("".join(f"{event}\n" for event in events))
Path("jobReport.json").write_text(
    json.dumps({"exitCode": 0, "resource": {"transform": {"processedEvents": len(events)}}})
)
