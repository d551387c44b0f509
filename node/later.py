"""Transactions of the pool that are valid from a later height only: a part of it, never all of it.

An idle chain makes no block, so its height stands still and nothing in here becomes valid. If they
could fill the pool, nothing that is valid would find room to move the height: a flood of them, by one
client, would stop the chain for ever (B25).
"""

from collections import Counter
from typing import Generic, Protocol, TypeVar

from salus.transaction import ParsedTransaction

LATER_SHARE = 2  # one part in so many of each limit: the rest is for what can be ordered now


class Entry(Protocol):
    """What is asked of an entry of the pool."""

    tx: ParsedTransaction
    group: str | None
    from_height: int


E = TypeVar("E", bound=Entry)


class Later(Generic[E]):
    """By id, in order of arrival; with the sums that the limits are about."""

    def __init__(self) -> None:
        self._entries: dict[bytes, E] = {}
        self._groups: Counter[str | None] = Counter()
        self.bytes = 0

    def __contains__(self, tx_id: object) -> bool:
        return tx_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def of_group(self, group: str | None) -> int:
        """How many of this organisation's transactions are here."""
        return self._groups[group]

    def put(self, entry: E) -> None:
        if entry.tx.id not in self._entries:
            self._entries[entry.tx.id] = entry
            self._groups[entry.group] += 1
            self.bytes += len(entry.tx.raw)

    def pop(self, tx_id: bytes) -> None:
        """Nothing, if it is not here."""
        entry = self._entries.pop(tx_id, None)
        if entry is None:
            return
        self.bytes -= len(entry.tx.raw)
        self._groups[entry.group] -= 1
        if not self._groups[entry.group]:
            del self._groups[entry.group]

    def due(self, height: int) -> list[E]:
        """Takes out what is valid at the height after this one."""
        found = [entry for entry in self._entries.values() if entry.from_height <= height + 1]
        for entry in found:
            self.pop(entry.tx.id)
        return found
