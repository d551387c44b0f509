"""A large bucket in two rows: whatever was written and wherever it was cut, it reads as the model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import pytest

from salus.statemap import BUCKET_BITS_MAX, ENTRY_BYTES, bucket_of, change_bucket
from storage import keys
from storage.bucket_cache import BucketCache
from storage.buckets import WHOLE_BYTES_MAX, BucketRows
from storage.errors import StoreDamaged
from storage.kv import KeyValue, LevelKV, MemoryKV, Put, View

BITS = 2
BUCKETS = range(1 << BITS)
BLOCK_KEYS = 12


class Model:
    """The same buckets, whole, in a dict; and the next block of a state that grows and shrinks."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.buckets: dict[int, bytes] = {}

    def block(self, *, gone: float) -> tuple[dict[int, bytes], bytes]:
        """New contents and write set; `gone`: the share of changes that take a key away."""
        leaves: dict[int, dict[bytes, bytes | None]] = {}
        for _ in range(BLOCK_KEYS):
            hashed, leaf = self._hash(gone), self.random.randbytes(32)
            delete = self.random.random() < gone
            leaves.setdefault(bucket_of(hashed, BITS), {})[hashed] = None if delete else leaf
        changed: list[bytes] = []
        new = {
            index: change_bucket(self.buckets.get(index, b""), of_bucket, changed)
            for index, of_bucket in leaves.items()
        }
        return new, b"".join(changed)

    def _hash(self, known: float) -> bytes:
        """Of a key that is there, mostly, where many are to go; else of any."""
        full = [content for content in self.buckets.values() if content]
        if full and self.random.random() < max(known, 0.3):
            content = self.random.choice(full)
            at = self.random.randrange(len(content) // ENTRY_BYTES) * ENTRY_BYTES
            return content[at : at + 32]
        return self.random.randbytes(32)


def written(kv: KeyValue, rows: BucketRows, new: Mapping[int, bytes], write_set: bytes) -> int:
    """The block on disk; how many bytes that took."""
    puts = list(rows.puts(kv.view(), new, write_set, BITS))
    kv.write(puts, sync=True)
    rows.written()
    return sum(len(key) + len(value or b"") for key, value in puts)


def read(kv: KeyValue, rows: BucketRows) -> dict[int, bytes]:
    contents = {index: bucket(kv, rows, index) for index in BUCKETS}
    return {index: content for index, content in contents.items() if content}


def bucket(kv: KeyValue, rows: BucketRows, index: int) -> bytes:
    """By what is in memory, as a block reads it, and then of a cold start: no difference."""
    held, split = rows.held(index)
    cold, worth = rows.read(kv.view(), index, held=None, split=split)
    if held is not None:
        assert held == worth, "what is held is what a read would hold"
        warm = rows.read(kv.view(), index, held=held, split=True)[0] if split else held
        assert warm == cold
    return cold


def rows_of(kv: KeyValue, cache_bytes: int = 2**20) -> BucketRows:
    return BucketRows(kv, BucketCache(cache_bytes))


def scanned(rows: BucketRows) -> dict[int, bytes]:
    return {index: content for index, content, _ in rows.scan()}


def of(model: Model) -> dict[int, bytes]:
    return {index: content for index, content in model.buckets.items() if content}


@pytest.fixture(params=["memory", "disk"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValue]:
    made: KeyValue = MemoryKV() if request.param == "memory" else LevelKV(tmp_path / "kv")
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(6))
def test_buckets_grow_and_shrink_and_read_as_they_were_written(kv: KeyValue, seed: int) -> None:
    model, rows = Model(seed), rows_of(kv)
    split = folded = 0
    for height in range(120):
        new, write_set = model.block(gone=0.05 if height < 60 else 0.9)
        before = {index for index in BUCKETS if rows.held(index)[1]}
        written(kv, rows, new, write_set)
        model.buckets |= new
        after = {index for index in BUCKETS if rows.held(index)[1]}
        split, folded = split + len(after - before), folded + len(before - after)
        # As it runs on, and as a restart finds it.
        again = rows_of(kv)
        assert read(kv, rows) == read(kv, again) == scanned(again) == of(model)
    assert min(split, folded) > 10, "the walk meets both rows, and their folding"


def test_a_block_that_never_reached_the_disk_leaves_no_trace() -> None:
    kv, model = MemoryKV(), Model(1)
    rows = rows_of(kv)
    for height in range(60):
        new, write_set = model.block(gone=0.05)
        if height % 3 == 0:
            list(rows.puts(kv.view(), new, write_set, BITS))  # the disk was full: never written
        elif height % 3 == 1:
            kv.write(rows.puts(kv.view(), new, write_set, BITS), sync=False)
            kv.crash()
            rows = rows_of(kv)
        else:
            written(kv, rows, new, write_set)
            model.buckets |= new
        assert read(kv, rows) == scanned(rows) == of(model)


def large(kv: KeyValue) -> tuple[BucketRows, list[bytes], bytes]:
    """Bucket 0 with 38 entries, whole: as at 10^7 keys in 2^18 buckets."""
    random, rows = Random(0), rows_of(kv)
    hashes = sorted(b"\0" + random.randbytes(31) for _ in range(38))
    content = b"".join(hashed + bytes(31) + b"\1" for hashed in hashes)
    written(kv, rows, {0: content}, b"")
    return rows, hashes, content


def test_a_change_of_a_large_bucket_writes_a_fifth_of_it() -> None:
    """Eight times row d with 1 … 8 entries, then row k: (36 entries + 38) / 9, not 38 each time."""
    kv, random = MemoryKV(), Random(0)
    rows, hashes, content = large(kv)
    took = []
    for at in range(18):
        changed = list[bytes]()
        content = change_bucket(content, {hashes[at]: random.randbytes(32)}, changed)
        took.append(written(kv, rows, {0: content}, b"".join(changed)))
    row = len(keys.bucket_key(0))
    entries = [row + n * ENTRY_BYTES for n in range(1, 9)]
    assert took == [*entries, len(content) + 2 * row] * 2
    assert sum(took) < 18 * len(content) / 4


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_rows_of_large_buckets_are_read_by_a_view_when_they_are_written_too(
    monkeypatch: pytest.MonkeyPatch, cache_bytes: int
) -> None:
    """Most writes need what changed before. By `get`, LevelDB would merge files for it; and what is in
    memory is not read at all."""
    kv = MemoryKV()
    rows = rows_of(kv, cache_bytes)
    content = b""
    read, split = list[bytes](), set[bool]()

    class Watched:
        def __init__(self, view: View) -> None:
            self.view = view

        def get(self, key: bytes) -> bytes | None:
            read.append(key)
            return self.view.get(key)

    monkeypatch.setattr(kv, "get", None)
    for number in range(40):
        changed: list[bytes] = []
        content = change_bucket(content, {bytes([0, number]) + bytes(30): b"l" * 32}, changed)
        puts = rows.puts(Watched(kv.view()), {0: content}, b"".join(changed), BITS)
        kv.write(puts, sync=True)
        rows.written()
        split.add(rows.held(0)[1])
        assert rows.read(kv.view(), 0, held=None, split=rows.held(0)[1])[0] == content
    assert split == {False, True}
    assert set(read) == (set() if cache_bytes else {keys.changed_key(0)})


def test_a_small_bucket_is_written_whole() -> None:
    kv, changed = MemoryKV(), list[bytes]()
    rows = rows_of(kv)
    leaves = {bytes([0, n]) + bytes(30): bytes([n + 1]) * 32 for n in range(16)}
    content = change_bucket(b"", leaves, changed)
    assert len(content) == WHOLE_BYTES_MAX
    puts: list[Put] = list(rows.puts(kv.view(), {0: content}, b"".join(changed), BITS))
    assert puts == [(keys.bucket_key(0), content)]


def test_a_bucket_whose_changes_are_not_told_is_written_whole() -> None:
    """Genesis and whatever else knows the content alone: nothing is guessed."""
    kv = MemoryKV()
    rows, hashes, content = large(kv)
    changed = list[bytes]()
    content = change_bucket(content, {hashes[0]: bytes([7]) * 32}, changed)
    written(kv, rows, {0: content}, b"".join(changed))
    assert rows.held(0)[1]
    content = change_bucket(content, {hashes[1]: None})
    written(kv, rows, {0: content}, b"")
    assert not rows.held(0)[1]
    assert kv.get(keys.bucket_key(0)) == content
    assert kv.get(keys.changed_key(0)) is None


def test_what_a_failed_block_would_have_folded_stays_in_two_rows() -> None:
    kv = MemoryKV()
    rows, hashes, content = large(kv)
    contents = [content]
    for at in range(9):
        changed = list[bytes]()
        contents.append(change_bucket(contents[-1], {hashes[at]: bytes([at + 1]) * 32}, changed))
        puts = list(rows.puts(kv.view(), {0: contents[-1]}, b"".join(changed), BITS))
        if at < 8:
            kv.write(puts, sync=True)
            rows.written()
    assert puts[-1] == (keys.changed_key(0), None), "and this one was never written"
    written(kv, rows, {1: b""}, b"")
    assert bucket(kv, rows, 0) == contents[-2]


@pytest.mark.parametrize("index", [1 << BUCKET_BITS_MAX, 2**32 - 1])
def test_changes_of_no_bucket_are_damage_and_take_no_memory(index: int) -> None:
    """A byte is kept for each bucket up to the highest that has a row: 4 GiB for the second of these."""
    kv = MemoryKV()
    kv.write([(keys.changed_key(index), bytes(ENTRY_BYTES))], sync=True)
    with pytest.raises(StoreDamaged, match="which no state has"):
        rows_of(kv)


def test_a_row_of_changes_alone_is_met_by_a_scan() -> None:
    """Damage: an audit must not overlook it because its row k is missing."""
    entry = bytes(32) + bytes([1]) * 32
    kv = MemoryKV()
    kv.write([(keys.changed_key(index), entry) for index in (0, 2, 9)], sync=True)
    kv.write([(keys.bucket_key(2), b"")], sync=True)
    assert list(rows_of(kv).scan()) == [(index, entry, entry) for index in (0, 2, 9)]
