"""Whoever waits for a height or for the end of a transaction is woken by the block that brings it.

Bounded: a waiter is an HTTP request, and those are bounded by the API.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from salus.block import Header, Receipt


class Outcome(msgspec.Struct, frozen=True):
    """Where a transaction stands in a certified block, and what came of its operations."""

    header: Header
    index: int
    receipts: tuple[Receipt, ...]


class Waiters:
    def __init__(self, height: int) -> None:
        self.height = height
        self._grown = asyncio.Event()
        self._transactions: dict[bytes, list[asyncio.Future[Outcome | None]]] = {}

    def block(self, header: Header, tx_ids: Sequence[bytes], receipts: Sequence[Receipt]) -> None:
        """A block is certified and on disk; `receipts` in the order of its transactions."""
        self.height = header.height
        self._grown.set()
        self._grown = asyncio.Event()
        if self._transactions:
            self._wake(header, tx_ids, receipts)

    def _wake(self, header: Header, tx_ids: Sequence[bytes], receipts: Sequence[Receipt]) -> None:
        """One walk over the receipts, however many wait for a part of them."""
        first = 0
        for index, tx_id in enumerate(tx_ids):
            end = first
            while end < len(receipts) and receipts[end].tx_id == tx_id:
                end += 1
            waiting = self._transactions.pop(tx_id, None)
            if waiting is not None:
                outcome = Outcome(header, index, tuple(receipts[first:end]))
                for waiter in waiting:
                    _answer(waiter, outcome)
            first = end

    async def for_height(self, height: int, timeout_s: float) -> bool:
        """True once `height` is on disk, False when the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.height < height:
                    await self._grown.wait()
        except TimeoutError:
            return False
        return True

    async def for_transaction(self, tx_id: bytes, timeout_s: float) -> Outcome | None:
        """The next block's word on the transaction; None when the time is up."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Outcome | None] = loop.create_future()
        self._transactions.setdefault(tx_id, []).append(waiter)
        # A timer and no `wait_for`: every request of a client waits here.
        timer = loop.call_later(timeout_s, _answer, waiter, None)
        try:
            return await waiter
        finally:
            timer.cancel()
            waiting = self._transactions.get(tx_id)
            if waiting is not None and waiter in waiting:
                waiting.remove(waiter)
                if not waiting:
                    del self._transactions[tx_id]


def _answer(waiter: asyncio.Future[Outcome | None], outcome: Outcome | None) -> None:
    """Whoever has left, or whose time was up in this very turn, hears nothing more."""
    if not waiter.done():
        waiter.set_result(outcome)
