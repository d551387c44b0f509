"""A short act after the measurement: the primary lies, and everybody must refuse.

The network that was measured is stopped and started again with `cli/bench/lying_validator.py` in the
primary's seat. Its proposals hold a transaction with a bad signature; clients of the others go
on. Law of the file: what counts is what the honest nodes say, in their logs and their chains.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import testnet
from cli.bench import load, lying_validator
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.forms import TransactionState

VALIDATORS_MIN = 4  # fewer tolerate no liar (B29)
TRANSACTIONS_PER_NODE = 10
COMMIT_TIMEOUT_S = 60
SEATINGS_MAX = 3  # a loaded machine may change the view while the nodes come up
AGREE_S = 60


@dataclass(frozen=True, slots=True)
class Lies:
    """`told`: proposals of the lying primary with a bad signature in them; `refused`: those that
    no honest node committed. `gap_ms`: the longest that a client waited meanwhile."""

    told: int = 0
    refused: int = 0
    gap_ms: float = 0.0


async def play(root: Path, chain: load.Chain) -> Lies:
    """Of a network that runs; raises `CliError` (BENCH_FAILED) if a lie got anywhere."""
    liar = await _primary(read_testnet(root).nodes[0])
    for _ in range(SEATINGS_MAX):
        nodes = await _seat(root, liar)
        now = await _primary(next(node for node in nodes if node.name != liar))
        if now == liar:
            return await _act(root, nodes, liar, chain)
        liar = now
    raise CliError("BENCH_FAILED", "the liar did not become primary: the machine is too busy")


async def _primary(node: TestnetNode) -> str:
    async with Client(node.api) as client:
        primary = (await client.status()).primary
    assert primary is not None, "a network that is ready has a primary"
    return primary


async def _seat(root: Path, liar: str) -> tuple[TestnetNode, ...]:
    testnet.stop(root)
    testnet.start(root, commands={liar: lying_validator.COMMAND})
    await testnet.wait_ready(root, read_testnet(root))
    return read_testnet(root).nodes


async def _act(root: Path, nodes: Sequence[TestnetNode], liar: str, chain: load.Chain) -> Lies:
    honest = [(org, node) for org, node in enumerate(nodes) if node.name != liar]
    async with asyncio.TaskGroup() as group:
        waits = [
            group.create_task(_clients(node, load.sign(chain, org, 0, TRANSACTIONS_PER_NODE, 0)))
            for org, node in honest
        ]
    seat = next(node for node in nodes if node.name == liar)
    lies = _lines(seat.node_home.path / lying_validator.LIES_FILE)
    if not lies:
        raise CliError("BENCH_FAILED", "the lying primary told no lie")
    await _agree([node for _, node in honest])
    for _, node in honest:
        await _not_committed(node, lies)
        if not _refusals(testnet.log_of(root, node.name)):
            raise CliError("BENCH_FAILED", f"{node.name} did not refuse a bad signature")
    return Lies(len(lies), len(lies), round(max(task.result() for task in waits), 1))


async def _clients(node: TestnetNode, signed: Sequence[load.Signed]) -> float:
    """Send all at once, one by one; the longest wait for a commit in ms."""

    async def one(client: Client, tx: load.Signed) -> float:
        sent_s = time.perf_counter()
        await client.submit(tx.raw)
        await client.wait(tx.tx_id, COMMIT_TIMEOUT_S)
        return 1000 * (time.perf_counter() - sent_s)

    async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
        return max(await asyncio.gather(*(one(client, tx) for tx in signed)))


async def _agree(nodes: Sequence[TestnetNode]) -> None:
    """All reach the highest height: what one has committed, the others are asked about too."""
    height = 0
    for node in nodes:
        async with Client(node.api) as client:
            height = max(height, (await client.status()).height)
    deadline = time.monotonic() + AGREE_S
    for node in nodes:
        async with Client(node.api) as client:
            while (await client.status()).height < height:
                if time.monotonic() > deadline:
                    raise CliError("BENCH_FAILED", f"{node.name} does not reach {height}")
                await asyncio.sleep(0.1)


async def _not_committed(node: TestnetNode, lies: Sequence[str]) -> None:
    async with Client(node.api) as client:
        for tx_id in lies:
            if (await client.transaction(tx_id)).state is not TransactionState.UNKNOWN:
                raise CliError("BENCH_FAILED", f"{node.name} took {tx_id}, badly signed")


def _refusals(log: Path) -> int:
    """Proposals that the node refused for a signature; each line of its log is one object."""
    found = 0
    for line in _lines(log):
        if '"bad_proposal"' in line:
            found += json.loads(line).get("code") == "BAD_SIGNATURE"
    return found


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
