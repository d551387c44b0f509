"""Transactions of the pool that are valid from a later height only: a part of it, never all of it.

An idle chain makes no block, so its height stands still and nothing in here becomes valid. If they
could fill the pool, nothing that is valid would find room to move the height: a flood of them, by one
client, would stop the chain for ever (B25).
"""

from collections import Counter

from node.entry import Entry
from salus.errors import BadMessage
from salus.transaction import ParsedTransaction

LATER_SHARE = 2  # one part in so many of each limit: the rest is for what can be ordered now


class Later:
    """By id, in order of arrival; with the sums that the limits are about."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._groups: Counter[str | None] = Counter()
        self.bytes = 0
        self.owed = 0  # to this node's own clients

    def __contains__(self, tx_id: object) -> bool:
        return tx_id in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def of_group(self, group: str | None) -> int:
        """How many of this organisation's transactions are here."""
        return self._groups[group]

    def check_room(
        self,
        tx: ParsedTransaction,
        group: str | None,
        share: int,
        count_max: int,
        bytes_max: int,
    ) -> None:
        """What no block can hold yet leaves a part of everything to what one can. `share`,
        `count_max`, `bytes_max`: the limits of the whole pool. Raises `BadMessage`."""
        if (
            LATER_SHARE * len(self) >= count_max
            or LATER_SHARE * (self.bytes + len(tx.raw)) > bytes_max
        ):
            raise BadMessage(
                "too many transactions wait for a later height already", code="POOL_FULL"
            )
        if LATER_SHARE * self.of_group(group) >= share:
            raise BadMessage(
                "too many transactions of this sender's organisation, or of keys that belong to no "
                "member, wait for a later height already",
                code="SENDER_QUOTA",
            )

    def put(self, entry: Entry) -> None:
        if entry.tx.id not in self.entries:
            self.entries[entry.tx.id] = entry
            self._groups[entry.group] += 1
            self.bytes += len(entry.tx.raw)
            self.owed += entry.forwarded

    def owe(self, entry: Entry) -> None:
        """From now on it is owed to a client of this node; nothing, if it is not here."""
        self.owed += entry.tx.id in self.entries and not entry.forwarded

    def pop(self, tx_id: bytes) -> None:
        """Nothing, if it is not here."""
        entry = self.entries.pop(tx_id, None)
        if entry is None:
            return
        self.bytes -= len(entry.tx.raw)
        self.owed -= entry.forwarded
        self._groups[entry.group] -= 1
        if not self._groups[entry.group]:
            del self._groups[entry.group]

    def due(self, height: int) -> list[Entry]:
        """Takes out what is valid at the height after this one."""
        found = [entry for entry in self.entries.values() if entry.from_height <= height + 1]
        for entry in found:
            self.pop(entry.tx.id)
        return found
