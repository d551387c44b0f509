"""Catching up faster, and with less belief: the next question while an answer is worked off, and a
look at what clients signed."""

from collections.abc import Sequence

import msgspec
import pytest

from node.net.frames import Blocks, GetBlocks
from node.pipeline import Diverged, Unsigned
from node.sync import CHECKED_AHEAD, BlockSource
from salus.certificate import CertifiedBlock
from salus.codec import decode
from salus.errors import BadMessage
from salus.transaction import ParsedTransaction, parse
from tests import factories
from tests.changing import ChangingLedger
from tests.node.test_sync_epochs import END, GENESIS, PLAN, SHORT, TRUE, Fresh, each
from tests.steps import stepped

FORGED_AT = 3


def forged(tx: ParsedTransaction) -> ParsedTransaction:
    """The same, signed by nobody."""
    raw = tx.raw[:-1] + bytes((tx.raw[-1] ^ 1,))
    return parse(raw, GENESIS.chain_id, GENESIS.hash(), SHORT)


class Checks:
    """A verify pool without threads."""

    def __init__(self) -> None:
        self.checked: list[bytes] = []

    async def verify(
        self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
    ) -> list[bool]:
        self.checked += [tx.id for tx in transactions]
        return [tx.signature_valid() for tx in transactions]


def few(request: GetBlocks) -> Blocks:
    """A true answer that is not all."""
    return TRUE.answer(GetBlocks(request.above, 3))


@stepped
async def test_the_next_blocks_are_asked_for_while_the_last_ones_are_executed() -> None:
    fresh = Fresh(peer=few)
    asked: list[tuple[int, int]] = []  # above which height, and how far we were
    send = fresh.send

    def noted(member: str, kind: object, payload: bytes) -> bool:
        asked.append((decoded(payload).above, fresh.pipeline.queued_height))
        return send(member, kind, payload)  # type: ignore[arg-type]

    fresh.send = noted  # type: ignore[method-assign]
    await fresh.arrives()
    assert fresh.blamed == []
    heights = [above for above, _ in asked if above < END]
    assert heights == sorted(set(heights)), "nothing is asked for twice"
    ahead = [above for above, done in asked if above > done]
    assert len(ahead) > len(heights) // 2
    assert all(above == done + 3 for above, done in asked if above > done), "one answer ahead"


def decoded(payload: bytes) -> GetBlocks:
    return decode(payload, GetBlocks)


@stepped
async def test_an_answer_asked_for_ahead_that_does_not_follow_harms_nothing() -> None:
    """The blocks before it were refused: what comes then is asked for anew, and its sender is no liar."""

    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.height != 2:
            return block
        return msgspec.structs.replace(block, proposal=block.proposal + b"x")

    def answer(request: GetBlocks) -> Blocks:
        return each(change)(GetBlocks(request.above, 3))

    fresh = Fresh(liar=answer)
    await fresh.arrives()
    assert fresh.blamed == [("liar", "NOT_PROVED")]


@stepped
async def test_what_clients_signed_is_checked_where_it_is_wanted_each_once() -> None:
    fresh, checks = Fresh(), Checks()
    fresh.sync.signatures = checks
    await fresh.arrives()
    assert fresh.blamed == []
    assert len(checks.checked) == len(set(checks.checked)) >= END
    assert counted(fresh) == 0, "nobody was believed"
    believing = Fresh()
    await believing.arrives()
    assert counted(believing) == len(checks.checked)


@stepped
async def test_signatures_are_checked_ahead_for_a_few_blocks_and_not_for_a_whole_answer() -> None:
    """B26: an answer has up to 256 blocks, and what a block of a few holds is checked in the loop."""
    fresh, begun = Fresh(), list[int]()
    height = fresh.ledger.height

    class Counted(Checks):
        async def verify(
            self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
        ) -> list[bool]:
            begun.append(height + len(begun) + 1 - fresh.pipeline.queued_height)
            return await super().verify(transactions, urgent=urgent)

    fresh.sync.signatures = Counted()
    await fresh.arrives()
    assert len(begun) >= END
    assert max(begun) == CHECKED_AHEAD


def counted(fresh: Fresh) -> float:
    lines = fresh.pipeline.metrics.text().decode().splitlines()
    name = "salus_crypto_covered_total "
    return next(float(line.split()[1]) for line in lines if line.startswith(name))


@stepped
async def test_a_certified_transaction_that_nobody_signed_halts_the_node_that_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S15: only more than f faulty validators certify it; one that believes them follows."""
    monkeypatch.setattr("tests.ledger.verify", lambda *_: True)  # so they do
    ledger = ChangingLedger(GENESIS, PLAN)
    bad = forged(factories.transaction(GENESIS, number=9_999))
    for height in range(1, 6):
        ledger.block(bad if height == FORGED_AT else factories.transaction(GENESIS))
    source = BlockSource(ledger.state, ledger.blocks)
    looking, believing = Fresh(all=source.answer), Fresh(all=source.answer)
    looking.sync.signatures = Checks()
    found: list[Diverged | Unsigned] = looking.diverged  # type: ignore[assignment]
    await looking.run(lambda: bool(found))
    assert isinstance(found[0], Unsigned)
    assert (found[0].height, found[0].tx_id) == (FORGED_AT, bad.id)
    assert looking.ledger.height < FORGED_AT
    assert looking.blamed == [], "the peer has it from a quorum"
    await believing.run(lambda: believing.ledger.height == 5)
    assert believing.diverged == []


@stepped
async def test_a_peer_that_forges_a_body_halts_nobody() -> None:
    """The certificate is checked before the signature counts: else one liar could stop a node."""
    body = factories.proposal(FORGED_AT, forged(factories.transaction(GENESIS)))

    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.height != FORGED_AT:
            return block
        return msgspec.structs.replace(block, proposal=body)

    fresh = Fresh(liar=each(change))
    fresh.sync.signatures = Checks()
    await fresh.arrives()
    assert fresh.diverged == []
    assert fresh.blamed == [("liar", "NOT_PROVED")]


@pytest.mark.parametrize("garbage", [b"", b"\x93"])
@stepped
async def test_a_body_that_cannot_be_read_costs_its_sender_and_leaves_no_task_behind(
    garbage: bytes,
) -> None:
    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.height not in (FORGED_AT, FORGED_AT + 1):
            return block
        return msgspec.structs.replace(block, proposal=garbage)

    fresh = Fresh(liar=each(change))
    fresh.sync.signatures = Checks()
    await fresh.arrives()
    assert fresh.blamed == [("liar", BadMessage.code)]
