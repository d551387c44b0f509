"""Whoever waits for a height or for the end of a transaction is woken by the block that brings it.

Bounded: a waiter is an HTTP request, and those are bounded by the API.
"""

import asyncio
from collections.abc import Iterable


class Waiters:
    def __init__(self, height: int) -> None:
        self.height = height
        self._grown = asyncio.Event()
        self._transactions: dict[bytes, list[asyncio.Future[int]]] = {}

    def block(self, height: int, tx_ids: Iterable[bytes]) -> None:
        """A block is certified and on disk."""
        self.height = height
        self._grown.set()
        self._grown = asyncio.Event()
        if self._transactions:
            for tx_id in tx_ids:
                for waiter in self._transactions.pop(tx_id, ()):
                    if not waiter.done():
                        waiter.set_result(height)

    async def for_height(self, height: int, timeout_s: float) -> bool:
        """True once `height` is on disk, False when the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.height < height:
                    await self._grown.wait()
        except TimeoutError:
            return False
        return True

    async def for_transaction(self, tx_id: bytes, timeout_s: float) -> int | None:
        """The height of the next block that holds the transaction; None when the time is up."""
        waiter = asyncio.get_running_loop().create_future()
        self._transactions.setdefault(tx_id, []).append(waiter)
        try:
            return await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return None
        finally:
            waiting = self._transactions.get(tx_id)
            if waiting is not None and waiter in waiting:
                waiting.remove(waiter)
                if not waiting:
                    del self._transactions[tx_id]
