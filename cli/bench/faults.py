"""`salus bench --measure faults`: what a primary costs that dies, hangs or is cut off under load.

Default settings. Clients of the other nodes go on, open loop; a fault comes, stays for a while and is
healed. Law of the file: *lost* and *twice* are counted on the chain, by walking its blocks, and never
by what a client was told.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp

from cli import processes, testnet
from cli.bench import load
from cli.bench.network import COMMIT_TIMEOUT_S, Say, chain_of, height_of, inject, later
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.forms import TransactionState
from salus.parameters import Parameters

VALIDATORS_MIN = 4  # fewer tolerate nobody's absence
CHAIN_ID = "bench-faults"
BEFORE_S = 5  # of load while all is well
# A silence of all clients together that is no ordinary wait for a block, whatever the machine.
GAP_MS = 500.0
GAP_TARGET_MS = 2_000
HEALED_S = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault. A gap is a time in which no client of any node saw a commit.

    `gaps_after`: those that begin later than the first one ended, while the fault lasts."""

    fault: str
    rate: int
    sent: int
    committed: int
    refused: int  # answered, and not taken
    lost: int  # taken, and on no chain
    twice: int  # executed more than once
    before_tx_per_s: int
    during_tx_per_s: int  # from the fault to its end, the gap included
    worst_commit_ms: float
    first_gap_ms: float
    gaps_after: int
    longest_gap_after_ms: float
    rejoined_s: float  # until the healed node was ready again


@dataclass(slots=True)
class Seen:
    """What the clients saw; times by the monotonic clock."""

    done: list[tuple[float, float]] = field(default_factory=list)  # (due, done)
    taken: list[bytes] = field(default_factory=list)  # ids that were answered for
    sent: int = 0
    refused: int = 0

    def gaps(self, starts_s: float, ends_s: float) -> list[tuple[float, float]]:
        """(when it began, ms) of each silence within, ascending."""
        times = [starts_s, *sorted(d for _, d in self.done if starts_s <= d <= ends_s), ends_s]
        pairs = pairwise(times)
        return [(a, 1000 * (b - a)) for a, b in pairs if 1000 * (b - a) > GAP_MS]

    def between(self, starts_s: float, ends_s: float) -> int:
        return sum(1 for _, done in self.done if starts_s <= done < ends_s)


async def run(root: Path, rate: int, seconds: int, say: Say) -> list[Outcome]:
    """Each fault on a network of its own in `root`, for `seconds`. Raises `CliError`."""
    outcomes = []
    for name, (strike, heal) in FAULTS.items():
        place = root / name
        testnet.create(place, VALIDATORS_MIN, CHAIN_ID, Parameters())
        try:
            testnet.start(place)
            await testnet.wait_ready(place, read_testnet(place))
            say(f"{name}: {rate} transactions a second, the primary strikes out after {BEFORE_S} s")
            outcomes.append(await _trial(place, name, rate, seconds, strike, heal))
        finally:
            _wake(place)
            testnet.stop(place)
    return outcomes


Act = Callable[[Path, TestnetNode], Awaitable[None]]


