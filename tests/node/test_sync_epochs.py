"""A fresh node catches up over several validator sets, and peers lie to it about them (S13, S14).

It has the genesis document and nothing else. Its own execution is the real one; what the epochs
bring is planned (tests/changing.py).
"""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from node import disk_thread
from node.bodies import Bodies
from node.metrics import Metrics
from node.net.frames import Blocks, GetBlocks, Kind
from node.pipeline import Diverged, Pipeline
from node.sync import BlockSource, Sync
from salus.certificate import Certificate, CertifiedBlock
from salus.codec import decode, encode
from salus.keys import SigningKey, verify
from salus.parameters import Parameters
from salus.vote import VoteType
from storage.errors import StoreUnavailable
from tests import factories
from tests.changing import Change, ChangingLedger, hospitals
from tests.steps import stepped

SHORT = Parameters(
    epoch_blocks_max=8,
    watermark_window=8,
    in_flight_proposals_max=2,
    execute_ahead_max=4,
    state_bucket_bits=5,
)
OTHER = msgspec.structs.replace(SHORT, watermark_window=12, epoch_blocks_max=12, tick_ms=10)
PLAN = {
    1: Change(hospitals(*"abcde"), SHORT),
    2: Change(hospitals(*"bcde"), SHORT),
    3: Change(hospitals(*"bcde", rotated="d"), OTHER),
    4: Change(hospitals(*"bcdef", rotated="d"), OTHER),
}
GENESIS = factories.genesis(parameters=SHORT)
END = 80  # in epoch 4, from where on nothing changes any more
WAIT_S = 60.0
LIAR_TURNS = 30

Answer = Callable[[GetBlocks], Blocks]


def source() -> ChangingLedger:
    ledger = ChangingLedger(GENESIS, PLAN)
    while ledger.height < END:
        ledger.block(factories.transaction(GENESIS, expiry_height=ledger.height + 60))
    assert ledger.state.current_epoch().epoch >= 4
    return ledger


SOURCE = source()
TRUE = BlockSource(SOURCE.state, SOURCE.blocks)


def _raise(error: BaseException) -> None:
    raise error


class AtOnce:
    """The disk without its thread."""

    def start(self, work: Callable[[], Any], answer: disk_thread.Answer) -> None:
        answer(work(), None)


class Fresh:
    """Pipeline and catch-up of a node with empty stores; `liars` answer otherwise than `TRUE`."""

    def __init__(self, **liars: Answer) -> None:
        self.ledger = ChangingLedger(GENESIS, PLAN)
        self.liars = liars
        self.asked = 0
        self.blamed: list[tuple[str, str]] = []
        self.diverged: list[Diverged] = []
        bodies = Bodies(self.ledger.blocks, 0, lambda *_: False, lambda *_: None)
        self.pipeline = Pipeline(
            self.ledger.executor,
            self.ledger.state,
            bodies,
            GENESIS.vote_domain(),
            verify,
            self.ledger.state.current_epoch(),
            lambda written: None,
            dict,
            lambda fault: None,
            Metrics(),
            cast(disk_thread.DiskThread, AtOnce()),
            _raise,
        )
        self.sync = Sync(self, self.pipeline, cast(BlockSource, None), lambda: 0, self.on_diverged)
        self.sync.following = True

    # what `Sync` asks of the network

    def send(self, member: str, kind: Kind, payload: bytes) -> bool:
        request = decode(payload, GetBlocks)
        self.asked += 1
        answer = self.liars.get(member, TRUE.answer)(request)
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, self.sync.receive, member, encode(answer))
        return True

    def penalise(self, member: str, points: int, reason: str) -> None:
        self.blamed.append((member, reason))

    def peers(self) -> list[Any]:
        # A liar is heard first and alone, until it is blamed or has had its turns.
        heard = self.liars and not self.blamed and self.asked < LIAR_TURNS
        names = tuple(self.liars) if heard else ("honest",)
        return [SimpleNamespace(member=name, connected=True) for name in names]

    def on_diverged(self, diverged: Diverged) -> None:
        self.diverged.append(diverged)
        self.sync.stopped = True

    async def run(self, until: Callable[[], bool]) -> None:
        task = asyncio.create_task(self.sync.run())
        try:
            async with asyncio.timeout(WAIT_S):
                while not until():  # noqa: ASYNC110 (the clock jumps: this asks once a step)
                    await asyncio.sleep(0.05)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def arrives(self) -> None:
        """At the head of the source, by the same blocks and the same sets."""
        await self.run(lambda: self.ledger.height == END)
        mine, theirs = self.ledger.state, SOURCE.state
        assert mine.head == theirs.head
        assert list(mine.epochs()) == list(theirs.epochs())
        for height in range(1, END + 1):
            assert mine.certificate(height) == theirs.certificate(height)


@stepped
async def test_a_fresh_node_follows_every_change_of_the_set_and_of_the_parameters() -> None:
    fresh = Fresh()
    await fresh.arrives()
    assert fresh.blamed == []
    record = fresh.ledger.state.current_epoch()
    assert [v.member for v in record.validators.validators] == list(PLAN[4].keys)
    assert record.parameters == OTHER


# -- liars -----------------------------------------------------------------------------------


def each(change: Callable[[CertifiedBlock], CertifiedBlock]) -> Answer:
    """True answers, one block of them changed where `change` says so."""

    def answer(request: GetBlocks) -> Blocks:
        true = TRUE.answer(request)
        return Blocks(
            tuple(encode(change(decode(raw, CertifiedBlock))) for raw in true.blocks), true.tip
        )

    return answer


