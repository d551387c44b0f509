"""The certified chain and its state: ONE synced LevelDB batch per block is the commit point.

Law of the file: a height is there wholly or not at all, heights follow one another without a
gap, and `height()` advances only after the batch is on disk. One thread writes at a time
(`commit` may run in a worker thread while others read); a reader sees a block's values from the
moment on at which `height()` says so, and those of the block before until then.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from salus.block import DUPLICATE, Header, Receipt
from salus.certificate import Certificate
from salus.codec import decode, encode, encode_row
from salus.epoch import EpochRecord
from salus.errors import BadMessage
from salus.hashing import HASH_BYTES
from salus.statemap import CHANGE_BYTES, SALT_BYTES
from salus.writeset import seal
from storage import keys
from storage.bucket_log import BucketLog, LogPlace
from storage.buckets import BucketRows, Buckets
from storage.cache import ByteBoundCache
from storage.disk import RealDisk
from storage.errors import StoreDamaged, StoreUnavailable
from storage.kv import CACHE_BYTES, STATE_WRITE_BUFFER_BYTES, KeyValue, LevelKV, Put, View
from storage.place_rows import has_former_places
from storage.schema import open_schema

T = TypeVar("T")

REPLAY_PREFIX_BYTES = 8
ATTEMPTS_MAX = 100  # a query takes far less time than a block

_REPLAY_ROW_BYTES = REPLAY_PREFIX_BYTES + 8

# A cached read costs 0.3 µs, one from LevelDB 5 to 10.
VALUE_CACHE_BYTES = 16 * 2**20
BUCKETS = "buckets"  # the directory of the log, beside LevelDB's files


@dataclass(frozen=True, slots=True)
class BlockBatch:
    """Everything that one certified block changes on disk."""

    header: Header
    certificate: Certificate | None  # None only for genesis
    receipts: tuple[Receipt, ...]
    tx_ids: tuple[bytes, ...]
    expiries: tuple[int, ...]  # expiry height of each transaction
    writes: Mapping[bytes, bytes | None]  # raw state key → salt ‖ value, None = deleted
    buckets: Mapping[int, bytes]  # bucket number → its new content
    write_set: bytes  # the changes behind them, by hashes (salus/writeset.py)
    write_sets_kept: int  # of so many blocks, this one included, write sets stay on disk
    epoch: EpochRecord | None  # the next epoch's record, iff the block ends its epoch
    # Each receipt's encoding, where there are receipts: executing needs it for their root, so nobody
    # makes it again.
    receipts_encoded: Sequence[bytes] = ()


class StateStore:
    def __init__(
        self,
        kv: KeyValue,
        genesis_hash: bytes,
        *,
        log: LogPlace | None = None,
        as_it_is: bool = False,
    ) -> None:
        """`log`: the directory where the buckets lie; None: in the store itself, which is for memory. `as_it_is`: for who
        only looks; a store of an older version stays one.
        Raises `StoreVersion`, or `StoreDamaged` if the store is of another chain."""
        older = open_schema(kv, "state", genesis_hash)
        # This and `bucket_store` are for storage/check.py and cli/bench; everybody else uses the methods.
        self.kv = kv
        self._values: ByteBoundCache[bytes] = ByteBoundCache(VALUE_CACHE_BYTES)
        self.bucket_store: Buckets
        if log is None or (older and as_it_is and not has_former_places(kv)):
            self.bucket_store = BucketRows(kv)
        else:
            self.bucket_store = BucketLog(kv, log, older, as_it_is=as_it_is)
        # Guards the cache, the buckets and the height against a commit in another thread; never held
        # while the disk is written.
        self._lock = threading.Lock()
        self._view: View | None = None  # of the block at `height`, as soon as somebody needs it
        stored = kv.get(keys.META_HEIGHT)
        if stored is None and next(kv.scan(keys.HEADER), None) is not None:
            raise StoreDamaged("the state store has blocks but no height")
        self._height = int.from_bytes(stored) if stored is not None else None
        oldest = next(kv.scan(keys.WRITE_SET), None)
        # The oldest height with a write set: known, so that no scan meets the deleted ones.
        self._oldest_write_set = 0 if oldest is None else int.from_bytes(oldest[0][1:])
        self._head = self.header(self._height) if self._height is not None else None

    @classmethod
    def open(
        cls,
        path: str | Path,
        genesis_hash: bytes,
        *,
        create: bool = True,
        cache_bytes: int = CACHE_BYTES,
        as_it_is: bool = False,
    ) -> "StateStore":
        """That of a node, in the directory `path`."""
        kv = LevelKV(
            path,
            create=create,
            cache_bytes=cache_bytes,
            write_buffer_bytes=STATE_WRITE_BUFFER_BYTES,
        )
        try:
            return cls(kv, genesis_hash, log=log_beside(path), as_it_is=as_it_is)
        except BaseException:
            with suppress(StoreUnavailable):  # what went wrong before counts
                kv.close()
            raise

    # --- writing

    @property
    def initialised(self) -> bool:
        """Whether the genesis block has been written."""
        return self._height is not None

    def initialise(self, batch: BlockBatch, *, meta: Mapping[str, bytes] | None = None) -> None:
        """Write the genesis block: height 0, no certificate, the record of epoch 0."""
        assert not self.initialised, "genesis is written once"
        assert batch.header.height == 0
        assert batch.certificate is None
        assert batch.epoch is not None
        self._write(batch, meta or {})

    def commit(self, batch: BlockBatch, *, meta: Mapping[str, bytes] | None = None) -> None:
        """Write the next certified block, and `meta` with it, in one synced batch."""
        header, head = batch.header, self.head
        assert header.height == head.height + 1, "heights follow one another"
        assert header.parent_hash == head.hash(), "the block stands on another one"
        assert batch.certificate is not None
        assert batch.certificate.height == header.height
        assert (batch.epoch is not None) == header.ends_epoch
        self._write(batch, meta or {})

    def _write(self, batch: BlockBatch, meta: Mapping[str, bytes]) -> None:
        # While the batch is written, readers see the state before it: else a value could be of
        # the new block and another one, from a cache, of the old.
        with self._lock:
            self._view_now()
        self.kv.write(self._puts(batch, meta), sync=True)
        # Only now: whoever reads the height must find all of the block.
        with self._lock:
            self._view = None
            self._values.renew(batch.writes)
            self.bucket_store.written()
            self._height, self._head = batch.header.height, batch.header
        self._oldest_write_set = max(self._oldest_write_set, _first_kept(batch))

    def _view_now(self) -> View:
        """Of the block at `height`; for who holds the lock. There is one before anything is written over it."""
        if self._view is None:
            self._view = self.kv.view()
        return self._view

    def _puts(self, batch: BlockBatch, meta: Mapping[str, bytes]) -> list[Put]:
        """A list: a generator is called again for each of the 1,500 rows of a full block."""
        header = batch.header
        assert len(batch.tx_ids) == len(batch.expiries) == header.transactions_count
        assert len(batch.receipts) == len(batch.receipts_encoded)
        at = keys.number(header.height)
        puts: list[Put] = [
            (keys.HEADER + at, encode(header)),
            (keys.HASH + header.hash(), at),
            (keys.RECEIPTS + at, encode_row(batch.receipts_encoded)),
            (keys.REPLAY + at, replay_rows(batch.tx_ids, batch.expiries)),
        ]
        if batch.certificate is not None:
            puts.append((keys.CERTIFICATE + at, encode(batch.certificate)))
        # The same bytes may be ordered twice; the index names the height that executed them.
        again = {receipt.tx_id for receipt in batch.receipts if receipt.code == DUPLICATE}
        puts += [
            (keys.TRANSACTION + tx_id, at + index.to_bytes(4))
            for index, tx_id in enumerate(batch.tx_ids)
            if tx_id not in again or self.find_transaction(tx_id) is None
        ]
        puts += [(keys.VALUE + key, value) for key, value in batch.writes.items()]
        puts += self.bucket_store.puts(batch.buckets)
        puts.append((keys.WRITE_SET + at, seal(header.height, batch.write_set) + batch.write_set))
        gone = range(self._oldest_write_set, _first_kept(batch))
        puts += [(keys.WRITE_SET + keys.number(height), None) for height in gone]
        puts += self._epoch_puts(batch)
        puts += [(_meta_key(name), value) for name, value in meta.items()]
        puts.append((keys.META_HEIGHT, at))
        return puts

    def _epoch_puts(self, batch: BlockBatch) -> Iterator[Put]:
        header = batch.header
        if header.height > 0 and header.epoch_end and self.epoch(header.epoch).end == 0:
            # This block fixed the end of its own epoch (rule S13): say so in its record.
            record = msgspec.structs.replace(self.epoch(header.epoch), end=header.epoch_end)
            yield keys.EPOCH + keys.number(record.epoch), encode(record)
        if batch.epoch is not None:
            assert batch.epoch.base == header.height
            yield keys.EPOCH + keys.number(batch.epoch.epoch), encode(batch.epoch)

    # --- the chain

    def height(self) -> int:
        """The newest certified height on disk."""
        assert self._height is not None, "the store has no genesis block yet"
        return self._height

    @property
    def head(self) -> Header:
        assert self._head is not None, "the store has no genesis block yet"
        return self._head

    def header(self, height: int) -> Header:
        """Like all below: raises `KeyError` outside 0 … `height()`."""
        return self._block(keys.HEADER, height, Header)

    def height_of(self, header_hash: bytes) -> int | None:
        """The height of a certified block by its hash."""
        stored = self.kv.get(keys.HASH + header_hash)
        return None if stored is None else self._known(int.from_bytes(stored))

    def certificate(self, height: int) -> Certificate | None:
        """None for genesis, which is derived and not agreed on."""
        return None if height == 0 else self._block(keys.CERTIFICATE, height, Certificate)

    def receipts(self, height: int) -> tuple[Receipt, ...]:
        return self._block(keys.RECEIPTS, height, tuple[Receipt, ...])

    def write_set(self, height: int) -> bytes | None:
        """What the block changed, by hashes; None for a height that is too old or not there yet.
        Raises `StoreDamaged`."""
        row = self.kv.get(keys.WRITE_SET + keys.number(height))
        if row is None or self._known(height) is None:
            return None
        write_set = row[HASH_BYTES:]
        if row[:HASH_BYTES] != seal(height, write_set) or len(write_set) % CHANGE_BYTES:
            raise StoreDamaged(f"the write set of block {height} is not what was written")
        return write_set

    def find_transaction(self, tx_id: bytes) -> tuple[int, int] | None:
        """(height, index in the block) where the transaction was first executed."""
        stored = self.kv.get(keys.TRANSACTION + tx_id)
        if stored is None:
            return None
        height = self._known(int.from_bytes(stored[:8]))
        return None if height is None else (height, int.from_bytes(stored[8:]))

    def _known(self, height: int) -> int | None:
        """None for the block that is being written: its height cannot be asked for yet."""
        return height if self._height is not None and height <= self._height else None

    def replay_start(self) -> int:
        """The lowest height of which a transaction may come again: each was taken by the expiry
        window of its own epoch, which may have been wider than that of today (rule S15)."""
        head = self.height()
        start = head + 1
        for record in self.epochs():
            first = max(record.base, head - record.parameters.expiry_window_blocks) + 1
            if first <= (record.end or head):
                start = min(start, first)
        return start

    def recent_ids(self, from_height: int) -> Iterator[tuple[int, list[tuple[bytes, int]]]]:
        """(height, [(first 8 bytes of the id, expiry height)]) upwards, for the replay window."""
        start = keys.REPLAY + keys.number(from_height)
        for key, rows in self.kv.scan(keys.REPLAY, start=start):
            yield (
                int.from_bytes(key[1:]),
                [
                    (rows[at : at + REPLAY_PREFIX_BYTES], _expiry(rows, at))
                    for at in range(0, len(rows), _REPLAY_ROW_BYTES)
                ],
            )

    # --- epochs

    def epoch(self, number: int) -> EpochRecord:
        return self._at(keys.EPOCH, number, EpochRecord)

    def epochs(self) -> Iterator[EpochRecord]:
        """All records from epoch 0 on; the last one is the epoch of the next block."""
        for _, record in self.kv.scan(keys.EPOCH):
            yield _decoded(record, EpochRecord, "epoch record")

    def current_epoch(self) -> EpochRecord:
        """The epoch that the next block belongs to."""
        head = self.head
        return self.epoch(head.epoch + 1 if head.ends_epoch else head.epoch)

    def epoch_of(self, height: int) -> EpochRecord:
        """The epoch that signs `height`; also for the one height after the head."""
        for _, stored in self.kv.scan(keys.EPOCH, reverse=True):
            record = _decoded(stored, EpochRecord, "epoch record")
            if record.base < height or record.epoch == 0:
                return record
        raise StoreDamaged("the state store has no epoch record")

    # --- the state

    def at_one_height(self, read: Callable[[], T]) -> tuple[int, T]:
        """What `read` says of the state, and the height of that state: asked again if a block was
        written on the way, so that no answer is made of two blocks."""
        for _ in range(ATTEMPTS_MAX):
            height = self.height()
            result = read()
            if self.height() == height:
                return height, result
        raise StoreUnavailable("the state kept changing while it was read", code="BUSY")

    def value(self, key: bytes) -> bytes | None:
        """Of a raw state key, as contracts see it."""
        stored = self.get(key)
        return None if stored is None else stored[SALT_BYTES:]

    def get(self, key: bytes) -> bytes | None:
        """salt ‖ value of a raw state key."""
        with self._lock:
            cached = self._values.get(key)
            if cached is not None:
                return cached
            height, view = self._height, self._view_now()
        value = view.get(keys.VALUE + key)
        with self._lock:
            # A block written meanwhile may have changed the key: do not keep an old value.
            if value is not None and self._height == height:
                self._values.put(key, value)
        return value

    def bucket(self, index: int) -> bytes:
        """The bucket's entries; empty if it holds no key."""
        with self._lock:
            content = self.bucket_store.find(index, self._view_now)
        return b"" if content is None else content.read()

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """All non-empty buckets, in any order; fills a new `StateTree`."""
        return self.bucket_store.scan()

    def values(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """(raw key, salt ‖ value) in key order."""
        for key, value in self.kv.scan(keys.VALUE + prefix):
            yield key[1:], value

    # --- small things of the node

    def meta(self, name: str) -> bytes | None:
        return self.kv.get(_meta_key(name))

    def put_meta(self, name: str, value: bytes) -> None:
        self.kv.write([(_meta_key(name), value)], sync=True)

    def close(self) -> None:
        try:
            self.kv.close()
        finally:
            with self._lock:
                self.bucket_store.close()

    def _block(self, prefix: bytes, height: int, kind: type[T]) -> T:
        if not 0 <= height <= self.height():
            raise KeyError(height)
        return self._at(prefix, height, kind)

    def _at(self, prefix: bytes, number: int, kind: type[T]) -> T:
        stored = self.kv.get(prefix + keys.number(number))
        if stored is None:
            raise StoreDamaged(f"the state store lacks its entry {prefix.decode()}{number}")
        return _decoded(stored, kind, f"entry {prefix.decode()}{number}")


def log_beside(path: str | Path) -> LogPlace:
    """Of the store in `path`."""
    return LogPlace(f"{path}/{BUCKETS}", RealDisk())


def replay_rows(tx_ids: Sequence[bytes], expiries: Sequence[int]) -> bytes:
    """◆ The replay record of a block: per transaction 8 bytes of its id and its expiry height."""
    rows = zip(tx_ids, expiries, strict=True)
    return b"".join([tx_id[:REPLAY_PREFIX_BYTES] + expiry.to_bytes(8) for tx_id, expiry in rows])


def _first_kept(batch: BlockBatch) -> int:
    """The oldest height whose write set stays when the block is written."""
    return max(0, batch.header.height + 1 - batch.write_sets_kept)


def _meta_key(name: str) -> bytes:
    """Below a path of their own: no caller's name can hit one of the store's."""
    return keys.META_NODE + name.encode()


def _expiry(rows: bytes, at: int) -> int:
    return int.from_bytes(rows[at + REPLAY_PREFIX_BYTES : at + _REPLAY_ROW_BYTES])


def _decoded(stored: bytes, kind: type[T], what: str) -> T:
    try:
        return decode(stored, kind)
    except BadMessage:
        raise StoreDamaged(f"the state store's {what} is not what was written") from None
