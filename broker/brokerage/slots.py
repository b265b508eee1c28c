"""What a queue's slots have against what a job needs of one."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from .facts import Failure, Need, Offer, Remedy


def _too_small(name: str, field: str, need: int, has: int, unit: str, ask: str) -> Failure:
    """The queue has less of something than the job needs."""
    return Failure(
        f"offers {has}{unit}, the job needs {need}{unit}",
        (
            Remedy("user", f"ask for at most {has}{unit}{ask}", {"task": {field: has}}),
            Remedy("operator", f"give {name} slots of {need}{unit}", {"queue": {field: need}}),
        ),
    )


def cores(need: Need, offer: Offer) -> Failure | None:
    if need.cores <= offer.cores:
        return None
    return _too_small(offer.name, "cores", need.cores, offer.cores, " cores", "")


def memory(need: Need, offer: Offer) -> Failure | None:
    if need.memory_mb <= offer.memory_mb:
        return None
    return _too_small(offer.name, "memory_mb", need.memory_mb, offer.memory_mb, " MB", "")


def walltime(need: Need, offer: Offer) -> Failure | None:
    if need.walltime_s <= offer.walltime_s:
        return None
    ask = ", or cut the work into smaller jobs"
    return _too_small(offer.name, "walltime_s", need.walltime_s, offer.walltime_s, " s", ask)


def scratch(need: Need, offer: Offer) -> Failure | None:
    if need.scratch_mb <= offer.scratch_mb:
        return None
    return _too_small(offer.name, "scratch_mb", need.scratch_mb, offer.scratch_mb, " MB of scratch", "")


def gpus(need: Need, offer: Offer) -> Failure | None:
    if need.gpus <= offer.gpus:
        return None
    return _too_small(offer.name, "gpus", need.gpus, offer.gpus, " GPUs", "")


def architecture(need: Need, offer: Offer) -> Failure | None:
    if not need.architecture or need.architecture == offer.architecture:
        return None
    return Failure(
        f"is {offer.architecture}, the job needs {need.architecture}",
        (Remedy("user", f"allow {offer.architecture}", {"task": {"architecture": offer.architecture}}),),
    )


def lacking(wanted: Sequence[str], software: Sequence[str]) -> list[str]:
    """What is not there. Patterns are on the side that has: ``Athena/24.*`` is every release of that series."""
    return [item for item in wanted if not any(fnmatchcase(item, has) for has in software)]


def software(need: Need, offer: Offer) -> Failure | None:
    if not need.software or not (lacks := lacking(need.software, offer.software)):
        return None
    words = ", ".join(lacks)
    kept = [item for item in need.software if item not in lacks]
    return Failure(
        f"has no {words}",
        (
            Remedy("user", f"do without {words}", {"task": {"software": kept}}),
            Remedy(
                "operator",
                f"install {words} at {offer.name} and declare it",
                {"queue": {"software": [*offer.software, *lacks]}},
            ),
        ),
    )


def pilots(need: Need, offer: Offer) -> Failure | None:
    """Every pilot that called lately offers less than the queue declares, and than the job needs."""
    best = offer.best
    enough = (
        (best.cores is None or need.cores <= best.cores)
        and (best.memory_mb is None or need.memory_mb <= best.memory_mb)
        and (best.scratch_mb is None or need.scratch_mb <= best.scratch_mb)
        and (best.gpus is None or need.gpus <= best.gpus)
    )
    if enough or not offer.pilots:
        return None
    seen = (
        ("cores", need.cores, best.cores, "cores"),
        ("memory_mb", need.memory_mb, best.memory_mb, "MB"),
        ("scratch_mb", need.scratch_mb, best.scratch_mb, "MB of scratch"),
        ("gpus", need.gpus, best.gpus, "GPUs"),
    )
    small = [(field, wants, has, unit) for field, wants, has, unit in seen if has is not None and has < wants]
    return Failure(
        "no pilot there offers more than "
        + ", ".join(f"{has} {unit} (the job needs {wants})" for _, wants, has, unit in small),
        (
            *(
                (
                    Remedy(
                        "user",
                        "ask for at most " + ", ".join(f"{has} {unit}" for _, _, has, unit in small),
                        {"task": {field: has for field, _, has, _ in small}},
                    ),
                )
                if all(has or field in ("scratch_mb", "gpus") for field, _, has, _ in small)
                else ()
            ),
            Remedy(
                "operator",
                "start pilots there that offer " + ", ".join(f"{wants} {unit}" for _, wants, _, unit in small),
                {"pilots": {field: wants for field, wants, _, _ in small}},
            ),
        ),
    )
