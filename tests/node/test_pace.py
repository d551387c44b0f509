"""The account of a slow primary (rule L22), tick by tick; and the pool's part in it."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from node.pace import PATIENCE_TIMEOUTS, Pace
from salus.parameters import Parameters
from tests import factories
from tests.node.test_mempool import pool, tx

LIMITS = Parameters()  # a progress timeout of 50 ticks, blocks of 1,000
TIMEOUT = LIMITS.progress_timeout_ms // LIMITS.tick_ms
MINUTE = 60_000 // LIMITS.tick_ms


class Queue:
    """A pool of numbered transactions, the oldest first, and a primary that serves it."""

    def __init__(self, limits: Parameters = LIMITS) -> None:
        self.arrivals = 0
        self.waiting: list[int] = []
        self.pace = Pace(self, limits)
        self.now = 0

    @property
    def oldest_owed(self) -> int | None:
        return self.waiting[0] if self.waiting else None

    def come(self, count: int) -> None:
        self.waiting += range(self.arrivals + 1, self.arrivals + count + 1)
        self.arrivals += count

    def order(self, chosen: list[int]) -> None:
        out = set(chosen)
        self.waiting = [number for number in self.waiting if number not in out]
        self.pace.block(len(chosen), 300 * len(chosen))

    def run(self, ticks: int, step: Callable[["Queue"], None]) -> int | None:
        """The tick in which patience was at an end; None if it lasted."""
        for tick in range(ticks):
            self.now += 1
            step(self)
            if self.pace.tick(bool(self.waiting)):
                return tick
        return None


def serving(every: int, arrivals: int, block: int = 1_000) -> Callable[[Queue], None]:
    """`arrivals` transactions a tick, and each `every` ticks a block of all that waits."""

    def step(queue: Queue) -> None:
        queue.come(arrivals)
        if queue.now % every == 0:
            queue.order(queue.waiting[:block])

    return step


@pytest.mark.parametrize("every", [1, 3, TIMEOUT // 4])
@pytest.mark.parametrize("arrivals", [1, 7])
def test_a_primary_that_serves_in_time_stays(every: int, arrivals: int) -> None:
    assert Queue().run(10 * MINUTE, serving(every, arrivals)) is None


def test_a_primary_just_under_the_timeout_goes() -> None:
    gone = Queue().run(MINUTE, serving(TIMEOUT * 9 // 10, 2))
    assert gone is not None
    assert gone < 15 * TIMEOUT


def test_a_primary_that_proposes_in_drops_goes() -> None:
    """Each block comes at once, and holds one transaction of all that wait."""
    gone = Queue().run(MINUTE, serving(1, 3, block=1))
    assert gone is not None
    assert gone < 10 * TIMEOUT


def test_a_primary_that_leaves_one_out_goes() -> None:
    """Rule L22: others are served at once; one of mine never is."""
    queue = Queue()
    queue.come(1)

    def censor(queue: Queue) -> None:
        queue.come(2)
        queue.order([number for number in queue.waiting if number != 1])

    gone = queue.run(MINUTE, censor)
    assert gone is not None
    assert gone <= (PATIENCE_TIMEOUTS + 1) * TIMEOUT


def test_a_saturated_primary_stays() -> None:
    """Rule L17: a queue of twenty seconds, and blocks that are full, are no fault of his."""
    queue = Queue()
    queue.come(20_000)
    assert queue.run(MINUTE, serving(40, 25)) is None
    assert queue.waiting[0] < queue.arrivals - 10_000


def test_large_transactions_fill_a_block_too() -> None:
    queue = Queue()
    queue.come(5_000)

    def few(queue: Queue) -> None:
        queue.come(1)
        if queue.now % 20 == 0:
            queue.waiting = queue.waiting[16:]
            queue.pace.block(16, 16 * LIMITS.transaction_bytes_max)

    assert queue.run(MINUTE, few) is None


def test_an_idle_chain_blames_nobody() -> None:
    assert Queue().run(MINUTE, lambda queue: None) is None


def test_time_in_which_nothing_is_his_fault_does_not_count() -> None:
    """While I am behind, or a view is being changed."""
    queue = Queue()
    queue.come(1)
    assert not any(queue.pace.tick(False) for _ in range(MINUTE))
    assert queue.run(TIMEOUT, lambda queue: None) is None


def test_what_waited_for_the_last_primary_is_new_to_the_next() -> None:
    queue = Queue()
    queue.come(300)
    assert queue.run(MINUTE, lambda queue: None) is not None
    queue.pace.begin_view()
    assert queue.run(MINUTE, serving(5, 1)) is None


def test_if_all_are_slow_it_is_not_the_primaries() -> None:
    """As L18 for timers: patience doubles until the pace that there is fits in; from then on they
    are put to the test again after windows of blocks only."""
    queue, every, complaints = Queue(), 2 * TIMEOUT, []
    while queue.now < 30 * MINUTE:
        if queue.run(MINUTE // 4, serving(every, 1)) is not None:
            complaints.append(queue.now // every)  # the height of the chain
            queue.pace.begin_view()
    assert len(complaints) > 3
    assert complaints[1] < LIMITS.watermark_window  # twice doubled fits
    pauses = [later - before for before, later in pairwise(complaints[1:])]
    assert min(pauses) >= LIMITS.watermark_window << 2


def test_patience_comes_back_to_what_it_was() -> None:
    """Or a slow member would buy the next one time for ever."""
    queue = Queue()
    queue.come(1)
    assert queue.run(MINUTE, lambda queue: None) is not None
    queue.pace.begin_view()
    assert queue.pace.slack == 1
    assert queue.run(MINUTE, serving(5, 1)) is None
    assert queue.pace.slack == 0


def test_a_view_that_ended_for_another_reason_makes_nobody_patient() -> None:
    queue = Queue()
    queue.run(MINUTE, serving(5, 1))
    queue.pace.begin_view()
    assert queue.pace.slack == 0


# ── what the pool calls owed ─────────────────────────────────────────────────


def test_what_is_valid_later_is_not_owed() -> None:
    """L17: nobody can order it now, so no timer may run for it; an idle chain changes no view."""
    mine = pool()
    later, now = tx(first_height=5), tx()
    mine.add(later)
    assert (mine.pending, mine.owed, mine.oldest_owed) == (1, 0, None)
    mine.add(now)
    assert (mine.owed, mine.oldest_owed) == (1, 2)
    mine.executed([now.id], 4)
    assert (mine.owed, mine.oldest_owed) == (1, 3)  # valid from now on, behind all others


def test_what_is_in_flight_is_owed_until_it_is_committed() -> None:
    """What comes after, execution and the disk, is this node's own work (L17, L22)."""
    mine, one = pool(), tx()
    mine.add(one)
    mine.ordered([one.id], 1)
    assert not mine.committed(0)
    assert mine.oldest_owed == 1
    assert mine.committed(1), "now, and only now"
    assert not mine.committed(1)
    assert (mine.owed, mine.oldest_owed, mine.pending) == (0, None, 1)


