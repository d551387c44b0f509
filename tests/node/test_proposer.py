"""The pacing of proposals: at once on an idle network, more seldom where nodes are busy."""

from collections.abc import Callable

import pytest

from consensus.effects import BuildProposal
from node.bodies import Bodies
from node.mempool import Mempool
from node.proposer import (
    BLOCK_INTERVAL_MAX_MS,
    BUSY_COMMIT_MS,
    LATE_INTERVAL_MAX_MS,
    TRANSACTIONS_LIKE_A_BLOCK,
    TRANSACTIONS_WORTH_A_BLOCK,
    Proposer,
)
from salus.keys import verify
from salus.parameters import Parameters
from storage.blocks import BlockStore
from storage.kv import MemoryKV
from tests import factories

GENESIS = factories.genesis(4)
QUICK_MS, FAR_MS = BUSY_COMMIT_MS - 2, 200


class Primary:
    """A proposer whose clock and commits are told."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.mempool = Mempool(GENESIS.chain_id, GENESIS.hash(), Parameters(), verify)
        bodies = Bodies(BlockStore(MemoryKV(), bytes(32)), 0, lambda *_: True, lambda *_: None)
        self.proposer = Proposer(self.mempool, bodies, lambda: self.now_ms)
        self.proposer.begin_epoch(Parameters(), 0, 0)
        self.sequence = self.made = 0

    def propose(self, waiting: int = 1) -> int:
        """The next proposal, of so many, as soon as it may go; returns how long that took."""
        self.sequence += 1
        for _ in range(waiting):
            self.made += 1
            self.mempool.add(factories.transaction(GENESIS, number=self.made, expiry_height=1_000))
        self.proposer.permit(BuildProposal(0, self.sequence, False))
        waited_ms = self.proposer.wait_ms()
        assert waited_ms is not None
        self.now_ms += waited_ms
        assert self.proposer.propose() is not None
        return waited_ms

    def commit(self, took_ms: int, times: int = 1) -> None:
        """One proposal after the other, each committed so long after it left."""
        for _ in range(times):
            self.propose()
            self.now_ms += took_ms
            self.proposer.committed(self.sequence)

    @property
    def interval_ms(self) -> int:
        return self.proposer.interval_ms


def test_an_idle_network_is_not_paced() -> None:
    primary = Primary()
    primary.commit(QUICK_MS, 50)
    assert primary.interval_ms == 0
    assert primary.propose() == 0


def test_slower_commits_widen_the_interval_and_quick_ones_narrow_it() -> None:
    primary = Primary()
    primary.commit(BUSY_COMMIT_MS + 1, 3)
    assert primary.interval_ms == 12
    primary.commit(BUSY_COMMIT_MS + 1, 10)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS
    primary.commit(QUICK_MS, 5)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS - 5


def test_where_proposals_queue_the_interval_is_as_long_as_a_commit() -> None:
    primary = Primary()
    primary.commit(15, 10)
    primary.commit(15 + 50, 20)
    assert primary.interval_ms == 65
    primary.commit(15 + 30)
    assert primary.interval_ms == 45
    primary.commit(15)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS


@pytest.mark.parametrize(
    ("took_ms", "waiting", "interval_ms"),
    [
        (
            40,
            TRANSACTIONS_LIKE_A_BLOCK - 1,
            40,
        ),  # somebody's one after the other: not held up for CPU
        (40, TRANSACTIONS_LIKE_A_BLOCK, 60),
        (70, TRANSACTIONS_LIKE_A_BLOCK, LATE_INTERVAL_MAX_MS),
        (20, TRANSACTIONS_LIKE_A_BLOCK, BLOCK_INTERVAL_MAX_MS),  # nobody is too busy
        (40, TRANSACTIONS_WORTH_A_BLOCK, 0),
    ],
)
def test_where_enough_waits_busy_nodes_get_their_proposals_a_commit_and_a_half_apart(
    took_ms: int, waiting: int, interval_ms: int
) -> None:
    primary = Primary()
    primary.commit(10, 10)
    primary.commit(took_ms, 20)
    primary.now_ms = primary.proposer.last_proposed_ms  # as if nothing of it had passed
    assert primary.propose(waiting) == interval_ms


def test_a_primary_that_has_little_time_is_not_held_up_for_long() -> None:
    """A network may have its progress timeout voted down; a healthy primary took its patience then (L22)."""
    primary = Primary()
    primary.proposer.begin_epoch(Parameters(progress_timeout_ms=480), 0, 0)
    primary.commit(10, 10)
    primary.commit(70, 20)
    assert primary.interval_ms == 40
    primary.proposer.begin_epoch(Parameters(progress_timeout_ms=100), 0, 0)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS, "before anything is committed in it"
    primary.commit(70, 20)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS


def test_a_long_way_is_no_queue() -> None:
    """Between distant hospitals each commit takes long, and fewer blocks would not help."""
    primary = Primary()
    primary.commit(FAR_MS, 200)
    assert primary.interval_ms == BLOCK_INTERVAL_MAX_MS
    primary.commit(FAR_MS + 40, 20)
    assert primary.interval_ms == 59  # 60, but the quickest commit is forgotten slowly


def test_a_clock_that_was_set_back_makes_no_queue_of_a_long_way() -> None:
    """Its commit would pass for the quickest ever, for thousands of blocks."""
    primary = Primary()
    primary.commit(FAR_MS, 10)
    primary.propose()
    primary.now_ms -= 60_000
    primary.proposer.committed(primary.sequence)
    primary.commit(FAR_MS, 20)
    assert primary.interval_ms <= BLOCK_INTERVAL_MAX_MS


def test_no_primary_waits_for_long() -> None:
    primary = Primary()
    primary.commit(QUICK_MS)
    primary.commit(10_000, 100)
    assert primary.interval_ms == LATE_INTERVAL_MAX_MS
    assert primary.propose() == 0  # so much time has passed since the last one


def test_proposals_behind_the_newest_are_measured_too() -> None:
    """With several under way the newest is never the one that commits."""
    primary = Primary()
    primary.commit(QUICK_MS)
    for _ in range(4):
        primary.propose()
    for sequence in range(2, 12):
        primary.now_ms += 50
        primary.proposer.committed(sequence)
        primary.propose()
    assert primary.interval_ms > BLOCK_INTERVAL_MAX_MS


def wait_of_next(primary: Primary, waiting: int) -> int:
    """How long from now until the next proposal goes, if so many wait for it."""
    primary.sequence += 1
    for number in range(waiting):
        tx = factories.transaction(
            GENESIS, number=1_000 * primary.sequence + number, expiry_height=1_000
        )
        primary.mempool.add(tx)
    primary.proposer.permit(BuildProposal(0, primary.sequence, False))
    waited_ms = primary.proposer.wait_ms()
    assert waited_ms is not None
    return waited_ms


@pytest.mark.parametrize(
    ("took_ms", "waiting", "wait_ms"),
    [
        (200, TRANSACTIONS_WORTH_A_BLOCK, 50),
        (200, Parameters().block_transactions_max, 0),  # it gets no fuller
        (60, TRANSACTIONS_WORTH_A_BLOCK, 0),  # a short way
        (2_000, TRANSACTIONS_WORTH_A_BLOCK, LATE_INTERVAL_MAX_MS),
    ],
)
def test_over_a_long_way_the_window_is_spread_over_the_time_that_a_proposal_takes(
    took_ms: int, waiting: int, wait_ms: int
) -> None:
    """Four at once, half empty, and then none for as long as the first takes: half of what it could carry."""
    primary = Primary()
    primary.commit(took_ms, 4)
    primary.now_ms += 1_000
    assert wait_of_next(primary, TRANSACTIONS_WORTH_A_BLOCK) == 0, "nothing else is under way"
    assert primary.proposer.propose() is not None
    assert wait_of_next(primary, waiting) == wait_ms


@pytest.mark.parametrize(
    "over",
    [
        lambda proposer: proposer.withdraw(),
        lambda proposer: proposer.begin_epoch(Parameters(), 0, 0),
    ],
)
def test_what_an_older_view_proposed_tells_nothing(over: Callable[[Proposer], None]) -> None:
    primary = Primary()
    primary.commit(QUICK_MS)
    primary.propose()
    over(primary.proposer)
    primary.now_ms += 10_000
    primary.proposer.committed(primary.sequence)
    assert primary.interval_ms == 0


def test_proposals_that_never_commit_are_forgotten() -> None:
    primary = Primary()
    for _ in range(100):
        primary.propose()
    assert len(primary.proposer._proposed_ms) <= Parameters().in_flight_proposals_max
