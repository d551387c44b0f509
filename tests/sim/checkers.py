"""What must hold of all nodes together, asked at every commit, header, certificate and send.

What one replica must hold by itself is `consensus.invariants`; double votes are the ledger's
(signatures.py), the disks check their own order (disk.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from consensus.effects import Evidence, Halt, Quarantine
from consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
    content_digest,
    decode_message,
    vote_type,
)
from salus.vote import JOURNAL_NEW_VIEW
from tests.sim.model import Block

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine

_VOTES = (PrePrepare, Prepare, Commit, Checkpoint)


class Checkers:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.faulty = cluster.plan.faulty
        n = cluster.plan.n
        # Not asked of the core: a wrong formula there must be seen here (S5).
        self.quorum = (n + (n - 1) // 3) // 2 + 1
        self.digests: dict[int, bytes] = {}  # height → what an honest node committed there
        self.headers: dict[int, bytes] = {}
        self.heights: dict[int, int] = {}  # address → certified height on disk

    def honest(self, node: Machine) -> bool:
        return node.member not in self.faulty

    def on_committed(self, node: Machine, sequence: int, digest: bytes) -> None:
        if not self.honest(node):
            return
        agreed = self.digests.setdefault(sequence, digest)
        assert agreed == digest, f"AGREEMENT: two digests committed at height {sequence}"
        assert node.replica is not None
        epoch = node.replica.state.epoch
        assert self.cluster.ledger.committed(epoch, sequence, digest, self.quorum), (
            f"height {sequence} committed at n{node.member} without a prepared and committed "
            "quorum of signatures (S6)"
        )

    def on_executed(self, node: Machine, block: Block) -> None:
        if self.honest(node):
            self._header(block)

    def _header(self, block: Block) -> None:
        known = self.headers.setdefault(block.height, block.header_hash)
        assert known == block.header_hash, f"two headers at height {block.height}"

    def on_certified(self, node: Machine, block: Block) -> None:
        if not self.honest(node):
            return
        self._header(block)
        before = self.heights.get(node.address, 0)
        assert block.height == before + 1, f"certified {block.height} after {before}"
        self.heights[node.address] = block.height
        self.cluster.on_certified(node, block)

    def lost_disk(self, node: Machine) -> None:
        self.heights[node.address] = node.disk.head.height

    def on_view(self, node: Machine, view: int) -> None:
        assert node.replica is not None
        self.cluster.on_view(node, node.replica.state.epoch, view)

    def on_send(self, node: Machine, message: Message) -> None:
        """Rule S3: a vote of mine that leaves is on my disk."""
        if isinstance(message, (*_VOTES, ViewChange, NewView)) and message.sender == node.member:
            left = _left_digest(message)
            for digest in _journalled(node, message):
                assert digest == left, "the journal holds another digest than what left (S3)"
                return
            raise AssertionError(
                f"a vote left before it was on disk (S3): {type(message).__name__} of "
                f"n{node.member}, epoch {message.epoch}, view {message.view}"
            )

    def on_evidence(self, node: Machine, evidence: Evidence) -> None:
        self.cluster.note(node, f"EVIDENCE against {evidence.culprit}")
        self.cluster.cover("evidence")
        if self.honest(node):
            assert evidence.culprit in self.faulty, (
                f"honest n{evidence.culprit} is accused by n{node.member} (L23): "
                f"{type(evidence.first).__name__}"
            )

    def on_quarantine(self, node: Machine, quarantine: Quarantine) -> None:
        self.cluster.note(node, f"QUARANTINE: {quarantine.reason}")
        self.cluster.cover("quarantine")
        if self.honest(node):
            raise AssertionError(f"honest n{node.member} is in quarantine: {quarantine.reason}")

    def on_halt(self, node: Machine, halt: Halt) -> None:
        self.cluster.note(node, f"HALT: {halt.reason} at {halt.height}")
        self.cluster.cover("halt")
        if self.honest(node):
            raise AssertionError(
                f"honest n{node.member} halted at {halt.height} with at most f liars: {halt.reason}"
            )


def _left_digest(message: SignedMessage) -> bytes:
    if isinstance(message, (ViewChange, NewView, Status)):
        return content_digest(message)
    return message.digest


def _journalled(node: Machine, message: SignedMessage) -> Iterator[bytes]:
    """What the disk binds this vote to: its own entry, or the NEW-VIEW that contains it (a torn
    write may have kept that and not the entries which follow it)."""
    sequence = 0 if isinstance(message, (ViewChange, NewView, Status)) else message.sequence
    key = (int(vote_type(message)), message.epoch, message.view, sequence)
    digest = node.disk.votes.get(key)
    if digest is not None:
        yield digest
        return
    for entry in node.disk.journal:
        if (entry.kind, entry.epoch, entry.view) == (JOURNAL_NEW_VIEW, message.epoch, message.view):
            if isinstance(message, NewView):
                yield entry.digest
            new_view = decode_message(entry.payload)
            if isinstance(message, PrePrepare) and isinstance(new_view, NewView):
                for vote in new_view.pre_prepares:
                    if vote.sequence == sequence:
                        yield vote.digest
