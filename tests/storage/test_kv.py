"""LevelDB and its stand-in in memory do the same; what is synced survives."""

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import plyvel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import schema
from storage.errors import StoreDamaged, StoreUnavailable, StoreVersion
from storage.keys import META_FORMAT, changed_key
from storage.kv import (
    STATE_WRITE_BUFFER_BYTES,
    WRITE_BUFFER_BYTES,
    KeyValue,
    LevelKV,
    MemoryKV,
    prefix_end,
)
from storage.kv import _Entered as Entered
from storage.kv import _translated as translated
from storage.schema import open_schema
from storage.state import StateStore

CHAIN = b"c" * 32

keys = st.binary(min_size=1, max_size=3).map(lambda key: key.replace(b"\x80", b"\xff"))
batches = st.lists(
    st.lists(st.tuples(keys, st.none() | st.binary(max_size=4)), max_size=6), max_size=6
)


@pytest.fixture
def level(tmp_path: Path) -> Iterator[LevelKV]:
    kv = LevelKV(tmp_path / "db")
    yield kv
    kv.close()


@settings(deadline=None, max_examples=40)
@given(
    batches, st.lists(st.tuples(st.just(b"") | keys, st.none() | keys, st.booleans()), max_size=8)
)
def test_both_agree_with_a_sorted_dict(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[list[tuple[bytes, bytes | None]]],
    scans: list[tuple[bytes, bytes | None, bool]],
) -> None:
    path = tmp_path_factory.mktemp("kv")
    level, memory, model = LevelKV(path), MemoryKV(), dict[bytes, bytes]()
    for batch in written:
        for kv in (level, memory):
            kv.write(batch, sync=False)
        for key, value in batch:
            model.pop(key, None)
            if value is not None:
                model[key] = value
    for prefix, start, reverse in scans:
        chosen = [
            (key, model[key])
            for key in sorted(model, reverse=reverse)
            if key.startswith(prefix)
            and (start is None or (key <= start if reverse else key >= start))
        ]
        for kv in (level, memory):
            assert list(kv.scan(prefix, start=start, reverse=reverse)) == chosen
            view = kv.view()
            for key in (prefix, *model):
                assert kv.get(key) == view.get(key) == model.get(key)
    level.close()
    shutil.rmtree(path)


@pytest.mark.parametrize("others", [[], [b"0"], [b"c"], [b"0", b"ab", b"c"]])
@pytest.mark.parametrize("start", [None, b"a", b"b", b"0"])
def test_walking_downwards_does_not_overlook_a_key_that_is_the_prefix(
    level: LevelKV, others: list[bytes], start: bytes | None
) -> None:
    memory = MemoryKV()
    for kv in (level, memory):
        kv.write([(key, b"") for key in (b"a", *others)], sync=False)
    found = list(level.scan(b"a", start=start, reverse=True))
    assert found == list(memory.scan(b"a", start=start, reverse=True))
    assert ((b"a", b"") in found) == (start != b"0")


def test_the_end_of_a_prefix_is_above_every_key_with_it() -> None:
    assert prefix_end(b"a") == b"b"
    assert prefix_end(b"a\xff\xff") == b"b"
    assert prefix_end(b"\xff") is None
    assert prefix_end(b"") is None


def test_a_second_process_is_told_that_the_store_is_in_use(level: LevelKV) -> None:
    with pytest.raises(StoreUnavailable) as locked:
        LevelKV(level.path)
    assert locked.value.code == "STORE_LOCKED"


@pytest.mark.parametrize(
    ("said", "code", "named"),
    [
        ("000003.log: No space left on device", "DISK_FULL", "no space left"),
        ("000003.log: File too large", "STORE_IO", "a limit of the system"),
        ("000003.log: Input/output error", "STORE_IO", "could not be read or written"),
        ("LOCK: already held by process", "STORE_LOCKED", "in use by another process"),
    ],
)
def test_what_leveldb_says_is_told_by_its_cause_and_not_by_the_path(
    said: str, code: str, named: str
) -> None:
    """«blocks» has a lock in it: a full disk there was called another process."""
    error = plyvel.IOError(f"b'IO error: /var/lib/salus/data/blocks/{said}'")
    told = translated(error, Path("/var/lib/salus/data/blocks"))
    assert isinstance(told, StoreUnavailable)
    assert told.code == code
    assert named in told.message


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as missing:
        LevelKV(tmp_path / "none", create=False)
    assert missing.value.code == "NOT_FOUND"
    assert not (tmp_path / "none").exists()


