"""The events of certified blocks, for subscribers: numbered (height, index), never dropped.

Index 0 of each block is `block.certified`; then, transaction by transaction, `tx.committed` or
`tx.rejected` followed by the events of its operations. So the number of an event is a function
of the chain and the same at every node. Law of the file: nobody is sent a copy into a queue.
A subscriber is a position; it reads the next block from a short cache or from storage, so a
slow one costs nothing and misses nothing, until pruning has passed it by (EVENTS_PRUNED).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from salus.block import Fact, Header, Receipt
from salus.errors import SalusError

# Blocks kept decoded for those who keep up: a few seconds at full speed, 8 MB. Where each transaction has
# 100 operations a block has 5,000 to 7,000 receipts, of half a kilobyte each; older ones are read from disk.
RECENT_BLOCKS_MAX = 64
RECENT_RECEIPTS_MAX = 16_000

BlockReader = Callable[[int], tuple[Header, tuple[Receipt, ...]] | None]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The id of an event; text form `height.index`."""

    height: int
    index: int

    def __str__(self) -> str:
        return f"{self.height}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Raises `SalusError` (BAD_POSITION)."""
        height, dot, index = text.partition(".")
        digits = (height + index).isascii() and height.isdigit() and (index.isdigit() or not dot)
        if not digits or len(text) > 32:
            raise SalusError("an event's id is «height.index»", code="BAD_POSITION")
        return cls(int(height), int(index) if dot else END_OF_BLOCK)


DUPLICATE = "DUPLICATE"  # the receipt of bytes that an earlier block has executed
END_OF_BLOCK = 2**53 - 1  # `after=12` means: everything of block 12 is known


@dataclass(frozen=True, slots=True)
class FeedEvent:
    position: Position
    kind: str
    tx_id: bytes | None
    operation: int | None
    time_ms: int
    data: dict[str, Any]


class Pruned(SalusError):
    """The reader asks for events of blocks that are no longer kept."""

    code = "EVENTS_PRUNED"


class _Recent(NamedTuple):
    header: Header
    receipts: tuple[Receipt, ...]
    contracts: frozenset[str] | None  # that it called; None: unknown


class Feed:
    def __init__(self, read: BlockReader, *, height: int, first_height: int = 1) -> None:
        self._read = read
        self._height = height
        self._first = first_height
        self._recent: OrderedDict[int, _Recent] = OrderedDict()
        self._recent_receipts = 0
        self._grown = asyncio.Event()
        self._closed = False
        self._subscriptions: set[Subscription] = set()

    @property
    def height(self) -> int:
        return self._height

    @property
    def first_height(self) -> int:
        return self._first

    def publish(
        self,
        header: Header,
        receipts: tuple[Receipt, ...],
        contracts: frozenset[str] | None = None,
    ) -> None:
        """A block is certified and on disk; wakes everybody who waits. `contracts`: those it called, if
        that is known."""
        assert header.height == self._height + 1, "blocks are published without a gap"
        self._height = header.height
        self._recent[header.height] = _Recent(header, receipts, contracts)
        self._recent_receipts += len(receipts)
        while len(self._recent) > 1 and (
            len(self._recent) > RECENT_BLOCKS_MAX or self._recent_receipts > RECENT_RECEIPTS_MAX
        ):
            self._forget(next(iter(self._recent)))
        self._wake()

    def _forget(self, height: int) -> None:
        self._recent_receipts -= len(self._recent.pop(height).receipts)

    def recent(self, height: int, contract: str | None = None) -> tuple[Receipt, ...] | None:
        """The receipts of a block of the last seconds, without reading the store; none of a block that
        called nothing of `contract`, if one is named: nobody need walk over them."""
        block = self._recent.get(height)
        if block is None:
            return None
        called = contract is None or block.contracts is None or contract in block.contracts
        return block.receipts if called else ()

    def jumped(self, height: int, first_height: int) -> None:
        """Storage jumped ahead (a snapshot was restored): nothing below `first_height` is here."""
        self._height = max(self._height, height)
        self.prune(first_height)
        self._wake()

    def prune(self, first_height: int) -> None:
        """Blocks below `first_height` are gone."""
        self._first = max(self._first, first_height)
        for height in [height for height in self._recent if height < self._first]:
            self._forget(height)

    def close(self) -> None:
        """Ends all subscriptions after what they have; for a graceful stop."""
        self._closed = True
        self._wake()

    def events_of(self, height: int) -> list[FeedEvent]:
        """All events of a certified block; raises `Pruned`."""
        recent = self._recent.get(height)
        if recent is not None:
            return block_events(recent.header, recent.receipts)
        block = self._read(height) if height >= self._first else None
        if block is None:
            raise self._pruned()
        return block_events(*block)

    def start(self, after: Position | None) -> Position:
        """Where a subscriber begins; None = with the next block. Raises `Pruned`, BAD_POSITION."""
        if after is None:
            return Position(self._height, END_OF_BLOCK)
        if after.height > self._height:
            raise SalusError(
                f"position {after.height} is ahead of height {self._height}", code="BAD_POSITION"
            )
        if after.height == 0:  # the genesis block has no events
            after = Position(0, END_OF_BLOCK)
        if self._next_height(after) < min(self._first, self._height + 1):
            raise self._pruned()
        return after

    def subscribe(self, after: Position | None) -> "Subscription":
        """A reader behind `after` (None: from the next block on). Raises `Pruned`, BAD_POSITION."""
        return Subscription(self, self.start(after))

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def lag_blocks(self) -> int:
        """How far the slowest subscriber is behind."""
        return max((self._height - s.position.height for s in self._subscriptions), default=0)

    def _pruned(self) -> Pruned:
        first = self._first
        return Pruned(f"events below height {first} are no longer kept", first=f"{first}.0")

    @staticmethod
    def _next_height(position: Position) -> int:
        """The block that holds the next event behind a position, if it has one."""
        return position.height + (position.index == END_OF_BLOCK)

    def _wake(self) -> None:
        self._grown.set()
        # Whoever waits now holds the old event; later waiters wait for the next block.
        if not self._closed:
            self._grown = asyncio.Event()


