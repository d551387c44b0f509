"""`salus bench`: what a consortium on this machine can do, by the yardstick of docs/performance.md.

N validator processes and this load generator on loopback, production settings: TLS between
nodes, votes synced before they leave, one synced batch per block, every node verifying every
client signature, the records contract, receipts, state root and certificate for every block.
Committed means certified. After the measurement the primary lies once (cli/bench/lies.py). Law of
the file: nothing is counted that the nodes did not report.
"""

import asyncio
import operator
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from cli import testnet
from cli.bench import lies, limits, load, lying_validator, stage_table
from cli.bench.clients import Measured, at_rate, saturate
from cli.bench.freshness import Freshness, keep_fresh
from cli.bench.machine import Processors, cores, processors, verify_per_s
from cli.bench.network import Say, chain_of, create, height_of, later, prefill, same_height
from cli.bench.profiled_validator import COMMAND
from cli.bench.stage_table import Stage
from cli.bench.usage import Memory, Usage, usage
from cli.errors import CliError
from cli.home import TestnetNode, read_testnet
from salus.client import Client

# More than any machine so far commits: what is signed and not sent costs only time before.
SIGNED_PER_S = 20_000
# Of what a round has carried, for the next one: a neighbour that leaves makes a machine twice as fast.
SIGNED_SHARE = 3
CARRIED_PER_S = 10_000  # for the disk: what four cores have carried, rounded up
# Saturation is measured in rounds, signed one by one: what was signed too many blocks ago has expired
# (`expiry_window_blocks`), and ten minutes of it would not fit into memory. Between them nobody counts.
ROUND_S = 100
PUBLISHED_S = 60  # shorter runs are for the developer, and begin sooner
WARM_UP_S, PUBLISHED_WARM_UP_S = 2, 10

# What a node writes, with LevelDB's compaction on the way: a record of the prefill, a transaction.
PREFILL_BYTES, TRANSACTION_BYTES = 1_000, 2_000
STATE_KEY_BYTES = 250  # that no transaction made
FREE_BYTES_MIN = 2**30  # the journal, the logs, and room for everybody else


