"""`salus bench --measure wan`: how long agreement takes where hospitals are far from each other.

Every frame between nodes is delayed by half the round trip, inside the transport; clients stand beside
their node. One transaction at a time: the delays and nothing else. Ordered means PRE-PREPARE, PREPARE and
COMMIT, each one way, certified a CHECKPOINT more; a client elsewhere waits for its transaction to reach the
primary, one way more. When it is ordered no client is told: it is when it was certified, less what its node
says that this took after a quorum of COMMITs. Throughput is another question, and what pipelining is for: a burst is sent at the
end, and one before without delays. What is on a longer way is outstanding for longer, so a burst over a distance has as much more of it
as is carried in that time: else it would measure the load and not the network.
"""

import asyncio
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import testnet
from cli.bench import load
from cli.bench.clients import (
    REQUESTS_AT_ONCE,
    TRANSACTIONS_PER_REQUEST,
    Measured,
    saturate,
)
from cli.bench.network import COMMIT_TIMEOUT_S, POLL_S, Say, chain_of, height_of, inject, later
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.parameters import Parameters

CHAIN_ID = "bench-wan"
ROUND_TRIPS_MS = (20, 80, 200)
SAMPLES = 12
TRIES = 5  # many nodes on few cores: the burst before may end in a view change
ALLOWANCE_MS = 30
WAYS_TO_ORDER, WAYS_TO_CERTIFY = 3, 4  # for a client at the primary; elsewhere one more
AFTER_ORDER = ("certify", "write")  # phases of a sequence, node/meters.py
BURST_S = 5
# A node that is idle takes a thousand and then what it sees committed in two seconds (node/drain.py): over 200 ms
# it takes so long until that is enough.
BURST_WARM_UP_S = 5
BURST_SIGNED_PER_S = 16_000  # more than is carried


@dataclass(frozen=True, slots=True)
class Row:
    """Of clients at the primary, then of others; a bound is the one-way delays and 30 ms."""

    validators: int
    round_trip_ms: int
    primary_ordered_mean_ms: float  # sent, until its node says so
    primary_ordered_bound_ms: int
    primary_p50_ms: float  # sent, until the certified answer
    primary_bound_ms: int
    elsewhere_ordered_mean_ms: float
    elsewhere_ordered_bound_ms: int
    elsewhere_p50_ms: float
    elsewhere_bound_ms: int
    outstanding_max: int  # transactions, at all nodes together, for what follows
    tx_per_s: int  # at saturation over these delays
    kept_share: float  # of what the same network carried without them
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
            say(f"{validators} validators, side by side")
            near_per_s, _ = await _burst(place, REQUESTS_AT_ONCE)
            for round_trip_ms in ROUND_TRIPS_MS:
                say(f"{validators} validators, {round_trip_ms} ms there and back")
                rows.append(await _row(place, round_trip_ms, near_per_s))
        finally:
            testnet.stop(place)
    return rows


