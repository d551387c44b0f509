"""Documents wait here for the next fixed time, and are then anchored under one root, amendments each
under its own (decision 0019).

Law of the file: what waits is in the vault, encrypted, and in no record file: after a crash nobody
was told of it, and it goes. What cannot be placed any more is refused alone, and holds up no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from node.record_drafts import Kept
from salus.errors import SalusError
from salus.forms_records import Staged
from salus.record import BATCH_LEAVES_MAX

Place = Callable[[Sequence[Kept]], Awaitable[Sequence[Staged | SalusError]]]


class RecordBatches:
    """`stage` returns with the batch."""

    def __init__(
        self,
        place: Place,
        period_ms: int,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`period_ms`: batches go at its multiples, by this node's clock; 0: none waits."""
        self._place, self.period_ms = place, period_ms
        self._now_ms, self._sleep = now_ms, sleep
        self._waiting: list[tuple[Kept, asyncio.Future[Staged]]] = []
        self._timer: asyncio.Task[None] | None = None

    async def stage(self, kept: Kept) -> Staged:
        """When its time has come. One of a batch is given the operations that anchor all of it; the
        others wait for the chain. Raises `SalusError` as `RecordService.place` does."""
        waiter: asyncio.Future[Staged] = asyncio.get_running_loop().create_future()
        self._waiting.append((kept, waiter))
        if self._timer is None:
            self._timer = asyncio.create_task(self._at_the_next_time(), name="record batch")
        return await waiter

    async def close(self) -> None:
        """What waits is told that it is not there."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SalusError("the node is stopping", code="NOT_READY"))
        self._waiting.clear()

    async def _at_the_next_time(self) -> None:
        while self._waiting:
            if self.period_ms:
                await self._sleep((self.period_ms - self._now_ms() % self.period_ms) / 1000)
            await self._go()
        self._timer = None

    async def _go(self) -> None:
        """One batch of the new documents, and each amendment, of those that somebody still waits for."""
        here = [(kept, waiter) for kept, waiter in self._waiting if not waiter.done()]
        now, later = _one_version_each(here)
        self._waiting = later
        if not now:
            return
        # What the chain refuses of an amendment, whose record somebody ended meanwhile, takes all of its
        # transaction with it: so each goes in its own, and new documents depend on none of them.
        new = [one for one in now if one[0].submission.previous is None]
        for together in (new, *([one] for one in now if one[0].submission.previous is not None)):
            if together:
                await self._go_together(together)

    async def _go_together(self, now: Sequence[tuple[Kept, asyncio.Future[Staged]]]) -> None:
        try:
            placed = await self._place([kept for kept, _ in now])
        except Exception as error:  # noqa: BLE001 (told to each who waits, as if it were alone)
            for _, waiter in now:
                if not waiter.done():
                    waiter.set_exception(error)
            return
        self._tell([waiter for _, waiter in now], placed)

    @staticmethod
    def _tell(
        waiters: Sequence[asyncio.Future[Staged]], placed: Sequence[Staged | SalusError]
    ) -> None:
        operations = next((one.operations for one in placed if isinstance(one, Staged)), ())
        for waiter, one in zip(waiters, placed, strict=True):
            if waiter.done():  # who asked has gone meanwhile; `GET …/operations` gives them again
                continue
            if isinstance(one, SalusError):
                waiter.set_exception(one)
                continue
            waiter.set_result(msgspec.structs.replace(one, operations=operations))
            operations = ()


def _one_version_each(
    waiting: list[tuple[Kept, asyncio.Future[Staged]]],
) -> tuple[list[tuple[Kept, asyncio.Future[Staged]]], list[tuple[Kept, asyncio.Future[Staged]]]]:
    """Of one record one version a batch, for the second supersedes the first; and as many as fit."""
    now: list[tuple[Kept, asyncio.Future[Staged]]] = []
    later: list[tuple[Kept, asyncio.Future[Staged]]] = []
    amended: set[str] = set()
    for one in waiting:
        previous = one[0].submission.previous
        if len(now) >= BATCH_LEAVES_MAX or previous in amended:
            later.append(one)
            continue
        now.append(one)
        if previous is not None:
            amended.add(previous)
    return now, later
