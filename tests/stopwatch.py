"""A promise in seconds, checked on a machine that may be slow or shared.

«Within 5 s» is promised for a machine that has its processors and its disk. A neighbour, a
hypervisor or the rest of the suite may have them just then, so the watch does a fixed piece of
work again and again beside what it times: as many times longer as that took than on a quiet
machine, so much longer may the promise take. A quiet machine is held to the promise itself.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

WORK_ROUNDS = 50_000  # long enough to lose the processor when others want it too
SYNC_BYTES = 4096  # then a write that is waited for, as of a vote
WORK_S = 0.012  # both on a quiet machine: a core of 2 to 3 GHz, Python 3.11, a solid-state disk
PAUSE_S = 0.09  # a tenth of one core: what is timed must not suffer from the timing


def work() -> int:
    number = 1
    for round_ in range(WORK_ROUNDS):
        number = (number * 1_103_515_245 + round_) & 0x7FFF_FFFF
    return number


class Stopwatch:
    """`with Stopwatch() as watch: ...`, then `watch.check(what, promised_s)`."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        work: Callable[[], object] = work,
    ) -> None:
        self._clock, self._work = clock, work
        self._samples: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stopwatch", daemon=True)
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = self._clock() - self._began
        self._over.set()
        self._thread.join()

    @property
    def slowness(self) -> float:
        """How many times longer everything took than it would have on a quiet machine."""
        return max(1.0, sum(self._samples) / len(self._samples) / WORK_S)

    def check(self, what: str, promised_s: float) -> None:
        assert self.seconds <= promised_s * self.slowness, (
            f"{what} took {self.seconds:.1f} s, promised are {promised_s:g} s, "
            f"and the machine was only {self.slowness:.1f} times slower than a quiet one"
        )

    def _run(self) -> None:
        with tempfile.TemporaryFile() as file:
            while True:
                began = self._clock()
                self._work()
                file.write(bytes(SYNC_BYTES))
                file.flush()
                os.fsync(file.fileno())
                self._samples.append(self._clock() - began)
                if self._over.wait(PAUSE_S):
                    return