async def _trial(
    root: Path, fault: str, rate: int, seconds: int, strike: Act, heal: Act
) -> Outcome:
    nodes = read_testnet(root).nodes
    async with Client(nodes[0].api) as client:
        primary = (await client.status()).primary
    victim = next(node for node in nodes if node.name == primary)
    others = [(org, node) for org, node in enumerate(nodes) if node.name != primary]
    chain = await later(chain_of(root), others[0][1])
    total = rate * (BEFORE_S + seconds)
    each = -(-total // len(others))
    signed = {org: load.sign(chain, org, 0, each, 0) for org, _ in others}
    first_height = await height_of(others[0][1])
    seen = Seen()
    began = time.monotonic()
    struck, ends = began + BEFORE_S, began + BEFORE_S + seconds

    async def act() -> None:
        await asyncio.sleep(struck - time.monotonic())
        await strike(root, victim)

    async with asyncio.TaskGroup() as group:
        group.create_task(act())
        group.create_task(_clients(others, signed, rate, began, total, seen))
    healing = time.monotonic()
    await heal(root, victim)
    await testnet.wait_ready(root, read_testnet(root), timeout_s=HEALED_S)
    rejoined_s = time.monotonic() - healing
    executed = await _executed(others[0][1], first_height)
    gaps = seen.gaps(struck, ends)
    first = gaps[:1]
    rest = gaps[1:]
    return Outcome(
        fault=fault,
        rate=rate,
        sent=seen.sent,
        committed=len(seen.done),
        refused=seen.refused,
        lost=sum(1 for tx_id in seen.taken if not executed[tx_id]),
        twice=sum(1 for count in executed.values() if count > 1),
        before_tx_per_s=round(seen.between(began, struck) / BEFORE_S),
        during_tx_per_s=round(seen.between(struck, ends) / seconds),
        worst_commit_ms=round(max((1000 * (b - a) for a, b in seen.done), default=0.0), 1),
        first_gap_ms=round(first[0][1], 1) if first else 0.0,
        gaps_after=len(rest),
        longest_gap_after_ms=round(max((ms for _, ms in rest), default=0.0), 1),
        rejoined_s=round(rejoined_s, 1),
    )


async def _clients(
    nodes: Sequence[tuple[int, TestnetNode]],
    signed: dict[int, list[load.Signed]],
    rate: int,
    began: float,
    total: int,
    seen: Seen,
) -> None:
    """Open loop: each is sent when it is due, whether or not others are answered."""

    async def one(session: aiohttp.ClientSession, api: str, tx: load.Signed, due: float) -> None:
        url = f"{api}/v1/txs?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
        headers = {"Content-Type": "application/octet-stream"}
        seen.sent += 1
        async with session.post(url, data=tx.raw, headers=headers) as response:
            await response.read()
        if response.status == 200:
            seen.done.append((due, time.monotonic()))
            seen.taken.append(tx.tx_id)
        elif response.status == 202:  # still pending when the time was up: promised all the same
            seen.taken.append(tx.tx_id)
        else:
            seen.refused += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for number in range(total):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            org, node = nodes[number % len(nodes)]
            tx = signed[org].pop()
            if tx.good:
                group.create_task(one(session, node.api, tx, due))


async def _executed(node: TestnetNode, from_height: int) -> Counter[bytes]:
    """How often each transaction was executed since, by the node's blocks."""
    count: Counter[bytes] = Counter()
    async with Client(node.api) as client:
        height = (await client.status()).height
        for first in range(from_height, height + 1, PAGE_BLOCKS):
            last = min(height, first + PAGE_BLOCKS - 1)
            cursor = ""
            while True:
                path = f"/v1/txs?limit=100&from_height={first}&to_height={last}{cursor}"
                page = (await client.api("GET", path)).json()
                for row in page["items"]:
                    if row["state"] == TransactionState.COMMITTED:
                        count[bytes.fromhex(row["tx_id"])] += 1
                if page["next"] is None:
                    break
                cursor = f"&after={page['next']}"
    return count


PAGE_BLOCKS = 50  # below what one page of the list scans


# -- the faults ----------------------------------------------------------------------------------


async def _kill(root: Path, node: TestnetNode) -> None:
    processes.send(Path(node.home), signal.SIGKILL)


async def _start_again(root: Path, node: TestnetNode) -> None:
    testnet.start(root, [node.name])


async def _stop(root: Path, node: TestnetNode) -> None:
    processes.send(Path(node.home), signal.SIGSTOP)


async def _go_on(root: Path, node: TestnetNode) -> None:
    processes.send(Path(node.home), signal.SIGCONT)


async def _cut(root: Path, node: TestnetNode) -> None:
    others = [other.name for other in read_testnet(root).nodes if other.name != node.name]
    await inject(node, others, 0)


async def _mend(root: Path, node: TestnetNode) -> None:
    await inject(node, [], 0)


def _wake(root: Path) -> None:
    """A stopped process does not end by asking."""
    for node in read_testnet(root).nodes:
        if processes.running(Path(node.home)) is not None:
            processes.send(Path(node.home), signal.SIGCONT)


# A closed socket is the easy one: SIGSTOP and dropped packets leave the connections open.
FAULTS: dict[str, tuple[Act, Act]] = {
    "SIGKILL": (_kill, _start_again),
    "SIGSTOP": (_stop, _go_on),
    "dropped packets": (_cut, _mend),
}


def check(outcomes: Sequence[Outcome]) -> None:
    """The two that are no question of speed. Raises `CliError` (BENCH_FAILED)."""
    for one in outcomes:
        if one.lost or one.twice:
            raise CliError(
                "BENCH_FAILED", f"{one.fault}: {one.lost} lost, {one.twice} executed twice"
            )
