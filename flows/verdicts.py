"""What the supervisor decides about one flow run: facts in, verdict out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SHORT = timedelta(minutes=10)
"""A try that crashed sooner than this did not get anywhere; a longer one begins the count of tries anew."""


class Verb(StrEnum):
    LEAVE = "leave"
    RESUME = "resume"
    CRASH = "crash"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Verdict:
    verb: Verb
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """When the supervisor acts. ``silence_s`` must hold several heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY)."""

    silence_s: float = 150
    tries: int = 5
    first_pause_s: float = 5

    def pause_s(self, tries: int) -> float:
        """Before the next try: doubled with each short one, at most ten minutes."""
        return float(min(self.first_pause_s * 2**tries, 600))


@dataclass(frozen=True)
class Change:
    """One state of a flow run's history: its type (RUNNING, CRASHED, ...) and when it began."""

    kind: str
    at: datetime


def short_tries(history: Sequence[Change]) -> int:
    """How many of the last tries in a row crashed soon after they began."""
    count = 0
    began: datetime | None = None
    for change in history:
        if change.kind == "RUNNING":
            began = change.at
        elif change.kind == "CRASHED":
            ran = change.at - began if began else timedelta(0)
            count = count + 1 if ran < SHORT else 1
            began = None
    return count


def on_crashed(history: Sequence[Change], now: datetime, limits: Limits) -> Verdict:
    """Resume a crashed run, after a pause that grows, until it is clear that it will crash again."""
    tries = short_tries(history)
    if tries > limits.tries:
        return Verdict(
            Verb.LEAVE,
            f"crashed {tries} times in a row within {SHORT.seconds // 60} min of its start: no more tries",
        )
    crashed_at = max((change.at for change in history if change.kind == "CRASHED"), default=now)
    if now - crashed_at < timedelta(seconds=limits.pause_s(tries - 1)):
        return Verdict(Verb.LEAVE)
    return Verdict(Verb.RESUME, f"crash {tries} of at most {limits.tries} in a row")


def on_silence(kind: str, last_sign: datetime, now: datetime, limits: Limits) -> Verdict:
    """A run that should send heartbeats and does not has lost its process."""
    silent = now - last_sign
    if silent < timedelta(seconds=limits.silence_s):
        return Verdict(Verb.LEAVE)
    reason = f"no heartbeat for {silent.total_seconds():.0f} s: its process is gone"
    return Verdict(Verb.CANCEL if kind == "CANCELLING" else Verb.CRASH, reason)
