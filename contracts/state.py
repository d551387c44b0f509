"""State as contracts see it: typed values under their own prefix, undone when they fail.

`Overlay` gathers the writes of one block over what was executed before. Law of the file: a
failed operation leaves no trace but its count against the transaction's caps (rule S16) — work
that was done stays counted, so that failing on purpose is no way round a cap.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import msgspec

from contracts.errors import LimitState, StoreFailed
from salus.codec import UINT_MAX, Wire, check, decode, decode_known, encode
from salus.parameters import Parameters
from salus.statemap import Write

T = TypeVar("T", bound=Wire)

SYSTEM_OPERATION = 2**32 - 1  # ◆ stands for the operation in the salt of what the block writes

STATE_KEY_BYTES_MAX = 128  # prefix, word and two hashes; a longer key is a contract's mistake
_KEY_SIZE = "a state key has 1 to 128 bytes"

Read = Callable[[bytes], bytes | None]


class Overlay:
    """The writes of one block. `read` gives values as of the block before, without salt."""

    __slots__ = (
        "_bytes_left",
        "_keys_max",
        "_limits",
        "_operation",
        "_read",
        "_touched",
        "_tx_id",
        "_undo",
        "_value_bytes_max",
        "writes",
    )

    def __init__(self, read: Read, limits: Parameters) -> None:
        self._read = read
        self._limit(limits)
        self.writes: dict[bytes, Write] = {}
        self._undo: list[tuple[bytes, Write | None]] = []
        self._touched: set[bytes] = set()
        self._bytes_left = 0
        self._tx_id, self._operation = b"", 0

    def begin_transaction(self, tx_id: bytes) -> None:
        """Caps count per transaction; what came before can no longer be undone."""
        self._undo.clear()
        self._touched.clear()
        self._bytes_left = self._limits.state_bytes_written_max
        self._tx_id, self._operation = tx_id, 0

    def begin_operation(self, operation: int) -> int:
        """Gives a point to return to, as `mark` does."""
        self._operation = operation
        return len(self._undo)

    def begin_system(self, source: bytes) -> None:
        """What the block itself writes, once all transactions are through: no caps of theirs.
        `source`: what its salts are made of."""
        self._limit(uncapped(self._limits))
        self.begin_transaction(source)
        self._operation = SYSTEM_OPERATION

    def mark(self) -> int:
        """A point to return to within this transaction."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        while len(self._undo) > mark:
            key, before = self._undo.pop()
            if before is None:
                del self.writes[key]
            else:
                self.writes[key] = before

    def get(self, key: bytes) -> bytes | None:
        # As in `peek` and `put`, without their frames: each operation reads here.
        touched = self._touched
        if key not in touched:
            if len(touched) >= self._keys_max:
                raise LimitState("keys_touched_max", self._keys_max)
            touched.add(key)
        write = self.writes.get(key)
        if write is not None:
            return write[0]
        try:
            return self._read(key)
        except Exception as error:
            raise StoreFailed from error

    def put(self, key: bytes, value: bytes | None) -> None:
        """None deletes."""
        touched, writes = self._touched, self.writes
        if key not in touched:
            if len(touched) >= self._keys_max:
                raise LimitState("keys_touched_max", self._keys_max)
            touched.add(key)
        size = 0 if value is None else len(value)
        if size > self._value_bytes_max:
            raise LimitState("state_value_bytes_max", self._value_bytes_max)
        self._bytes_left -= len(key) + size
        if self._bytes_left < 0:
            raise LimitState("state_bytes_written_max", self._limits.state_bytes_written_max)
        self._undo.append((key, writes.get(key)))
        writes[key] = value, self._tx_id, self._operation

    def peek(self, key: bytes) -> bytes | None:
        """For the framework itself: not counted against the transaction."""
        write = self.writes.get(key)
        if write is not None:
            return write[0]
        try:
            return self._read(key)
        except Exception as error:
            raise StoreFailed from error

    def _limit(self, limits: Parameters) -> None:
        self._limits = limits
        # Held apart: looked at for each key.
        self._keys_max = limits.keys_touched_max
        self._value_bytes_max = limits.state_value_bytes_max


def uncapped(parameters: Parameters) -> Parameters:
    """The caps are for one transaction; the block itself, and genesis, have none."""
    return msgspec.structs.replace(
        parameters,
        keys_touched_max=UINT_MAX,
        state_bytes_written_max=UINT_MAX,
        state_value_bytes_max=UINT_MAX,
    )


@cache
def _prefix(contract: str) -> bytes:
    """Of the few contracts that there are."""
    return contract.encode("ascii") + b"/"


class ReadState:
    """Typed reading under one contract's prefix."""

    __slots__ = ("_get", "_prefix")

    def __init__(self, get: Read, contract: str) -> None:
        self._get = get
        self._prefix = _prefix(contract)

    def get(self, kind: type[T], key: bytes) -> T | None:
        """The value under `key`, or None."""
        # `_key` written out, here and in `put`: for each operation.
        if not 0 < len(key) <= STATE_KEY_BYTES_MAX:
            raise ValueError(_KEY_SIZE)
        raw = self._get(self._prefix + key)
        return None if raw is None else decode(raw, kind)

    def known(self, kind: type[T], key: bytes) -> T | None:
        """As `get`, of what is read again and again: members, staff and their keys."""
        raw = self._get(self._key(key))
        return None if raw is None else decode_known(raw, kind)

    def _key(self, key: bytes) -> bytes:
        if not 0 < len(key) <= STATE_KEY_BYTES_MAX:
            raise ValueError(_KEY_SIZE)
        return self._prefix + key


class State(ReadState):
    """Typed reading and writing under one contract's prefix."""

    __slots__ = ("_overlay",)

    def __init__(self, overlay: Overlay, contract: str) -> None:
        super().__init__(overlay.get, contract)
        self._overlay = overlay

    def put(self, key: bytes, value: Wire) -> None:
        raw = encode(value)
        check(raw, type(value))  # What could not be read back must fail here, not at a reader.
        if not 0 < len(key) <= STATE_KEY_BYTES_MAX:
            raise ValueError(_KEY_SIZE)
        self._overlay.put(self._prefix + key, raw)

    def delete(self, key: bytes) -> None:
        self._overlay.put(self._key(key), None)
