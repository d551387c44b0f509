"""./scripts/primaries: what a slow, dripping or censoring primary costs, beside a fair one.

    ./scripts/primaries --seconds 20 --rate 40 --rounds 1 [--json]

Four validators as processes, a client at each of the three others; the bad one is primary of view 0.
Turn by turn: fair, then each bad one with the account of rule L22 and without it. Ratios count:
all share one machine.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cli import testnet
from cli.bench import load, lying_validator
from cli.bench.network import chain_of
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.errors import SalusError
from salus.parameters import Parameters

VALIDATORS = 4
MODULE = "tests.primaries.validator"
COMMIT_TIMEOUT_S = 120
POLL_S = 0.25


@dataclass(frozen=True)
class Figures:
    """Of one run: commit times in ms, of all and of the hospital that is left out; `replaced_s`:
    when view 0 was over, None if it never was."""

    primary: str
    account: bool
    committed: int
    per_s: float
    median_ms: float
    worst_ms: float
    victim_worst_ms: float
    replaced_s: float | None


async def measure(kind: str, account: bool, seconds: float, rate: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="salus-primaries-") as folder:
        root = Path(folder) / "net"
        testnet.create(root, VALIDATORS, lying_validator.CHAIN_ID, Parameters())
        nodes = read_testnet(root).nodes
        commands: dict[str, Sequence[str]] = {}
        if not account:
            commands = {node.name: (MODULE, "patient") for node in nodes}
        if kind != "fair":
            commands[nodes[0].name] = (MODULE, kind)
        try:
            testnet.start(root, commands=commands)
            nodes = read_testnet(root).nodes
            await testnet.wait_ready(root, read_testnet(root))
            return await _load(root, nodes, kind, account, seconds, rate)
        finally:
            testnet.stop(root)


async def _load(
    root: Path, nodes: Sequence[TestnetNode], kind: str, account: bool, seconds: float, rate: float
) -> Figures:
    chain = chain_of(root)
    each = int(seconds * rate / (VALIDATORS - 1))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(_replaced(nodes[1], began, seconds))
        clients = [
            group.create_task(_client(node, load.sign(chain, org, 0, each, 0), seconds))
            for org, node in enumerate(nodes)
            if org
        ]
    waits = [wait for task in clients for wait in task.result()]
    took_s = time.monotonic() - began
    return Figures(
        kind,
        account,
        len(waits),
        round(len(waits) / took_s, 1),
        round(statistics.median(waits), 1),
        round(max(waits), 1),
        round(max(clients[-1].result()), 1),
        watch.result(),
    )


async def _client(node: TestnetNode, signed: Sequence[load.Signed], seconds: float) -> list[float]:
    """One after the other at the rate, however long they take; the wait for each commit in ms."""

    async def one(client: Client, tx: load.Signed, after_s: float) -> float | None:
        await asyncio.sleep(after_s)
        sent_s = time.perf_counter()
        try:
            await client.submit(tx.raw)
            await client.wait(tx.tx_id.hex(), COMMIT_TIMEOUT_S)
        except SalusError:
            return None  # not within the time: not among the committed
        return 1000 * (time.perf_counter() - sent_s)

    good = [tx for tx in signed if tx.good]
    pause_s = seconds / max(1, len(good))
    async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
        waits = await asyncio.gather(*(one(client, tx, i * pause_s) for i, tx in enumerate(good)))
    return [wait for wait in waits if wait is not None] or [1000.0 * COMMIT_TIMEOUT_S]


async def _replaced(node: TestnetNode, began: float, seconds: float) -> float | None:
    async with Client(node.api) as client:
        while time.monotonic() < began + seconds:
            if (await client.status()).view:
                return round(time.monotonic() - began, 1)
            await asyncio.sleep(POLL_S)
    return None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./scripts/primaries")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=40, help="transactions a second, in all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    turns = [("fair", True)] + [
        (kind, account) for kind in ("slow", "dripping", "censoring") for account in (True, False)
    ]
    found = []
    for _ in range(options.rounds):
        for kind, account in turns:
            figures = asyncio.run(measure(kind, account, options.seconds, options.rate))
            found.append(asdict(figures))
            if not options.json:
                _print(json.dumps(found[-1]))
    if options.json:
        _print(json.dumps(found))
    return 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
