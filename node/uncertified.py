"""Executed blocks that are not certified on disk yet: a stack over the certified state.

Law of the file: whatever lies here can still be thrown away with the process; nothing of it is
shown (S12). What is asked for is looked up here first, then in the certified state below.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.runtime import Fault
from salus.block import Header, Receipt
from salus.epoch import EpochRecord
from salus.statemap import SALT_BYTES, Places, StateTree, find_entry


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

    @property
    def contracts(self) -> frozenset[str]:
        """Those called. Receipts hold no events of any other: a contract emits only its own."""
        return frozenset(method.partition(".")[0] for method, _ in self.calls)


class Uncertified:
    """The stack, and reading through it."""

    def __init__(self, reader: CertifiedState, tree: StateTree) -> None:
        self._reader, self._tree = reader, tree
        self._blocks: dict[int, Executed] = {}  # ascending heights
        self._ran: dict[int, frozenset[bytes]] = {}  # ids, by the height that ran them
        # Looked through one by one: under load there are one or two, and to gather what they wrote
        # costs each key more than to ask both.
        self._newest_first: tuple[Executed, ...] = ()

    def __len__(self) -> int:
        return len(self._blocks)

    def push(self, executed: Executed, ran: Iterable[bytes]) -> None:
        """The next block; `ran`: the ids in it that were not duplicates."""
        height = executed.header.height
        self._blocks[height], self._ran[height] = executed, frozenset(ran)
        self._newest_first = executed, *self._newest_first

    def pop(self, height: int) -> Executed:
        """The oldest one is on disk; what newer ones wrote stays."""
        executed = self._blocks.pop(height)
        del self._ran[height]
        assert self._newest_first[-1] is executed, "oldest first"
        self._newest_first = self._newest_first[:-1]
        return executed

    def block(self, height: int) -> Executed | None:
        return self._blocks.get(height)

    def ran(self, tx_id: bytes) -> bool:
        return any(tx_id in ids for ids in self._ran.values())

    def read(self, key: bytes) -> bytes | None:
        """The value of a state key at the head, without salt."""
        return self.head().read(key)

    def head(self) -> "Head":
        """For the block that comes next."""
        return Head(self._newest_first, self._reader, self._tree)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How much lies here, part by part: nothing may stay once all is certified."""
        return len(self._blocks), len(self._ran), len(self._newest_first)


class Head:
    """The state at the head, as one block reads and changes it: each key is hashed once, however
    often it is read and written, and each bucket fetched once.

    For that block alone: once another one is pushed, it says what was."""

    __slots__ = ("_stored", "_writes", "contents", "places")

    def __init__(
        self, newest_first: Sequence[Executed], reader: CertifiedState, tree: StateTree
    ) -> None:
        self._writes = [executed.writes for executed in newest_first]
        self._stored = reader.get
        # Of the keys asked for; as many as the block's transactions may touch.
        self.places = Places(tree.bits)
        self.contents = _Contents(newest_first, reader, tree)

    def read(self, key: bytes) -> bytes | None:
        """The value of a state key, without salt."""
        for writes in self._writes:
            if key in writes:
                stored = writes[key]
                break
        else:
            # The bucket, which a write needs anyway, knows what is absent; the disk is asked
            # only for what is there.
            hashed, index = self.places[key]
            content = self.contents[index]
            # Searched first: mostly the key is new, and stands nowhere.
            if hashed not in content or find_entry(content, hashed)[1] is None:
                return None
            stored = self._stored(key)
        return None if stored is None else stored[SALT_BYTES:]


class _Contents(dict[int, bytes]):
    """The contents of buckets at the head, each as soon as it is asked for."""

    __slots__ = ("_buckets", "_is_empty", "_stored")

    def __init__(
        self, newest_first: Sequence[Executed], reader: CertifiedState, tree: StateTree
    ) -> None:
        self._buckets = [executed.buckets for executed in newest_first]
        self._is_empty, self._stored = tree.is_empty, reader.bucket

    def __missing__(self, index: int) -> bytes:
        for buckets in self._buckets:
            if index in buckets:
                content = self[index] = buckets[index]
                return content
        content = self[index] = b"" if self._is_empty(index) else self._stored(index)
        return content
