"""The log of buckets: whatever was written and wherever it was cut, it reads as the newest block left it."""

import errno
import gc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest

from salus.statemap import BUCKET_BITS_MAX, ENTRY_BYTES
from storage import bucket_log, keys
from storage.bucket_log import CRC_BYTES, BucketLog, LogPlace
from storage.buckets import BucketRows
from storage.disk import Disk, RealDisk
from storage.errors import StoreDamaged, StoreUnavailable
from storage.kv import KeyValue, LevelKV, MemoryKV, Put
from storage.place_rows import PlaceRows
from storage.schema import VERSIONS
from storage.state import StateStore
from tests.storage.memory_disk import MemoryDisk, PowerCut

PLACE = "state/buckets"
SEGMENT_1 = 1 << 32  # the place of its first record
BUCKETS = 40
BLOCK_BUCKETS = 6
SMALL = [0, 700]  # bytes: no block lies in rows, or half of them
AGAIN_MIN = 3  # a round of the places takes some blocks
SEGMENT_BYTES = 6_000


def opened(
    kv: KeyValue,
    disk: Disk,
    segment_bytes: int = SEGMENT_BYTES,
    *,
    place: str = PLACE,
    small: int = 0,
) -> BucketLog:
    """With segments of a few blocks: else no test would meet the second one. To empty one takes two blocks, now and
    then. `small`: from no block to most."""
    return BucketLog(kv, LogPlace(place, disk, segment_bytes, small, AGAIN_MIN))


