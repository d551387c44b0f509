"""`salus bench --measure wan`: how long agreement takes where hospitals are far from each other.

Every frame between nodes is delayed by half the round trip, inside the transport; clients stand beside
their node. One transaction at a time: the delays and nothing else. Certified means PRE-PREPARE, PREPARE,
COMMIT and CHECKPOINT, each one way; a client elsewhere waits for its transaction to reach the primary,
one way more. Throughput is another question, and what pipelining is for: a burst is sent at the end.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import testnet
from cli.bench import load
from cli.bench.clients import Measured, saturate
from cli.bench.network import COMMIT_TIMEOUT_S, Say, chain_of, height_of, inject, later
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.parameters import Parameters

CHAIN_ID = "bench-wan"
ROUND_TRIPS_MS = (20, 80, 200)
SAMPLES = 12
WAYS_AT_PRIMARY, WAYS_ELSEWHERE = 4, 5
ALLOWANCE_MS = 30
BURST_S = 5
BURST_SIGNED_PER_S = 4_000


@dataclass(frozen=True, slots=True)
class Row:
    validators: int
    round_trip_ms: int
    primary_p50_ms: float  # sent beside the primary, until its certified answer
    primary_bound_ms: int  # four one-way delays and 30 ms
    elsewhere_p50_ms: float
    elsewhere_bound_ms: int
    tx_per_s: int  # at saturation over these delays
    tx_per_block: float


async def run(root: Path, sizes: Sequence[int], say: Say) -> list[Row]:
    """Each size on a network of its own in `root`. Raises `CliError`."""
    rows = []
    for validators in sizes:
        place = root / str(validators)
        testnet.create(place, validators, CHAIN_ID, Parameters())
        try:
            testnet.start(place)
            await testnet.wait_ready(place, read_testnet(place))
            for round_trip_ms in ROUND_TRIPS_MS:
                say(f"{validators} validators, {round_trip_ms} ms there and back")
                rows.append(await _row(place, round_trip_ms))
        finally:
            testnet.stop(place)
    return rows


async def _row(root: Path, round_trip_ms: int) -> Row:
    nodes = read_testnet(root).nodes
    for node in nodes:
        await inject(node, [], round_trip_ms // 2)
    chain = await later(chain_of(root), nodes[0])
    async with Client(nodes[0].api) as client:
        primary = (await client.status()).primary
    at = next(org for org, node in enumerate(nodes) if node.name == primary)
    other = (at + 1) % len(nodes)
    near = await _waits(nodes[at], load.sign(chain, at, 0, SAMPLES, 0))
    far = await _waits(nodes[other], load.sign(chain, other, 0, SAMPLES, 0))
    per_s, per_block = await _burst(nodes, chain)
    one_way = round_trip_ms / 2
    return Row(
        len(nodes),
        round_trip_ms,
        round(statistics.median(near), 1),
        round(WAYS_AT_PRIMARY * one_way + ALLOWANCE_MS),
        round(statistics.median(far), 1),
        round(WAYS_ELSEWHERE * one_way + ALLOWANCE_MS),
        round(per_s),
        round(per_block, 1),
    )


async def _waits(node: TestnetNode, signed: Sequence[load.Signed]) -> list[float]:
    waits = []
    async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
        for tx in signed:
            if tx.good:
                sent = time.perf_counter()
                await client.commit(tx.raw)
                waits.append(1000 * (time.perf_counter() - sent))
    return waits


async def _burst(nodes: Sequence[TestnetNode], chain: load.Chain) -> tuple[float, float]:
    """Transactions a second, and a block, of a few seconds at saturation."""
    each = BURST_SIGNED_PER_S * BURST_S // len(nodes)
    signed = load.sign_all(chain, each, 0, 1)
    height, now = await height_of(nodes[0]), time.perf_counter()
    measured = Measured(now, now + BURST_S)
    await saturate(nodes, signed, measured)
    blocks = max(1, await height_of(nodes[0]) - height)
    return measured.committed / BURST_S, (measured.sent - measured.refused) / blocks
