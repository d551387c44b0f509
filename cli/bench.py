"""`salus bench`: what a consortium on this machine can do, by the yardstick of docs/performance.md.

N validator processes and this load generator on loopback, production settings: TLS between
nodes, votes synced before they leave, one synced batch per block, every node verifying every
client signature, the records contract, receipts, state root and certificate for every block.
Committed means certified. After the measurement the primary lies once (cli/bench_lies.py). Law of
the file: nothing is counted that the nodes did not report.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import aiohttp
import msgspec

from cli import bench_lies, load, lying_validator, testnet
from cli.errors import CliError
from cli.home import NodeHome, TestnetNode, read_testnet
from cli.keyfiles import read_password
from cli.usage import Usage, usage
from salus.client import Client
from salus.genesis import from_json
from salus.keys import SigningKey, verify
from salus.keystore import unlock_seed
from salus.parameters import Parameters

TRANSACTIONS_PER_REQUEST = 500
# Per node: ≈ 8,000 transactions outstanding with four nodes, well below the pool of 20,000. With
# half of them the nodes wait for the load a sixth of the time.
REQUESTS_AT_ONCE = 4
# More than any machine so far commits: what is signed and not sent costs only time before.
SIGNED_PER_S = 8_000
PUBLISHED_S = 60  # shorter runs are for the developer, and begin sooner
WARM_UP_S, PUBLISHED_WARM_UP_S = 2, 10
COMMIT_TIMEOUT_S = 60

# What a node writes, with LevelDB's compaction on the way: a record of the prefill, a transaction.
PREFILL_BYTES, TRANSACTION_BYTES = 1_000, 2_000
FREE_BYTES_MIN = 2**30  # the journal, the logs, and room for everybody else


@dataclass(frozen=True, slots=True)
class Options:
    validators: int = 4
    seconds: int = 20
    rate: int | None = None  # transactions a second, one per request; None: saturation
    prefill: int = 100_000  # state keys before the clock runs, all organisations together
    operations: int = 1  # per transaction
    lies: bool = True  # play the lying primary afterwards

    @property
    def warm_up_s(self) -> int:
        """Dropped at the start; not part of `seconds`."""
        return PUBLISHED_WARM_UP_S if self.seconds >= PUBLISHED_S else WARM_UP_S

    @property
    def transactions(self) -> int:
        """To be signed before the clock runs: more than can be sent."""
        per_s = self.rate or SIGNED_PER_S // max(1, self.operations // 8)
        return per_s * (self.seconds + self.warm_up_s)

    @property
    def disk_bytes(self) -> int:
        """That should be free for all nodes."""
        size = TRANSACTION_BYTES + (self.operations - 1) * PREFILL_BYTES
        one = self.prefill * PREFILL_BYTES + self.transactions * size
        return FREE_BYTES_MIN + self.validators * one


@dataclass(frozen=True, slots=True)
class Summary:
    """The fixed summary; times are from the client's send to that node's certified block."""

    mode: str
    tx_per_s: int
    ops_per_s: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    validators: int
    seconds: float
    cpu_s_per_1k_tx: float  # all nodes together, the generator not
    rss_mb: int  # the largest node
    disk_bytes_per_tx: int  # of one node
    blocks: int
    tx_per_block: float
    transactions: int
    refused: int  # with a bad signature: all of them, and nothing else
    signatures_verified_min: int  # of the node that verified the fewest
    tx_bytes: int  # mean
    operations_per_tx: int
    limit_share: float  # of cores × verify rate ÷ validators, measured here and now
    nodes_agree: bool
    # The act after the measurement; zeroes with fewer than four validators, who tolerate no liar.
    lies_told: int  # proposals of a lying primary that held a badly signed transaction
    lies_refused: int  # of these: refused by every other validator (or the benchmark fails)
    lie_gap_ms: float  # the longest that a client waited then: what the lie cost


class _Measured:
    """What the workers saw, from the end of the warm-up on."""

    def __init__(self, starts_s: float, ends_s: float) -> None:
        self.starts_s, self.ends_s = starts_s, ends_s
        self.latencies: list[tuple[float, int]] = []  # (ms, transactions)
        self.committed = 0
        self.refused = 0
        self.sent = 0
        self.ran_dry = False  # everything that was signed is sent, and the time is not over

    def record(self, sent_s: float, done_s: float, count: int) -> None:
        if self.starts_s <= done_s <= self.ends_s:
            self.committed += count
        if self.starts_s <= sent_s <= self.ends_s:
            self.latencies.append((1000 * (done_s - sent_s), count))

    def percentile(self, share: float) -> float:
        total = sum(count for _, count in self.latencies)
        seen = 0
        for latency, count in sorted(self.latencies):
            seen += count
            if seen >= share * total:
                return round(latency, 1)
        return 0.0


Say = Callable[[str], None]  # progress, for people


async def run(root: Path, options: Options, say: Say) -> Summary:
    """Make a network in `root`, fill it, load it, stop it; raises `CliError`."""
    testnet.create(root, options.validators, lying_validator.CHAIN_ID, Parameters())
    try:
        say(f"starting {options.validators} validators")
        testnet.start(root)
        await testnet.wait_ready(root, read_testnet(root))
        chain = _chain(root)
        summary = await _measure(read_testnet(root).nodes, chain, options, say)
        if options.lies and options.validators >= bench_lies.VALIDATORS_MIN:
            say("and once more, with a primary that lies")
            lies = await bench_lies.play(root, await _later(chain, read_testnet(root).nodes[0]))
            summary = replace(
                summary, lies_told=lies.told, lies_refused=lies.refused, lie_gap_ms=lies.gap_ms
            )
        return summary
    finally:
        testnet.stop(root)


def _chain(root: Path) -> load.Chain:
    """For what is signed at genesis."""
    genesis = from_json((root / "genesis.json").read_text())
    return load.Chain(
        genesis.chain_id,
        genesis.hash(),
        genesis.parameters.expiry_window_blocks - genesis.parameters.watermark_window,
        tuple(_operator_seed(node.node_home) for node in read_testnet(root).nodes),
    )


async def _later(chain: load.Chain, node: TestnetNode) -> load.Chain:
    """The same, for what is signed now: expiry counts from the present height."""
    return replace(chain, expiry_height=chain.expiry_height + await _height(node))


async def _measure(
    nodes: Sequence[TestnetNode], founding: load.Chain, options: Options, say: Say
) -> Summary:
    per_org = options.prefill // len(nodes)
    say(f"prefilling {per_org * len(nodes)} records")
    await _prefill(founding, nodes, per_org)
    chain, wanted = await _later(founding, nodes[0]), options.transactions
    say(f"signing {wanted} transactions of {options.operations} operations")
    signed = await asyncio.to_thread(
        load.sign_all, chain, -(-wanted // len(nodes)), per_org, options.operations
    )
    say(f"measuring for {options.seconds} s, after {options.warm_up_s} s that do not count")
    before = [usage(node) for node in nodes]
    height = await _height(nodes[0])
    started = time.perf_counter()
    begins = started + options.warm_up_s
    measured = _Measured(begins, begins + options.seconds)
    if options.rate is None:
        await _saturate(nodes, signed, measured)
    else:
        await _at_rate(nodes, signed, measured, options.rate)
    if measured.ran_dry:
        raise CliError("BENCH_FAILED", f"all {wanted} transactions were sent before the end")
    after = [usage(node) for node in nodes]
    return await _summary(nodes, options, measured, before, after, height, load.sizes(signed)[1])


def _operator_seed(home: NodeHome) -> bytes:
    password = read_password(home.keys / "password")
    return unlock_seed(home.keys / "operator.json", password)


async def _prefill(chain: load.Chain, nodes: Sequence[TestnetNode], per_org: int) -> None:
    async def fill(org: int, node: TestnetNode) -> None:
        raws = await asyncio.to_thread(load.prefill, chain, org, per_org)
        async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
            for start in range(0, len(raws), 10):
                part = raws[start : start + 10]
                answer = await client.submit_many(part)
                for item in answer:
                    if item.tx_id is not None:
                        await client.wait(item.tx_id, COMMIT_TIMEOUT_S)

    async with asyncio.TaskGroup() as group:
        for org, node in enumerate(nodes):
            group.create_task(fill(org, node))


async def _saturate(
    nodes: Sequence[TestnetNode], signed: list[list[load.Signed]], measured: _Measured
) -> None:
    """Closed loop: so many requests of 500 are outstanding at each node, never more."""

    async def worker(session: aiohttp.ClientSession, api: str, queue: list[load.Signed]) -> None:
        while time.perf_counter() < measured.ends_s and queue:
            part = [queue.pop() for _ in range(min(TRANSACTIONS_PER_REQUEST, len(queue)))]
            sent_s = time.perf_counter()
            refused = await _post_array(session, api, part)
            measured.refused += refused
            measured.sent += len(part)
            # The pool is first in, first out: when the last is certified, all are. Its latency
            # stands for the whole request, which can only make the figures worse.
            last = next(tx for tx in reversed(part) if tx.good)
            await _committed(session, api, last.tx_id)
            measured.record(sent_s, time.perf_counter(), len(part) - refused)
        measured.ran_dry = measured.ran_dry or time.perf_counter() < measured.ends_s

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for node, queue in zip(nodes, signed, strict=True):
            for _ in range(REQUESTS_AT_ONCE):
                group.create_task(worker(session, node.api, queue))


async def _at_rate(
    nodes: Sequence[TestnetNode],
    signed: list[list[load.Signed]],
    measured: _Measured,
    rate: int,
) -> None:
    """Open loop: one transaction per request, sent on time whether or not others are answered."""

    async def one(session: aiohttp.ClientSession, api: str, tx: load.Signed, due: float) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        url = f"{api}/v1/txs?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
        async with session.post(url, data=tx.raw, headers=headers) as response:
            await response.read()
        measured.sent += 1
        if response.status == 200:
            measured.record(due, time.perf_counter(), 1)
        elif response.status in (400, 422) and not tx.good:
            measured.refused += 1
        else:
            raise CliError("BENCH_FAILED", f"{api} answered {response.status}")

    began = time.perf_counter()
    total = min(int(rate * (measured.ends_s - began)), sum(map(len, signed)))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for number in range(total):
            due = began + number / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            org = number % len(nodes)
            group.create_task(one(session, nodes[org].api, signed[org].pop(), due))


async def _post_array(session: aiohttp.ClientSession, api: str, part: Sequence[load.Signed]) -> int:
    """How many were refused; raises unless exactly the bad ones were."""
    body = msgspec.msgpack.encode([tx.raw for tx in part])
    headers = {"Content-Type": "application/msgpack"}
    async with session.post(f"{api}/v1/txs", data=body, headers=headers) as response:
        answer = msgspec.json.decode(await response.read())
        if response.status != 202:
            raise CliError("BENCH_FAILED", f"{api} answered {response.status}: {answer}")
    refused = int(answer["refused"])
    if refused != sum(1 for tx in part if not tx.good):
        words = sorted({item["code"] for item in answer["items"] if "code" in item})
        raise CliError("BENCH_FAILED", f"{api} refused {refused} transactions: {words}")
    return refused


async def _committed(session: aiohttp.ClientSession, api: str, tx_id: bytes) -> None:
    url = f"{api}/v1/txs/{tx_id.hex()}?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
    async with session.get(url) as response:
        answer = msgspec.json.decode(await response.read())
    if answer.get("state") != "committed":
        ended = f"{answer.get('state')} {answer.get('code', '')}"
        raise CliError("BENCH_FAILED", f"a transaction ended as {ended}")


async def _height(node: TestnetNode) -> int:
    async with Client(node.api) as client:
        return (await client.status()).height


async def _summary(
    nodes: Sequence[TestnetNode],
    options: Options,
    measured: _Measured,
    before: Sequence[Usage],
    after: Sequence[Usage],
    height: int,
    tx_bytes: int,
) -> Summary:
    heights = [await _height(node) for node in nodes]
    agreed = min(heights)
    hashes = set()
    for node in nodes:
        async with Client(node.api) as client:
            hashes.add((await client.block(agreed)).header.hash)
    blocks = max(heights) - height
    total = measured.sent - measured.refused
    cpu_s = sum(b.cpu_s - a.cpu_s for a, b in zip(before, after, strict=True))
    disk = after[0].disk_bytes - before[0].disk_bytes
    verified = min(
        b.signatures_verified - a.signatures_verified for a, b in zip(before, after, strict=True)
    )
    per_s = measured.committed / options.seconds
    return Summary(
        mode="saturation" if options.rate is None else f"rate {options.rate}",
        tx_per_s=int(per_s),
        ops_per_s=int(per_s * options.operations),
        p50_ms=measured.percentile(0.50),
        p95_ms=measured.percentile(0.95),
        p99_ms=measured.percentile(0.99),
        validators=len(nodes),
        seconds=options.seconds,
        cpu_s_per_1k_tx=round(1000 * cpu_s / max(1, total), 3),
        rss_mb=max(u.rss_bytes for u in after) // 2**20,
        disk_bytes_per_tx=disk // max(1, total),
        blocks=blocks,
        tx_per_block=round(total / max(1, blocks), 1),
        transactions=total,
        refused=measured.refused,
        signatures_verified_min=verified,
        tx_bytes=tx_bytes,
        operations_per_tx=options.operations,
        limit_share=round(per_s / _signature_limit(len(nodes)), 3),
        nodes_agree=len(hashes) == 1,
        lies_told=0,
        lies_refused=0,
        lie_gap_ms=0.0,
    )


def _signature_limit(validators: int) -> float:
    """Transactions a second if nothing but verifying signatures cost anything."""
    key = SigningKey.from_seed(bytes(32))
    payload = bytes(200)
    signature = key.sign(payload)
    began, checked = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        verify(key.public_key, payload, signature)
        checked += 1
    rate = checked / (time.perf_counter() - began)
    return (os.cpu_count() or 1) * rate / validators


def document(summary: Summary) -> dict[str, object]:
    return asdict(summary)
