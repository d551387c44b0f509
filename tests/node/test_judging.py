"""Proposals, mine and theirs: judged by one function, and only while somebody asks (S15)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
import pytest

from consensus.effects import BuildProposal, CheckProposal
from consensus.events import ProposalChecked, Verdict
from node.bodies import Bodies
from node.judge import Judge
from node.mempool import Mempool
from node.proposer import Proposer
from node.verify import VerifyPool
from salus.block import BLOCK_VERSION, Proposal, proposal_digest
from salus.codec import encode
from salus.epoch import EpochRecord
from salus.keys import verify
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction, build
from storage.blocks import BlockStore
from storage.kv import MemoryKV
from tests import factories

GENESIS = factories.genesis(4)
NOW_MS = 1_000_000


def transaction(number: int, expiry: int = 100) -> ParsedTransaction:
    return build(
        (Operation("records", "anchor", 1, encode(number)),),
        signer=factories.keys(4, "operator")[0],
        chain_id=GENESIS.chain_id,
        genesis_hash=GENESIS.hash(),
        nonce=factories.seed(f"nonce {number}")[:16],
        expiry_height=expiry,
    )


class Bench:
    """A judge and a proposer over one pool, without a node."""

    def __init__(self) -> None:
        self.mempool = Mempool(GENESIS.chain_id, GENESIS.hash(), Parameters(), verify)
        self.dropped: list[int] = []
        self.bodies = Bodies(
            BlockStore(MemoryKV(), bytes(32)),
            0,
            lambda sequence, digest: True,
            lambda sequence, digest: self.dropped.append(sequence),
        )
        self.answers: list[Verdict] = []
        self.faults: list[BaseException] = []
        self.current = True
        self.pool = VerifyPool(0)
        self.judge = Judge(
            self.bodies,
            self.mempool,
            self.pool,
            GENESIS.vote_domain(),
            verify,
            lambda: EpochRecord(0, 0, GENESIS.validators(), Parameters()),
            lambda: NOW_MS,
            cast(Callable[[ProposalChecked], None], lambda a: self.answers.append(a.verdict)),
            lambda request: self.current,
            self.faults.append,
        )
        self.proposer = Proposer(self.mempool, self.bodies, lambda: NOW_MS)
        self.proposer.begin_epoch(Parameters(), 0, 0)

    def question(
        self,
        *transactions: ParsedTransaction,
        time_ms: int = NOW_MS,
        proposer: int = 0,
        view: int = 0,
    ) -> CheckProposal:
        raws = tuple(tx.raw for tx in transactions)
        raw = encode(Proposal(BLOCK_VERSION, 1, proposer, view, time_ms, raws))
        digest = proposal_digest(raw)
        self.bodies.put(1, digest, raw)
        return CheckProposal(0, 1, digest, 0, True)


async def test_a_verdict_that_comes_too_late_marks_nothing_as_ordered() -> None:
    bench, tx = Bench(), transaction(1)
    bench.mempool.add(tx)
    bench.current = False
    bench.judge.check(bench.question(tx))
    assert bench.answers == [Verdict.VALID]
    assert not bench.mempool.is_ordered(tx.id)
    bench.current = True
    bench.judge.check(bench.question(tx))
    assert bench.mempool.is_ordered(tx.id)


async def test_a_first_proposal_is_judged_by_the_clock_its_proposer_and_its_view() -> None:
    """L21: a lie about proposer or view is invalid, a time beyond the drift is off the clock."""
    bench, drift = Bench(), Parameters().clock_drift_max_ms
    for time_ms, proposer, view, verdict in (
        (NOW_MS + drift, 0, 0, Verdict.VALID),
        (NOW_MS - drift, 0, 0, Verdict.VALID),
        (NOW_MS + drift + 1, 0, 0, Verdict.OFF_CLOCK),
        (NOW_MS - drift - 1, 0, 0, Verdict.OFF_CLOCK),
        (NOW_MS, 1, 0, Verdict.INVALID),
        (NOW_MS, 0, 1, Verdict.INVALID),
    ):
        bench.judge.check(bench.question(time_ms=time_ms, proposer=proposer, view=view))
        assert bench.answers.pop() is verdict, (time_ms, proposer, view)


async def test_a_proposal_that_a_new_view_carries_on_is_never_refused_for_its_time() -> None:
    """L21: nor for its proposer or its view: all three are those of the view that it came from."""
    bench = Bench()
    for time_ms, proposer, view in ((0, 0, 0), (2**50, 0, 0), (NOW_MS, 3, 0), (NOW_MS, 0, 7)):
        question = bench.question(time_ms=time_ms, proposer=proposer, view=view)
        bench.judge.check(msgspec.structs.replace(question, first=False))
        assert bench.answers.pop() is Verdict.VALID, (time_ms, proposer, view)


async def test_a_question_about_a_body_that_made_room_brings_it_back() -> None:
    bench = Bench()
    bench.judge.check(CheckProposal(0, 1, bytes(32), 0, True))
    assert bench.answers == []
    assert bench.dropped == [1]


async def test_a_fault_in_the_background_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, fault = Bench(), RuntimeError("a bug")

    async def broken(transactions: Sequence[object], *, urgent: bool = False) -> list[bool]:
        raise fault

    monkeypatch.setattr(bench.pool, "verify", broken)
    bench.judge.check(bench.question(transaction(1)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert bench.faults == [fault]


def test_my_own_proposal_passes_the_judgement_of_the_others() -> None:
    bench, tx = Bench(), transaction(1)
    bench.mempool.add(tx)
    bench.proposer.permit(BuildProposal(0, 1, False))
    built = bench.proposer.propose()
    assert built is not None
    parsed = bench.bodies.parsed(built.digest)
    assert parsed is not None
    assert [t.id for t in parsed.transactions] == [tx.id]


def test_what_the_pool_let_in_by_mistake_does_not_reach_the_others() -> None:
    """A primary that proposes what S15 forbids is voted out."""
    bench = Bench()
    bench.mempool.add(transaction(1))
    small = msgspec.structs.replace(Parameters(), transaction_bytes_max=512, block_bytes_max=4096)
    bench.mempool.add(
        build(
            (Operation("records", "anchor", 1, bytes(600)),),
            signer=factories.keys(4, "operator")[0],
            chain_id=GENESIS.chain_id,
            genesis_hash=GENESIS.hash(),
            nonce=bytes(16),
            expiry_height=100,
        )
    )
    bench.proposer.begin_epoch(small, 0, 0)  # and nobody has told the pool
    bench.proposer.permit(BuildProposal(0, 1, False))
    built = bench.proposer.propose()
    assert built is not None
    parsed = bench.bodies.parsed(built.digest)
    assert parsed is not None
    assert parsed.transactions == []


def test_a_clock_that_was_set_back_does_not_silence_the_primary() -> None:
    """The interval is for pacing only; block time is derived and never runs backwards (S11)."""
    now = [NOW_MS]
    bench = Bench()
    proposer = Proposer(bench.mempool, bench.bodies, lambda: now[0])
    proposer.begin_epoch(Parameters(), 0, 0)
    bench.mempool.add(transaction(1))
    proposer.permit(BuildProposal(0, 1, False))
    assert proposer.propose() is not None
    bench.mempool.add(transaction(2))
    proposer.permit(BuildProposal(0, 2, False))
    assert proposer.wait_ms() == 20
    now[0] -= 600_000
    assert proposer.wait_ms() == 0
    assert proposer.propose() is not None