async def _row(root: Path, round_trip_ms: int, near_per_s: float) -> Row:
    nodes = read_testnet(root).nodes
    for node in nodes:
        await inject(node, [], round_trip_ms // 2)
    chain = await later(chain_of(root), nodes[0])
    near, far = await near_and_far(nodes, chain)

    def bound(ways: int) -> int:
        return round(ways * round_trip_ms / 2 + ALLOWANCE_MS)

    at_once = requests_at_once(near_per_s / len(nodes), round_trip_ms)
    per_s, per_block = await _burst(root, at_once)
    return Row(
        len(nodes),
        round_trip_ms,
        round(near.ordered_ms, 1),
        bound(WAYS_TO_ORDER),
        round(near.certified_ms, 1),
        bound(WAYS_TO_CERTIFY),
        round(far.ordered_ms, 1),
        bound(WAYS_TO_ORDER + 1),
        round(far.certified_ms, 1),
        bound(WAYS_TO_CERTIFY + 1),
        at_once * TRANSACTIONS_PER_REQUEST * len(nodes),
        round(per_s),
        round(per_s / max(1.0, near_per_s), 2),
        round(per_block, 1),
    )


async def near_and_far(nodes: Sequence[TestnetNode], chain: load.Chain) -> "tuple[Waits, Waits]":
    """At a node that was the primary all the time, and at another. Raises `CliError`."""
    primary = await _primary(nodes)
    for _ in range(TRIES):
        at = next(org for org, node in enumerate(nodes) if node.name == primary)
        other = (at + 1) % len(nodes)
        near = await _waits(nodes[at], load.sign(chain, at, 0, SAMPLES, 0))
        far = await _waits(nodes[other], load.sign(chain, other, 0, SAMPLES, 0))
        measured_at, primary = primary, await _primary(nodes)
        if primary == measured_at:
            return near, far
    raise CliError("BENCH_FAILED", f"no node stayed primary while {SAMPLES} waits were measured")


async def _primary(nodes: Sequence[TestnetNode]) -> str | None:
    """Of whom more than two thirds say it: a node that a burst has left behind names an older view's, and one that
    gave the view up alone the next one's. Raises `CliError`."""
    deadline = time.monotonic() + COMMIT_TIMEOUT_S
    while True:
        named = Counter([await _named_by(node) for node in nodes])
        primary, votes = named.most_common(1)[0]
        if 3 * votes > 2 * len(nodes):
            return primary
        if time.monotonic() > deadline:
            raise CliError("BENCH_FAILED", f"the nodes name different primaries: {dict(named)}")
        await asyncio.sleep(POLL_S)


async def _named_by(node: TestnetNode) -> str | None:
    async with Client(node.api) as client:
        return (await client.status()).primary


@dataclass(frozen=True, slots=True)
class Waits:
    certified_ms: float  # median
    ordered_ms: float  # mean


async def _waits(node: TestnetNode, signed: Sequence[load.Signed]) -> Waits:
    waits = []
    async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
        before = await _after_order(client)
        for tx in signed:
            if tx.good:
                sent = time.perf_counter()
                await client.commit(tx.raw)
                waits.append(1000 * (time.perf_counter() - sent))
        spent_s = await _after_order(client) - before
    later_ms = 1000 * spent_s / len(waits)
    return Waits(statistics.median(waits), statistics.mean(waits) - later_ms)


async def _after_order(client: Client) -> float:
    """Seconds that blocks spent at this node between a quorum of COMMITs and the disk, all together."""
    lines = (await client.api("GET", "/metrics")).body.decode().splitlines()
    names = [f'salus_consensus_phase_seconds_sum{{phase="{phase}"}}' for phase in AFTER_ORDER]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(tuple(names)))


def requests_at_once(per_s: float, round_trip_ms: int) -> int:
    """At each node, of which so many transactions are carried a second: what is outstanding side by side,
    and what is carried in the time that a client elsewhere waits longer."""
    longer_s = (WAYS_TO_CERTIFY + 1) * round_trip_ms / 2 / 1000
    return REQUESTS_AT_ONCE + math.ceil(per_s * longer_s / TRANSACTIONS_PER_REQUEST)


async def _burst(root: Path, at_once: int) -> tuple[float, float]:
    """Transactions a second, and a block, of a few seconds at saturation."""
    nodes = read_testnet(root).nodes
    each = BURST_SIGNED_PER_S * (BURST_WARM_UP_S + BURST_S) // len(nodes)
    chain = await later(chain_of(root), nodes[0])
    signed = await asyncio.to_thread(load.sign_all, chain, each, 0, 1)
    height = await height_of(nodes[0])
    starts_s = time.perf_counter() + BURST_WARM_UP_S
    measured = Measured(starts_s, starts_s + BURST_S)
    await saturate(nodes, signed, measured, at_once=at_once)
    if measured.ran_dry:
        raise CliError("BENCH_FAILED", "all transactions were sent before the end")
    blocks = max(1, await height_of(nodes[0]) - height)
    return measured.committed / BURST_S, (measured.sent - measured.refused) / blocks
