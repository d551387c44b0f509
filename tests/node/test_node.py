"""Whole nodes: what a consortium does, with real stores and real sockets in one process."""

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.access import DenialsArgs
from node.node import FLOOR_EVERY_BLOCKS
from node.pipeline import Diverged
from node.verify import SLICE_MIN
from salus.block import OK, proposal_digest
from salus.codec import encode
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.transaction import Operation, ParsedTransaction, build
from salus.vote import JournalEntry
from tests import factories
from tests.node.network import Hospitals, eventually, hospitals
from tests.perf.counting import count

WAIT_S = 60  # longer is a failure


def anchor(
    group: Hospitals, number: int, *, org: int = 0, expiry: int = 1_000, first: int = 0
) -> ParsedTransaction:
    root = factories.seed(f"root {number}")
    args = encode((root, 1, factories.seed("author"), factories.seed("context")))
    return build(
        (Operation("records", "anchor", 1, args),),
        signer=group.operators[org],
        chain_id=group.genesis.chain_id,
        genesis_hash=group.genesis.hash(),
        nonce=factories.seed(f"nonce {number}")[:16],
        first_height=first,
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
        for node in group.nodes.values():  # nobody goes on speaking of what is done
            assert node.gossip.gossip.sizes()["tracked"] == 0


@pytest.mark.parametrize("stopped", [0, 1])
async def test_a_node_that_stops_leaves_what_it_has_taken_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int
) -> None:
    """Its client was told that it is pending, and it waited for others to go to the primary with; or the
    node is the primary, and had not proposed it yet."""
    monkeypatch.setattr("node.gossip.JOIN_MS_MAX", 60_000)
    monkeypatch.setattr("node.gossip_rules.Gossip.queue", 10**9)
    if not stopped:
        monkeypatch.setattr("node.proposer.Proposer.propose", lambda self: None)
    async with hospitals(tmp_path) as group:
        await group.height(0)
        node = group.nodes[stopped]
        await eventually(lambda: all(peer.connected for peer in node.network.peers()))
        tx = anchor(group, 1, org=1)
        (submitted,) = await node.facade.submit([tx.raw])
        assert submitted.state is TransactionState.PENDING
        await group.stop(stopped)
        monkeypatch.undo()
        view = await group.nodes[2].facade.wait(tx.id, WAIT_S)
        assert view.state is TransactionState.COMMITTED


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
        for _ in range(2):
            await group.stop(3)
            shutil.rmtree(group.home(3) / "data")
            lived_through = group.nodes[1].pipeline.epoch.epoch
            node = group.start(3)
            await eventually(lambda: group.nodes[3].vitals.signing() == "signing")
            # The next one, or one more: a node that asked before it knew how far behind it is asks again.
            assert lived_through < node.voter.first_epoch <= node.pipeline.epoch.epoch


async def test_a_halted_node_signs_nothing_more(tmp_path: Path) -> None:
    """L24: whatever its core still believes."""
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        node = group.nodes[2]
        journal = node.voter.journal
        assert journal is not None
        node.alarms.diverged(Diverged(node.state.head, bytes(32)))
        await group.height(node.state.height(), 0, 1, 3)
        await node.disk.journalist.run(
            int
        )  # what was on its way to the disk does not leave any more
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


async def test_a_node_that_sees_nothing_committed_soon_turns_its_clients_away_and_not_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.drain.FLOOR_TRANSACTIONS", 10)
    monkeypatch.setattr("node.facade.SINGLE_TRANSACTIONS", 2)
    async with hospitals(tmp_path, 2) as group:
        await group.stop(1)  # no quorum: nothing is committed any more
        node = group.nodes[0]
        flood = [anchor(group, number).raw for number in range(13)]
        alone = [anchor(group, number).raw for number in range(13, 16)]
        # At once: while an array is checked, what it is refused for takes nobody's room.
        answers, (first,) = await asyncio.gather(
            node.facade.submit(flood), node.facade.submit(alone[:1])
        )
        assert [a.code for a in answers] == [None] * 8 + ["POOL_FULL"] * 5
        assert all(a.tx_id is not None for a in answers)
        again = await node.facade.submit(flood[:2])
        assert [a.code for a in again] == [None] * 2, "known bytes are no news"
        _, *away, junk = await node.facade.submit([*flood[7:], b"junk"])
        assert {a.code for a in away} == {"POOL_FULL"}
        assert junk.code == "NOT_CANONICAL", "coming again will not help it"
        (second,) = await node.facade.submit(alone[1:2])
        assert (first.code, second.code) == (None, None), "an import keeps no revocation out"
        assert (await node.facade.submit(alone[2:]))[0].code == "POOL_FULL"
        (answer,) = await node.admission.submit(alone[2:])  # a ticket, a return: no client's
        assert answer.code is None
        assert node.care is not None
        sender = node.care.gate.sender  # a reader, perhaps of another hospital, waits for it
        await sender.offer(sender.denials(DenialsArgs(bytes(32), "org-1", 2), node.state.height()))


