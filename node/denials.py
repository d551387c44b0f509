"""Who is denied again and again gets no ticket for each (rule G-4): counted, and told in one number.

Memory only: a crash forgets counts that were not sent. Law of the file: bounded in pairs of (asking
organisation, handle); time is a number that arrives.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

TICKETS_MAX = 5  # denials of a pair that get tickets of their own …
WINDOW_S = 600.0  # … within so long; and the others are counted for so long before they are told
PAIRS_MAX = 4_096  # at 0.5 kB; a pair that is forgotten gets tickets again
COUNT_MAX = 1_000_000  # of the contract


class Denials(NamedTuple):
    """So many denials of one pair, without tickets of their own."""

    requester: str
    handle: bytes
    times: int


@dataclass(slots=True)
class _Pair:
    tickets_s: deque[float] = field(default_factory=lambda: deque(maxlen=TICKETS_MAX))
    untold: int = 0
    since_s: float = 0.0  # the first of the untold


class DenialBook:
    """Of one custodian."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[tuple[str, bytes], _Pair] = OrderedDict()  # last denied last
        self._forgotten: list[Denials] = []
        self._deciding: Counter[tuple[str, bytes]] = (
            Counter()
        )  # denials whose tickets are on their way

    def __len__(self) -> int:
        return len(self._pairs)

    def too_many(self, requester: str, handle: bytes, now_s: float) -> bool:
        """Is the next denial one without a ticket?"""
        pair = self._pairs.get((requester, handle)) or _Pair()
        recent = sum(now_s < at_s + WINDOW_S for at_s in pair.tickets_s)
        return recent + self._deciding[requester, handle] >= TICKETS_MAX

    @contextmanager
    def deciding(self, requester: str, handle: bytes) -> Iterator[None]:
        """While a denial's ticket is on its way: those that come together count each other."""
        self._deciding[requester, handle] += 1
        try:
            yield
        finally:
            self._deciding[requester, handle] -= 1
            if not self._deciding[requester, handle]:
                del self._deciding[requester, handle]

    def with_ticket(self, requester: str, handle: bytes, now_s: float) -> None:
        """A denial got its ticket."""
        self._pair(requester, handle).tickets_s.append(now_s)

    def without_ticket(self, requester: str, handle: bytes, now_s: float) -> None:
        """A denial was answered and stands nowhere yet."""
        pair = self._pair(requester, handle)
        if not pair.untold:
            pair.since_s = now_s
        pair.untold = min(pair.untold + 1, COUNT_MAX)

    def due(self, now_s: float) -> list[Denials]:
        """The counts whose time has come; they are the caller's now. `now_s` = infinity: all."""
        found, self._forgotten = self._forgotten, []
        for (requester, handle), pair in self._pairs.items():
            if pair.untold and now_s >= pair.since_s + WINDOW_S:
                found.append(Denials(requester, handle, pair.untold))
                pair.untold = 0
        return found

    def take_back(self, told: Denials, now_s: float) -> None:
        """It could not be sent: it is told with the next."""
        pair = self._pair(told.requester, told.handle)
        pair.since_s = now_s
        pair.untold = min(pair.untold + told.times, COUNT_MAX)

    def _pair(self, requester: str, handle: bytes) -> _Pair:
        pair = self._pairs.pop((requester, handle), None) or _Pair()
        self._pairs[requester, handle] = pair
        if len(self._pairs) > PAIRS_MAX:
            (other, whose), oldest = self._pairs.popitem(last=False)
            if oldest.untold:
                self._forgotten.append(Denials(other, whose, oldest.untold))
        return pair