class Model:
    """The same buckets in a dict, and the next block of them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.buckets: dict[int, bytes] = {}

    def block(self, *, gone: float = 0.1) -> dict[int, bytes]:
        chosen = self.random.sample(range(BUCKETS), BLOCK_BUCKETS)
        return {
            index: b""
            if self.random.random() < gone
            else self.random.randbytes(ENTRY_BYTES * self.random.randint(1, 3))
            for index in chosen
        }

    def apply(self, block: dict[int, bytes]) -> None:
        self.buckets |= block
        self.buckets = {index: content for index, content in self.buckets.items() if content}


def written(kv: KeyValue, log: BucketLog, block: dict[int, bytes]) -> None:
    kv.write(log.puts(block), sync=True)
    log.written()


def row(number: int, new: dict[int, tuple[int, int]]) -> Put:
    """A row l."""
    rows = PlaceRows()
    rows._next = number
    return rows.put_alone(new)[0]


def read(log: BucketLog) -> dict[int, bytes]:
    """One by one and all in a row: no difference."""
    found = {index: record.read() for index in range(BUCKETS) if (record := log.find(index))}
    assert dict(log.scan()) == found
    return found


def sizes(disk: MemoryDisk) -> dict[str, int]:
    names = disk.names(PLACE)
    return {name: len(disk.read(f"{PLACE}/{name}") or b"") for name in names}


@pytest.mark.parametrize("small", SMALL)
@pytest.mark.parametrize("seed", range(4))
def test_buckets_come_and_go_and_read_as_they_were_written(seed: int, small: int) -> None:
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(seed)
    log = opened(kv, disk, small=small)
    removed, in_parts, in_rows = set[str](), 0, 0
    for height in range(250):
        before = set(sizes(disk))
        block = model.block(gone=0.1 if height < 200 else 0.7)
        written(kv, log, block)
        model.apply(block)
        removed |= before - set(sizes(disk))
        in_parts += log._emptying is not None
        in_rows += bool(log._rows)
        assert read(log) == model.buckets
        assert log._rows_bytes == sum(map(len, log._rows.values()))
        if height % 10 == 0:
            log.close()
            log = opened(kv, disk, small=small)  # as a restart finds it
            assert read(log) == model.buckets
    assert len(removed) > 3, "the walk meets segments that are emptied"
    assert in_parts or small, "in more blocks than one"
    assert (in_rows > 50) == (small > 0)


def test_half_of_what_lies_there_is_garbage_and_a_segment_over_at_the_most() -> None:
    """However long the chain; and what is emptied is gone from the disk."""
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(1)
    log = opened(kv, disk)
    block_bytes = BLOCK_BUCKETS * (3 * ENTRY_BYTES + CRC_BYTES)
    largest = 0
    for _ in range(300):
        block = model.block(gone=0.0)
        written(kv, log, block)
        model.apply(block)
        living = sum(len(content) + CRC_BYTES for content in model.buckets.values())
        # The segment that is just being emptied, two that wait to go, and what the last block wrote and moved.
        room = 2 * living + 4 * (SEGMENT_BYTES + 4 * block_bytes)
        largest = max(largest, sum(sizes(disk).values()))
        assert sum(sizes(disk).values()) <= room
    assert largest > 2 * living, "it comes near to the bound"


def test_the_segment_with_the_least_that_lives_is_emptied_whatever_its_size() -> None:
    """A state that has shrunk: large segments with little in them, and small ones that are full."""
    kv, disk, random = MemoryKV(), MemoryDisk(), Random(9)
    log = opened(kv, disk, 1_000)
    for index in range(0, 4_000, 20):
        written(kv, log, {index + n: random.randbytes(64) for n in range(20)})
    large = log._segment_bytes()
    written(kv, log, {index: b"" for index in range(4_000) if index % 6})
    assert log._segment_bytes() < large / 3
    hot = [index for index in range(4_000) if index % 6][:60]
    for _ in range(2_000):
        written(kv, log, {index: random.randbytes(64) for index in random.sample(hot, 5)})
    living = log._living()
    # One more that waits for the next, the one that is being emptied, and what a block writes and moves.
    assert sum(sizes(disk).values()) <= 2 * living + 4 * log._segment_bytes() + 3_000


def test_small_blocks_alone_leave_no_more_garbage() -> None:
    """What lay in rows and is taken along counts as written."""
    kv, disk, random = MemoryKV(), MemoryDisk(), Random(11)
    log = opened(kv, disk, 2_000, small=64)
    written(kv, log, {index: random.randbytes(64) for index in range(400)})
    largest = 0.0
    for _ in range(6_000):
        written(kv, log, {random.randrange(400): random.randbytes(64)})
        largest = max(largest, sum(sizes(disk).values()) / (400 * (64 + CRC_BYTES)))
    taken = bucket_log.SMALL_BLOCKS * (64 + CRC_BYTES)
    assert 1.8 < largest <= 2 + (4 * 2_000 + 3 * taken) / (400 * 64)


def test_a_block_moves_no_more_than_twice_what_it_writes_and_a_little() -> None:
    """So the slowest block is bounded by its own size, not by that of the state."""
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(2)
    log = opened(kv, disk)
    most = 0.0
    for _ in range(200):
        block = model.block(gone=0.0)
        own = sum(map(len, block.values()))
        puts = log.puts(block)
        moved_bytes = sum(len(model.buckets[index]) for index in log._next if index not in block)
        assert moved_bytes <= SEGMENT_BYTES // 256 + 2 * own + 3 * ENTRY_BYTES
        most = max(most, moved_bytes / own)
        kv.write(puts, sync=True)
        log.written()
        model.apply(block)
    assert most > 0.5


# --- power cuts


def _cut(at: int, keep: Callable[[int], int], *, names_kept: bool, small: int) -> bool:
    """A power cut at operation `at`; was there one before the end?"""
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(3)
    disk.crash_at = at
    block: dict[int, bytes] = {}
    try:
        log = opened(kv, disk, small=small)
        for _ in range(30):
            block = model.block()
            puts = log.puts(block)
            disk.step("batch")
            kv.write(puts, sync=True)
            log.written()
            model.apply(block)
            block = {}
    except PowerCut:
        pass
    else:
        return False
    kv.crash()
    disk.lose(bytes_kept=keep, names_kept=names_kept)
    log = opened(kv, disk, small=small)
    assert read(log) == model.buckets
    for _ in range(12):  # and it goes on, over what the cut has left
        block = model.block()
        written(kv, log, block)
        model.apply(block)
        assert read(log) == model.buckets
    assert read(opened(kv, disk, small=small)) == model.buckets
    return True


@pytest.mark.parametrize("small", SMALL)
@pytest.mark.parametrize("names_kept", [False, True])
@pytest.mark.parametrize("keep", [lambda size: 0, lambda size: size // 2, lambda size: size])
def test_after_a_power_cut_at_any_moment_all_is_as_the_newest_block_left_it(
    keep: Callable[[int], int], names_kept: bool, small: int
) -> None:
    cuts = 0
    while _cut(cuts, keep, names_kept=names_kept, small=small):
        cuts += 1
    assert cuts > 60


def test_the_record_is_on_the_disk_before_the_batch_and_its_file_before_a_row_says_its_name() -> (
    None
):
    kv, disk = MemoryKV(), MemoryDisk()
    log = opened(kv, disk)
    log.puts({1: bytes(64)})
    name = "00000001.seg"
    assert disk.operations == [f"create {name}", "sync directory", f"write {name}", f"sync {name}"]


# --- what fails


def test_after_a_batch_that_failed_nothing_is_written_before_a_restart() -> None:
    """Whether it is on the disk nobody knows: what it named must not be taken for garbage, nor what it did not."""
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(4)
    for height in range(90):
        log = opened(kv, disk)
        block = model.block(gone=0.0)
        puts = log.puts(block)
        if height % 2:
            kv.write(puts, sync=True)
        assert read(log) == model.buckets, "as the block before left it"
        with pytest.raises(StoreUnavailable, match="restart"):
            log.puts(block)
        if height % 2:
            model.apply(block)
        log = opened(kv, disk)
        assert read(log) == model.buckets
        for _ in range(3):
            block = model.block(gone=0.0)
            written(kv, log, block)
            model.apply(block)


def test_a_full_disk_is_said_and_nothing_more_is_written_before_a_restart() -> None:
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(5)
    log = opened(kv, disk)
    block = model.block()
    written(kv, log, block)
    model.apply(block)
    disk.fail_with = OSError(errno.ENOSPC, "no space left")
    with pytest.raises(StoreUnavailable) as full:
        log.puts(model.block())
    assert full.value.code == "DISK_FULL"
    with pytest.raises(StoreUnavailable, match="restart"):
        log.puts(model.block())
    assert read(log) == model.buckets
    log = opened(kv, disk)
    for _ in range(20):
        block = model.block()
        written(kv, log, block)
        model.apply(block)
    assert read(log) == read(opened(kv, disk)) == model.buckets


def test_what_a_small_block_writes_lies_in_rows_until_a_larger_one_takes_it_along() -> None:
    """So a quiet chain syncs once for a block and not twice; and what lies in rows has a bound."""
    kv, disk = MemoryKV(), MemoryDisk()
    log = opened(kv, disk, small=128)
    written(kv, log, {1: b"a" * 64, 2: b"b" * 64})
    assert disk.operations == []
    assert [key for key, _ in kv.scan(b"")] == [keys.bucket_key(1), keys.bucket_key(2)]
    written(kv, log, {2: b"", 3: b"c" * 64})
    assert read(log) == read(opened(kv, disk, small=128)) == {1: b"a" * 64, 3: b"c" * 64}
    written(kv, log, {3: b"d" * 192})
    assert not list(kv.scan(keys.BUCKET))
    assert read(log) == read(opened(kv, disk, small=128)) == {1: b"a" * 64, 3: b"d" * 192}
    written(kv, log, {3: b"e" * 64, 1: b""})
    assert list(kv.scan(keys.BUCKET)) == [(keys.bucket_key(3), b"e" * 64)]
    assert read(log) == read(opened(kv, disk, small=128)) == {3: b"e" * 64}
    largest = 0
    for index in range(4, 200):
        written(kv, log, {index: b"f" * 128})
        largest = max(largest, sum(len(row) for _, row in kv.scan(keys.BUCKET)))
    assert largest == bucket_log.SMALL_BLOCKS * 128


def test_a_block_of_many_buckets_is_not_small_and_rows_have_room_for_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To write them twice costs more than a sync; and the next larger block takes all of them along."""
    monkeypatch.setattr(bucket_log, "SMALL_BLOCK_BUCKETS", 3)
    kv, disk = MemoryKV(), MemoryDisk()
    log = opened(kv, disk, small=2**20)
    written(kv, log, dict.fromkeys(range(4), bytes(64)))
    assert not log._rows
    most = 0
    for index in range(4, 400, 3):
        written(kv, log, dict.fromkeys(range(index, index + 3), bytes(64)))
        most = max(most, len(log._rows))
    assert most == 3 * bucket_log.SMALL_BLOCKS
    assert len(dict(log.scan())) == 400


