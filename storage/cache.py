"""A dict of hot values with a bound in bytes; the least recently used go first."""

from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bytes, int)

# Two objects, a slot of the dict, and what the allocator loses where values grow: resident memory of
# 220,000 values that a million writes had filled, CPython 3.11. A fresh cache takes half of it.
ENTRY_OVERHEAD_BYTES = 280
# When there is no room, so much of it is made at once. A dict keeps a hole where its first key was, and
# who looks for the next one walks over all of them: for each key that goes it was 12 µs a transaction.
# An OrderedDict does not, and takes 105 to 110 bytes more for each entry.
ROOM_SHARE = 64


class ByteBoundCache(Generic[K]):
    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self._values: dict[K, bytes] = {}  # insertion order = order of use

    def get(self, key: K) -> bytes | None:
        value = self._values.pop(key, None)
        if value is not None:
            self._values[key] = value
        return value

    def put(self, key: K, value: bytes) -> None:
        self.drop(key)
        self._values[key] = value
        self.bytes += len(value) + ENTRY_OVERHEAD_BYTES
        if self.bytes > self.bytes_max:
            self._make_room()

    def renew(self, values: Mapping[K, bytes | None]) -> None:
        """What a block has changed (None: deleted) of what is here. The rest stays out: most of what is
        written is not read soon, and would push out what is."""
        for key in self._values.keys() & values.keys():
            value = values[key]
            if value is None:
                self.drop(key)
            else:
                self.put(key, value)

    def drop(self, key: K) -> None:
        old = self._values.pop(key, None)
        if old is not None:
            self.bytes -= len(old) + ENTRY_OVERHEAD_BYTES

    def _make_room(self) -> None:
        left, gone = self.bytes_max - self.bytes_max // ROOM_SHARE, list[K]()
        for key, value in self._values.items():
            if self.bytes <= left:
                break
            self.bytes -= len(value) + ENTRY_OVERHEAD_BYTES
            gone.append(key)
        for key in gone:
            del self._values[key]
