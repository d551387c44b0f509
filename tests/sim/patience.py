"""Whose fault is it that work waits? What a node may hold against its primary, and what not.

Rules L17, L18, L22 by numbers of our own: who leaves its view by itself has waited for as long as
it must, for something that a primary could have done, and not for its own disk; who complains
about unfairness was passed over. Law of the file: asked when a view is left, which is seldom.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.schism import split_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consensus.state import State
    from tests.sim.work import Worker


def left_by_timer(member: int, s: State, progress_tick: int, end: int) -> None:
    """The progress timer ran out in a view; `progress_tick`: when agreement last came further."""
    log, waited = s.log, s.tick - progress_tick
    assert waited >= s.config.progress_ticks, (
        f"n{member} gives its primary up {waited} ticks after a commit (L17)"
    )
    assert not split_height(s), (
        f"n{member} blames its primary for headers that are too different for a quorum (L24)"
    )
    assert log.settled < min(log.high, end or log.high), (
        f"n{member} blames its primary for a log that is full for want of certificates (L24)"
    )
    assert max(s.proved, s.weak_claim) <= log.committed, (
        f"n{member} blames its primary, and is itself behind what others certified (L20)"
    )


def left_by_itself(node: Worker, s: State, view: int, end: int) -> None:
    """By the timer, or because the pool complained: something must wait that is not decided yet,
    unless the next view was entered, and decided things, at once.
    What is decided waits for this node's execution and disk, slow or full as they may be."""
    log = s.log
    if s.view > view or log.proposed > log.settled or log.settled < end:
        return
    pool = node.mempool
    decided: set[bytes] = set()
    for height in range(pool.height + 1, log.committed + 1):
        ids = _decided(node, s, height)
        if ids is None:
            return  # Its body is not here yet: that is no fault of the disk.
        decided.update(ids)
    waits = [
        tx_id
        for tx_id, entry in pool._pool.items()
        if entry.from_height <= pool.height + 1 and tx_id not in decided
    ]
    assert waits, (
        f"n{node.member} gives its view up alone, for nothing waits but its own disk: {log.committed} "
        f"is committed, {pool.height} written (L17, L22)"
    )


def _decided(node: Worker, s: State, height: int) -> Sequence[bytes] | None:
    known = node.cluster.checkers.ordered.get(height)
    slot = s.log.slots.get(height)
    if slot is None or slot.committed is None or slot.committed not in slot.bodies:
        return None if height > s.log.executing else known
    if known is not None:
        return known
    proposal = node.bodies.parsed(slot.committed)
    return None if proposal is None else [tx.id for tx in proposal.transactions]


@dataclass(slots=True)
class _Book:
    """What one process has seen ordered, and what its own clients wait for."""

    ordered: list[bytes] = field(default_factory=list)
    view_began: int = 0  # so many had been ordered
    # id → how many had been ordered, and what was in the pool, when its client came
    watched: dict[bytes, tuple[int, frozenset[bytes]]] = field(default_factory=dict)


class Fairness:
    """Rule L17: of what came later than a transaction that I forwarded, more than one capacity of
    the pool was ordered before it. One transaction after the other, where the pool itself counts."""

    def __init__(self) -> None:
        self.books: defaultdict[int, _Book] = defaultdict(_Book)  # by address

    def started(self, node: Worker) -> None:
        self.books[node.address] = _Book()

    def view_began(self, node: Worker) -> None:
        book = self.books[node.address]
        book.view_began = len(book.ordered)

    def watched(self, node: Worker, tx_id: bytes) -> None:
        """A client of this node brought it, and it was taken."""
        book = self.books[node.address]
        book.watched[tx_id] = (len(book.ordered), frozenset(node.mempool._pool) - {tx_id})

    def certified(self, node: Worker, ids: Sequence[bytes]) -> None:
        book = self.books[node.address]
        book.ordered.extend(ids)
        for tx_id in ids:
            book.watched.pop(tx_id, None)

    def passed(self, node: Worker) -> int:
        """How many have passed the one that has been passed by most."""
        book, waiting, most = self.books[node.address], node.mempool._waiting, 0
        for tx_id, (since, before) in book.watched.items():
            first = max(since, book.view_began)
            if len(book.ordered) - first > most and tx_id in waiting:
                # What is ordered twice came later the second time.
                earlier = len(before.intersection(book.ordered[first:]))
                most = max(most, len(book.ordered) - first - earlier)
        return most

    def complained(self, node: Worker) -> None:
        pool = node.mempool
        if pool.fairness():
            passed, most = self.passed(node), pool.parameters.pool_transactions_max
            assert passed > most, (
                f"n{node.member} complains of being passed over by {passed}, {most} are fair (L17)"
            )

    def on_upkeep(self, node: Worker) -> None:
        """What came earlier is at most one pool more."""
        passed, most = self.passed(node), node.mempool.parameters.pool_transactions_max
        assert passed <= 2 * most or node.mempool.fairness(), (
            f"n{node.member} was passed over by {passed} and says nothing (L22)"
        )