def test_validators_that_write_the_same_bytes_do_not_merge_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each store draws its own buffer, between half of the largest and all of it."""
    opened = plyvel.DB
    sizes = []

    def note(path: str, *, write_buffer_size: int, **options: object) -> plyvel.DB:
        sizes.append(write_buffer_size)
        return opened(path, write_buffer_size=write_buffer_size, **options)

    monkeypatch.setattr(plyvel, "DB", note)
    for size in (WRITE_BUFFER_BYTES, STATE_WRITE_BUFFER_BYTES):
        sizes.clear()
        for number in range(4):
            LevelKV(tmp_path / f"{number}", write_buffer_bytes=size).close()
        assert len(set(sizes)) > 1, "one chance in 10^19 that all are the same"
        assert all(size // 2 < drawn <= size for drawn in sizes)


def test_a_flipped_bit_on_disk_is_damage_and_not_another_value(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path / "db")
    kv.write([(bytes([i]), bytes(range(256)) * 4) for i in range(50)], sync=True)
    kv.compact()
    kv.close()
    table = max((tmp_path / "db").glob("*.ldb"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    data[3000] ^= 1
    table.write_bytes(data)
    kv = LevelKV(tmp_path / "db")
    with pytest.raises(StoreDamaged) as damaged:
        list(kv.scan(b""))
    assert damaged.value.code == "STORE_DAMAGED"
    kv.close()


@pytest.mark.parametrize("damaged", ["newer", "older"])
def test_a_flipped_bit_is_neither_an_older_value_nor_none_to_a_view(
    tmp_path: Path, damaged: str
) -> None:
    """An iterator goes over several files, and one that it cannot read has nothing to give. It says so
    for ever after, too: what is not damaged is found all the same."""
    rows = [b"%04d" % number for number in range(200)]
    kv = LevelKV(tmp_path / "db")
    kv.write([(key, b"older" * 50) for key in rows], sync=True)
    kv.compact()
    kv.write([(key, b"newer" * 50) for key in rows[::2]], sync=True)
    kv.close()
    LevelKV(tmp_path / "db").close()  # what lay in the log is a file now, too
    older, newer = sorted((tmp_path / "db").glob("*.ldb"), key=lambda file: int(file.stem))
    file = newer if damaged == "newer" else older
    data = bytearray(file.read_bytes())
    data[9_000] ^= 1
    file.write_bytes(data)
    kv = LevelKV(tmp_path / "db")
    view = kv.view()
    met = 0
    for number, key in enumerate(rows):
        try:
            found = view.get(key)
        except StoreDamaged:
            met += 1
        else:
            assert found == (b"older" if number % 2 else b"newer") * 50
    assert 0 < met < 100
    kv.close()


def test_reading_by_a_view_makes_leveldb_merge_nothing(tmp_path: Path) -> None:
    """Each `get` that looks into two files is counted, and after enough of them one is merged."""
    rounds = 0
    for how in ("get", "view"):
        kv = LevelKV(tmp_path / how)
        for _ in range(2):  # two files, one above the other, both with all the keys
            kv.write([(b"%04d" % number, bytes(100)) for number in range(2_000)], sync=True)
            kv.close()
            kv = LevelKV(tmp_path / how)
        before = names(kv)
        ask = kv.get if how == "get" else kv.view().get
        # LevelDB merges in a thread of its own, when that gets its turn: asked until it has, and
        # then twice as often in the other way.
        asked = 0
        while names(kv) == before if how == "get" else asked < 2 * rounds:
            asked += 1
            for number in range(1, 2_000, 9):
                ask(b"%04d~" % number)
        if how == "get":
            rounds = asked
        else:
            assert names(kv) == before
        kv.close()


def names(kv: LevelKV) -> set[str]:
    return {path.name for path in kv.path.glob("*.ldb")}


def test_compacting_takes_what_was_deleted_out_of_the_files(tmp_path: Path) -> None:
    """Without bounds plyvel compacted nothing."""
    kv = LevelKV(tmp_path / "db")
    rows = [(bytes([i]), b"deleted later") for i in range(256)]
    kv.write([*rows, (b"stays", b"here")], sync=True)
    kv.compact()
    assert b"deleted later" in tables(kv)
    kv.write([(key, None) for key, _ in rows], sync=True)
    kv.compact()
    assert b"deleted later" not in tables(kv)
    assert list(kv.scan(b"")) == [(b"stays", b"here")]
    kv.close()


def tables(kv: LevelKV) -> bytes:
    return b"".join(path.read_bytes() for path in kv.path.glob("*.ldb"))


def test_a_power_cut_takes_the_unsynced_batches_and_a_sync_covers_those_before() -> None:
    kv = MemoryKV()
    kv.write([(b"a", b"1")], sync=False)
    kv.write([(b"b", b"1")], sync=True)
    kv.write([(b"a", b"2"), (b"c", b"2")], sync=False)
    kv.write([(b"b", None), (b"a", b"3")], sync=False)
    kv.crash(batches_kept=1)
    assert list(kv.scan(b"")) == [(b"a", b"2"), (b"b", b"1"), (b"c", b"2")]
    kv.write([(b"a", None)], sync=False)
    kv.crash()
    assert kv.get(b"a") == b"2"


# --- format versions


def stamped(version: int, stamp: bytes | None = None) -> KeyValue:
    """A state store of this version, or with whatever stands in its place."""
    kv = MemoryKV()
    open_schema(kv, "state", CHAIN)
    kv.write([(META_FORMAT, version.to_bytes(4) if stamp is None else stamp)], sync=True)
    return kv


def test_a_new_store_is_stamped_and_opens_again() -> None:
    open_schema(stamped(schema.VERSIONS["state"]), "state", CHAIN)


@pytest.mark.parametrize("version", [0, schema.VERSIONS["state"] + 1, 2**32 - 1])
def test_a_store_of_an_unknown_version_is_refused_with_the_next_step(version: int) -> None:
    with pytest.raises(StoreVersion) as refused:
        open_schema(stamped(version), "state", CHAIN)
    assert refused.value.code == "STORE_VERSION"
    assert refused.value.hint


def test_a_store_of_an_older_version_is_refused_and_not_misread() -> None:
    """0.1.0 wrote state stores of version 1: no write sets, and another journal identity."""
    with pytest.raises(StoreVersion, match="older format version 1") as refused:
        StateStore(stamped(1), CHAIN)
    assert refused.value.code == "STORE_VERSION"
    assert "CHANGELOG.md" in refused.value.hint


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_state_store_is_read_and_its_stamp_is_left_to_who_changes_it(version: int) -> None:
    """Until then who goes back to that version finds all as it was."""
    kv = stamped(version)
    assert kv.get(META_FORMAT) == version.to_bytes(4)
    kv.write(open_schema(kv, "state", CHAIN), sync=True)
    assert kv.get(META_FORMAT) == schema.VERSIONS["state"].to_bytes(4)
    assert open_schema(kv, "state", CHAIN) == []


def test_a_stamp_older_than_the_rows_is_damage() -> None:
    kv = stamped(2)
    kv.write([(changed_key(0), bytes(64))], sync=True)
    with pytest.raises(StoreDamaged, match="does not know"):
        open_schema(kv, "state", CHAIN)


def test_a_store_of_another_chain_is_not_stamped() -> None:
    kv = stamped(2)
    with pytest.raises(StoreDamaged):
        open_schema(kv, "state", b"x" * 32)
    assert kv.get(META_FORMAT) == (2).to_bytes(4)


@pytest.mark.parametrize("stamp", [b"", b"\0\0\0\2\0", b"\xff" * 4_000])
def test_a_stamp_that_is_no_version_is_damage(stamp: bytes) -> None:
    with pytest.raises(StoreDamaged):
        open_schema(stamped(0, stamp), "state", CHAIN)


def test_a_store_of_another_chain_is_refused() -> None:
    with pytest.raises(StoreDamaged) as refused:
        open_schema(stamped(schema.VERSIONS["state"]), "state", b"d" * 32)
    assert refused.value.code == "WRONG_CHAIN"


def test_data_without_a_version_is_not_taken_for_a_new_store() -> None:
    kv = MemoryKV()
    kv.write([(b"h", b"header")], sync=True)
    with pytest.raises(StoreDamaged):
        open_schema(kv, "state", CHAIN)


def test_a_view_is_not_let_go_of_while_the_store_closes(level: LevelKV) -> None:
    """LevelDB has no lock for that. As a node stops, some reader's thread drops the last view, and both
    at once crashed the process: each is done under the one lock."""
    done: list[tuple[str, bool]] = []

    class Handle:
        """Stands for what plyvel holds of LevelDB."""

        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            other = threading.Thread(target=self._look)
            other.start()
            other.join(60)

        def _look(self) -> None:
            done.append((self.name, level.releasing.acquire(blocking=False)))

    real, level._db = level._db, cast(Any, Handle("store"))
    level._db.snapshot = lambda: Handle("snapshot")  # type: ignore[method-assign]
    dropped = level.view()
    del dropped
    held = level.view()
    level.close()
    level._db = real
    with pytest.raises(StoreUnavailable, match="is closed"):
        held.get(b"a")
    assert done == [("snapshot", False), ("snapshot", False), ("store", False)]
    del held
    assert done[3:] == [("snapshot", False)], "again, which plyvel allows"


def test_a_view_that_is_garbage_is_closed_before_the_store(level: LevelKV) -> None:
    """The collector clears what refers weakly to it first and calls `__del__` later. In between the store
    closed, iterators lost the database below them, and the process ended."""
    level.write([(b"a", b"1")], sync=True)

    class Circle:
        def __init__(self) -> None:
            self.itself, self.view = self, level.view()

    circle = Circle()
    assert circle.view.get(b"a") == b"1"
    (opened,) = level._opened
    closed: list[tuple[bool, bool]] = []

    def close(_: object) -> None:
        closed.append((opened._closed, level._db.closed))
        level.close()
        closed.append((opened._closed, level._db.closed))

    gone = weakref.ref(circle, close)
    del circle
    gc.collect()
    assert gone() is None
    assert closed == [(False, False), (True, True)]


def test_an_iterator_is_in_one_place_at_a_time_and_closed_when_nobody_is_inside(
    level: LevelKV,
) -> None:
    view, inside, go_on, done = level.view(), threading.Event(), threading.Event(), list[str]()

    class Slow:
        """One that finds every key, and waits with the first."""

        def __init__(self) -> None:
            self.at = b""

        def seek(self, key: bytes) -> None:
            self.at = key
            if not inside.is_set():
                inside.set()
                assert go_on.wait(60)

        def valid(self) -> bool:
            return True

        def key(self) -> bytes:
            return self.at

        def value(self) -> bytes:
            done.append(self.at.decode())
            return self.at

        def close(self) -> None:
            done.append("closed")

    (opened,) = level._opened
    opened._iterators[b"a"] = cast(Any, Slow())
    found: list[bytes | None] = []
    readers = [
        threading.Thread(target=lambda key=key: found.append(view.get(key)))
        for key in (b"a1", b"a2")
    ]
    readers[0].start()
    assert inside.wait(60)
    readers[1].start()  # would move the iterator under the first
    readers[1].join(0.05)
    closing = threading.Thread(target=level.close)
    go_on.set()
    for reader in readers:
        reader.join(60)
    closing.start()
    closing.join(60)
    assert (found, done) == ([b"a1", b"a2"], ["a1", "a2", "closed"])


@pytest.mark.parametrize("where", ["view", "store"])
def test_a_store_in_which_a_dead_disk_holds_somebody_is_left_open(
    level: LevelKV, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close it under him would end the process; to wait for him, keep it from ending."""
    monkeypatch.setattr("storage.kv.CLOSE_WAIT_S", 0.01)
    level.write([(b"a", b"1")], sync=True)
    view = level.view()
    (opened,) = level._opened
    with opened.lock if where == "view" else Entered(level):
        with pytest.raises(StoreUnavailable, match="stays open"):
            level.close()
        with pytest.raises(StoreUnavailable, match="is closed"):
            level.get(b"a")
        assert not level._db.closed
    del view
    level.close()
    assert level._db.closed
    assert not level._opened


