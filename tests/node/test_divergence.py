"""L24: a node that halts names the height and the first key in which it differs, by hash only."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from contracts.state import Overlay
from node.divergence import Difference, Divergence, _compare, _page
from node.net.frames import GetWrites, Kind, Writes
from node.node import Node
from node.uncertified import Executed, Head
from salus.client import Client
from salus.codec import decode, encode
from salus.hashing import ZERO_HASH
from salus.statemap import key_hash
from salus.transaction import ParsedTransaction
from salus.writeset import changes
from storage import keys as rows
from storage.errors import StorageError, StoreDamaged, StoreUnavailable
from tests import factories
from tests.ledger import Ledger
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import WAIT_S, anchor, commit
from tests.storage.test_check import anchor as anchor_operation

ANCHORS = b"records/anchor/"


def plant(node: Node, change: Callable[[Overlay, bytes], object]) -> list[bytes]:
    """A fault of this node alone: what blocks write under records/anchor is not what the contract
    said. Gives, later, the keys concerned."""
    real, keys = node.executor._stored, list[bytes]()

    def stored(overlay: Overlay, head: Head) -> object:
        for key in [key for key in overlay.writes if key.startswith(ANCHORS)]:
            keys.append(key)
            change(overlay, key)
        return real(overlay, head)

    node.executor._stored = stored  # type: ignore[method-assign, assignment]
    return keys


def another_value(overlay: Overlay, key: bytes) -> None:
    value, *source = overlay.writes[key]
    overlay.writes[key] = (value or b"") + b"!", *source


def no_write(overlay: Overlay, key: bytes) -> None:
    del overlay.writes[key]


async def explained(node: Node) -> str:
    """What the halted node says, once it has asked."""
    await eventually(lambda: ";" in (node.vitals.halted or ""))
    assert node.vitals.halted is not None
    return node.vitals.halted


async def commit_without(group: Hospitals, halted: int, tx: ParsedTransaction) -> int:
    height = await commit(group, (halted + 1) % 4, tx)
    await group.height(height, *(index for index in group.nodes if index != halted))
    return height


async def test_a_halted_node_names_height_and_first_differing_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with hospitals(tmp_path) as group:
        await group.height(await commit(group, 1, anchor(group, 1)))
        node = group.nodes[2]
        keys = plant(node, another_value)
        height = await commit_without(group, 2, anchor(group, 2))
        said = await explained(node)
        assert len(keys) == 1
        hashed = key_hash(keys[0]).hex()
        assert f"first differing key of {height}: {hashed} (records/anchor)" in said
        assert "to which I wrote another value" in said
        async with Client(group.api(2)) as client:
            assert (await client.status()).reason == said
        (event,) = [r.fields for r in caplog.records if r.getMessage() == "diverged"]  # type: ignore[attr-defined]
        assert (event["height"], event["key_hash"].hex()) == (height, hashed)
        assert event["fields"] == "state_root"
        # The chain goes on without it, and it says nothing of what stands under the key.
        await commit_without(group, 2, anchor(group, 3))
        assert keys[0][len(ANCHORS) :].hex() not in caplog.text + said


async def test_a_write_that_is_missing_is_named_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.divergence.CHANGES_PER_FRAME_MAX", 1)
    async with hospitals(tmp_path) as group:
        keys = plant(group.nodes[2], no_write)
        many = [anchor(group, number, org=1) for number in range(8)]
        await group.nodes[1].facade.submit([tx.raw for tx in many])
        said = await explained(group.nodes[2])
        # Nothing of mine comes first, so the smallest of theirs does. Later blocks may hold some.
        for tx in many:
            await group.nodes[1].facade.wait(tx.id, WAIT_S)
        found = [group.nodes[1].state.find_transaction(tx.id) for tx in many]
        heights = [place[0] for place in found if place is not None]
        first = min(key_hash(key) for key in keys[: heights.count(min(heights))])
        assert f"first differing key of {min(heights)}: {first.hex()}, written by them" in said


async def test_a_node_that_diverges_while_catching_up_names_the_key_too(tmp_path: Path) -> None:
    async with hospitals(tmp_path) as group:
        await group.height(await commit(group, 1, anchor(group, 1)))
        await group.stop(2)
        height = await commit_without(group, 2, anchor(group, 2))
        keys = plant(group.start(2), another_value)
        said = await explained(group.nodes[2])
        assert f"first differing key of {height}: {key_hash(keys[0]).hex()}" in said


async def test_a_wiped_node_whose_execution_differs_from_the_start_is_told_from_disk(
    tmp_path: Path,
) -> None:
    """The others have certified the height long ago; within 2L blocks they still know."""
    async with hospitals(tmp_path) as group:
        heights = [await commit(group, 1, anchor(group, number)) for number in range(5)]
        await group.stop(2)
        shutil.rmtree(group.home(2) / "data")
        for index in (0, 1, 3):
            await group.stop(index)
            group.start(index)
        keys = plant(group.start(2), another_value)
        said = await explained(group.nodes[2])
        assert f"first differing key of {heights[0]}: {key_hash(keys[0]).hex()}" in said


async def test_one_liar_cannot_send_the_search_the_wrong_way(tmp_path: Path) -> None:
    """It counts what f+1 members say."""
    async with hospitals(tmp_path) as group:
        liar, node = group.nodes[0], group.nodes[2]

        def lie(member: str, payload: bytes) -> None:
            request = decode(payload, GetWrites)
            header = encode(liar.state.header(0))
            if request.height:
                found = msgspec.structs.replace(liar.state.header(0), height=request.height)
                header = encode(found)
            made = factories.seed("lie") + ZERO_HASH + ZERO_HASH
            answer = Writes(request.height, request.skip, header, made, False)
            liar.network.send(member, Kind.WRITES, encode(answer))

        liar.divergence.serve = lie  # type: ignore[method-assign]
        keys = plant(node, another_value)
        height = await commit_without(group, 2, anchor(group, 2))
        said = await explained(node)
        assert f"first differing key of {height}: {key_hash(keys[0]).hex()}" in said


# -- the comparison


@pytest.fixture(scope="module")
def block() -> Executed:
    ledger = Ledger()
    ledger.block(factories.transaction(ledger.genesis, anchor_operation("a")))
    tx = factories.transaction(ledger.genesis, anchor_operation("b"), anchor_operation("c"))
    kept: list[Executed] = []
    real = ledger.executor.execute

    def execute(proposal: object) -> Executed:
        kept.append(real(proposal))  # type: ignore[arg-type]
        return kept[-1]

    ledger.executor.execute = execute  # type: ignore[method-assign]
    ledger.block(tx)
    return kept[0]


def test_equal_write_sets_leave_the_header_to_be_named(block: Executed) -> None:
    theirs = msgspec.structs.replace(block.header, receipts_root=ZERO_HASH)
    found = _compare(block, theirs, block.write_set)
    assert (found.key_hash, found.fields) == (None, ("receipts_root",))
    assert str(found) == "the same keys were written; the headers of 2 differ in receipts_root"
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    assert "over a state that differs already" in str(_compare(block, other, block.write_set))


def test_a_damaged_value_from_before_the_block_is_told_from_a_wrong_one(block: Executed) -> None:
    (first, *rest) = list(changes(block.write_set))
    theirs = b"".join((first.key_hash, factories.seed("older"), first.new))
    theirs += b"".join(b"".join(change) for change in rest)
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    found = _compare(block, other, theirs)
    assert found.key_hash == first.key_hash
    assert "another value before this block" in str(found)


# -- what a peer may send


class Wire:
    """One member that answers with whatever the test says."""

    def __init__(self, block: Executed, answer: Callable[[GetWrites], Writes | None]) -> None:
        self.answer = answer
        self.found: list[Difference] = []
        self.asked = 0
        epoch = Ledger().state.current_epoch()
        executor = _Executor(block)
        self.desk = Divergence(
            executor,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            self.send,
            lambda: epoch,
            lambda: 0,
            self.found.append,
            lambda error: None,
        )

    def send(self, member: str, kind: Kind, payload: bytes) -> bool:
        self.asked += 1
        answer = self.answer(decode(payload, GetWrites))
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.desk.receive, member, encode(answer))
        return True


class _Executor:
    def __init__(self, block: Executed) -> None:
        self.block = block
        self.certified_head = msgspec.structs.replace(block.header, height=block.header.height - 1)

    def executed(self, height: int) -> Executed | None:
        return self.block if height == self.block.header.height else None


Answer = Callable[[Executed, GetWrites], Writes | None]


def torn(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    return Writes(request.height, request.skip, encode(other), b"x" * 95, False)


def endless(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    return Writes(request.height, request.skip, encode(other), b"", True)


def huge(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    return Writes(request.height, request.skip, encode(other), bytes(96 * 8192), True)


def one_change_a_page(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    return Writes(request.height, request.skip, encode(other), bytes(96), True)


def another_header_a_page(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, time_ms=request.skip)
    return Writes(request.height, request.skip, encode(other), bytes(96 * 8192), True)


def no_header(block: Executed, request: GetWrites) -> Writes:
    return Writes(request.height, request.skip, b"\xc0", b"", False)


def other_height(block: Executed, request: GetWrites) -> Writes:
    other = msgspec.structs.replace(block.header, height=7)
    return Writes(request.height, request.skip, encode(other), b"", False)


def equal(block: Executed, request: GetWrites) -> Writes:
    return Writes(request.height, request.skip, encode(block.header), block.write_set, False)


def unasked(block: Executed, request: GetWrites) -> Writes:
    return Writes(request.height + 1, request.skip, b"", b"", False)


def silent(block: Executed, request: GetWrites) -> None:
    return None


@pytest.mark.parametrize(
    "answer",
    [
        torn,
        endless,
        huge,
        one_change_a_page,
        another_header_a_page,
        no_header,
        other_height,
        equal,
        unasked,
        silent,
    ],
)
async def test_a_peer_that_says_nothing_useful_costs_nothing(
    block: Executed, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.divergence.ANSWER_TIMEOUT_S", 0.01)
    monkeypatch.setattr("node.divergence.ROUND_S", 0.01)
    monkeypatch.setattr("node.divergence.WRITE_SET_BYTES_MAX", 4 * 2**20)
    wire = Wire(block, lambda request: answer(block, request))
    task = asyncio.create_task(wire.desk.run())
    await asyncio.sleep(0)
    assert wire.asked == 0, "a node that goes on asks nobody"
    wire.desk.begin()
    await eventually(lambda: wire.asked > 10)
    assert wire.found == []
    assert not task.done()
    task.cancel()


@pytest.mark.parametrize(("answer", "pages"), [(one_change_a_page, 1), (another_header_a_page, 2)])
async def test_a_write_set_whose_pages_do_not_go_together_is_not_kept(
    block: Executed, answer: Answer, pages: int
) -> None:
    """The bound in bytes holds only if each page is full and its header no other."""
    wire = Wire(block, lambda request: answer(block, request))
    assert await wire.desk._account("liar", [block]) is None
    assert wire.asked == pages


async def test_a_member_that_is_as_slow_as_it_may_be_does_not_keep_the_others_from_telling(
    block: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.divergence.ACCOUNT_TIMEOUT_S", 0.05)
    monkeypatch.setattr("node.divergence.ROUND_S", 0.01)
    monkeypatch.setattr("node.divergence.CHANGES_PER_FRAME_MAX", 1)
    other = msgspec.structs.replace(block.header, state_root=ZERO_HASH)
    wire = Wire(block, lambda request: None)
    liar = wire.desk.epoch().validators.validators[1].member

    def send(member: str, kind: Kind, payload: bytes) -> bool:
        request = decode(payload, GetWrites)
        answer, delay_s = _page(request, other, block.write_set), 0.0
        if member == liar:  # every page full, and the end never comes
            answer = Writes(request.height, request.skip, encode(other), bytes(96), True)
            delay_s = 0.002
        asyncio.get_running_loop().call_later(delay_s, wire.desk.receive, member, encode(answer))
        return True

    monkeypatch.setattr(wire.desk, "send", send)
    wire.desk.begin()
    async with asyncio.timeout(WAIT_S):
        await wire.desk.run()
    assert [found.fields for found in wire.found] == [("state_root",)]


# -- what cannot be read


async def test_a_row_that_cannot_be_read_is_reported_and_the_next_request_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer's question must not end a node that only its own disk troubles."""
    ledger = Ledger()
    for name in "abc":
        ledger.block(factories.transaction(ledger.genesis, anchor_operation(name)))
    state = ledger.state
    state.kv.write([(rows.HEADER + rows.number(1), b"damaged")], sync=True)
    real = state.write_set

    def write_set(height: int) -> bytes | None:
        if height == 2:
            raise StoreUnavailable("the disk is gone for a moment")
        return real(height)

    monkeypatch.setattr(state, "write_set", write_set)
    sent: list[Writes] = []
    reported: list[StorageError] = []

    def send(member: str, kind: Kind, payload: bytes) -> bool:
        sent.append(decode(payload, Writes))
        return True

    epoch = state.current_epoch()
    desk = Divergence(
        ledger.executor, state, send, lambda: epoch, lambda: 0, lambda found: None, reported.append
    )
    answering = asyncio.create_task(desk.answer())
    for height in (1, 2, 3):
        desk.serve(f"member-{height}", encode(GetWrites(height, 0)))
    await eventually(lambda: len(sent) == 3)
    answering.cancel()
    assert [type(error) for error in reported] == [StoreDamaged, StoreUnavailable]
    assert [bool(answer.header) for answer in sent] == [False, False, True]
    assert sent[2].changes == real(3)
