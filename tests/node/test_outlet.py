"""When the primary proposes: at its time, and not for every transaction."""

import asyncio
from typing import Any, cast

from consensus.events import ProposalBuilt
from node.outlet import Outlet

BUILT = ProposalBuilt(0, 1, bytes(32))


class Pace:
    """A proposer that says when, and has so many proposals then."""

    def __init__(self) -> None:
        self.waits: int | None = None
        self.ready = 0
        self.asked = 0

    def wait_ms(self) -> int | None:
        return self.waits

    def propose(self) -> ProposalBuilt | None:
        self.asked += 1
        if self.waits or not self.ready:
            return None
        self.ready -= 1
        return BUILT


class Steps:
    def __init__(self) -> None:
        self.events: asyncio.Queue[object] = asyncio.Queue()
        self.failure: BaseException | None = None

    def fatal(self, error: BaseException) -> None:
        self.failure = error

    def step(self, event: object) -> None:
        self.events.put_nowait(event)


def outlet(pace: Pace, steps: Steps) -> Outlet:
    parts = cast(list[Any], [steps, None, None, None, None, pace, None, None, None])
    return Outlet(*parts)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nothing_to_propose_wakes_nobody() -> None:
    pace, steps = Pace(), Steps()
    hands = outlet(pace, steps)
    for _ in range(10):
        hands.nudge()
    await turns()
    assert pace.asked == 0


async def test_before_its_time_a_thousand_transactions_set_one_clock() -> None:
    pace, steps = Pace(), Steps()
    hands = outlet(pace, steps)
    pace.waits = 60_000
    hands.nudge()
    clock = hands._clock
    for _ in range(1_000):
        hands.nudge()
    await turns()
    assert (pace.asked, hands._clock) == (0, clock)


async def test_a_time_that_comes_nearer_is_kept() -> None:
    pace, steps = Pace(), Steps()
    hands = outlet(pace, steps)
    pace.waits, pace.ready = 60_000, 1
    hands.nudge()
    late = hands._clock
    pace.waits = 1
    hands.nudge()
    assert late is not None
    assert late.cancelled()
    pace.waits = 0
    assert await steps.events.get() is BUILT


async def test_when_it_is_time_all_that_may_go_goes() -> None:
    pace, steps = Pace(), Steps()
    hands = outlet(pace, steps)
    pace.waits, pace.ready = 0, 3
    hands.nudge()
    for _ in range(3):
        assert await steps.events.get() is BUILT


async def test_a_primary_that_cannot_propose_ends_its_node() -> None:
    """It would only seem to live."""
    pace, steps = Pace(), Steps()
    hands, fault = outlet(pace, steps), RuntimeError("a bug")

    def propose() -> ProposalBuilt | None:
        raise fault

    pace.waits, pace.propose = 0, propose  # type: ignore[method-assign]
    hands.nudge()
    await turns()
    assert steps.failure is fault