@dataclass(frozen=True, slots=True)
class Options:
    validators: int = 4
    seconds: int = 20
    rate: int | None = None  # transactions a second, one per request; None: saturation
    prefill: int = 100_000  # state keys before the clock runs, all organisations together
    state_keys: int = 0  # and before the first block, without a transaction
    operations: int = 1  # per transaction
    lies: bool = True  # play the lying primary afterwards
    profile: bool = False  # sample what the nodes' time goes to: costs some 2 %

    @property
    def warm_up_s(self) -> int:
        """Dropped at the start; not part of `seconds`."""
        return PUBLISHED_WARM_UP_S if self.seconds >= PUBLISHED_S else WARM_UP_S

    @property
    def rounds(self) -> list[tuple[int, int]]:
        """(seconds dropped, seconds that count) of each."""
        if self.rate is not None or self.seconds <= ROUND_S:
            return [(self.warm_up_s, self.seconds)]
        number = -(-self.seconds // ROUND_S)
        parts = [self.seconds // number + (at < self.seconds % number) for at in range(number)]
        return [(WARM_UP_S if at else self.warm_up_s, part) for at, part in enumerate(parts)]

    @property
    def signed_per_s(self) -> int:
        return self.rate or SIGNED_PER_S // max(1, self.operations // 8)

    @property
    def transactions(self) -> int:
        """To be signed, at most: more than can be sent."""
        return self.signed_per_s * sum(map(sum, self.rounds))

    @property
    def disk_bytes(self) -> int:
        """That should be free for all nodes."""
        size = TRANSACTION_BYTES + (self.operations - 1) * PREFILL_BYTES
        per_s = min(self.signed_per_s, self.rate or CARRIED_PER_S)
        sent = per_s * sum(map(sum, self.rounds))
        one = self.prefill * PREFILL_BYTES + self.state_keys * STATE_KEY_BYTES + sent * size
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
    rss_mb: int  # the largest node at its largest, mapped files included
    rss_own_mb: int  # of this, no pages of mapped files
    disk_bytes_per_tx: int  # of one node
    blocks: int
    messages_per_block: float  # frames between nodes, of all nodes together, gossip included
    tx_per_block: float
    transactions: int
    refused: int  # with a bad signature: all of them, and nothing else
    turned_away: int  # for want of room, 429: a rate that is not carried; sent again at saturation
    signatures_verified_min: int  # of the node that verified the fewest
    signatures_covered_max: int  # by a quorum: of the node that believed the most
    tx_bytes: int  # mean
    operations_per_tx: int
    state_keys: int  # that the chain began with
    limit_share: float  # of cores × verify rate ÷ validators, measured here and now
    # Of all cores while it was measured: two runs compare where both are small.
    stolen_share: float  # the host gave it to other machines
    others_share: float  # used here by neither the nodes nor the generator
    nodes_agree: bool
    # The act after the measurement; zeroes with fewer than four validators, who tolerate no liar.
    lies_told: int  # proposals of a lying primary that held a badly signed transaction
    lies_refused: int  # of these: refused by every other validator (or the benchmark fails)
    lie_gap_ms: float  # the longest that a client waited then: what the lie cost
    # (second, MB of its own, MB of mapped files) of the largest node, from the beginning on.
    memory: list[tuple[int, int, int]]


async def run(root: Path, options: Options, say: Say) -> tuple[Summary, list[Stage]]:
    """Make a network in `root`, fill it, load it, stop it; the stages only with `profile`. Raises
    `CliError`."""
    create(root, options.validators, lying_validator.CHAIN_ID, options.state_keys, say)
    try:
        say(f"starting {options.validators} validators")
        names = [node.name for node in read_testnet(root).nodes]
        testnet.start(root, commands=dict.fromkeys(names, COMMAND) if options.profile else None)
        await testnet.wait_ready(root, read_testnet(root))
        chain = chain_of(root)
        nodes = read_testnet(root).nodes
        per_org = options.prefill // len(nodes)
        say(f"prefilling {per_org * len(nodes)} records")
        await prefill(chain, nodes, per_org)
        summary, stages = await measure(root, chain, options, say)
        if options.lies and options.validators >= lies.VALIDATORS_MIN:
            say("and once more, with a primary that lies")
            told = await lies.play(root, await later(chain, read_testnet(root).nodes[0]))
            summary = replace(
                summary, lies_told=told.told, lies_refused=told.refused, lie_gap_ms=told.gap_ms
            )
        return summary, stages
    finally:
        testnet.stop(root)


async def measure(
    root: Path, founding: load.Chain, options: Options, say: Say, begin: int = 0
) -> tuple[Summary, list[Stage]]:
    """Of a network that runs and is filled; `begin`: the first number of its transactions that nobody
    has used yet. Raises `CliError`."""
    nodes = read_testnet(root).nodes
    filled, per_s = options.prefill // len(nodes), options.signed_per_s
    measured, spent, sizes = Measured(0.0, 0.0), [], []
    memory = Memory(nodes, max(1.0, options.seconds / MEMORY_LOOKS))
    staged = stage_table.spent(nodes)
    for warm_up_s, seconds in options.rounds:
        wanted = per_s * (warm_up_s + seconds)
        say(f"signing {wanted} transactions of {options.operations} operations")
        chain, each = await later(founding, nodes[0]), -(-wanted // len(nodes))
        signed = await asyncio.to_thread(
            load.sign_all, chain, each, filled, options.operations, begin
        )
        begin += each
        sizes.append(load.sizes(signed)[1])
        say(f"measuring for {seconds} s, after {warm_up_s} s that do not count")
        before, committed = await _snapshot(nodes), measured.committed
        measured.starts_s = time.perf_counter() + warm_up_s
        measured.ends_s = measured.starts_s + seconds
        async with _watched(memory):
            if options.rate is None:
                await saturate(nodes, signed, measured, options.operations)
            else:
                freshness = Freshness(
                    signed, chain, options.rate, filled, options.operations, begin - each
                )
                async with _beside(keep_fresh(freshness, founding, nodes[0])):
                    await at_rate(nodes, signed, measured, options.rate)
        await same_height(nodes)  # else a node that is a block behind has verified less
        if measured.ran_dry:
            raise CliError("BENCH_FAILED", f"all {wanted} transactions were sent before the end")
        spent.append((await _snapshot(nodes)).since(before))
        carried = int(SIGNED_SHARE * (measured.committed - committed) / seconds)
        per_s = min(options.signed_per_s, max(len(nodes), carried))
    tx_bytes = sum(sizes) // len(sizes)
    whole = reduce(operator.add, spent)
    summary = await _summary(nodes, options, measured, whole, memory, tx_bytes)
    if not summary.nodes_agree:
        raise CliError("BENCH_FAILED", f"the nodes do not agree on one block: {summary}")
    if not options.profile:
        return summary, []
    floors = limits.limits(
        root, tx_bytes, max(1.0, summary.tx_per_block), len(nodes), options.operations
    )
    now = stage_table.spent(nodes)
    return summary, stage_table.table(staged, now, summary.transactions, len(nodes), floors)


MEMORY_LOOKS = 12  # enough to see whether it grows


@asynccontextmanager
async def _watched(memory: Memory) -> AsyncIterator[None]:
    async with _beside(memory.watch()):
        yield
    memory.look()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """As long as something else runs."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What was used since the nodes, or the machine, began; or in a time between."""

    nodes: list[Usage]
    processors: Processors
    generator_s: float  # processor time of this process
    height: int

    def since(self, before: "_Snapshot") -> "_Snapshot":
        return _Snapshot(
            [now.since(then) for then, now in zip(before.nodes, self.nodes, strict=True)],
            self.processors.since(before.processors),
            self.generator_s - before.generator_s,
            self.height - before.height,
        )

    def __add__(self, other: "_Snapshot") -> "_Snapshot":
        return _Snapshot(
            [one + more for one, more in zip(self.nodes, other.nodes, strict=True)],
            self.processors + other.processors,
            self.generator_s + other.generator_s,
            self.height + other.height,
        )


async def _snapshot(nodes: Sequence[TestnetNode]) -> _Snapshot:
    return _Snapshot(
        [usage(node) for node in nodes],
        processors(),
        time.process_time(),
        max([await height_of(node) for node in nodes]),
    )


async def _summary(
    nodes: Sequence[TestnetNode],
    options: Options,
    measured: Measured,
    spent: _Snapshot,
    memory: Memory,
    tx_bytes: int,
) -> Summary:
    agreed = min([await height_of(node) for node in nodes])
    hashes = set()
    for node in nodes:
        async with Client(node.api) as client:
            hashes.add((await client.block(agreed)).header.hash)
    blocks = max(1, spent.height)
    total = measured.sent - measured.refused
    cpu_s = sum(node.cpu_s for node in spent.nodes)
    messages = sum(node.messages_sent for node in spent.nodes)
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
        rss_mb=memory.most.all_bytes >> 20,
        rss_own_mb=memory.most.own_bytes >> 20,
        disk_bytes_per_tx=spent.nodes[0].disk_bytes // max(1, total),
        blocks=spent.height,
        messages_per_block=round(messages / blocks, 1),
        tx_per_block=round(total / blocks, 1),
        transactions=total,
        refused=measured.refused,
        turned_away=measured.turned_away,
        signatures_verified_min=min(node.signatures_verified for node in spent.nodes),
        signatures_covered_max=max(node.signatures_covered for node in spent.nodes),
        tx_bytes=tx_bytes,
        operations_per_tx=options.operations,
        state_keys=options.state_keys,
        limit_share=round(per_s * len(nodes) / (cores() * verify_per_s()), 3),
        stolen_share=spent.processors.stolen_share,
        others_share=spent.processors.others_share(cpu_s + spent.generator_s),
        nodes_agree=len(hashes) == 1,
        lies_told=0,
        lies_refused=0,
        lie_gap_ms=0.0,
        memory=memory.table(),
    )


def document(summary: Summary) -> dict[str, object]:
    return asdict(summary)
