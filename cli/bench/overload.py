"""`salus bench --measure overload`: three times what the network carries is offered to it.

First the peak, in a closed loop; then `FACTOR` times as much, open loop, in arrays; then a tenth of the
peak, one transaction per request; and the peak once more, for meanwhile the state has grown, and a transaction
costs more. The refused come back as 429 with Retry-After, and the clients do not
listen: they offer the next. Law of the file: throughput is what stands in certified blocks, by the time
at which the load generator sees the height grow.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cli import testnet
from cli.bench import load
from cli.bench.clients import Measured, saturate
from cli.bench.network import COMMIT_TIMEOUT_S, Say, chain_of, later, prefill
from cli.bench.posts import Posts
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client
from salus.parameters import Parameters

CHAIN_ID = "bench-overload"
FACTOR = 3
ARRAY = 100  # per request while overloaded
# One transaction per request costs three times as much as in arrays: a third of the peak would be as
# much as a machine carries, and no time after an overload.
PEAK_SHARE_AFTER = 1 / 10
AFTER_S = 10
PEAK_BEGINS_S = 1
REQUESTS_MAX = (
    64  # unanswered at one node: a generator that waits for nobody would only fill its own memory
)
CARRIED_PER_S = 12_000  # more than any machine so far: for what is signed before
GOOD_AGAIN_MS = 500.0  # a commit is quick again


@dataclass(frozen=True, slots=True)
class Outcome:
    validators: int
    seconds: int
    peak_tx_per_s: int
    offered_tx_per_s: int  # really sent, while anything was; the last answers come later
    goodput_tx_per_s: int  # certified meanwhile
    kept_share: float  # goodput ÷ peak
    peak_again_tx_per_s: int  # at the end
    kept_of_both_share: float  # goodput ÷ the mean of the peaks before and after it
    refused: int
    answers_429: int
    without_retry_after: int
    errors: int  # anything else than 202, later 200, and 429: none is expected
    after_tx_per_s: int  # the load that follows
    refused_after_s: float  # how long after the overload something was still refused
    slow_after_s: (
        float  # and how long until every new transaction was certified within 500 ms again
    )


@dataclass(slots=True)
class Offered:
    sent: int = 0
    refused: int = 0
    full: int = 0
    silent: int = 0
    errors: int = 0
    unanswered: dict[str, int] = field(default_factory=dict)


async def run(root: Path, validators: int, seconds: int, records: int, say: Say) -> Outcome:
    """On a new network in `root`; raises `CliError`."""
    testnet.create(root, validators, CHAIN_ID, Parameters())
    try:
        testnet.start(root)
        await testnet.wait_ready(root, read_testnet(root))
        nodes = read_testnet(root).nodes
        founding = chain_of(root)
        say(f"prefilling {records} records")
        await prefill(founding, nodes, records // validators)
        return await _measure(founding, nodes, seconds, say)
    finally:
        testnet.stop(root)


async def _measure(
    founding: load.Chain, nodes: Sequence[TestnetNode], seconds: int, say: Say
) -> Outcome:
    wanted = CARRIED_PER_S * (2 * (PEAK_BEGINS_S + seconds) + FACTOR * seconds + AFTER_S)
    say(f"signing {wanted} transactions")
    chain = await later(founding, nodes[0])
    signed = await asyncio.to_thread(load.sign_all, chain, wanted // len(nodes), 0, 1)
    say(f"the peak, {seconds} s")
    peak = await _peak(nodes, signed, seconds)
    rate = int(FACTOR * peak)
    say(f"{peak:.0f} a second; now {rate} are offered, {seconds} s")
    offered = Offered()
    first, began = await _committed(nodes[0]), time.perf_counter()
    await _offer(nodes, signed, rate, began + seconds, offered)
    took = time.perf_counter() - began
    goodput = (await _committed(nodes[0]) - first) / took
    after = max(len(nodes), int(peak * PEAK_SHARE_AFTER))
    say(f"{goodput:.0f} a second were certified; now {after}, one each")
    refused_s, slow_s = await _after(nodes, signed, after, offered)
    say(f"and the peak once more, {seconds} s")
    again = await _peak(nodes, signed, seconds)
    return Outcome(
        validators=len(nodes),
        seconds=seconds,
        peak_tx_per_s=round(peak),
        offered_tx_per_s=round(offered.sent / seconds),
        goodput_tx_per_s=round(goodput),
        kept_share=round(goodput / peak, 3),
        peak_again_tx_per_s=round(again),
        kept_of_both_share=round(2 * goodput / (peak + again), 3),
        refused=offered.refused,
        answers_429=offered.full,
        without_retry_after=offered.silent,
        errors=offered.errors,
        after_tx_per_s=after,
        refused_after_s=round(refused_s, 2),
        slow_after_s=round(slow_s, 2),
    )


async def _peak(
    nodes: Sequence[TestnetNode], signed: list[list[load.Signed]], seconds: int
) -> float:
    """Transactions a second that a closed loop of so many gets certified."""
    began = time.perf_counter()
    measured = Measured(began + PEAK_BEGINS_S, began + PEAK_BEGINS_S + seconds)
    first = await _committed(nodes[0])
    await saturate(nodes, signed, measured)
    if measured.ran_dry:
        raise CliError("BENCH_FAILED", "all transactions were sent before the peak was measured")
    return (await _committed(nodes[0]) - first) / (time.perf_counter() - began)


async def _offer(
    nodes: Sequence[TestnetNode],
    signed: list[list[load.Signed]],
    rate: int,
    ends_s: float,
    offered: Offered,
) -> None:
    """Arrays of 100 to all nodes in turn, on time."""

    async def one(posts: Posts, api: str, part: list[load.Signed]) -> None:
        try:
            answer = await posts.post(msgspec.msgpack.encode([tx.raw for tx in part]))
            if answer.status == 429:
                offered.full += 1
                offered.refused += len(part)
                offered.silent += not answer.later
            elif answer.status == 202:
                refused = msgspec.json.decode(answer.body)["refused"]
                offered.refused += refused
                offered.silent += refused > sum(not tx.good for tx in part) and not answer.later
            else:
                offered.errors += 1
        except CliError:
            offered.errors += 1
        finally:
            offered.unanswered[api] -= 1

    lines = [Posts(node.api, "/v1/txs", "application/msgpack") for node in nodes]
    try:
        async with asyncio.TaskGroup() as group:
            began, number = time.perf_counter(), 0
            while (now := time.perf_counter()) < ends_s:
                due = began + number * ARRAY / rate
                if due > now:
                    await asyncio.sleep(due - now)
                org = number % len(nodes)
                number += 1
                api = nodes[org].api
                if offered.unanswered.setdefault(api, 0) >= REQUESTS_MAX:
                    await asyncio.sleep(0)
                    continue
                if len(signed[org]) < ARRAY:
                    raise CliError("BENCH_FAILED", "all transactions were sent before the end")
                part = [signed[org].pop() for _ in range(ARRAY)]
                offered.unanswered[api] += 1
                offered.sent += ARRAY
                group.create_task(one(lines[org], api, part))
    finally:
        for posts in lines:
            posts.close()


async def _after(
    nodes: Sequence[TestnetNode], signed: list[list[load.Signed]], rate: int, offered: Offered
) -> tuple[float, float]:
    """Seconds until the last refusal, and until the last slow commit, of a load that is no overload."""
    began = time.perf_counter()
    refused_s = slow_s = 0.0

    async def one(posts: Posts, tx: load.Signed, due: float) -> None:
        nonlocal refused_s, slow_s
        status = (await posts.post(tx.raw)).status
        if status == 429:
            refused_s = max(refused_s, due - began)
        elif status != 200:  # fast, perhaps, and not certified
            offered.errors += 1
        elif 1000 * (time.perf_counter() - due) > GOOD_AGAIN_MS:
            slow_s = max(slow_s, due - began)

    path = f"/v1/txs?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
    lines = [Posts(node.api, path, "application/octet-stream") for node in nodes]
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(rate * AFTER_S):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                org = number % len(nodes)
                if not signed[org]:
                    raise CliError("BENCH_FAILED", "all transactions were sent before the end")
                tx = signed[org].pop()
                if tx.good:
                    group.create_task(one(lines[org], tx, due))
    finally:
        for posts in lines:
            posts.close()
    return refused_s, slow_s


async def _committed(node: TestnetNode) -> int:
    """Operations in certified blocks since the node's start, one per transaction, by its own counter."""
    async with Client(node.api) as client:
        lines = (await client.api("GET", "/metrics")).body.decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(COUNTER))


COUNTER = "salus_txs_total{"