def test_a_scan_ends_when_the_store_closes_and_one_that_rests_is_not_waited_for(
    level: LevelKV, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.kv.CLOSE_WAIT_S", 0.01)
    level.write([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")], sync=True)
    scan = level.scan(b"")
    assert next(scan) == (b"a", b"1")
    level.close()
    assert level._db.closed
    with pytest.raises(StoreUnavailable, match="is closed"):
        next(scan)
    assert (level._inside, level._resting) == (0, 0)


def test_a_store_in_which_a_scan_hangs_on_its_way_to_a_row_is_left_open(
    level: LevelKV, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is inside LevelDB, and does not rest at a row."""
    monkeypatch.setattr("storage.kv.CLOSE_WAIT_S", 0.01)
    inside, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    class Hangs:
        def iterator(self, **bounds: object) -> "Hangs":
            return self

        def __iter__(self) -> "Hangs":
            return self

        def __next__(self) -> tuple[bytes, bytes]:
            inside.set()
            assert go_on.wait(60)
            raise StopIteration

        def close(self) -> None:
            done.append("closed")

    real = level._db
    level._db = cast(Any, Hangs())
    reader = threading.Thread(target=lambda: list(level.scan(b"a")))
    reader.start()
    assert inside.wait(60)
    with pytest.raises(StoreUnavailable, match="stays open"):
        level.close()
    assert done == []
    go_on.set()
    reader.join(60)
    assert done == ["closed"], "the scan its iterator"
    level._db = real
    level.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_view_is_of_its_time(kind: str, level: LevelKV) -> None:
    """Whatever is written later, in each of its iterators, the first of them made after that too."""
    kv: KeyValue = MemoryKV() if kind == "memory" else level
    kv.write([(b"ab", b"1"), (b"ac", b"1"), (b"bb", b"1")], sync=True)
    view = kv.view()
    assert view.get(b"ab") == b"1"
    kv.write([(b"ab", b"2"), (b"ac", None), (b"ad", b"2"), (b"bb", None)], sync=True)
    keys = b"ab", b"ac", b"ad", b"bb", b"b", b"c"
    assert [view.get(key) for key in keys] == [b"1", b"1", None, b"1", None, None]
    assert [kv.view().get(key) for key in keys] == [b"2", None, b"2", None, None, None]


def test_a_view_of_memory_is_not_overtaken_by_who_writes_while_it_reads() -> None:
    kv = MemoryKV()
    kv.write([(b"a", b"old")], sync=True)
    view = kv.view()

    class Overtaken(dict[bytes, bytes]):
        def get(self, key: bytes, default: Any = None) -> Any:
            found = super().get(key, default)
            if kv._data is self:
                kv._data = dict(self)
                kv.write([(b"a", b"new")], sync=True)
            return found

    kv._data = Overtaken(kv._data)
    assert view.get(b"a") == b"old"
    assert view.get(b"a") == b"old"
    assert kv.get(b"a") == b"new"


def test_a_view_of_a_store_that_is_closed_says_so(level: LevelKV) -> None:
    level.write([(b"a", b"1")], sync=True)
    read, unread = level.view(), level.view()
    assert read.get(b"a") == b"1"
    level.close()
    for view in (read, unread):
        with pytest.raises(StoreUnavailable, match="is closed"):
            view.get(b"a")
    with pytest.raises(StoreUnavailable, match="is closed"):
        level.view()
