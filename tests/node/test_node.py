"""Whole nodes: what a consortium does, with real stores and real sockets in one process."""

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.node import FLOOR_EVERY_BLOCKS
from node.pipeline import Diverged
from node.verify import SLICE_MIN
from salus.block import OK, proposal_digest
from salus.codec import encode
from salus.forms import TransactionState
from salus.transaction import Operation, ParsedTransaction, build
from salus.vote import JournalEntry
from tests import factories
from tests.node.network import Hospitals, eventually, hospitals

WAIT_S = 60  # longer is a failure


def anchor(
    group: Hospitals, number: int, *, org: int = 0, expiry: int = 1_000
) -> ParsedTransaction:
    root = factories.seed(f"root {number}")
    args = encode((root, 1, factories.seed("author"), factories.seed("context")))
    return build(
        (Operation("records", "anchor", 1, args),),
        signer=group.operators[org],
        chain_id=group.genesis.chain_id,
        genesis_hash=group.genesis.hash(),
        nonce=factories.seed(f"nonce {number}")[:16],
        expiry_height=expiry,
    )


async def commit(group: Hospitals, index: int, tx: ParsedTransaction) -> int:
    node = group.nodes[index]
    (submitted,) = await node.facade.submit([tx.raw])
    assert submitted.code is None, submitted
    view = await node.facade.wait(tx.id, WAIT_S)
    assert view.state is TransactionState.COMMITTED, view
    assert [receipt.code for receipt in view.receipts] == [OK]
    assert view.height is not None
    return view.height


async def test_four_hospitals_agree(tmp_path: Path) -> None:
    async with hospitals(tmp_path) as group:
        for number in range(8):
            await commit(group, number % 4, anchor(group, number, org=number % 4))
        height = max(node.state.height() for node in group.nodes.values())
        await group.height(height)
        headers = {node.state.header(height).hash() for node in group.nodes.values()}
        assert len(headers) == 1


async def test_a_node_that_was_away_catches_up(tmp_path: Path) -> None:
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        await group.stop(0)  # the primary of view 0
        height = 0
        for number in range(2, 6):
            height = await commit(group, 1, anchor(group, number))
        group.start(0)
        await group.height(height, 0)
        assert group.nodes[0].state.header(height) == group.nodes[1].state.header(height)


async def test_a_wiped_node_votes_again_only_in_a_new_epoch(tmp_path: Path) -> None:
    """Rule S4: no journal, no vote; `members.rejoin` brings a new epoch, on an idle chain too."""
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        await group.stop(3)
        shutil.rmtree(group.home(3) / "data")
        node = group.start(3)
        assert node.vitals.signing() == "quarantine"
        await eventually(lambda: node.vitals.signing() == "signing")
        assert node.pipeline.epoch.epoch == 1
        assert node.voter.first_epoch == 1
        await commit(group, 3, anchor(group, 2, org=3))


async def test_a_node_wiped_again_does_not_take_its_old_rejoin_for_the_new_one(
    tmp_path: Path,
) -> None:
    """Rule S4: catching up it meets the rejoin of its earlier life, which voted in the epoch that
    this rejoin began; its votes there are lost, so it waits for an epoch of its own."""
    async with hospitals(tmp_path) as group:
        for epoch in (1, 2):
            await group.stop(3)
            shutil.rmtree(group.home(3) / "data")
            node = group.start(3)
            await eventually(lambda: group.nodes[3].vitals.signing() == "signing")
            assert node.pipeline.epoch.epoch == epoch
            assert node.voter.first_epoch == epoch


async def test_a_halted_node_signs_nothing_more(tmp_path: Path) -> None:
    """L24: whatever its core still believes."""
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        node = group.nodes[2]
        journal = node.voter.journal
        assert journal is not None
        node.alarms.diverged(Diverged(node.state.head, bytes(32)))
        await group.height(node.state.height(), 0, 1, 3)
        await node.journalist.run(int)  # what was on its way to the disk does not leave any more
        before = journal.entries()
        await commit(group, 1, anchor(group, 2))
        assert journal.entries() == before
        assert node.vitals.signing() == "halted"
        node.epochs.begin(node.pipeline.epoch)
        await commit(group, 1, anchor(group, 3))
        assert journal.entries() == before


async def test_a_full_disk_does_not_end_a_node_that_wants_to_rejoin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.errand.RETRY_S", 0)
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        await group.stop(3)
        shutil.rmtree(group.home(3) / "data")
        node = group.start(3)
        node.admission.turn_away("DISK_FULL", "the disk is nearly full")
        await group.height(1, 3)
        await eventually(lambda: len(node.rejoin.sent) > 0)
        node.admission.welcome()
        window = group.genesis.parameters.watermark_window
        await group.height(1 + 1 + window, 3)
        assert node.vitals.signing() == "signing"


async def test_the_floor_follows_the_votes_to_a_slow_disk(tmp_path: Path) -> None:
    """S12: it must not overtake the votes that wait, or the journal would refuse them."""
    async with hospitals(tmp_path) as group:
        node = group.nodes[3]
        journal = node.voter.journal
        assert journal is not None
        append = journal.append

        def slow(entries: Sequence[JournalEntry]) -> None:
            time.sleep(0.02)
            append(entries)

        journal.append = slow  # type: ignore[method-assign]
        number = 0
        while node.state.height() < FLOOR_EVERY_BLOCKS:
            for index in range(3):
                await group.nodes[index].facade.submit([anchor(group, number, org=index).raw])
                number += 1
            await asyncio.sleep(0.01)
        await eventually(lambda: journal.floor[1] >= FLOOR_EVERY_BLOCKS)


async def test_bodies_that_were_not_agreed_on_leave_the_disk(tmp_path: Path) -> None:
    async with hospitals(tmp_path, 1) as group:
        node = group.nodes[0]
        orphan = (1, proposal_digest(b"orphan"), b"orphan")
        node.blocks.put_bodies([orphan])
        node.bodies.persisted([orphan])
        height = await commit(group, 0, anchor(group, 1))
        assert height == 1
        await commit(group, 0, anchor(group, 2))
        assert node.blocks.body(*orphan[:2]) is None
        assert node.blocks.body(1, node.state.header(1).proposal_digest) is not None


async def test_a_slow_read_for_a_peer_holds_up_no_vote(tmp_path: Path) -> None:
    """B26: however many threads serve blocks, journal and writer have their own."""
    async with hospitals(tmp_path, 1) as group:
        await commit(group, 0, anchor(group, 0))  # from here on the node is up
        pool = ThreadPoolExecutor(1)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        gate = threading.Event()
        busy = loop.run_in_executor(None, gate.wait, 60)
        await commit(group, 0, anchor(group, 1))
        gate.set()
        assert await busy, "the read outlasted the commit"


async def test_votes_that_wait_for_the_loop_make_the_slices_smaller(tmp_path: Path) -> None:
    """B26: whatever keeps the loop, client signatures get a smaller share of its turns."""
    async with hospitals(tmp_path, 1) as group:
        pool = group.nodes[0].verify_pool

        def late() -> bool:
            time.sleep(0.025)  # as long as a tick: so a vote would have waited for this
            return pool.slice_size <= SLICE_MIN + 2  # a tick in between was in time

        await eventually(late)
