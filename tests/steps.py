"""Time that steps: an event loop on which waiting takes none, for code that waits for its clock.

When nothing is ready to run, the clock jumps to the next timer. Not for sockets, threads and
processes: the clock would run away from them.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")


def stepped(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs a test on such a loop."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=SteppedLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


TURN_S = 1e-6  # a turn of the loop takes some time: rounding must not make it stand still


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.now += TURN_S
        if not ready:
            assert timeout is not None, "nothing will ever happen: every task waits for another"
            self.now += timeout
        return ready


class SteppedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
