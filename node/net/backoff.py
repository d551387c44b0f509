"""How long to wait before dialling again: doubling, capped, with jitter, reset by stability.

Pure: the random source and the times arrive as arguments. The cap is short on purpose: "back-off
of hours after an outage" is what operators of other chains complain about.
"""

from random import Random


class Backoff:
    def __init__(self, random: Random, *, min_ms: int, max_ms: int, stable_ms: int) -> None:
        assert 0 < min_ms <= max_ms
        self._random = random
        self._min_ms, self._max_ms, self._stable_ms = min_ms, max_ms, stable_ms
        self._next_ms = min_ms

    def after(self, lived_ms: int) -> int:
        """The pause in ms after a connection that lived `lived_ms` (0: it never came up).

        A connection that lived a stable time starts anew. Jitter takes up to half away, so
        that nodes that fell together do not dial together."""
        if lived_ms >= self._stable_ms:
            self._next_ms = self._min_ms
        pause_ms = self._next_ms - self._random.randint(0, self._next_ms // 2)
        self._next_ms = min(2 * self._next_ms, self._max_ms)
        return pause_ms