def test_a_bucket_in_a_row_and_in_the_log_is_damage() -> None:
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    kv.write([(keys.bucket_key(2), bytes(64))], sync=True)
    with pytest.raises(StoreDamaged, match="bucket 2 twice"):
        opened(kv, disk)


def test_a_file_that_cannot_be_removed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs room, and its number is not used again."""
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    disk.create(f"{PLACE}/00000002.seg").write(b"of nobody")
    remove = disk.remove

    def refused(path: str) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(disk, "remove", refused)
    log, model = opened(kv, disk, 100), Model(1)
    for _ in range(3):
        written(kv, log, model.block(gone=0.0))
    assert {"00000002.seg", "00000003.seg"} <= set(disk.names(PLACE))
    monkeypatch.setattr(disk, "remove", remove)
    written(kv, log, model.block(gone=0.0))
    assert "00000002.seg" not in disk.names(PLACE)


def test_a_log_that_closes_under_a_block_takes_its_end_quietly() -> None:
    """The writer is late: its batch is on the disk, and nobody reads any more."""
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    log = opened(kv, disk)
    kv.write(log.puts({1: b"c" * 64}), sync=True)
    log.close()
    log.written()
    with pytest.raises(StoreUnavailable):
        log.find(1)
    assert read(opened(kv, disk)) == {1: b"c" * 64, 2: b"b" * 64}


def one(kv: KeyValue, disk: MemoryDisk) -> None:
    log = opened(kv, disk)
    written(kv, log, {1: b"a" * 64, 2: b"b" * 64})


@pytest.mark.parametrize("at", range(0, CRC_BYTES + 64, 3))
def test_a_flipped_bit_is_no_bucket(at: int) -> None:
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    disk._inode(f"{PLACE}/00000001.seg").content[at] ^= 1
    log = opened(kv, disk)
    record = log.find(1)
    assert record is not None
    with pytest.raises(StoreDamaged, match=r"00000001\.seg: the record of bucket 1"):
        record.read()
    with pytest.raises(StoreDamaged):
        dict(log.scan())


def test_the_record_of_another_bucket_is_damage() -> None:
    """A row that names a sound record, but not its own."""
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    kv.write([row(1, {2: (SEGMENT_1, 64)})], sync=True)
    record = opened(kv, disk).find(2)
    assert record is not None
    with pytest.raises(StoreDamaged):
        record.read()


@pytest.mark.parametrize("cut", [1, 64, 100])
def test_a_file_that_ends_before_its_records_is_damage(cut: int) -> None:
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    del disk._inode(f"{PLACE}/00000001.seg").content[-cut:]
    with pytest.raises(StoreDamaged, match=r"00000001\.seg ends before"):
        opened(kv, disk)


def test_a_file_that_is_not_there_is_damage_and_the_others_stay() -> None:
    kv, disk, model = MemoryKV(), MemoryDisk(), Model(6)
    log = opened(kv, disk)
    for _ in range(24):
        written(kv, log, model.block(gone=0))
    names = disk.names(PLACE)
    gone = f"{min(log._segments):08d}.seg"
    assert len(names) > 1
    disk.remove(f"{PLACE}/{gone}")
    with pytest.raises(StoreDamaged, match=f"{gone} is not there"):
        opened(kv, disk)
    assert disk.names(PLACE) == [name for name in names if name != gone]


@pytest.mark.parametrize(
    ("place", "length"),
    [
        (bucket_log.CRC_BYTES, 64),  # there is no segment 0
        (2 << 32, 64),
        (SEGMENT_1 + 2**20, 64),
        (SEGMENT_1, 2**20),
        (0, 64),
    ],
)
def test_a_row_that_names_no_record_is_damage(place: int, length: int) -> None:
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    kv.write([row(1, {0: (place, length)})], sync=True)
    with pytest.raises(StoreDamaged):
        opened(kv, disk)


def test_a_file_that_no_row_names_goes_with_the_first_block_and_not_before() -> None:
    """Who only looks leaves it: if a row is damaged, it may be the one that named the file."""
    kv, disk = MemoryKV(), MemoryDisk()
    one(kv, disk)
    for name in ("notes.txt", "old.seg", "00000002.seg", "00000009.seg"):
        disk.create(f"{PLACE}/{name}")
    log = opened(kv, disk)
    assert len(disk.names(PLACE)) == 5
    written(kv, log, {3: bytes(64)})
    assert disk.names(PLACE) == ["00000001.seg", "notes.txt", "old.seg"]
    assert read(log).keys() == {1, 2, 3}


# --- readers


def test_who_holds_a_record_reads_it_after_its_file_is_gone(tmp_path: Path) -> None:
    """And when he has let go of it, its file is closed."""
    kv: KeyValue = LevelKV(tmp_path / "kv")
    gc.collect()  # what other tests have left
    open_before = len(os.listdir("/proc/self/fd"))
    log, model = opened(kv, RealDisk(), place=str(tmp_path / "log")), Model(7)
    written(kv, log, {index: bytes([index + 1]) * 64 for index in range(BUCKETS)})
    held = log.find(3)
    assert held is not None
    for _ in range(150):
        written(kv, log, model.block(gone=0.0))
    assert not (tmp_path / "log" / "00000001.seg").exists()
    assert held.read() == b"\4" * 64
    segments = len(list((tmp_path / "log").iterdir()))
    assert len(os.listdir("/proc/self/fd")) <= open_before + segments + 3
    log.close()
    assert held.read() == b"\4" * 64
    with pytest.raises(StoreUnavailable, match="is closed"):
        log.find(3)
    with pytest.raises(StoreUnavailable):
        log.puts({})
    del held
    assert len(os.listdir("/proc/self/fd")) <= open_before
    kv.close()


def test_a_large_state_lies_in_few_files() -> None:
    """Each is an open file of the node."""
    kv, disk, random = MemoryKV(), MemoryDisk(), Random(8)
    log = opened(kv, disk, 100)
    for index in range(2_000):
        written(kv, log, {index: random.randbytes(640)})
    for _ in range(4_000):
        written(kv, log, {random.randrange(2_000): random.randbytes(640)})
    assert len(disk.names(PLACE)) <= 3 * bucket_log.SEGMENTS


# --- stores of older versions


class Failing(MemoryKV):
    """Says that there is no space left, and may have written all the same."""

    def __init__(self, *, written: bool) -> None:
        super().__init__()
        self.failing, self._written = False, written

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        if self._written or not self.failing:
            super().write(puts, sync=sync)
        if self.failing:
            raise StoreUnavailable("no space left", code="DISK_FULL")


def former(kv: KeyValue) -> dict[int, bytes]:
    """Rows as version 3 left them; what they hold."""
    leaf = [bytes([n]) * 32 for n in range(9)]
    puts: list[Put] = [
        (keys.bucket_key(0), leaf[1] + leaf[2]),
        (keys.bucket_key(5), leaf[1] + leaf[2] + leaf[3] + leaf[4]),
        # Changed, new, gone.
        (keys.changed_key(5), leaf[1] + leaf[7] + leaf[2] + leaf[8] + leaf[3] + bytes(32)),
    ]
    kv.write(puts, sync=True)
    return {0: leaf[1] + leaf[2], 5: leaf[1] + leaf[7] + leaf[2] + leaf[8]}


def adopted(kv: KeyValue, disk: Disk) -> BucketLog:
    stamp = (keys.META_FORMAT, VERSIONS["state"].to_bytes(4))
    return BucketLog(kv, LogPlace(PLACE, disk, SEGMENT_BYTES, 0), [stamp])


@pytest.mark.parametrize("at_once", [1, 4_096])
def test_a_store_of_an_older_version_moves_its_buckets_to_the_log(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(bucket_log, "ADOPTED_AT_ONCE", at_once)
    kv, disk = MemoryKV(), MemoryDisk()
    expected = former(kv)
    assert read(adopted(kv, disk)) == read(opened(kv, disk)) == expected
    assert not list(kv.scan(keys.BUCKET))
    assert not list(kv.scan(keys.CHANGED))


def test_a_power_cut_while_they_move_changes_nothing() -> None:
    for at in range(100):
        kv, disk = MemoryKV(), MemoryDisk()
        expected = former(kv)
        disk.crash_at = at
        try:
            adopted(kv, disk)
        except PowerCut:
            disk.lose(names_kept=True)
            log = adopted(kv, disk)
            assert read(log) == expected
            for _ in range(3):
                written(kv, log, {1: bytes(64)})
            assert read(log) == read(opened(kv, disk)) == {1: bytes(64)} | expected
        else:
            assert at > 3
            return
    pytest.fail("it never ends")


def test_the_files_of_a_move_stay_if_nobody_knows_whether_its_batch_is_on_the_disk() -> None:
    """LevelDB had written it, and could not sync: the next opening may find it."""

    kv, disk = Failing(written=True), MemoryDisk()
    expected = former(kv)
    kv.failing = True
    with pytest.raises(StoreUnavailable):
        adopted(kv, disk)
    assert read(opened(kv, disk)) == expected


def of_version_4(kv: MemoryKV, disk: MemoryDisk) -> dict[int, bytes]:
    """A log whose places stand in rows p, some buckets in rows k; what it holds."""
    model, log = Model(12), opened(kv, disk, small=700)
    while not (log._rows and any(log._places)):
        block = model.block()
        written(kv, log, block)
        model.apply(block)
    puts: list[Put] = [(key, None) for key, _ in kv.scan(keys.PLACES)]
    puts += [
        (keys.place_key(index), place.to_bytes(8) + log._lengths[index].to_bytes(4))
        for index, place in enumerate(log._places)
        if place
    ]
    kv.write(puts, sync=True)
    return model.buckets


@pytest.mark.parametrize("at_once", [1, 4_096])
def test_a_store_of_version_4_says_anew_where_its_records_lie(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(bucket_log, "ADOPTED_AT_ONCE", at_once)
    kv, disk = MemoryKV(), MemoryDisk()
    expected = of_version_4(kv, disk)
    rows, files = list(kv.scan(keys.BUCKET)), sizes(disk)
    log = adopted(kv, disk)
    assert read(log) == read(opened(kv, disk)) == expected
    assert kv.get(keys.META_FORMAT) == VERSIONS["state"].to_bytes(4)
    assert not list(kv.scan(keys.PLACE))
    assert (list(kv.scan(keys.BUCKET)), sizes(disk)) == (rows, files), "and nothing moves"
    model = Model(13)
    model.buckets = expected
    for _ in range(60):
        block = model.block()
        written(kv, log, block)
        model.apply(block)
    assert read(log) == read(opened(kv, disk)) == model.buckets


def test_if_that_fails_a_store_of_version_4_is_as_it_was() -> None:
    kv, disk = Failing(written=False), MemoryDisk()
    expected = of_version_4(kv, disk)
    before, files = list(kv.scan(b"")), sizes(disk)
    kv.failing = True
    with pytest.raises(StoreUnavailable):
        adopted(kv, disk)
    assert (list(kv.scan(b"")), sizes(disk)) == (before, files)
    kv.failing = False
    assert read(adopted(kv, disk)) == expected


def test_who_only_looks_reads_version_4_as_it_is() -> None:
    kv, disk = MemoryKV(), MemoryDisk()
    kv.write([(keys.META_FORMAT, (4).to_bytes(4)), (keys.META_GENESIS, bytes(32))], sync=True)
    expected = of_version_4(kv, disk)
    disk.create(f"{PLACE}/00000999.seg")
    before, files = list(kv.scan(b"")), sizes(disk)
    state = StateStore(kv, bytes(32), log=LogPlace(PLACE, disk), as_it_is=True)
    assert dict(state.buckets()) == expected
    with pytest.raises(AssertionError, match="only looks"):
        state.bucket_store.puts({})
    assert (list(kv.scan(b"")), sizes(disk)) == (before, files)


def test_places_in_rows_that_the_version_does_not_know_are_damage() -> None:
    for version in (2, 3, 4):
        kv, disk = MemoryKV(), MemoryDisk()
        stamp = (keys.META_FORMAT, version.to_bytes(4))
        kv.write([stamp, (keys.META_GENESIS, bytes(32))], sync=True)
        one(kv, disk)
        for as_it_is in (False, True):
            with pytest.raises(StoreDamaged, match="does not know"):
                StateStore(kv, bytes(32), log=LogPlace(PLACE, disk), as_it_is=as_it_is)
    kv, disk = MemoryKV(), MemoryDisk()
    kv.write([(keys.META_FORMAT, (3).to_bytes(4)), (keys.META_GENESIS, bytes(32))], sync=True)
    of_version_4(kv, disk)
    with pytest.raises(StoreDamaged, match="does not know"):
        StateStore(kv, bytes(32), log=LogPlace(PLACE, disk))
    with pytest.raises(StoreDamaged, match="does not know"):
        opened(kv, disk)
    with pytest.raises(StoreDamaged, match="do not lie in rows"):
        BucketRows(kv)
    kv.write([(keys.place_key(0), bytes(11))], sync=True)
    with pytest.raises(StoreDamaged, match="«p» that nobody wrote"):
        adopted(kv, disk)


def test_rows_of_an_older_version_in_a_store_of_this_one_are_damage() -> None:
    for key, row in ((keys.changed_key(1), bytes(64)), (keys.bucket_key(3), b"")):
        kv, disk = MemoryKV(), MemoryDisk()
        one(kv, disk)
        kv.write([(key, row)], sync=True)
        with pytest.raises(StoreDamaged):
            opened(kv, disk)


def test_who_only_looks_reads_an_older_store_as_it_is() -> None:
    kv = MemoryKV()
    expected = former(kv)
    before = list(kv.scan(b""))
    rows = BucketRows(kv)
    assert dict(rows.scan()) == expected
    assert {index: rows.find(index, kv.view).read() for index in (0, 5)} == expected
    assert rows.find(1, kv.view).read() == b""
    with pytest.raises(AssertionError, match="only looks"):
        rows.puts({})
    assert list(kv.scan(b"")) == before


@pytest.mark.parametrize(
    ("key", "row"),
    [
        (keys.bucket_key(1 << BUCKET_BITS_MAX), bytes(64)),
        (keys.BUCKET + b"\1", bytes(64)),
        (keys.BUCKET + bytes(9), bytes(64)),
        (keys.changed_key(3), bytes(64)),  # without its row k
        (keys.changed_key(0), bytes(63)),
        (keys.changed_key(0) + b"\0", bytes(64)),
    ],
)
def test_rows_that_no_version_wrote_are_damage_and_stay(key: bytes, row: bytes) -> None:
    kv = MemoryKV()
    former(kv)
    kv.write([(key, row)], sync=True)
    before = list(kv.scan(b""))
    with pytest.raises(StoreDamaged):
        adopted(kv, MemoryDisk())
    with pytest.raises(StoreDamaged):
        dict(BucketRows(kv).scan())
    assert list(kv.scan(b"")) == before


def test_a_full_disk_leaves_an_older_store_as_it_was() -> None:
    """With its stamp: who has no room goes back to the version that wrote it."""
    kv, disk = MemoryKV(), MemoryDisk()
    kv.write([(keys.META_FORMAT, (3).to_bytes(4)), (keys.META_GENESIS, bytes(32))], sync=True)
    expected = former(kv)
    before = list(kv.scan(b""))
    disk.fail_with = OSError(errno.ENOSPC, "no space left")
    with pytest.raises(StoreUnavailable) as full:
        StateStore(kv, bytes(32), log=LogPlace(PLACE, disk))
    assert full.value.code == "DISK_FULL"
    assert list(kv.scan(b"")) == before
    assert disk.names(PLACE) == [], "the former software would not know what that is"
    state = StateStore(kv, bytes(32), log=LogPlace(PLACE, disk), as_it_is=True)
    assert dict(state.buckets()) == expected
    assert list(kv.scan(b"")) == before
    state = StateStore(kv, bytes(32), log=LogPlace(PLACE, disk))
    assert dict(state.buckets()) == expected
    assert kv.get(keys.META_FORMAT) == VERSIONS["state"].to_bytes(4)


def test_rows_alone_are_no_place_for_a_store_that_has_a_log() -> None:
    kv = MemoryKV()
    one(kv, MemoryDisk())
    with pytest.raises(StoreDamaged, match="do not lie in rows"):
        BucketRows(kv)
