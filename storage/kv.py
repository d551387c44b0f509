"""Ordered keys and values with one atomic batch: LevelDB on disk, a dict in tests.

Law of the file: `write` is all or nothing, and with `sync` it and every write before it
survive a power cut. Block checksums are verified on each read from disk, so that a flipped bit
is an error here and not a wrong value above.
"""

import contextlib
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import randbelow
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

import plyvel

from storage.errors import StoreDamaged, StoreUnavailable

Put = tuple[bytes, bytes | None]  # None deletes

CACHE_BYTES = 16 * 2**20  # LevelDB's own cache of uncompressed blocks; hot state is cached above
# Two of these live in memory for a moment (where a view was made in it, for a block), one always. Rows that come
# in order are never merged, and gain nothing from a larger one.
WRITE_BUFFER_BYTES = 8 * 2**20
# Rows of the state come in no order. On LevelDB alone, with the load of the benchmark on 300,000 keys, merges
# took 7.6 µs of a transaction with 8 MiB, 4.8 with 16, 5.3 with 24, 5.6 with 32; what
# inserts it took 1 µs more with 16 and 2 with 24, for the larger table has left the processor's caches.
STATE_WRITE_BUFFER_BYTES = 16 * 2**20
# Each store takes up to so much less, by lot: validators write the same bytes, and with the same buffer
# all of them would merge in the same quarter of a second, in which the chain waits for their disks.
WRITE_BUFFER_SPREAD_BYTES = 4 * 2**20
# LevelDB's own 2 MiB would make 900 files of a state of 10^7 keys. A merge maps up to a dozen at once.
FILE_BYTES_MAX = 4 * 2**20
# 2 GB without opening a file anew for a read, which costs as much again as the read itself. LevelDB
# maps 1,000 files of a process and keeps no descriptor for them: two stores of 500 take none.
OPEN_FILES_MAX = 500
# Longer than any read or batch of a node takes. A node waits so long for its writers (node/disk.py), then for each
# of its two stores, and is killed after 15 s (cli/processes.py).
CLOSE_WAIT_S = 4
BLOOM_BITS_PER_KEY = 10  # 1 % false positives: asking for an absent key rarely reads the disk


