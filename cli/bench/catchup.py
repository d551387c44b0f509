"""`salus bench --measure catchup`: how fast a node comes back that was away under load.

One of four is stopped, the others take transactions until it is as far behind as was asked for, and it
starts again on a quiet network. The client signatures below a certificate are covered by it; what the node
does is everything else, unless it is started with --verify-all: fetch, check certificates, execute, compare the header, write. Law of the file: it
is there when it answers with the others' height and the others' state root.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import processes, testnet
from cli.bench import load
from cli.bench.clients import Measured, saturate
from cli.bench.network import COMMIT_TIMEOUT_S, Say, chain_of, height_of, later
from cli.bench.posts import Posts
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.client_errors import ClientError
from salus.parameters import Parameters

CHAIN_ID = "bench-catchup"
VALIDATORS = 4
# Signed at once, and then the others are loaded with it: what waits for longer than `expiry_window_blocks`
# before it is sent has expired.
ROUND_S = 15
SIGNED_PER_S = 16_000
# For many blocks instead of many transactions: so many clients of each node, with one transaction at a
# time, so that hardly two meet in a block.
CLIENTS = 2
CLIENT_SIGNED_PER_S = 2_000  # of all
POLL_S = 0.02
THERE_S = 600


@dataclass(frozen=True, slots=True)
class Wish:
    """`seconds` of load at least, and so far behind at least; with `blocks`, small blocks."""

    seconds: int
    transactions: int = 0
    blocks: int = 0
    verify_all: bool = False  # what clients signed, too

    def granted(self, seconds: float, transactions: int, blocks: int) -> bool:
        return (
            seconds >= self.seconds and transactions >= self.transactions and blocks >= self.blocks
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    seconds: float  # of load without it
    behind_blocks: int
    behind_transactions: int
    live_tx_per_s: int  # of the three, meanwhile
    live_blocks_per_s: int
    start_s: float  # from the start of its process until it answers at all
    answered_behind: int  # blocks, when it did
    catch_up_s: float  # from then on
    tx_per_s: int  # of those blocks, at the mean of all
    blocks_per_s: int
    ratio: float  # to what was live


async def run(root: Path, wish: Wish, say: Say) -> Outcome:
    """Raises `CliError` (BENCH_FAILED) if it does not come back, or with another state."""
    testnet.create(root, VALIDATORS, CHAIN_ID, Parameters())
    try:
        testnet.start(root)
        await testnet.wait_ready(root, read_testnet(root))
        *others, away = read_testnet(root).nodes
        height = await height_of(others[0])
        processes.stop([Path(away.home)])
        say(f"{away.name} is away")
        took, sent = 0.0, 0
        while not wish.granted(took, sent, await height_of(others[0]) - height):
            more_s, more = await _round(root, others, wish, say)
            took, sent = took + more_s, sent + more
        behind = await height_of(others[0]) - height
        say(f"{away.name} is {behind} blocks and {sent} transactions behind, and starts")
        start_s, left, catch_up_s = await _back(root, others[0], away, wish.verify_all)
    finally:
        testnet.stop(root)
    return Outcome(
        round(took, 1),
        behind,
        sent,
        round(sent / took),
        round(behind / took),
        round(start_s, 2),
        left,
        round(catch_up_s, 2),
        round(sent * left / behind / catch_up_s),
        round(left / catch_up_s),
        round(left / catch_up_s * took / behind, 2),
    )


async def _round(
    root: Path, nodes: Sequence[TestnetNode], wish: Wish, say: Say
) -> tuple[float, int]:
    """Seconds, and the transactions that they brought."""
    chain = await later(chain_of(root), nodes[0])
    seconds = min(ROUND_S, wish.seconds)
    per_s = CLIENT_SIGNED_PER_S if wish.blocks else SIGNED_PER_S
    say(f"signing {per_s * seconds} transactions for {seconds} s")
    signed = await asyncio.to_thread(load.sign_all, chain, per_s * seconds // len(nodes), 0, 1)
    now = time.perf_counter()
    if wish.blocks:
        sent = await _one_by_one(nodes, signed[: len(nodes)], now + seconds)
    else:
        measured = Measured(now, now + seconds)
        await saturate(nodes, signed[: len(nodes)], measured)
        sent = measured.sent - measured.refused
    return time.perf_counter() - now, sent


async def _one_by_one(
    nodes: Sequence[TestnetNode], signed: list[list[load.Signed]], ends_s: float
) -> int:
    """A closed loop of single transactions; how many were certified."""
    path = f"/v1/txs?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
    lines = [Posts(node.api, path, "application/octet-stream") for node in nodes]
    done = 0

    async def client(node: TestnetNode, posts: Posts, queue: list[load.Signed]) -> None:
        nonlocal done
        while queue and time.perf_counter() < ends_s:
            tx = queue.pop()
            if not tx.good:
                continue
            answer = await posts.post(tx.raw)
            if answer.status != 200:
                raise CliError("BENCH_FAILED", f"{node.api} answered {answer.status}")
            done += 1

    try:
        async with asyncio.TaskGroup() as group:
            for node, posts, queue in zip(nodes, lines, signed, strict=True):
                for _ in range(CLIENTS):
                    group.create_task(client(node, posts, queue))
    finally:
        for posts in lines:
            posts.close()
    return done


async def _back(
    root: Path, other: TestnetNode, away: TestnetNode, verify_all: bool
) -> tuple[float, int, float]:
    async with Client(other.api) as client:
        target = await client.status()
    began = time.perf_counter()
    command = (*processes.NODE.command, "--verify-all") if verify_all else processes.NODE.command
    testnet.start(root, [away.name], commands={away.name: command})
    answers, left = 0.0, 0
    async with Client(away.api, timeout_s=1.0) as client:
        while time.perf_counter() - began < THERE_S:
            try:
                status = await client.status()
            except ClientError:
                await asyncio.sleep(POLL_S)
                continue
            if not answers:
                answers, left = time.perf_counter(), target.height - status.height
            if status.height >= target.height:
                block = await client.block(target.height)
                if block.header.state_root != target.state_root:
                    raise CliError("BENCH_FAILED", f"{away.name} came back with another state")
                return answers - began, left, time.perf_counter() - answers
            await asyncio.sleep(POLL_S)
    raise CliError("BENCH_FAILED", f"{away.name} did not catch up within {THERE_S} s")