def signed(block: CertifiedBlock, epoch: int, *signers: tuple[int, SigningKey]) -> CertifiedBlock:
    header = block.header
    payload = GENESIS.vote_domain().payload(
        VoteType.CHECKPOINT, epoch, 0, header.height, header.hash()
    )
    signatures = tuple(
        msgspec.structs.replace(
            block.certificate.signatures[0], index=index, signature=key.sign(payload)
        )
        for index, key in signers
    )
    certificate = Certificate(epoch, header.height, header.hash(), signatures)
    return msgspec.structs.replace(block, certificate=certificate)


def by(epoch: int, *labels: str) -> Answer:
    """The blocks of an epoch with the signatures of these keys in their places."""
    signers = [(index, factories.key(f"node hosp-{label}")) for index, label in enumerate(labels)]
    return each(
        lambda block: signed(block, epoch, *signers) if block.header.epoch == epoch else block
    )


def rewritten(epoch: int) -> Answer:
    """The end of an epoch hands over to another set, its certificate taken from the true one."""
    forged = factories.genesis(4, observers=1).validators()

    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.epoch != epoch or not block.header.ends_epoch:
            return block
        header = msgspec.structs.replace(block.header, next_validators_hash=forged.hash())
        certificate = msgspec.structs.replace(block.certificate, header_hash=header.hash())
        return msgspec.structs.replace(block, header=header, certificate=certificate)

    return each(change)


def skipping(epoch: int) -> Answer:
    """Whatever is asked for: the blocks from this epoch on."""
    base = SOURCE.state.epoch(epoch).base
    return lambda request: TRUE.answer(GetBlocks(max(base, request.above), request.limit))


@stepped
async def test_blocks_signed_by_a_former_set_are_refused_and_cost_their_sender() -> None:
    for liar in (
        by(1, "a", "b", "c"),  # a quorum of the four; they are five
        by(2, "a", "b", "c"),  # hosp-a has left
        by(3, "b", "c", "d"),  # the key before its rotation
        by(4, "b", "c", "d, second"),  # three of what are five again
    ):
        fresh = Fresh(liar=liar)
        await fresh.arrives()
        assert fresh.blamed == [("liar", "NOT_PROVED")]


@stepped
async def test_one_false_certificate_within_a_run_of_true_blocks_is_not_stored() -> None:
    """The last of a run is checked first, each one before it counts: what is on disk is served to
    others, and they would blame us."""
    base = SOURCE.state.epoch(2).base

    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.height != base + 3:
            return block
        keys = [(i, factories.key(f"node hosp-{letter}")) for i, letter in enumerate("abc")]
        return signed(block, 2, *keys)

    fresh = Fresh(liar=each(change))
    await fresh.arrives()
    assert fresh.blamed == [("liar", "NOT_PROVED")]


@stepped
async def test_another_next_set_is_refused_at_the_boundary() -> None:
    for epoch in range(4):
        fresh = Fresh(liar=rewritten(epoch))
        await fresh.arrives()
        assert fresh.blamed == [("liar", "NOT_PROVED")]


@stepped
async def test_blocks_of_an_epoch_that_is_not_reached_yet_lead_nowhere() -> None:
    fresh = Fresh(liar=skipping(2))
    await fresh.arrives()
    assert fresh.blamed == [], "a peer that has pruned is no liar; it is only of no use"
    assert fresh.asked > LIAR_TURNS


@stepped
async def test_another_history_by_the_keys_of_a_former_quorum_stops_the_node_and_is_not_taken() -> (
    None
):
    """S14, L24: keys that were stolen after they had left can sign for their own epoch. What they
    sign is not what the blocks execute to, so the node halts and says so; it never follows."""
    height = SOURCE.state.epoch(1).base - 2

    def change(block: CertifiedBlock) -> CertifiedBlock:
        if block.header.height != height:
            return block
        header = msgspec.structs.replace(block.header, state_root=bytes(32))
        stolen = [(i, factories.key(f"node hosp-{letter}")) for i, letter in enumerate("abc")]
        return signed(msgspec.structs.replace(block, header=header), 0, *stolen)

    def answer(request: GetBlocks) -> Blocks:
        # The forged block last, so that its certificate is what the run is judged by.
        limit = min(request.limit, max(1, height - request.above))
        return each(change)(GetBlocks(request.above, limit))

    fresh = Fresh(liar=answer)
    await fresh.run(lambda: bool(fresh.diverged))
    assert fresh.diverged[0].mine == SOURCE.state.header(height)
    assert fresh.ledger.height < height


class PyPanic(BaseException):
    """What a library in another language may raise: no `Exception`."""


@pytest.mark.parametrize("failure", [StoreUnavailable("the disk is gone"), PyPanic()])
async def test_whatever_the_disk_raises_for_a_block_is_fatal(failure: BaseException) -> None:
    """Only its callback hears of it: a node that went on would write no block any more."""
    fresh, told = Fresh(), list[BaseException]()
    fresh.pipeline.fatal = told.append
    answers = list[disk_thread.Answer]()
    thread = SimpleNamespace(start=lambda _, answer: answers.append(answer))
    fresh.pipeline.disk = cast(disk_thread.DiskThread, thread)
    block = TRUE.block(1)
    assert block is not None
    fresh.pipeline.accept(block)
    answers[0](None, failure)
    assert told == [failure]
    assert fresh.ledger.height == 0
