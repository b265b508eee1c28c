"""Signs of life: of the agents that move things on, and of the pilots of a queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..database import Connection
from ..matching.match import Offer, lacking
from ..requirements import Requirement
from .cures import Cure

PILOT_SILENCE_S = 60
AGENT_SILENCE_S = 30
LOOKED_AT = 50
"""Pilots of a queue, those that called last; there may be thousands."""

_PILOTS = """
SELECT name, offer, job_id FROM pilot
WHERE queue_id = $1 AND last_seen > now() - make_interval(secs => $2) ORDER BY last_seen DESC LIMIT $3
"""
_OFFERED = {
    "cores": "cores",
    "memory_mb": "memory_mb",
    "walltime_s": "remaining_s",
    "scratch_mb": "disk_mb",
    "gpus": "gpus",
}
"""What of an offer a requirement is compared with."""


async def silence(conn: Connection, agent: str) -> Cure | None:
    """What to do if the agent gave no sign of life lately; none if it lives."""
    ago = await conn.fetchval("SELECT extract(epoch FROM now() - seen_at)::int FROM agent WHERE name = $1", agent)
    if ago is not None and ago <= AGENT_SILENCE_S:
        return None
    since = "has never run" if ago is None else f"gave no sign of life for {ago} s"
    return Cure("operator", f"start the agents: `{agent}` {since}", {"agents": {agent: "running"}}, "prodchain up")


@dataclass(frozen=True)
class Pilots:
    """Those of a queue that called lately; ``offers`` as they said last."""

    seen: int
    at_work: int
    offers: tuple[Offer, ...]

    @property
    def said(self) -> str:
        number = f"{self.seen} or more" if self.seen == LOOKED_AT else f"{self.seen}"
        return f"{number} pilot{'s' * (self.seen != 1)} called lately"

    def like(self, needs: Requirement) -> Offer | None:
        """One that could take such a job."""
        return next((offer for offer in self.offers if not list(lacking(needs, offer))), None)

    def nearest(self, needs: Requirement) -> Offer | None:
        """The one that lacks least for it, of those that said what they have."""
        return min(self.offers, key=lambda offer: len(list(lacking(needs, offer))), default=None)


async def pilots(conn: Connection, queue_id: int) -> Pilots:
    rows = await conn.fetch(_PILOTS, queue_id, PILOT_SILENCE_S, LOOKED_AT)
    offers = [_offer(row["offer"]) for row in rows if row["offer"]]
    return Pilots(len(rows), sum(row["job_id"] is not None for row in rows), tuple(offers))


def _offer(offer: Mapping[str, Any]) -> Offer:
    return Offer(**{**offer, "software": tuple(offer.get("software", ()))})


def gaps(needs: Requirement, offer: Offer) -> tuple[dict[str, Any], str]:
    """What a task would have to ask for so that the offer is enough, and the difference in words."""
    fields = {
        field: getattr(offer, offered)
        for field, offered in _OFFERED.items()
        if getattr(needs, field) > getattr(offer, offered)
    }
    words = ", ".join(f"{wanted} (offered: {offered})" for wanted, offered in lacking(needs, offer))
    if needs.architecture and needs.architecture != offer.architecture:
        fields["architecture"] = offer.architecture
    return fields, words
