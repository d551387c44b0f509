"""Whose transactions are checked next, when more wait than can be: each source's in its turn.

A node's clients come at once, as many as there are; a peer's come by one connection, and behind it stand a
hospital's clients, who have been promised their place already. Without turns a primary that is offered
too much serves its own and starves the others', until they elect another (L17), which does the same.

Fair queueing by start time (Goyal, Vin and Cheng, 1996): of those that wait, the source that was given the
fewest goes next, and who comes anew begins where the others are. While there is room nobody waits. What
waits is bounded by those who ask: a batch for each peer, and what node/drain.py takes of clients.
"""

import asyncio
from collections import deque
from typing import NamedTuple

# In check at once, for each core that checks: two turns of a busy loop at 25,000 a second.
CHECK_ROOM = 1_024

# No member has such a name. Who sends a single one waits behind no import (node/drain.py).
CLIENTS, SINGLES, ITSELF = "clients of this node", "single ones of theirs", "this node itself"


class _Waiter(NamedTuple):
    size: int
    granted: asyncio.Future[None]


class Turns:
    """`room`: how many transactions may be in check at once; a larger batch is checked alone."""

    def __init__(self, room: int = CHECK_ROOM) -> None:
        self._room, self._taken = room, 0
        self._waiting: dict[str, deque[_Waiter]] = {}  # no line of nobody, but of some who gave up
        self._given: dict[str, int] = {}  # to each source, as if all had come at the same time
        self._now = 0  # what whoever was last had been given before

    def comes_at_once(self, source: str, count: int) -> bool:
        """True: it is the turn of so many transactions, and `give_back` when they are checked. Else
        `wait`. `source`: a member, or one of the above."""
        if self._waiting or not self._fits(count):
            return False
        self._grant(source, count)
        return True

    async def wait(self, source: str, count: int) -> None:
        """Until their turn comes; `give_back` when they are checked."""
        waiter = _Waiter(count, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(source, deque()).append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled():  # it had just come
                self._taken -= count
            self._next()
            raise

    def give_back(self, count: int) -> None:
        """They are checked, or nobody wants it any more."""
        self._taken -= count
        if self._waiting:
            self._next()
        elif not self._taken:
            self._given.clear()
            self._now = 0

    @property
    def waiting(self) -> int:
        """Batches whose turn has not come."""
        return sum(not w.granted.done() for line in self._waiting.values() for w in line)

    def _fits(self, count: int) -> bool:
        return not self._taken or self._taken + count <= self._room

    def _start(self, source: str) -> int:
        return max(self._now, self._given.get(source, 0))

    def _grant(self, source: str, count: int) -> None:
        self._taken += count
        self._now = self._start(source)
        self._given[source] = self._now + count

    def _next(self) -> None:
        while self._waiting:
            source = min(self._waiting, key=self._start)
            line = self._waiting[source]
            if not line[0].granted.done():  # else it has given up
                if not self._fits(line[0].size):
                    return
                self._grant(source, line[0].size)
                line[0].granted.set_result(None)
            line.popleft()
            if not line:
                del self._waiting[source]
