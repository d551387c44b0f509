"""`salus bench --measure catchup`: how fast a node comes back that was away under load.

One of four is stopped, the others take transactions for a while, and it starts again on a quiet network.
The client signatures below a certificate are covered by it; what the node does is everything else: fetch,
check certificates, execute, compare the header, write. Law of the file: it is there when it answers with
the others' height and the others' state root.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from cli import processes, testnet
from cli.bench import load
from cli.bench.clients import Measured, saturate
from cli.bench.network import Say, chain_of, height_of, later
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.client_errors import ClientError
from salus.parameters import Parameters

CHAIN_ID = "bench-catchup"
VALIDATORS = 4
SIGNED_PER_S = 8_000
POLL_S = 0.02
THERE_S = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    seconds: int  # of load without it
    behind_blocks: int
    behind_transactions: int
    saturation_tx_per_s: int  # of the three, meanwhile
    start_s: float  # from the start of its process until it answers at all
    answered_behind: int  # blocks, when it did
    catch_up_s: float  # from then on
    tx_per_s: int  # of those blocks, at the mean of all
    blocks_per_s: int
    ratio: float  # of tx_per_s to saturation_tx_per_s


async def run(root: Path, seconds: int, say: Say) -> Outcome:
    """Raises `CliError` (BENCH_FAILED) if it does not come back, or with another state."""
    testnet.create(root, VALIDATORS, CHAIN_ID, Parameters())
    try:
        testnet.start(root)
        await testnet.wait_ready(root, read_testnet(root))
        *others, away = read_testnet(root).nodes
        wanted = SIGNED_PER_S * seconds
        say(f"signing {wanted} transactions")
        chain = await later(chain_of(root), others[0])
        signed = await asyncio.to_thread(load.sign_all, chain, wanted // VALIDATORS, 0, 1)
        height = await height_of(others[0])
        processes.stop([Path(away.home)])
        say(f"{away.name} is away; {seconds} s of load")
        now = time.perf_counter()
        measured = Measured(now, now + seconds)
        await saturate(others, signed[: len(others)], measured)
        took = time.perf_counter() - now
        sent = measured.sent - measured.refused
        behind = await height_of(others[0]) - height
        say(f"{away.name} is {behind} blocks behind, and starts")
        start_s, left, catch_up_s = await _back(root, others[0], away)
    finally:
        testnet.stop(root)
    per_s = sent * left / behind / catch_up_s
    return Outcome(
        seconds,
        behind,
        sent,
        round(sent / took),
        round(start_s, 2),
        left,
        round(catch_up_s, 2),
        round(per_s),
        round(left / catch_up_s),
        round(per_s * took / sent, 2),
    )


async def _back(root: Path, other: TestnetNode, away: TestnetNode) -> tuple[float, int, float]:
    async with Client(other.api) as client:
        target = await client.status()
    began = time.perf_counter()
    testnet.start(root, [away.name])
    answers, left = 0.0, 0
    async with Client(away.api, timeout_s=1.0) as client:
        while (now := time.perf_counter()) - began < THERE_S:
            try:
                status = await client.status()
            except ClientError:
                await asyncio.sleep(POLL_S)
                continue
            if not answers:
                answers, left = now, target.height - status.height
            if status.height >= target.height:
                block = await client.block(target.height)
                if block.header.state_root != target.state_root:
                    raise CliError("BENCH_FAILED", f"{away.name} came back with another state")
                return answers - began, left, time.perf_counter() - answers
            await asyncio.sleep(POLL_S)
    raise CliError("BENCH_FAILED", f"{away.name} did not catch up within {THERE_S} s")