class Subscription:
    """One reader: a position, moved by `next`. Use it as a context manager."""

    def __init__(self, feed: Feed, position: Position) -> None:
        self._feed = feed
        self.position = position

    def __enter__(self) -> Self:
        self._feed._subscriptions.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._feed._subscriptions.discard(self)

    async def next(self, timeout_s: float) -> list[FeedEvent] | None:
        """The remaining events of the next block; [] when the time is up; None: the feed closed.

        Raises `Pruned` if the reader was so slow that pruning has overtaken it."""
        while True:
            height = self._feed._next_height(self.position)
            if height <= self._feed.height:
                events = self._feed.events_of(height)
                if self.position.height == height:
                    events = [event for event in events if event.position > self.position]
                self.position = Position(height, END_OF_BLOCK)
                if events:
                    return events
            elif self._feed._closed:
                return None
            else:
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._feed._grown.wait()
                except TimeoutError:
                    return []


def block_events(header: Header, receipts: tuple[Receipt, ...]) -> list[FeedEvent]:
    """The events of one block, in order; a function of certified content only."""
    height, time_ms = header.height, header.time_ms
    events = [
        FeedEvent(
            Position(height, 0),
            "block.certified",
            None,
            None,
            time_ms,
            {
                "hash": header.hash().hex(),
                "epoch": header.epoch,
                "transactions_count": header.transactions_count,
                "state_root": header.state_root.hex(),
            },
        )
    ]
    for tx_receipts in by_transaction(receipts):
        tx_id = tx_receipts[0].tx_id
        refusal = first_refusal(tx_receipts)
        if refusal == DUPLICATE and len({receipt.code for receipt in tx_receipts}) == 1:
            continue  # executed before: what became of it was told there
        committed = any(receipt.ok for receipt in tx_receipts)
        events.append(
            FeedEvent(
                Position(height, len(events)),
                "tx.committed" if committed else "tx.rejected",
                tx_id,
                None,
                time_ms,
                {"code": refusal or "OK", "operations": len(tx_receipts)},
            )
        )
        for receipt in tx_receipts:
            for event in receipt.events:
                data = {name: fact_json(value) for name, value in event.data.items()}
                position = Position(height, len(events))
                events.append(
                    FeedEvent(position, event.kind, tx_id, receipt.operation, time_ms, data)
                )
    return events


def by_transaction(receipts: tuple[Receipt, ...]) -> list[list[Receipt]]:
    """Receipts come in the order of (transaction, operation): one list per transaction."""
    groups: list[list[Receipt]] = []
    for receipt in receipts:
        if groups and receipt.tx_id == groups[-1][0].tx_id:
            groups[-1].append(receipt)
        else:
            groups.append([receipt])
    return groups


def first_refusal(receipts: list[Receipt]) -> str | None:
    return next((receipt.code for receipt in receipts if not receipt.ok), None)


def fact_json(value: Fact) -> bool | int | str:
    return value.hex() if isinstance(value, bytes) else value
