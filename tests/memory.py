"""What a piece of work takes of Python's memory, though others in the process take some too.

A thread that another test left, or what the collector finds of it, counts for whoever measures just
then, but not every time: the least of a few tries counts."""

import gc
import tracemalloc
from collections.abc import Callable

TRIES = 5


def peak_bytes(work: Callable[[], object], at_most: int) -> int:
    """The most it takes while it runs, less what was held before; tried again when above `at_most`."""
    return _least(lambda: _traced(work)[1], at_most)


def held_bytes(work: Callable[[], object], at_most: int) -> int:
    """What its result and whatever it filled hold in the end; `work` begins anew at every try."""
    return _least(lambda: _traced(work)[0], at_most)


def _traced(work: Callable[[], object]) -> tuple[int, int]:
    tracemalloc.start()
    try:
        _result = work()
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def _least(measure: Callable[[], int], at_most: int) -> int:
    least = measure()
    for _ in range(TRIES - 1):
        if least <= at_most:
            break
        gc.collect()  # not before the first: in a process with a large heap it takes half a second
        least = min(least, measure())
    return least
