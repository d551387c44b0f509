"""An event loop on a machine with other things to do: `pytest --jitter SEED` (docs/testing.md).

Sockets are ready later than they were, in another order; timers wait for one another and go off together;
a thread is late with its result. Nothing happens that asyncio does not allow: no callback overtakes one that
was ready before it, no timer an earlier one, and nothing is lost.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

from tests.tidy import Policy, TidyLoop

LATE_S = 0.01  # more than the way of a frame between two nodes of one process
ODDS = 0.2  # of a socket, a span of timers or a result to be late
LOOK_S = 0.0005  # while everything that is ready is withheld


class JitterPolicy(Policy):
    """All loops that a test makes, but those of `@stepped`, where time itself is made."""

    def __init__(self, seed: str) -> None:
        super().__init__(lambda: JitterLoop(self.test))
        self.seed = self.test = seed

    def begin(self, test: str) -> None:
        """Each test has its own disorder, whatever ran before it."""
        self.test = f"{self.seed} {test}"


class _Late(selectors.DefaultSelector):
    """Each time that a socket becomes ready it may be withheld for a while."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._until: dict[int, float] = {}  # file → when it may be told of
        self.prompt: set[int] = set()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            rest = None if ends is None else max(0.0, ends - time.monotonic())
            ready = super().select(rest)
            told = [entry for entry in ready if self._may(entry[0].fd)]
            if told or not ready or rest == 0:
                self._random.shuffle(told)
                return told
            time.sleep(LOOK_S)

    def _may(self, file: int) -> bool:
        if file in self.prompt:
            return True
        now = time.monotonic()
        if file not in self._until:
            late = self._random.random() < ODDS
            self._until[file] = now + self._random.uniform(0, LATE_S) * late
        if self._until[file] > now:
            return False
        del self._until[file]
        return True


class JitterLoop(TidyLoop):
    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self._salt = self._random.getrandbits(64)
        self._late = _Late(self._random)
        super().__init__(self._late)
        self._late.prompt.add(self._ssock.fileno())  # type: ignore[attr-defined]

    def call_at(self, when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:
        """Time has spans; the timers of some of them go off at its end, still one after the other."""
        number = int(when / LATE_S)
        if Random(self._salt ^ number).random() < ODDS:
            end = (number + 1) * LATE_S
            when = end - (end - when) / 1_000
        return super().call_at(when, *args, **more)

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """A thread has done its work, and is not on again before it can say so."""
        if threading.get_ident() != self._thread_id and self._random.random() < ODDS:  # type: ignore[attr-defined]
            time.sleep(self._random.uniform(0, LATE_S))
        return super().call_soon_threadsafe(callback, *args, **more)
