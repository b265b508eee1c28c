"""What a server tells while it copies to or from another one (WLCG's HTTP third-party copy).

The status is sent before the copy begins; only the last line says how it ended:

    Perf Marker
    Timestamp: 1795327196
    Stripe Index: 0
    Stripe Bytes Transferred: 1048576
    Total Stripe Count: 1
    End
    success: Created
"""

import time
from collections.abc import Iterable


class Stalled(Exception):
    """No bytes moved for the given time."""


def end_of(lines: Iterable[bytes], patience_s: float) -> str:
    """The last line, ``success: ...`` or ``failure: ...``, else ""; Stalled if the bytes stop moving meanwhile."""
    last, moved, since = "", "", time.monotonic()
    for line in lines:
        text = line.decode(errors="replace").strip()
        if text.startswith("Stripe Bytes Transferred:") and text != moved:
            moved, since = text, time.monotonic()
        if time.monotonic() - since > patience_s:
            raise Stalled(f"nothing moved for {patience_s:.0f} s")
        last = text or last
    return last if last.lower().startswith(("success", "failure")) else ""
