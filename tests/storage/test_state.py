"""The block and state stores: a height is there wholly or not at all (S12)."""

import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salus.block import DUPLICATE, Header, null_proposal, proposal_digest
from salus.certificate import Certificate
from salus.codec import encode
from salus.epoch import EpochRecord
from salus.hashing import ZERO_HASH
from salus.statemap import (
    CHANGE_BYTES,
    StateTree,
    bucket_of,
    change_bucket,
    key_hash,
    leaf_of,
    verify_state,
)
from storage import keys
from storage import state as state_module
from storage.blocks import BlockStore
from storage.bucket_log import LogPlace
from storage.cache import ENTRY_OVERHEAD_BYTES, ROOM_SHARE, ByteBoundCache
from storage.errors import StoreDamaged, StoreUnavailable
from storage.kv import LevelKV, MemoryKV, Put, View
from storage.state import BlockBatch, StateStore, log_beside
from tests import factories
from tests.factories import Chain

Told = Callable[[bytes], None]

STATE_KEY = b"records/anchor/x"
KEPT = 4  # write sets


def _founding(header: Header, epoch: EpochRecord) -> BlockBatch:
    return BlockBatch(header, None, (), (), (), {}, {}, b"", KEPT, epoch)


class Watched:
    """A view of the store; `told` hears of each key before or after it is read."""

    def __init__(
        self, view: View, *, before: Told | None = None, after: Told | None = None
    ) -> None:
        self.view, self.before, self.after = view, before, after

    def get(self, key: bytes) -> bytes | None:
        if self.before is not None:
            self.before(key)
        found = self.view.get(key)
        if self.after is not None:
            self.after(key)
        return found


class Stored:
    """A chain of the factory in a state store."""

    def __init__(self, kv: MemoryKV | None = None, log: LogPlace | None = None) -> None:
        self.chain = Chain()
        self.kv, self.log = kv or MemoryKV(), log
        self.state = self.reopened()
        genesis = self.chain.genesis
        epoch = EpochRecord(0, 0, genesis.validators(), genesis.parameters)
        self.state.initialise(_founding(self.chain.headers[0], epoch))

    def batch(self, *numbers: int, **changes: object) -> BlockBatch:
        """The next block, of transactions with these nonces."""
        txs = [factories.transaction(self.chain.genesis, number=number) for number in numbers]
        block = self.chain.add(*txs)
        epoch = None
        if block.header.ends_epoch:
            epoch = EpochRecord(
                block.header.epoch + 1,
                block.header.height,
                self.chain.validators,
                self.chain.genesis.parameters,
            )
        batch = BlockBatch(
            block.header,
            block.certificate,
            tuple(self.chain.receipts[-1]),
            tuple(tx.id for tx in txs),
            tuple(tx.body.expiry_height for tx in txs),
            {},
            {},
            b"",
            KEPT,
            epoch,
        )
        fields = {f: getattr(batch, f) for f in batch.__dataclass_fields__} | changes
        return BlockBatch(**fields | {"receipts_encoded": [*map(encode, fields["receipts"])]})

    def commit(self, *numbers: int, **changes: object) -> BlockBatch:
        batch = self.batch(*numbers, **changes)
        self.state.commit(batch)
        return batch

    def reopened(self) -> StateStore:
        return StateStore(self.kv, self.chain.genesis.hash(), log=self.log)


def stored_at(place: Path, *, on_disk: bool) -> Stored:
    if not on_disk:
        return Stored()
    kv: Any = LevelKV(place / "state")
    return Stored(kv, replace(log_beside(place / "state"), small_block_bytes=0))


@pytest.fixture
def stored() -> Stored:
    return Stored()


def test_what_a_block_wrote_is_read_back_after_a_restart(stored: Stored) -> None:
    batch = stored.commit(1, 2, writes={STATE_KEY: b"s" * 16 + b"value"}, buckets={7: b"e" * 64})
    for state in (stored.state, stored.reopened()):
        assert state.height() == 1
        assert state.kv.get(keys.RECEIPTS + keys.number(1)) == encode(batch.receipts)
        assert state.head == batch.header == state.header(1)
        assert state.certificate(1) == batch.certificate
        assert state.receipts(1) == batch.receipts
        assert state.find_transaction(batch.tx_ids[1]) == (1, 1)
        assert state.find_transaction(ZERO_HASH) is None
        assert state.get(STATE_KEY) == b"s" * 16 + b"value"
        assert state.get(b"records/anchor/y") is None
        assert list(state.values(b"records/")) == [(STATE_KEY, b"s" * 16 + b"value")]
        assert list(state.values(b"members/")) == []
        assert state.bucket(7) == b"e" * 64
        assert state.bucket(8) == b""
        assert list(state.buckets()) == [(7, b"e" * 64)]
        assert list(state.recent_ids(1)) == [(1, [(i[:8], 100) for i in batch.tx_ids])]
        assert list(state.recent_ids(2)) == []


