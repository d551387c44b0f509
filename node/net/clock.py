"""How far this node's clock stands from its peers', by the time that their pings carry (L21).

A late ping makes us seem ahead and nothing makes us seem behind, so of the last readings the
least one counts. Law of the file: one peer's word is one vote of the median, whatever it says.
"""

from collections import deque
from collections.abc import Iterable
from statistics import median_low

READINGS = 8  # pings, some 16 s: a busy loop is not late for all of them
AHEAD_MS_MAX = 10**12  # 31 years: what a liar says must still be a number that JSON can carry


class ClockReadings:
    """What one peer's pings say."""

    def __init__(self) -> None:
        self._ahead_ms: deque[int] = deque(maxlen=READINGS)

    def heard(self, theirs_ms: int, ours_ms: int, rtt_ms: int | None) -> None:
        """A ping said `theirs_ms`, half a round trip ago; Unix time both."""
        ahead_ms = ours_ms - theirs_ms - (rtt_ms or 0) // 2
        self._ahead_ms.append(max(-AHEAD_MS_MAX, min(AHEAD_MS_MAX, ahead_ms)))

    def forget(self) -> None:
        """The connection is new: who was away may have set his clock."""
        self._ahead_ms.clear()

    @property
    def ahead_ms(self) -> int | None:
        """This clock minus the peer's; None before its first ping."""
        return min(self._ahead_ms, default=None)


def skew_ms(ahead_ms: Iterable[float | None]) -> float | None:
    """This clock minus the median of the peers'; None if none of them has said anything."""
    known = [ahead for ahead in ahead_ms if ahead is not None]
    return median_low(known) if known else None
