"""A dict of hot values with a bound in bytes; the least recently used goes first."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bytes, int)

ENTRY_OVERHEAD_BYTES = 160  # two objects and a dict slot, measured on CPython 3.11


class ByteBoundCache(Generic[K]):
    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        # By use. A plain dict keeps a hole where its first key was: to find the next one it walks over
        # all of them, 12 µs a transaction with a full cache (docs/performance.md).
        self._values: OrderedDict[K, bytes] = OrderedDict()

    def get(self, key: K) -> bytes | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: bytes) -> None:
        self.drop(key)
        self._values[key] = value
        self.bytes += len(value) + ENTRY_OVERHEAD_BYTES
        while self.bytes > self.bytes_max:
            self.drop(next(iter(self._values)))

    def put_all(self, values: Mapping[K, bytes | None]) -> None:
        """As `put` for each, and `drop` where the value is None: what a block has changed."""
        held, size = self._values, self.bytes
        for key, value in values.items():
            old = held.pop(key, None)
            if old is not None:
                size -= len(old) + ENTRY_OVERHEAD_BYTES
            if value is not None:
                held[key] = value
                size += len(value) + ENTRY_OVERHEAD_BYTES
        self.bytes = size
        while self.bytes > self.bytes_max:
            self.drop(next(iter(held)))

    @property
    def room(self) -> int:
        """Bytes, overhead included, for which nothing would have to go."""
        return self.bytes_max - self.bytes

    def drop(self, key: K) -> None:
        old = self._values.pop(key, None)
        if old is not None:
            self.bytes -= len(old) + ENTRY_OVERHEAD_BYTES
