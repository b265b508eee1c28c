"""Whether a queue's storage can take what a job reads and writes, and whether its inputs can come there."""

from prodchain.catalog.quotas import in_words

from .facts import Failure, Need, Offer, Remedy

MANY = 10**9
"""More jobs than are ever placed at once: no limit."""


def storage(need: Need, offer: Offer) -> Failure | None:
    if offer.writable:
        return None
    return Failure(
        f"its storage {offer.storage_name} takes no new files",
        (
            Remedy(
                "operator", f"make {offer.storage_name} writable in the sites file", {"storage": {"writable": True}}
            ),
        ),
    )


def readable(need: Need, offer: Offer) -> Failure | None:
    if offer.readable:
        return None
    return Failure(
        f"its storage {offer.storage_name} cannot be read",
        (
            Remedy(
                "operator", f"make {offer.storage_name} readable in the sites file", {"storage": {"readable": True}}
            ),
        ),
    )


def space_room(need: Need, offer: Offer) -> int:
    """Jobs whose missing inputs the storage still takes; where it is full, none, for it must take outputs too."""
    if offer.free_bytes is None:
        return MANY
    return offer.free_bytes // max(need.job_bytes(offer.storage), 1)


def space(need: Need, offer: Offer) -> Failure | None:
    if offer.free_bytes is None or space_room(need, offer) > 0:
        return None
    wants = max(need.job_bytes(offer.storage), 1)
    free = in_words(offer.free_bytes)
    return Failure(
        f"its storage {offer.storage_name} has {free} free beside what is on its way"
        + (f", the job brings {in_words(wants)}" if wants > 1 else ""),
        (
            Remedy(
                "operator",
                f"delete what nobody needs at {offer.storage_name}, or raise its capacity_gb in the sites file",
                {"storage": {"free_bytes": wants}},
            ),
        ),
    )


def incoming_room(need: Need, offer: Offer) -> int:
    """Jobs whose missing inputs may still be queued for the storage."""
    bytes_ = need.job_bytes(offer.storage)
    return MANY if not bytes_ else -(-max(0, offer.incoming_limit - offer.incoming_bytes) // bytes_)


def incoming(need: Need, offer: Offer) -> Failure | None:
    if offer.incoming_bytes < offer.incoming_limit or incoming_room(need, offer) > 0:
        return None
    return Failure(
        f"{in_words(offer.incoming_bytes)} are on their way to {offer.storage_name} already,"
        f" the limit is {in_words(offer.incoming_limit)}",
        (
            Remedy(
                "nobody",
                "nothing to do: more is sent there as files arrive",
                {"facts": {"incoming_bytes": max(0, offer.incoming_limit - 1)}},
            ),
        ),
    )


def link(need: Need, offer: Offer) -> Failure | None:
    """A missing file whose every copy is behind a link where nothing arrives, or where nobody may read."""
    network, missing = offer.network, need.missing(offer.storage)
    if not missing.groups:
        return None
    shut = [
        group
        for group, way in zip(missing.groups, network.ways(missing.at, offer.storage), strict=True)
        if not way.is_open
    ]
    if not shut:
        return None
    closed: dict[int, str] = {}
    files = 0
    for group in shut:
        ways = {at: network.stores[at] for at in group.at if at in network.stores}
        bad = {
            at: f"{store.name} cannot be read" if not store.readable else f"nothing arrives from {store.name}"
            for at, store in ways.items()
            if not store.readable or network.failing(at, offer.storage)
        }
        files += group.files if bad else 0
        closed |= bad
    if not closed:
        return None
    names = ", ".join(network.stores[at].name for at in sorted(closed))
    return Failure(
        f"{files} input file{'s' * (files != 1)} cannot come to {offer.storage_name}: "
        + ", ".join(closed[at] for at in sorted(closed)),
        (
            Remedy(
                "operator",
                f"mend what keeps files from coming from {names} (`prodchain transfer ls`)",
                {"links": {"from": sorted(closed)}},
            ),
        ),
    )