async def test_an_array_for_which_there_is_no_room_costs_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under an overload most are refused, and whoever is refused comes again: counted, not timed."""
    monkeypatch.setattr("node.drain.FLOOR_TRANSACTIONS", 10)
    monkeypatch.setattr("node.facade.SINGLE_TRANSACTIONS", 2)
    async with hospitals(tmp_path, 2) as group:
        await group.stop(1)
        node = group.nodes[0]
        flood = [anchor(group, number).raw for number in range(108)]
        taken = await node.facade.submit(flood[:8])
        assert [a.code for a in taken] == [None] * 8

        def refused() -> None:
            with pytest.raises(SalusError) as caught:
                node.facade.submit(flood[8:]).send(None)  # at once: it waits for nothing
            assert caught.value.code == "POOL_FULL"

        spent = count(refused)
        assert (spent.signatures, spent.reads) == (0, 0)
        assert (spent.hashes, spent.decodings) == (2, 1), "the first alone is parsed"
        assert spent.calls <= 30, "for a hundred transactions"
        known = await node.facade.submit([*flood[8:], flood[0]])
        assert [a.code for a in known] == ["POOL_FULL"] * 100 + [None], "known bytes are no news"
        node.admission.turn_away("QUARANTINE", "halted")
        with pytest.raises(SalusError) as caught:
            await node.facade.submit(flood[8:])
        assert caught.value.code == "QUARANTINE", "coming again soon would not help"


async def test_without_room_an_array_sent_again_is_told_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was lost, and blocks have taken it since: sending twice is never an error."""
    async with hospitals(tmp_path, 1) as group:
        node = group.nodes[0]
        sent = [anchor(group, number).raw for number in range(3)]
        waiting = await node.facade.submit(sent)
        for answer in waiting:
            assert answer.tx_id is not None
            await node.facade.wait(answer.tx_id, WAIT_S)
        monkeypatch.setattr("node.facade.SINGLE_TRANSACTIONS", 1_000_000)  # no array has room
        again = await node.facade.submit(sent)
        assert {answer.state for answer in again} == {TransactionState.COMMITTED}
        with pytest.raises(SalusError) as caught:
            await node.facade.submit([anchor(group, number).raw for number in range(3, 6)])
        assert caught.value.code == "POOL_FULL"
        junk = await node.facade.submit([b"junk", b"more"])
        assert {answer.code for answer in junk} == {"NOT_CANONICAL"}, "coming again will not help"


async def test_what_is_valid_later_leaves_an_idle_node_room_for_what_is_valid_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing serves it before the height moves, and only what finds room moves the height (B25)."""
    async with hospitals(tmp_path, 1) as group:
        node = group.nodes[0]
        monkeypatch.setattr("node.drain.FLOOR_TRANSACTIONS", 6)
        monkeypatch.setattr("node.facade.SINGLE_TRANSACTIONS", 1)
        monkeypatch.setattr("node.admission.LATER_TRANSACTIONS_MAX", 3)
        flood = [anchor(group, number, first=50) for number in range(8)]
        answers = await node.facade.submit([tx.raw for tx in flood[:-1]])
        taken = [answer for answer in answers if answer.code is None]
        assert len(taken) == 3
        assert {answer.code for answer in answers} == {None, "POOL_FULL"}
        node.mempool.add(flood[-1])  # it came by gossip, and is known
        (known,) = await node.facade.submit([flood[-1].raw])
        assert known.state is TransactionState.PENDING
        assert node.mempool.taken_for_later == 3, "known, and not owed"
        await commit(group, 0, anchor(group, 9))


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
