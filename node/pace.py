"""Is the primary worth its place? An account of how long it leaves waiting what it could order (L22).

A primary that proposes just under the progress timeout, in drops, or without one hospital's
transactions keeps every other rule. So each backup counts the ticks in which something that it
could have ordered was waiting too long, though its blocks had room. Aardvark (Clement et al., NSDI
2009) asks of a primary what others reached, and raises that until each one falls; here nothing is
asked that depends on the load, so that a healthy network keeps its primary.
docs/decisions/0007-slow-primary.md

Law of the file: no clock; time is ticks in which the agreement waits for the primary.
"""

from collections import deque
from typing import Protocol

from salus.parameters import Parameters

LATE_SHARE = 2  # late is what waits for a half of the progress timeout
WORTHY_SHARE = 2  # a block half full shows a queue, not a sluggard
# A late tick costs what so many good ones pay back: who is late for an eighth of the time goes.
LATE_COST = 8
# Late without a pause for three progress timeouts. One frame of gossip may be lost, and is said
# again after two seconds (node/gossip_rules.py): that is nobody's fault.
PATIENCE_TIMEOUTS = 3


class Pool(Protocol):
    """What is asked of the mempool."""

    @property
    def arrivals(self) -> int:
        """How many transactions have come so far."""

    @property
    def oldest_owed(self) -> int | None:
        """The number of arrival of the oldest that could stand in a block by now."""


class Pace:
    """`slack` doubles what a primary is allowed, each time that one is given up for being slow, and
    halves it after a good while: if all are slow it is not the primaries (as L18 for timers)."""

    def __init__(self, pool: Pool, parameters: Parameters) -> None:
        self._pool = pool
        self.slack = 0
        self._patience = 0
        self.begin_epoch(parameters)

    def begin_epoch(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._timeout_ticks = max(
            LATE_SHARE, -(-parameters.progress_timeout_ms // parameters.tick_ms)
        )
        self._begin()

    def begin_view(self) -> None:
        """A new primary: it starts with a clean slate, and all that waits is new to it."""
        if 2 * self._patience < self._patience_max:
            self.slack = min(self.slack + 1, self._parameters.timeout_doublings_max)
        self._begin()

    def block(self, transactions: int, size_bytes: int) -> None:
        """A block was written, with so many transactions in a proposal of so many bytes."""
        limits = self._parameters
        self._worthy = (
            WORTHY_SHARE * transactions >= limits.block_transactions_max
            or WORTHY_SHARE * size_bytes >= limits.block_bytes_max
        )
        if self._patience < self._patience_max:
            self._steady_blocks = 0
            return
        self._steady_blocks += 1
        if self.slack and self._steady_blocks >= limits.watermark_window << self.slack:
            self.slack -= 1
            self._begin()

    def tick(self, waiting: bool) -> bool:
        """`waiting`: there is work, and nobody but the primary could be at fault if it stays
        undone (`Replica.waits_for_primary`). True: it has used up my patience."""
        if not waiting:
            return False
        # How many had come a while ago: a transaction with a lower number waits for longer.
        self._marks.append(self._pool.arrivals)
        while len(self._marks) > self._late_ticks + 1:
            self._marks.popleft()
        oldest = self._pool.oldest_owed
        late = (
            oldest is not None
            and not self._worthy
            and len(self._marks) > self._late_ticks
            and oldest <= self._marks[0]
        )
        change = -LATE_COST if late else 1
        self._patience = min(self._patience + change, self._patience_max)
        return self._patience <= 0

    def _begin(self) -> None:
        self._late_ticks = (self._timeout_ticks // LATE_SHARE) << self.slack
        self._patience_max = LATE_COST * PATIENCE_TIMEOUTS * self._timeout_ticks << self.slack
        self._patience = self._patience_max
        self._marks: deque[int] = deque()
        self._worthy = False
        self._steady_blocks = 0
