"""What is decided is no primary's work, whatever the pool has seen of it (L17, L22; `Epochs.ticked`)."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.replica import Replica
from node.bodies import Bodies
from node.epochs import Epochs
from node.mempool import Mempool
from salus.block import BLOCK_VERSION, ParsedProposal, Proposal, proposal_digest
from salus.codec import encode
from salus.keys import verify
from salus.parameters import Parameters
from storage.blocks import BlockStore
from storage.kv import MemoryKV
from tests.consensus.lab import A, Lab
from tests.node.test_judging import GENESIS, transaction


class Bench:
    """A pool that owes one transaction, and the proposal of sequence 1 that holds it."""

    def __init__(self, *, pooled: bool = True) -> None:
        self.mempool = Mempool(GENESIS.chain_id, GENESIS.hash(), Parameters(), verify)
        self.tx = transaction(1)
        if pooled:
            self.mempool.add(self.tx)
        body = Proposal(BLOCK_VERSION, 1, 0, 0, 1_000_000, (self.tx.raw,))
        raw = encode(body)
        self.proposal = ParsedProposal(raw, body, [self.tx])
        self.bodies = Bodies(BlockStore(MemoryKV(), bytes(32)), 0, lambda *_: True, lambda *_: None)
        self.bodies.put(1, self.proposal.digest, raw)
        self.told: list[bool] = []
        self.epochs = cast(Any, Epochs.__new__(Epochs))
        self.epochs.mempool, self.epochs.bodies = self.mempool, self.bodies
        self.epochs.runner = SimpleNamespace(pending=self.told.append)
        self.epochs.pipeline = SimpleNamespace(believed=self.believed)

    def believed(self, sequence: int, digest: bytes) -> ParsedProposal:
        raw = self.bodies.get(sequence, digest)
        assert raw is not None
        assert proposal_digest(raw) == self.proposal.digest
        self.bodies.remember_parsed(self.proposal)
        return self.proposal

    def tick(self, committed: int) -> None:
        decided = [(1, self.proposal.digest)][:committed]
        log = SimpleNamespace(committed=committed)
        self.epochs.replica = SimpleNamespace(decided=decided, state=SimpleNamespace(log=log))
        self.epochs.ticked()


def _let_go_of_by_a_view_change(bench: Bench) -> None:
    bench.bodies.remember_parsed(bench.proposal)
    bench.mempool.ordered([bench.tx.id], 1)
    bench.mempool.release_above(0)


def _committed_before_it_was_judged(bench: Bench) -> None:
    assert bench.bodies.parsed(bench.proposal.digest) is None


def _held_by_another_sequence_too(bench: Bench) -> None:
    bench.mempool.ordered([bench.tx.id], 2)
    bench.mempool.ordered([bench.tx.id], 1)
    bench.mempool.release_above(1)


@pytest.mark.parametrize(
    "happens",
    [
        _let_go_of_by_a_view_change,
        _committed_before_it_was_judged,
        _held_by_another_sequence_too,
    ],
)
def test_what_is_committed_and_not_written_is_owed_by_nobody(happens: Any) -> None:
    """The primary was given up, alone, for work that waited for certificates or for this node's disk:
    found by the simulator, seeds 2116, 4664, 5102, 5387, 6368 and 6547 of 22 November 2026."""
    bench = Bench()
    happens(bench)
    bench.tick(0)
    assert bench.told[-1]
    bench.tick(1)
    assert bench.mempool.owed == 0
    assert not bench.told[-1]
    bench.tick(1)
    assert bench.mempool.owed == 0


def test_what_is_marked_is_not_marked_with_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight blocks of 500 on their way to the disk, fifty times a second: a twentieth of the loop."""
    marked: list[int] = []
    real = Mempool.ordered

    def ordered(self: Mempool, ids: Any, sequence: int, *more: Any) -> None:
        marked.append(sequence)
        real(self, ids, sequence, *more)

    monkeypatch.setattr(Mempool, "ordered", ordered)
    bench = Bench()
    for _ in range(3):
        bench.tick(1)
    assert marked == [1]
    bench.mempool.executed([bench.tx.id], 1)
    assert not bench.mempool.is_decided(1, bench.proposal.digest), "nothing of a block stays"


def test_what_is_let_go_after_it_was_marked_is_marked_again() -> None:
    bench = Bench()
    bench.tick(1)
    bench.mempool.release_above(0)
    assert bench.mempool.owed == 1
    bench.tick(1)
    assert bench.mempool.owed == 0


def test_what_comes_after_it_was_marked_is_marked_again() -> None:
    """A proposal of a later sequence showed it first, so the pool thinks it is still to be decided."""
    bench = Bench(pooled=False)
    bench.mempool.ordered([bench.tx.id], 2)
    bench.tick(1)
    bench.mempool.add(bench.tx)
    assert bench.mempool.owed == 1
    bench.tick(1)
    assert bench.mempool.owed == 0


def test_the_core_names_what_it_has_committed_until_it_is_certified() -> None:
    lab = Lab()
    assert _decided(lab.replica) == []
    lab.commit(1, A)
    assert _decided(lab.replica) == [(1, A)]


def _decided(replica: Replica) -> list[tuple[int, bytes]]:
    return replica.decided
