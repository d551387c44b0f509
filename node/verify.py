"""Checking client signatures in slices: inline when few come, in processes when many do (B26).

A signature costs about 55 µs. Where no process can, threads check, by the same rule: libsodium releases
the interpreter's lock, and a thread gets it back late while the loop is busy. In a turn of the loop one slice of the clients' and one of the proposals', and
smaller ones while consensus frames wait: agreement must never queue behind a flood of transactions.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from node.errors import NodeBusy
from node.verify_workers import Checked, VerifyWorkers
from salus.keys import Verifier, verify
from salus.transaction import ParsedTransaction

SLICE_MAX = 32  # ≈ 1.8 ms of one core: the longest that a vote waits for a slice
SLICE_MIN = 8
AWAY_SLICE_MAX = 256  # ≈ 14 ms of a core: two callers still share the processes fairly
# A consensus frame that waited longer asks for smaller slices. Two whole slices of a slow core: at
# less, the slices' own length would shrink them, and small ones cost a change of thread each.
WAIT_HIGH_MS = 8  # docs/decisions/0005-slices.md
WAITING_MAX = 50_000  # ≈ 3 s of one core; more is answered with «busy», not with memory
SLICES_PER_PLACE = 2  # one at work, one ready: in its pipe


class VerifyPool:
    """`threads`: 0 checks everything inline. `workers`: as many processes, which take what would go to
    the threads; they know no other `verifier` than the real one. `observe`: takes the seconds that a slice
    took. `verified_total` counts every check made."""

    def __init__(
        self,
        threads: int,
        *,
        workers: VerifyWorkers | None = None,
        verifier: Verifier = verify,
        waiting_max: int = WAITING_MAX,
        observe: Callable[[float], None] | None = None,
    ) -> None:
        assert workers is None or (threads and verifier is verify)
        self._verifier, self._waiting_max, self._observe = verifier, waiting_max, observe
        self._threads, self._workers = threads, workers
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix="salus-verify") if threads else None
        )
        self._places = asyncio.Semaphore(max(1, threads * SLICES_PER_PLACE))
        self._urgent_place = asyncio.Semaphore(1)  # where there are no threads
        self.slice_size = SLICE_MAX
        self.waiting = 0  # transactions handed in and not yet answered
        self._taken_this_turn = 0
        self.verified_total = 0

    async def verify(
        self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
    ) -> list[bool]:
        """For each transaction, in order: is its signature valid? Raises `NodeBusy`, unless it is
        `urgent`: a proposal's, of which only so many can be open, and a vote waits for it."""
        count = len(transactions)
        if not urgent and self.waiting + count > self._waiting_max:
            raise NodeBusy(f"{self.waiting} signatures wait to be checked")
        self.waiting += count
        try:
            # Nobody else waits, and it is soon done; or a vote waits for it. A small proposal is faster
            # here than behind two slices, and so is what comes alone while others work on many.
            if self.waiting <= self.slice_size or (urgent and count <= SLICE_MAX):
                return self._check(transactions)
            if not urgent and self._pool is not None and self._fits_this_turn(count):
                return self._check(transactions)
            results: list[bool] = []
            if self._pool is None:
                # One slice a turn, however many clients there are, and one of a proposal's: it
                # would queue for longer than the progress timeout behind a hundred clients.
                place = self._urgent_place if urgent else self._places
                for part in _slices(transactions, self.slice_size):
                    async with place:
                        results += self._check(part)
                        await asyncio.sleep(0)
                return results
            # Elsewhere a slice delays nobody: larger ones cost fewer wake-ups of the loop.
            size = min(AWAY_SLICE_MAX, max(self.slice_size, -(-count // self._threads)))
            tasks = [
                asyncio.ensure_future(self._away(part, urgent))
                for part in _slices(transactions, size)
            ]
            try:
                for checked in await asyncio.gather(*tasks):
                    results += checked
            finally:
                for task in tasks:
                    task.cancel()
            return results
        finally:
            self.waiting -= count

    def note_wait_ms(self, waited_ms: float) -> None:
        """How long a consensus frame waited for its turn of the loop: steers the slice's size."""
        if waited_ms > WAIT_HIGH_MS:
            self.slice_size = max(SLICE_MIN, self.slice_size // 2)
        elif self.slice_size < SLICE_MAX:
            self.slice_size += 1  # slowly back, so that it does not swing

    def _fits_this_turn(self, count: int) -> bool:
        """Of what comes in a turn of the loop while others are at work, one slice stays here."""
        if self._taken_this_turn + count > self.slice_size:
            return False
        if not self._taken_this_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._taken_this_turn += count
        return True

    def _next_turn(self) -> None:
        self._taken_this_turn = 0

    async def close(self) -> None:
        """No more work; what is in the threads is finished and thrown away, the processes are ended."""
        if self._workers is not None:
            await self._workers.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    async def _away(self, part: Sequence[ParsedTransaction], urgent: bool) -> list[bool]:
        if urgent:  # not behind the slices of clients that wait for a place
            return await self._elsewhere(part)
        await self._places.acquire()
        # A question in a pipe cannot be taken back: who leaves leaves it there, and its place is taken
        # until it is answered. Else a proposal would wait for what nobody wants any more.
        work = asyncio.ensure_future(self._elsewhere(part))
        work.add_done_callback(lambda _: self._places.release())
        return await asyncio.shield(work)

    async def _elsewhere(self, part: Sequence[ParsedTransaction]) -> list[bool]:
        checked = None if self._workers is None else await self._workers.check(part)
        if checked is None:
            loop = asyncio.get_running_loop()
            checked = await loop.run_in_executor(self._pool, self._run, part)
        return self._counted(*checked)

    def _check(self, part: Sequence[ParsedTransaction]) -> list[bool]:
        return self._counted(*self._run(part))

    def _run(self, part: Sequence[ParsedTransaction]) -> Checked:
        verifier, began = self._verifier, time.perf_counter()
        return [tx.signature_valid(verifier) for tx in part], time.perf_counter() - began

    def _counted(self, results: list[bool], seconds: float) -> list[bool]:
        self.verified_total += len(results)
        if self._observe is not None:
            self._observe(seconds)
        return results


def _slices(
    transactions: Sequence[ParsedTransaction], size: int
) -> list[Sequence[ParsedTransaction]]:
    return [transactions[at : at + size] for at in range(0, len(transactions), size)]


def default_threads() -> int:
    """A worker for every four cores: the loop itself, which must parse and execute all that is
    verified, does not keep more of them busy. On a single core they cost more than they give."""
    cores = os.cpu_count() or 1
    return 0 if cores == 1 else max(1, cores // 4)