def test_genesis_has_no_certificate(stored: Stored) -> None:
    assert stored.state.height() == 0
    assert stored.state.certificate(0) is None
    assert stored.state.receipts(0) == ()
    assert not StateStore(MemoryKV(), bytes(32)).initialised


@pytest.mark.parametrize("height", [-1, 2, 10**9])
def test_a_height_that_is_not_there_is_a_key_error(stored: Stored, height: int) -> None:
    stored.commit()
    with pytest.raises(KeyError):
        stored.state.header(height)


def test_deleted_values_and_emptied_buckets_are_gone(stored: Stored) -> None:
    stored.commit(writes={STATE_KEY: b"s" * 16}, buckets={7: b"e" * 64})
    stored.commit(writes={STATE_KEY: None}, buckets={7: b""})
    for state in (stored.state, stored.reopened()):
        assert state.get(STATE_KEY) is None
        assert state.bucket(7) == b""
        assert list(state.buckets()) == []
        assert list(state.values()) == []


def test_a_transaction_ordered_twice_is_found_where_it_was_executed(stored: Stored) -> None:
    """S15: the second one is a receipt `duplicate`, not the execution."""
    first = stored.commit(1)
    again = factories.transaction(stored.chain.genesis, number=1)
    second = stored.commit(2, 1, receipts=tuple(factories.receipts_of([again], DUPLICATE)))
    assert second.tx_ids[1] == first.tx_ids[0]
    assert stored.state.find_transaction(first.tx_ids[0]) == (1, 0)


def test_heights_follow_one_another(stored: Stored) -> None:
    stored.commit()
    skipped, next_but_one = stored.batch(), stored.batch()
    with pytest.raises(AssertionError):
        stored.state.commit(next_but_one)
    stored.state.commit(skipped)
    with pytest.raises(AssertionError):
        stored.state.commit(skipped)
    assert stored.state.height() == 2


def test_a_block_on_another_parent_is_never_written(stored: Stored) -> None:
    batch = stored.batch()
    header = msgspec.structs.replace(batch.header, parent_hash=bytes(32))
    with pytest.raises(AssertionError):
        stored.state.commit(
            BlockBatch(header, batch.certificate, (), (), (), {}, {}, b"", KEPT, None)
        )


class FailingKV(MemoryKV):
    fail = False

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        puts = list(puts)
        assert not self.fail, "the disk is gone"
        super().write(puts, sync=sync)


def test_the_height_does_not_advance_when_the_write_fails() -> None:
    kv = FailingKV()
    stored = Stored(kv)
    batch = stored.batch(writes={STATE_KEY: b"s" * 16})
    kv.fail = True
    with pytest.raises(AssertionError, match="disk"):
        stored.state.commit(batch)
    assert stored.state.height() == 0
    assert stored.state.get(STATE_KEY) is None
    kv.fail = False
    stored.state.commit(batch)
    assert stored.state.height() == 1


