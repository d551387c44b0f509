"""A dict of hot values with a bound in bytes; the least recently used goes first."""

from typing import Generic, TypeVar

K = TypeVar("K", bytes, int)

ENTRY_OVERHEAD_BYTES = 160  # two objects and a dict slot, measured on CPython 3.11


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
        while self.bytes > self.bytes_max:
            self.drop(next(iter(self._values)))

    def has_room_for(self, value: bytes) -> bool:
        """Whether nothing would have to go for it."""
        return self.bytes + len(value) + ENTRY_OVERHEAD_BYTES <= self.bytes_max

    def drop(self, key: K) -> None:
        old = self._values.pop(key, None)
        if old is not None:
            self.bytes -= len(old) + ENTRY_OVERHEAD_BYTES