def test_what_is_judged_after_its_commit_or_comes_after_it_is_not_owed() -> None:
    mine, late, unknown = pool(), tx(), tx()
    mine.add(late)
    mine.committed(1)
    assert mine.owed == 1
    mine.ordered([late.id, unknown.id], 1)
    mine.add(unknown)
    assert (mine.owed, mine.pending) == (0, 2)


def test_what_a_committed_sequence_did_not_hold_is_owed_at_its_old_place() -> None:
    mine, first, second = pool(), tx(), tx()
    mine.add(first)
    mine.ordered([first.id], 1)
    mine.committed(1)
    mine.add(second)
    assert mine.oldest_owed == 2
    mine.executed([], 1)  # the view changed: another proposal was agreed on
    assert (mine.owed, mine.oldest_owed) == (2, 1)


@pytest.mark.parametrize("written_ticks", [3, TIMEOUT * 3 // 4, 2 * TIMEOUT])
def test_a_slow_disk_is_no_fault_of_the_primary(written_ticks: int) -> None:
    """Else its node would give up a view that all others keep, and be without a vote for good."""
    mine = pool()
    pace = Pace(mine, LIMITS)
    one, height = tx(), 0
    for tick in range(MINUTE):
        if tick % written_ticks == 0:
            if height:
                mine.executed([one.id], height)
                pace.block(1, 300)
            height += 1
            one = tx(expiry_height=8_000)
            mine.add(one)
            mine.ordered([one.id], height)
        if tick % written_ticks == 2:
            mine.committed(height)
        assert not pace.tick(True), f"given up in tick {tick}"


def test_what_was_ordered_before_it_came_is_owed() -> None:
    mine, one = pool(), tx()
    mine.ordered([one.id], 1)
    mine.add(one)
    assert mine.owed == 1
    mine.executed([factories.seed("another")], 1)
    assert mine.owed == mine.proposable == 1
