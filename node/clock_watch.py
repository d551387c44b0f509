"""Is this node's clock off the consortium's, and by how much (rule G-20 of decision 0013)?

The times of blocks are within `clock_drift_max_ms` of a quorum's clocks (L21), so a clock that is ahead of a
quorum's is ahead of every block, and to one that is behind it the newest blocks are yet to come. Law of the
file: an honest validator has said so at least, or it is not said.
"""

from collections.abc import Collection

from node.keeper import CLOCK_AHEAD_MAX_MS, TICKET_AGE_MAX_MS

# Beyond these nothing can be read, for the keeper goes by this clock too. Ahead: a ticket is five minutes old
# when it is certified; one minute of these is for the way from there.
AHEAD_MAX_MS = TICKET_AGE_MAX_MS - 60_000
# Behind: a block may lie a minute before the keeper's clock; five seconds of these are for what a block's time
# may be ahead of a quorum's itself, and as much for the readings.
BEHIND_MAX_MS = CLOCK_AHEAD_MAX_MS - 10_000


def ahead_ms(peers: Collection[float | None], weak: int, drift_max_ms: int) -> int:
    """This clock minus the median of the validators', this one counted; 0 within `drift_max_ms`, negative
    for a clock that is behind.

    `peers`: as each validator's pings say, None where none did; `weak`: f + 1. Of 2f + 1 readings the lower
    median is at most what an honest one says, the upper at least; of fewer nothing is said."""
    readings = sorted([0.0, *(one for one in peers if one is not None)])
    if len(readings) < 2 * weak - 1:
        return 0
    lower, upper = readings[(len(readings) - 1) // 2], readings[len(readings) // 2]
    if lower > drift_max_ms:
        return int(lower)
    return int(upper) if upper < -drift_max_ms else 0


def trouble(ahead_ms: int, whose: str) -> tuple[str, str]:
    """(code, reason) why a node with that clock opens nothing; OK when it may. `whose`: the node's member,
    for who reads from elsewhere hears it too."""
    if ahead_ms > AHEAD_MAX_MS:
        return (
            "CLOCK_AHEAD",
            f"the clock of {whose} is {ahead_ms // 1_000} s ahead of the other validators'",
        )
    if -ahead_ms > BEHIND_MAX_MS:
        return (
            "CLOCK_BEHIND",
            f"the clock of {whose} is {-ahead_ms // 1_000} s behind the other validators'",
        )
    return "OK", ""
