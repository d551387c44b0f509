"""The watch itself: a quiet machine is held to the promise, a slow one to as much more."""

import pytest

from tests.stopwatch import WORK_S, Stopwatch


def measured(seconds: float, work_s: float) -> Stopwatch:
    """A watch that measured so long, beside work that took so long."""
    now = 0.0

    def work() -> None:
        nonlocal now
        now += work_s

    watch = Stopwatch(lambda: now, work)
    with watch:
        pass
    watch.seconds = seconds
    return watch


def test_a_quiet_or_faster_machine_is_held_to_the_promise() -> None:
    for work_s in (WORK_S, WORK_S / 4):
        measured(4.9, work_s).check("it", 5)
        with pytest.raises(AssertionError, match=r"it took 5\.1 s, promised are 5 s"):
            measured(5.1, work_s).check("it", 5)


def test_a_slow_machine_may_take_as_much_longer() -> None:
    measured(14, 3 * WORK_S).check("it", 5)
    with pytest.raises(AssertionError):
        measured(16, 3 * WORK_S).check("it", 5)


def test_the_work_is_done_even_beside_what_takes_no_time() -> None:
    with Stopwatch() as watch:
        pass
    assert watch.slowness >= 1
