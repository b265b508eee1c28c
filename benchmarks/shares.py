"""Global shares in a simulation of the matching: docs/explanation/shares.{json,svg}.

``python benchmarks/shares.py``: 1000 slots for 12 hours, jobs of 10 to 50 minutes, requests as slots become free,
use read once a second and two servers that do not talk to each other, as in production. At some times a share has
no work. What is drawn is what slots ran, minute by minute.
"""

import heapq
import json
import random
from collections import Counter
from pathlib import Path

from prodchain.broker.matching.match import GIVERS, Lane, Offer, match
from prodchain.broker.matching.shares import Share, Turns
from prodchain.broker.requirements import Requirement

SHARES = [
    Share(1, "production", None, 70),
    Share(2, "higgs", 1, 3),
    Share(3, "top", 1, 1),
    Share(4, "analysis", None, 30),
]
LEAVES = {2: "higgs", 3: "top", 4: "analysis"}
IDLE = {2: (240, 420), 4: (540, 640)}
"""Minutes in which a share has no work."""
SLOTS, MINUTES, SERVERS = 1000, 720, 2
OUT = Path(__file__).parent.parent / "docs" / "explanation"
COLOURS = {"higgs": "#1f77b4", "top": "#2ca02c", "analysis": "#d62728"}


def simulate(seed: int = 1) -> dict[str, list[float]]:
    """Percent of the slots by leaf, for each minute."""
    dice = random.Random(seed)
    ends = [(dice.uniform(0, 1800), 0) for _ in range(SLOTS)]  # slots that become free within the first half hour
    heapq.heapify(ends)
    used: Counter[int] = Counter()
    drawn: dict[str, list[float]] = {name: [] for name in LEAVES.values()}
    for second in range(MINUTES * 60):
        known = [Counter(used) for _ in range(SERVERS)]
        while ends and ends[0][0] <= second:
            _, share = heapq.heappop(ends)
            used[share] -= 1
            given = _ask(known[dice.randrange(SERVERS)], second // 60)
            used[given] += 1
            heapq.heappush(ends, (second + dice.uniform(600, 3000), given))
        if second % 60 == 59:
            for share, name in LEAVES.items():
                drawn[name].append(round(100 * used[share] / SLOTS, 2))
    return drawn


def _ask(known: Counter[int], minute: int) -> int:
    lanes = [
        Lane(share, 1, Requirement(), ((1000, 1),), more=True)
        for share in LEAVES
        if not IDLE.get(share, (0, 0))[0] <= minute < IDLE.get(share, (0, 0))[1]
    ]
    use = {share: float(cores) for share, cores in known.items() if share}
    [choice] = match([Offer(1, 2000, 3600, 0)], lanes, Turns(SHARES, use, {lane.share for lane in lanes}), None, None)
    known[choice.lanes[0].share] += GIVERS
    return choice.lanes[0].share


def draw(drawn: dict[str, list[float]]) -> str:
    def x(minute: float) -> float:
        return 50 + minute * 640 / MINUTES

    def y(percent: float) -> float:
        return 290 - percent * 2.7

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 330" font-family="sans-serif" font-size="12">']
    parts.append('<rect width="760" height="330" fill="white"/>')
    parts += [
        f'<path d="M50 {y(percent):.0f}H690" stroke="#ddd"/><text x="14" y="{y(percent) + 4:.0f}">{percent}%</text>'
        for percent in range(0, 101, 20)
    ]
    parts += [f'<text x="{x(hour * 60) - 8:.0f}" y="312">{hour} h</text>' for hour in range(0, MINUTES // 60 + 1, 2)]
    for name, percents in drawn.items():
        points = " ".join(f"{x(minute):.1f},{y(percent):.1f}" for minute, percent in enumerate(percents))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"/>')
        parts.append(f'<text x="696" y="{y(percents[-1]) + 4:.0f}" fill="{COLOURS[name]}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def report(drawn: dict[str, list[float]]) -> dict[str, object]:
    def mean(first: int, end: int) -> dict[str, float]:
        return {name: round(sum(percents[first:end]) / (end - first), 2) for name, percents in drawn.items()}

    def worst(first: int, end: int, targets: dict[str, float]) -> float:
        return round(max(abs(p - targets[name]) for name, ps in drawn.items() for p in ps[first:end]), 2)

    targets = {"higgs": 52.5, "top": 17.5, "analysis": 30.0}
    return {
        "slots": SLOTS,
        "servers": SERVERS,
        "targets_percent": targets,
        "all_busy": {"minutes": [60, 240], "mean_percent": mean(60, 240), "worst_minute": worst(60, 240, targets)},
        "higgs_idle": {"minutes": [330, 420], "mean_percent": mean(330, 420)},
        "all_busy_again": {
            "minutes": [480, 540],
            "mean_percent": mean(480, 540),
            "worst_minute": worst(480, 540, targets),
        },
        "analysis_idle": {"minutes": [610, 640], "mean_percent": mean(610, 640)},
        "percent_by_minute": drawn,
    }


if __name__ == "__main__":
    found = simulate()
    (OUT / "shares.svg").write_text(draw(found))
    summary = report(found)
    (OUT / "shares.json").write_text(json.dumps(summary) + "\n")
    summary.pop("percent_by_minute")
    print(json.dumps(summary, indent=1))
