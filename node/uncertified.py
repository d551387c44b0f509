"""Executed blocks that are not certified on disk yet: a stack over the certified state.

Law of the file: whatever lies here can still be thrown away with the process; nothing of it is
shown (S12). What is asked for is looked up here first, then in the certified state below.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from contracts.runtime import Fault
from salus.block import Header, Receipt
from salus.epoch import EpochRecord
from salus.statemap import SALT_BYTES, StateTree, find_entry, key_hash


class CertifiedState(Protocol):
    """The certified state on disk, with its caches; storage.state.StateStore is the real one."""

    def get(self, key: bytes) -> bytes | None:
        """salt ‖ value."""

    def bucket(self, index: int) -> bytes: ...

    def header(self, height: int) -> Header: ...

    def find_transaction(self, tx_id: bytes) -> tuple[int, int] | None: ...


@dataclass(frozen=True, slots=True)
class Executed:
    """One executed block: its header, and all that goes to disk once it is certified."""

    header: Header
    receipts: tuple[Receipt, ...]
    receipts_encoded: tuple[bytes, ...]
    tx_ids: tuple[bytes, ...]
    expiries: tuple[int, ...]
    writes: dict[bytes, bytes | None]  # key → salt ‖ value
    buckets: dict[int, bytes]
    write_set: bytes  # the changes of all keys (L24)
    write_sets_kept: int  # by the parameters of the block's own epoch
    epoch: EpochRecord | None  # of the next epoch, in the last block of one
    faults: tuple[Fault, ...]  # for this node's alarm (rule S16)
    calls: dict[tuple[str, str], int]  # of methods, by code; for this node's metrics


class Uncertified:
    """The stack, and reading through it."""

    def __init__(self, reader: CertifiedState, tree: StateTree) -> None:
        self._reader, self._tree = reader, tree
        self._blocks: dict[int, Executed] = {}  # ascending heights
        self._values: dict[bytes, tuple[int, bytes | None]] = {}  # their newest values, by whom
        self._buckets: dict[int, tuple[int, bytes]] = {}
        self._ids: dict[bytes, int] = {}  # id → height of the block that ran it

    def __len__(self) -> int:
        return len(self._blocks)

    def push(self, executed: Executed, ran: Iterable[bytes]) -> None:
        """The next block; `ran`: the ids in it that were not duplicates."""
        height = executed.header.height
        self._values |= {key: (height, stored) for key, stored in executed.writes.items()}
        self._buckets |= {index: (height, content) for index, content in executed.buckets.items()}
        for tx_id in ran:
            self._ids[tx_id] = height
        self._blocks[height] = executed

    def pop(self, height: int) -> Executed:
        """The oldest one is on disk; what newer ones wrote since stays."""
        executed = self._blocks.pop(height)
        for key in executed.writes:
            if self._values[key][0] == height:
                del self._values[key]
        for index in executed.buckets:
            if self._buckets[index][0] == height:
                del self._buckets[index]
        for tx_id in executed.tx_ids:
            if self._ids.get(tx_id) == height:
                del self._ids[tx_id]
        return executed

    def block(self, height: int) -> Executed | None:
        return self._blocks.get(height)

    def ran(self, tx_id: bytes) -> bool:
        return tx_id in self._ids

    def read(self, key: bytes) -> bytes | None:
        """The value of a state key at the head, without salt."""
        return self.head().read(key)

    def head(self) -> "Head":
        """For the block that comes next."""
        return Head(self._values, self.bucket, self._reader.get, self._tree.bits)

    def bucket(self, index: int) -> bytes:
        """The content of a bucket of the state at the head."""
        found = self._buckets.get(index)
        if found is not None:
            return found[1]
        return b"" if self._tree.is_empty(index) else self._reader.bucket(index)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How much lies here, part by part: nothing may stay once all is certified."""
        return len(self._blocks), len(self._values), len(self._buckets), len(self._ids)


class Head:
    """The state at the head, as one block reads and changes it: each key is hashed once, however
    often it is read and written, and each bucket fetched once.

    For that block alone: once another one is pushed, it says what was."""

    __slots__ = ("_bucket", "_contents", "_shift", "_stored", "_values", "places")

    def __init__(
        self,
        values: Mapping[bytes, tuple[int, bytes | None]],
        bucket: Callable[[int], bytes],
        stored: Callable[[bytes], bytes | None],
        bits: int,
    ) -> None:
        """`values`: of uncertified blocks; `stored`: salt ‖ value of all others."""
        self._values, self._bucket, self._stored, self._shift = values, bucket, stored, 32 - bits
        # Of the keys asked for, what `place` gives; as many as the block's transactions may touch.
        self.places: dict[bytes, tuple[bytes, int]] = {}
        self._contents: dict[int, bytes] = {}

    def read(self, key: bytes) -> bytes | None:
        """The value of a state key, without salt."""
        found = self._values.get(key)
        if found is not None:
            stored = found[1]
        else:
            # The bucket, which a write needs anyway, knows what is absent; the disk is asked
            # only for what is there.
            hashed, index = self.places.get(key) or self.place(key)
            content = self._contents.get(index)
            if content is None:
                content = self.bucket(index)
            # Searched first: mostly the key is new, and stands nowhere.
            if hashed not in content or find_entry(content, hashed)[1] is None:
                return None
            stored = self._stored(key)
        return None if stored is None else stored[SALT_BYTES:]

    def place(self, key: bytes) -> tuple[bytes, int]:
        """The key's hash, and the number of its bucket."""
        found = self.places.get(key)
        if found is None:
            hashed = key_hash(key)
            # `bucket_of` written out: for each key.
            found = self.places[key] = hashed, int.from_bytes(hashed[:4]) >> self._shift
        return found

    def bucket(self, index: int) -> bytes:
        """The content of a bucket."""
        content = self._contents.get(index)
        if content is None:
            content = self._contents[index] = self._bucket(index)
        return content