class KeyValue(Protocol):
    """Keys are not empty."""

    def get(self, key: bytes) -> bytes | None: ...

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        """One atomic batch, applied in order."""

    def scan(
        self, prefix: bytes, *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys with this prefix in order, from `start` on (inclusive; downwards if reverse)."""

    def view(self) -> "View":
        """The store as it is now, whatever is written later; for the time of a block. For what is read
        thousands of times a second: LevelDB counts each `get` that looks into two files, whatever their
        filters say, and merges a file of 4 MiB after 256 of them; of an iterator it counts next to
        nothing. But that looks into each file that may have the key, where a filter would have spared
        it: what may be absent and is asked for now and then is for `get`."""

    def close(self) -> None: ...


class View(Protocol):
    def get(self, key: bytes) -> bytes | None: ...


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above every key with this prefix; None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


class LevelKV:
    """LevelDB through plyvel; one process at a time (LevelDB's own lock)."""

    def __init__(
        self,
        path: str | Path,
        *,
        create: bool = True,
        cache_bytes: int = CACHE_BYTES,
        write_buffer_bytes: int = WRITE_BUFFER_BYTES,
    ) -> None:
        self.path = Path(path)
        if not create and not (self.path / "CURRENT").exists():
            raise StoreUnavailable(f"there is no store at {path}", code="NOT_FOUND")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # No compression: keys, hashes, signatures and salts do not shrink.
            self._db = plyvel.DB(
                str(path),
                create_if_missing=create,
                compression=None,
                lru_cache_size=cache_bytes,
                write_buffer_size=write_buffer_bytes - randbelow(WRITE_BUFFER_SPREAD_BYTES),
                max_file_size=FILE_BYTES_MAX,
                max_open_files=OPEN_FILES_MAX,
                bloom_filter_bits=BLOOM_BITS_PER_KEY,
                # No paranoid_checks: a power cut may tear the last record of the log, and the store
                # must open without it. What was synced and is lost all the same is fetched again.
            )
        except (plyvel.Error, OSError) as error:
            raise _translated(error, self.path) from error

        # A thread may still be inside LevelDB when its task was cancelled; closing under it
        # would crash the process, so `close` waits for everybody and turns newcomers away.
        self._idle = threading.Condition()
        # Held while the store closes and while a view is let go of, by whatever thread drops it last:
        # both at once would crash the process, too.
        self.releasing = threading.RLock()
        # Strongly, and not the views: the collector clears weak references to garbage before `__del__`.
        self._opened: set[_Opened] = set()
        self._inside = 0
        self._resting = 0  # of these: scans at their `yield`
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        with _Entered(self):
            return self._db.get(key, verify_checksums=True)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        with _Entered(self):
            batch = self._db.write_batch(sync=sync)
            for key, value in puts:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            batch.write()

    def scan(
        self, prefix: bytes, *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        low, high, include_high = prefix, prefix_end(prefix), False
        if start is not None and reverse:
            if high is None or start < high:
                high, include_high = start, True
        elif start is not None:
            low = max(start, prefix)
        with (
            _Entered(self),
            closing(
                self._db.iterator(
                    start=low,
                    stop=high,
                    include_stop=include_high,
                    reverse=reverse,
                    verify_checksums=True,
                    fill_cache=False,
                )
            ) as iterator,
        ):
            found = False
            for item in iterator:
                found = True
                with _Resting(self):
                    yield item
                if self._closed:
                    raise StoreUnavailable(f"{self.path} is closed")
            if (
                reverse
                and not found
                and (high is None or low < high or (include_high and low == high))
            ):
                # plyvel, walking downwards, overlooks a lower bound that is the only key.
                value = self._db.get(low, verify_checksums=True) if low else None
                if value is not None:
                    with _Resting(self):
                        yield low, value

    def view(self) -> View:
        with _Entered(self):
            opened = _Opened(self.path, self._db.snapshot())
            made = LevelView(opened, self._release)
            with self.releasing:
                self._opened.add(opened)
            return made

    def compact(self) -> None:
        """Rewrite everything into as few files as there can be."""
        with _Entered(self):
            # plyvel takes a bound that is not given for the empty key, and would compact nothing.
            self._db.compact_range(start=b"", stop=b"\xff" * 64)

    def close(self) -> None:
        """Waits for whoever is inside; a scan that nobody goes on with is given up on. Raises
        `StoreUnavailable` if a dead disk holds somebody inside: LevelDB stays open, the end of the process
        closes it."""
        until = time.monotonic() + CLOSE_WAIT_S
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._inside == 0, CLOSE_WAIT_S)
            held = self._inside > self._resting
        while not held and (opened := self._any_opened()) is not None:
            if opened.lock.acquire(timeout=max(0.0, until - time.monotonic())):
                try:
                    self._release(opened)
                finally:
                    opened.lock.release()
            else:
                held = True
        if held:
            raise StoreUnavailable(f"{self.path} stays open: a read or a write in it does not end")
        with self.releasing:
            self._db.close()

    def _any_opened(self) -> "_Opened | None":
        with self.releasing:
            return next(iter(tuple(self._opened)), None)

    def _release(self, opened: "_Opened") -> None:
        with self.releasing:
            self._opened.discard(opened)
            opened.close()


class LevelView:
    """What LevelKV.view gives; closed when nobody holds it any more."""

    __slots__ = ("_opened", "_release")

    def __init__(self, opened: "_Opened", release: Callable[["_Opened"], None]) -> None:
        self._opened, self._release = opened, release

    def get(self, key: bytes) -> bytes | None:
        return self._opened.get(key)

    def __del__(self) -> None:
        self._release(self._opened)


class _Opened:
    """Of a view what has to be closed before LevelDB is: iterators over one snapshot, kept as long as the view,
    since to make one costs as much as what it finds.

    One for each letter of keys (storage/keys.py): one that goes from letter to letter opens another file
    in each level each time, and takes half as long again."""

    def __init__(self, path: Path, snapshot: "plyvel.Snapshot") -> None:
        self._path, self._snapshot = path, snapshot
        self._iterators: dict[bytes, plyvel.RawIterator] = {}
        self.lock = threading.Lock()  # an iterator is in one place at a time
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        with self.lock:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed")
            iterator = self._iterators.get(key[:1])
            try:
                if iterator is None:
                    iterator = self._snapshot.raw_iterator(verify_checksums=True)
                    self._iterators[key[:1]] = iterator
                iterator.seek(key)
                if iterator.valid() and iterator.key() == key:
                    return iterator.value()
            except plyvel.Error as error:
                # An iterator tells of damage for ever, whatever it is asked for.
                if iterator is not None:
                    del self._iterators[key[:1]]
                    iterator.close()
                raise _translated(error, self._path) from error
        return None

    def close(self) -> None:
        """Any number of times: the collector may come here on the way."""
        self._closed = True
        iterators, self._iterators = self._iterators, {}
        for iterator in iterators.values():
            iterator.close()
        self._snapshot.close()


class _Entered:
    """Inside LevelDB: `close` waits, and its errors become ours."""

    __slots__ = ("_kv",)

    def __init__(self, kv: LevelKV) -> None:
        self._kv = kv

    def __enter__(self) -> None:
        kv = self._kv
        with kv._idle:
            if kv._closed:
                raise StoreUnavailable(f"{kv.path} is closed")
            kv._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        kv = self._kv
        with kv._idle:
            kv._inside -= 1
            if kv._closed and kv._inside == 0:
                kv._idle.notify_all()
        if isinstance(error, plyvel.Error):
            raise _translated(error, kv.path) from error


class _Resting:
    """A scan at its `yield`: inside, and `close` does not wait for it."""

    __slots__ = ("_kv",)

    def __init__(self, kv: LevelKV) -> None:
        self._kv = kv

    def __enter__(self) -> None:
        with self._kv._idle:
            self._kv._resting += 1

    def __exit__(self, *_: object) -> None:
        with self._kv._idle:
            self._kv._resting -= 1


def _translated(error: Exception, path: Path) -> StoreDamaged | StoreUnavailable:
    if isinstance(error, plyvel.CorruptionError):
        return StoreDamaged(f"LevelDB finds damage in {path}")
    text = str(error)
    if "/LOCK:" in text:  # the file; LevelDB's text names the path, and ours has «blocks» in it
        return StoreUnavailable(
            f"{path} is in use by another process",
            code="STORE_LOCKED",
            hint="Another node runs with this home: stop it first (salus status).",
        )
    if "No space left" in text:
        return StoreUnavailable(
            f"no space left for {path}",
            code="DISK_FULL",
            hint="Free some space and start the node again; nothing certified is lost.",
        )
    if "File too large" in text:
        return StoreUnavailable(
            f"{path} could not be written: a file would exceed a limit of the system",
            hint="Raise the quota or the limit on file sizes (ulimit -f), and start the node again.",
        )
    return StoreUnavailable(f"{path} could not be read or written ({type(error).__name__})")


class MemoryKV:
    """The same in memory. `crash` forgets what was not synced, as a power cut would."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []  # sorted
        self._unsynced: list[list[Put]] = []  # per batch since the last sync: what undoes it
        self._views: WeakSet[_MemoryView] = WeakSet()

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        undo = [self._put(key, value) for key, value in puts]
        self._unsynced.append(undo[::-1])
        if sync:
            self._unsynced.clear()

    def crash(self, *, batches_kept: int = 0) -> None:
        """Lose the unsynced batches but for the first `batches_kept`."""
        for undo in reversed(self._unsynced[batches_kept:]):
            for key, value in undo:
                self._put(key, value)
        self._unsynced.clear()

    def scan(
        self, prefix: bytes, *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        end = prefix_end(prefix)
        first = bisect_left(self._keys, prefix)
        last = len(self._keys) if end is None else bisect_left(self._keys, end)
        if start is not None and reverse:
            last = min(last, bisect_left(self._keys, start + b"\0"))
        elif start is not None:
            first = max(first, bisect_left(self._keys, start))
        keys = self._keys[first:last]
        for key in reversed(keys) if reverse else keys:
            with contextlib.suppress(KeyError):  # deleted while the caller walks
                yield key, self._data[key]

    def view(self) -> View:
        made = _MemoryView(self)
        self._views.add(made)
        return made

    def close(self) -> None:
        pass

    def _put(self, key: bytes, value: bytes | None) -> Put:
        old = self._data.get(key)
        for view in self._views:
            view.before.setdefault(key, old)
        if value is None:
            if old is not None:
                del self._data[key]
                del self._keys[bisect_left(self._keys, key)]
        else:
            if old is None:
                insort(self._keys, key)
            self._data[key] = bytes(value)
        return key, old


class _MemoryView:
    def __init__(self, kv: MemoryKV) -> None:
        self._kv = kv
        self.before: dict[bytes, bytes | None] = {}  # of the keys written since

    def get(self, key: bytes) -> bytes | None:
        now = self._kv._data.get(key)  # first: what is written after it is among those before
        return self.before.get(key, now)
