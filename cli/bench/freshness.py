"""What was signed before the clock ran is signed again if the chain outgrows it.

A transaction expires some 8,000 blocks after the height for which it was signed. At a low rate a chain makes
hundreds of blocks a second, so a run of half a minute outlives what was signed before it. Law of the file:
nothing is signed while the clock runs that need not be, for that takes processor time from the nodes.
"""

import asyncio
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from cli.bench import load
from cli.bench.network import later
from cli.home import TestnetNode

AHEAD_S = 10  # signed again so long before it is sent, at most: some 3,000 blocks of a fast chain
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Stale:
    """Transactions of one organisation that will be sent soon and could expire: their places in its list."""

    org: int
    first: int
    count: int


class Freshness:
    """Over the lists of an open loop, which takes from their ends; so places count from the front."""

    def __init__(
        self,
        signed: list[list[load.Signed]],
        chain: load.Chain,
        rate: int,
        prefilled: int,
        operations: int = 1,
        begin: int = 0,
    ) -> None:
        """`signed` for `chain`, numbered from `begin`; `rate`: so many of all are sent in a second."""
        self.signed, self.chain, self.begin = signed, chain, begin
        self.prefilled, self.operations = prefilled, operations
        self._reach = -(-rate * AHEAD_S // len(signed))
        self._old = [len(part) for part in signed]  # places below are as they were signed first

    def stale(self, now: load.Chain, window: int) -> list[Stale]:
        """What to sign for `now`. `window`: so many blocks what is signed now may wait; what was
        signed first is used for the first half of them."""
        if now.expiry_height - self.chain.expiry_height <= window // 2:
            return []
        found = []
        for org, part in enumerate(self.signed):
            first = max(0, len(part) - self._reach)
            if first < self._old[org]:
                found.append(Stale(org, first, self._old[org] - first))
        return found

    def sign(self, now: load.Chain, stale: Stale) -> tuple[load.Chain, int, int, int, int, int]:
        """The arguments of `load.sign` for these."""
        first = self.begin + stale.first
        return now, stale.org, first, stale.count, self.prefilled, self.operations

    def replace(self, stale: Stale, made: list[load.Signed]) -> None:
        """Those that were sent meanwhile are gone from the end."""
        part = self.signed[stale.org]
        still = max(0, len(part) - stale.first)
        part[stale.first : stale.first + len(made)] = made[:still]
        self._old[stale.org] = stale.first


async def keep_fresh(freshness: Freshness, founding: load.Chain, node: TestnetNode) -> None:
    """Until cancelled, in one process of its own; `founding`: the chain at genesis."""
    loop = asyncio.get_running_loop()
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:  # a process from the first job on
        while True:
            now = await later(founding, node)
            for stale in freshness.stale(now, founding.expiry_height):
                made = await loop.run_in_executor(pool, load.sign, *freshness.sign(now, stale))
                freshness.replace(stale, made)
            await asyncio.sleep(LOOK_S)
