"""The result of a simulation as one document."""

import resource
from typing import Any

from .book import share_errors, together
from .load import DAY_S, HOUR_S, LEAVES
from .pilots import TICK_S
from .world import World


def report(world: World, wall_s: float, cpu_s: float) -> dict[str, Any]:
    size, counts, placing = world.size, world.counts, world.placing
    warm = min(size.warm_up_h, len(world.hours) - 1)
    hours = world.hours[warm:]
    use = [100 * sum(hour.use.values()) / size.slots for hour in hours]
    errors = share_errors(world.hours, warm)
    made = len(world.tasks.of)
    where = world.where()
    assert where["lost"] == 0, where
    retried = counts["retried"] + counts["spared"]
    return {
        "days": round((world.now + TICK_S) / DAY_S, 3),
        "slots": size.slots,
        "sites": size.sites,
        "load": size.load,
        "seed": size.seed,
        "warm_up_h": warm,
        "tasks": world.tasks.count,
        "jobs": made,
        "jobs_a_week": round(made * 7 * DAY_S / (world.now + TICK_S)),
        "runs": counts["started"],
        "finished": where["finished"],
        "failed": where["failed"],
        "retried": retried,
        "lost": where["lost"],
        "open": {place: where[place] for place in ("running", "activated", "assigned", "unplaced")},
        "runs_failed_by_rule": dict(world.errors.most_common()),
        "slot_use_percent": round(sum(use) / len(use), 2),
        "slot_use_worst_hour_percent": round(min(use), 2),
        "shares": errors,
        "share_error_mean_percent": round(
            sum(each["mean_error_percent"] for each in errors.values()) / len(errors), 3
        )
        if errors
        else None,
        "share_error_worst_hour_percent": max((each["worst_hour_percent"] for each in errors.values()), default=None),
        "wait_s": {
            LEAVES[share]: {"p50": round(waits.quantile_s(0.5)), "p95": round(waits.quantile_s(0.95))}
            for share, waits in world.waits.items()
        },
        "wait_p50_s": round(together(list(world.waits.values())).quantile_s(0.5)),
        "wait_p95_s": round(together(list(world.waits.values())).quantile_s(0.95)),
        "transfer_bytes": {kind: sum(days.values()) for kind, days in world.links.days.items()},
        "transfer_bytes_by_day": {
            kind: [days.get(day, 0) for day in range(int(world.now // DAY_S) + 1)]
            for kind, days in world.links.days.items()
        },
        "jobs_with_moved_input": counts["moved_jobs"],
        "troubles": {
            kind.removeprefix("trouble_"): count for kind, count in sorted(counts.items()) if "trouble_" in kind
        },
        "drains": world.watch.drains,
        "returns": world.watch.returns,
        "drained_hours": round(world.watch.drained_s / HOUR_S, 1),
        "rebrokered": counts["rebrokered"],
        "cut_off": counts["cut_off"],
        "spared": counts["spared"],
        "brokerage": {
            "jobs": placing.jobs,
            "bunches": placing.bunches,
            "refused": placing.refused,
            "unplaceable": placing.unplaceable,
            "cpu_s": round(placing.cpu_s, 3),
            "decisions_per_cpu_s": round(placing.jobs / placing.cpu_s),
            "bunch_ms": round(1000 * placing.cpu_s / placing.bunches, 2),
        },
        "matching": {
            "offers": world.pilots.offers,
            "cpu_s": round(world.pilots.cpu_s, 3),
            "matches_per_cpu_s": round(world.pilots.offers / world.pilots.cpu_s),
        },
        "decisions_per_s": round((placing.jobs + world.pilots.offers) / wall_s),
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "by_hour": {
            "use_percent": {
                name: [round(100 * hour.use[share] / size.slots, 2) for hour in world.hours]
                for share, name in LEAVES.items()
            },
            "hungry": [[LEAVES[share] for share in sorted(hour.hungry)] for hour in world.hours],
            "waiting": [hour.waiting for hour in world.hours],
            "drained": [hour.drained for hour in world.hours],
        },
    }
