"""LevelDB as the stores see it (`storage.kv.KeyValue`): atomic batches over memory.

A synced batch and all before it survive a power cut; of later ones, the first few. A damaged value
is an error on reading, as LevelDB's checksums make it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from random import Random

from storage.errors import StoreDamaged, StoreUnavailable
from storage.kv import Put, View, prefix_end
from tests.sim.power import Power, PowerCut


class SimKV:
    def __init__(self, power: Power, random: Random) -> None:
        self.data: dict[bytes, bytes] = {}
        self._power, self._random = power, random
        self._undo: list[list[Put]] = []  # of the unsynced batches, oldest first
        self._keys: list[bytes] | None = (
            None  # sorted, when somebody has asked since the last write
        )
        self.damaged: set[bytes] = set()
        self.met = False  # somebody has read the damage

    def get(self, key: bytes) -> bytes | None:
        if self.damaged and key in self.damaged:
            self.met = True
            raise StoreDamaged("LevelDB finds damage")
        return self.data.get(key)

    def write(self, puts: Iterable[Put], *, sync: bool) -> None:
        batch = list(puts)  # The last one of a key counts.
        if self._power.full:
            raise StoreUnavailable("no space left", code="DISK_FULL")
        try:
            self._power.spend()
        except PowerCut:
            if self._random.random() < 0.5:  # Its record reached the log whole, or it did not.
                self._apply(batch)
            raise
        if sync:
            self._undo.clear()
        else:
            self._undo.append([(key, self.data.get(key)) for key in dict(batch)])
        self._apply(batch)

    def _apply(self, batch: list[Put]) -> None:
        data = self.data
        self._keys = None
        for key, value in batch:
            if value is not None:
                data[key] = value
            else:
                data.pop(key, None)

    def scan(
        self, prefix: bytes, *, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        if self._keys is None:
            self._keys = sorted(self.data)
        end = prefix_end(prefix)
        first = bisect_left(self._keys, prefix)
        last = len(self._keys) if end is None else bisect_left(self._keys, end)
        if start is not None and reverse:
            last = min(last, bisect_right(self._keys, start))
        elif start is not None:
            first = max(first, bisect_left(self._keys, start))
        keys = self._keys[first:last]
        for key in reversed(keys) if reverse else keys:
            value = self.get(key)
            if value is not None:  # not deleted while the caller walks
                yield key, value

    def view(self) -> View:
        return self  # One thread: nobody reads between the two ends of a write.

    def close(self) -> None:
        pass

    # -- what happens to it ---------------------------------------------------------------------

    def lose(self) -> None:
        """The power is gone."""
        if self._undo:
            kept = int(self._random.random() * (len(self._undo) + 1))
            for undo in reversed(self._undo[kept:]):
                self._apply(undo)
            self._undo.clear()

    def flip_bit(self, among: bytes = b"") -> None:
        """Somewhere in a block of LevelDB: it is noticed when the key is read. `among`: only keys
        that contain this."""
        keys = sorted(key for key in self.data if among in key)
        if keys:
            self.damaged.add(keys[int(self._random.random() * len(keys))])

    def restore(self, data: dict[bytes, bytes]) -> None:
        self.data = dict(data)
        self._keys = None
        self._undo.clear()
        self.damaged.clear()
        self.met = False
