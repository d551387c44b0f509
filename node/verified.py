"""Which bytes were verified: what waits in the pool, and what proposals of others held (S15).

Law of the file: found by all of its bytes, signature included, never by an id that somebody claims.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from salus.transaction import ParsedTransaction

# Verified out of proposals of others: two blocks of the largest size for each in flight.
EXTRAS_MAX = 8_192
EXTRAS_BYTES_MAX = 16 * 2**20


class Verified:
    """By all bytes. What the pool holds stays as long as it does; of the rest the oldest goes."""

    def __init__(self) -> None:
        self._by_bytes: dict[bytes, ParsedTransaction] = {}
        # By all bytes, or None: the dictionary's own method, for each transaction is asked for three times.
        self.get: Callable[[bytes], ParsedTransaction | None] = self._by_bytes.get
        # id → bytes, not in the pool; oldest first, and one at a time (storage/cache.py on plain dicts).
        self._extras: OrderedDict[bytes, bytes] = OrderedDict()
        self._extras_bytes = 0

    def has_any(self, raws: Iterable[bytes]) -> bool:
        return not self._by_bytes.keys().isdisjoint(raws)

    def unknown(self, transactions: Iterable[ParsedTransaction]) -> list[ParsedTransaction]:
        """Those of them that were not verified."""
        by_bytes = self._by_bytes
        return [tx for tx in transactions if tx.raw not in by_bytes]

    def keep(self, tx: ParsedTransaction) -> None:
        """It is in the pool now."""
        if tx.id in self._extras:
            self.forget_extra(tx.id)
        self._by_bytes[tx.raw] = tx

    def drop(self, tx: ParsedTransaction) -> None:
        """It has left the pool."""
        del self._by_bytes[tx.raw]

    def remember(self, transactions: Iterable[ParsedTransaction]) -> None:
        """Their signatures were verified (in a proposal): never again, should they come alone."""
        by_bytes, extras = self._by_bytes, self._extras
        for tx in transactions:
            raw = tx.raw
            if raw not in by_bytes:
                by_bytes[raw] = tx
                extras[tx.id] = raw
                self._extras_bytes += len(raw)
        while len(self._extras) > EXTRAS_MAX or self._extras_bytes > EXTRAS_BYTES_MAX:
            self.forget_extra(next(iter(self._extras)))

    def forget_extra(self, tx_id: bytes) -> ParsedTransaction | None:
        """It is in a block, or moves into the pool; None: no extra has this id."""
        found = self.forget_extras([tx_id])
        return found[0] if found else None

    def forget_extras(self, tx_ids: Iterable[bytes]) -> list[ParsedTransaction]:
        """As `forget_extra` for each; those that were extras."""
        extras, by_bytes = self._extras, self._by_bytes
        found = []
        for tx_id in tx_ids:
            raw = extras.pop(tx_id, None)
            if raw is not None:
                self._extras_bytes -= len(raw)
                found.append(by_bytes.pop(raw))
        return found