@pytest.mark.parametrize("on_disk", [False, True])
def test_readers_see_the_block_before_until_the_height_says_otherwise(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one value could be of the new block and another one, cached, of the old."""
    stored = stored_at(tmp_path, on_disk=on_disk)
    kv: Any = stored.kv
    cached, cold = b"records/anchor/cached", b"records/anchor/cold"
    stored.commit(1, writes={cached: b"old", cold: b"old"}, buckets={7: b"o" * 64})
    stored.state = stored.reopened()
    assert stored.state.get(cached) == b"old"
    batch = stored.batch(2, writes={cached: b"new", cold: b"new"}, buckets={7: b"n" * 64})
    seen: list[object] = []
    write = kv.write

    def watched(puts: Iterable[Put], *, sync: bool) -> None:
        write(puts, sync=sync)
        state = stored.state
        seen.extend((state.get(cached), state.get(cold), state.bucket(7), state.height()))
        seen.extend((state.find_transaction(batch.tx_ids[0]), state.height_of(batch.header.hash())))

    monkeypatch.setattr(kv, "write", watched)
    stored.state.commit(batch)
    assert seen == [b"old", b"old", b"o" * 64, 1, None, None]
    state = stored.state
    assert (state.get(cached), state.get(cold), state.bucket(7)) == (b"new", b"new", b"n" * 64)
    assert state.find_transaction(batch.tx_ids[0]) == (2, 0)
    assert state.height_of(batch.header.hash()) == 2
    kv.close()


def test_a_read_over_a_new_block_is_done_again(stored: Stored) -> None:
    """No answer is made of two blocks."""
    answers: list[int] = []

    def read() -> int:
        if not answers:
            stored.commit(1)
        answers.append(stored.state.height())
        return len(answers)

    assert stored.state.at_one_height(read) == (1, 2)

    def restless() -> None:
        stored.commit()

    with pytest.raises(StoreUnavailable) as caught:
        stored.state.at_one_height(restless)
    assert caught.value.code == "BUSY"


def test_a_commit_is_one_synced_batch(stored: Stored) -> None:
    """The commit point: after a power cut the height is there with all that belongs to it."""
    batch = stored.batch(1, writes={STATE_KEY: b"s" * 16}, buckets={7: b"e" * 64})
    writes: list[bool] = []
    write = stored.kv.write

    def counted(puts: Iterable[Put], *, sync: bool) -> None:
        writes.append(sync)
        write(puts, sync=sync)

    stored.kv.write = counted  # type: ignore[method-assign]
    stored.state.commit(batch, meta={"journal": b"identity"})
    assert writes == [True]
    stored.kv.crash()
    state = stored.reopened()
    assert (state.height(), state.get(STATE_KEY)) == (1, b"s" * 16)
    assert state.meta("journal") == b"identity"


def test_names_of_the_node_cannot_hit_those_of_the_store(stored: Stored) -> None:
    for name in ("height", "genesis", "format"):
        stored.state.put_meta(name, b"x")
        assert stored.state.meta(name) == b"x"
    assert stored.reopened().height() == 0


def test_a_read_during_a_commit_leaves_no_old_value_in_the_cache(stored: Stored) -> None:
    """A reader that missed the cache before the write must not fill it after."""
    stored.commit(writes={STATE_KEY: b"old"})
    state = stored.reopened()
    batch = stored.batch(writes={STATE_KEY: b"new"})
    view, read, go_on = stored.kv.view, threading.Event(), threading.Event()

    def slow(key: bytes) -> None:
        if threading.current_thread() is reader:
            read.set()
            assert go_on.wait(10)

    def look() -> bytes | None:
        return state.get(STATE_KEY)

    stored.kv.view = lambda: Watched(view(), after=slow)  # type: ignore[method-assign]
    reader = threading.Thread(target=look)
    reader.start()
    assert read.wait(10)
    # Evicted again at once, as a full cache may do: only the reader could fill it now.
    state.commit(batch)
    state._values.drop(STATE_KEY)
    go_on.set()
    reader.join()
    assert look() == b"new"


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("first", ["value", "bucket"])
def test_a_reader_whom_a_block_overtakes_sees_the_block_before(
    first: str, on_disk: bool, tmp_path: Path
) -> None:
    """He has asked before the block was written, is read for after, and the height is not yet there."""
    stored = stored_at(tmp_path, on_disk=on_disk)
    kv: Any = stored.kv
    one, other = b"records/anchor/one", b"records/anchor/other"
    stored.commit(writes={one: b"old", other: b"old"}, buckets={7: b"o" * 64, 8: b"o" * 64})
    state = stored.reopened()
    view, write = kv.view, kv.write
    watched = Watched(view())
    kv.view = lambda: watched
    state.get(other)
    kv.view = view  # whoever asks for another one sees what has been written
    batch = stored.batch(writes={one: b"new", other: b"new"}, buckets={7: b"n" * 64, 8: b"n" * 64})
    written, go_on = threading.Event(), threading.Event()
    writer = threading.Thread(target=state.commit, args=(batch,))

    def slow(puts: Iterable[Put], *, sync: bool) -> None:
        write(puts, sync=sync)
        written.set()
        assert go_on.wait(10)

    def overtaken(key: bytes) -> None:
        watched.before = None
        writer.start()
        assert written.wait(10)

    def look() -> object:
        return state.get(one), state.get(other), state.bucket(7), state.bucket(8)

    kv.write, watched.before = slow, overtaken
    try:
        found = state.get(one) if first == "value" else state.bucket(7)
        assert found == (b"old" if first == "value" else b"o" * 64)
        assert state.at_one_height(look) == (1, (b"old", b"old", b"o" * 64, b"o" * 64))
    finally:
        go_on.set()
        writer.join()
    assert state.at_one_height(look) == (2, (b"new", b"new", b"n" * 64, b"n" * 64))
    kv.close()


def test_a_store_keeps_one_view_at_the_most(tmp_path: Path) -> None:
    """Each pins what LevelDB would merge away."""
    kv: Any = LevelKV(tmp_path / "state")
    stored = Stored(kv)
    for height in range(1, 5):
        stored.commit(height, writes={STATE_KEY: bytes([height]) * 20}, buckets={7: bytes(64)})
        assert len(kv._opened) == 0
        assert stored.reopened().bucket(7) == bytes(64)
        stored.state._values.drop(STATE_KEY)
        assert stored.state.get(STATE_KEY) == bytes([height]) * 20
        assert len(kv._opened) == 1
    kv.close()


def test_a_block_that_was_written_and_then_failed_is_not_shown(stored: Stored) -> None:
    """Whether it is on the disk nobody knows; its height is not there."""
    stored.commit(writes={STATE_KEY: b"old"}, buckets={7: b"o" * 64})
    state = stored.reopened()
    write = stored.kv.write

    def fails_late(puts: Iterable[Put], *, sync: bool) -> None:
        write(puts, sync=sync)
        raise StoreUnavailable("no space left", code="DISK_FULL")

    stored.kv.write = fails_late  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        state.commit(stored.batch(writes={STATE_KEY: b"new"}, buckets={7: b"n" * 64}))
    assert (state.height(), state.get(STATE_KEY), state.bucket(7)) == (1, b"old", b"o" * 64)


def test_a_damaged_row_is_named_and_not_believed(stored: Stored) -> None:
    stored.commit()
    stored.kv.write([(b"h" + (1).to_bytes(8), b"rubbish")], sync=True)
    with pytest.raises(StoreDamaged, match="h1"):
        stored.state.header(1)


def test_the_tree_of_the_buckets_proves_what_the_store_holds(stored: Stored) -> None:
    value = b"s" * 16 + b"value"
    hashed = key_hash(STATE_KEY)
    index = bucket_of(hashed, 16)
    bucket = change_bucket(b"", {hashed: leaf_of(hashed, value)})
    stored.commit(writes={STATE_KEY: value}, buckets={index: bucket})
    state = stored.reopened()
    tree = StateTree(16, height=state.height())
    root = tree.load(state.buckets())
    proof = tree.prove(STATE_KEY, state.get(STATE_KEY), state.bucket(index))
    assert verify_state(proof, root, bits=16) == b"value"


# --- epochs (S13)


def test_every_height_finds_its_epoch(stored: Stored) -> None:
    stored.commit()
    stored.chain.end_epoch(["hosp-a", "hosp-b", "hosp-c"])
    stored.commit()
    stored.commit()
    for state in (stored.state, stored.reopened()):
        assert [state.epoch_of(height).epoch for height in (0, 1, 2, 3, 4)] == [0, 0, 0, 1, 1]
        assert state.current_epoch() == state.epoch(1)
        assert [(record.base, record.end) for record in state.epochs()] == [(0, 2), (2, 0)]
        assert state.epoch(1).validators.n == 3


def test_between_two_epochs_the_current_one_is_the_next(stored: Stored) -> None:
    stored.chain.end_epoch()
    stored.commit()
    assert stored.state.current_epoch().epoch == 1
    assert stored.state.epoch_of(1).epoch == 0
    assert stored.state.epoch_of(2).epoch == 1


def test_the_end_of_an_epoch_is_in_its_record_as_soon_as_it_is_fixed(stored: Stored) -> None:
    batch = stored.batch()
    header = msgspec.structs.replace(batch.header, epoch_end=65)
    certificate = batch.certificate
    assert isinstance(certificate, Certificate)
    stored.state.commit(BlockBatch(header, certificate, (), (), (), {}, {}, b"", KEPT, None))
    assert stored.state.current_epoch().end == 65


# --- bodies


@pytest.fixture
def bodies() -> Iterator[BlockStore]:
    store = BlockStore(MemoryKV(), bytes(32))
    store.put_bodies(
        [
            (height, bytes([digest]) * 32, bytes([digest]))
            for height in (1, 2, 3)
            for digest in (1, 2)
        ]
    )
    yield store
    store.close()


def test_bodies_are_kept_by_sequence_and_digest(bodies: BlockStore) -> None:
    assert bodies.body(2, b"\2" * 32) == b"\2"
    assert bodies.body(2, b"\3" * 32) is None
    assert [(sequence, body) for sequence, _, body in bodies.bodies(first=3)] == [
        (3, b"\1"),
        (3, b"\2"),
    ]


def test_a_null_proposal_is_a_constant(bodies: BlockStore) -> None:
    """S11."""
    body = null_proposal(9)
    assert bodies.body(9, proposal_digest(body)) == body
    assert bodies.body(8, proposal_digest(body)) is None


def test_bodies_that_were_not_certified_are_dropped(bodies: BlockStore) -> None:
    assert bodies.drop_orphans([(1, b"\1" * 32), (2, b"\2" * 32), (9, b"\1" * 32)]) == 2
    assert [(sequence, body) for sequence, _, body in bodies.bodies()] == [
        (1, b"\1"),
        (2, b"\2"),
        (3, b"\1"),
        (3, b"\2"),
    ]


# --- the cache


def test_the_cache_stays_within_its_bytes_and_keeps_what_is_used() -> None:
    entry = ENTRY_OVERHEAD_BYTES + 10
    cache: ByteBoundCache[int] = ByteBoundCache(2 * ROOM_SHARE * entry)
    for key in range(1_000):
        cache.put(key, bytes(10))
        assert cache.get(0) == bytes(10)
        assert cache.bytes <= cache.bytes_max
        room = cache.bytes_max - cache.bytes
        assert key < 2 * ROOM_SHARE or room <= 2 * entry, "no more goes than is told"
    kept = len(cache._values)
    assert [key for key in range(1_000) if cache.get(key)] == [0, *range(1_001 - kept, 1_000)]
    assert kept * entry == cache.bytes
    cache.put(0, bytes(200_000))
    assert cache.bytes == 0
    # Of the 300 MB that a node may take (performance.md); without them it takes some 150.
    assert state_module.VALUE_CACHE_BYTES <= 16 * 2**20


def test_a_cache_takes_no_more_memory_than_it_says() -> None:
    """Three times what it holds."""
    bytes_max = state_module.VALUE_CACHE_BYTES // 4
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cache: ByteBoundCache[int] = ByteBoundCache(bytes_max)
        for key in range(1_000, 31_000):
            cache.put(key, bytes(256))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= bytes_max


def test_a_block_renews_what_the_cache_holds_and_pushes_nothing_out() -> None:
    cache: ByteBoundCache[int] = ByteBoundCache(6 * (ENTRY_OVERHEAD_BYTES + 10))
    for key in range(4):
        cache.put(key, bytes(10))
    # Changed, gone, shorter; and never there: gone, new, more than there is room for.
    changed: dict[int, bytes | None] = {0: b"new", 1: None, 2: bytes(4), 8: None}
    cache.renew(changed | {key: bytes(10) for key in range(9, 99)})
    assert [cache.get(key) for key in range(4)] == [b"new", None, bytes(4), bytes(10)]
    assert not any(cache.get(key) for key in range(4, 99))
    assert cache.bytes == 3 * ENTRY_OVERHEAD_BYTES + 3 + 4 + 10


# --- write sets (L24)


def test_the_write_sets_of_the_last_blocks_are_kept_and_no_older_one(stored: Stored) -> None:
    for number in range(1, 10):
        stored.commit(write_set=bytes([number]) * CHANGE_BYTES)
        kept = range(max(0, number + 1 - KEPT), number + 1)
        for state in (stored.state, stored.reopened()):
            found = [height for height in range(number + 2) if state.write_set(height) is not None]
            assert found == list(kept)
        assert len(list(stored.kv.scan(keys.WRITE_SET))) == len(kept)
    assert stored.state.write_set(9) == bytes([9]) * CHANGE_BYTES


def test_after_a_restart_with_a_smaller_window_old_write_sets_still_go(stored: Stored) -> None:
    for _ in range(6):
        stored.commit()
    stored.state = stored.reopened()
    stored.commit(write_sets_kept=2)
    assert len(list(stored.kv.scan(keys.WRITE_SET))) == 2


def test_a_damaged_write_set_is_not_shown(stored: Stored) -> None:
    stored.commit(write_set=bytes(CHANGE_BYTES))
    row = keys.WRITE_SET + keys.number(1)
    sound = stored.kv.get(row) or b""
    for bad in (b"\1" + sound[1:], sound[:-1] + b"\1", sound[:-1], sound[:40], b""):
        stored.kv.write([(row, bad)], sync=True)
        with pytest.raises(StoreDamaged):
            stored.state.write_set(1)
