"""`salus bench --measure growth`: what a transaction costs a node whose state is large.

One process, the real executor over the real state store, no network and no signature: what depends on
the size of the state is the state's. It is written as blocks write it, without running them; then blocks
of 500 transactions are executed, certified and written, synced. Processor time, least of several turns,
so that what runs beside it counts little; what LevelDB's own thread uses for merging is said apart. That
thread is one for all stores of a process and works late: a turn ends when it rests, so that no size pays
for another one, nor for what was written before the first turn. Law of the file: the node that is opened
anew afterwards must hash to the head's state root, or nothing is reported.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from cli.bench import load
from cli.bench.founding import found, rest
from cli.bench.network import Say
from cli.errors import CliError
from contracts.catalogue import registry
from node.executor import Executor
from salus.block import BLOCK_VERSION, ParsedProposal, Proposal
from salus.certificate import Certificate, IndexedSignature
from salus.codec import encode
from salus.genesis import GENESIS_VERSION, NO_PEPPER, Genesis, Member, Role
from salus.keys import SigningKey
from salus.parameters import Parameters
from salus.statemap import (
    StateTree,
)
from salus.transaction import parse
from storage.errors import StoreDamaged
from storage.state import StateStore

CHAIN_ID = "bench-growth"
BLOCK_TRANSACTIONS = 500
BLOCKS = 4  # of a turn; the first turn fills the caches and does not count
# 80,000 transactions are seven write buffers: less than four are never merged, and would cost nothing.
TURNS = 40


@dataclass(frozen=True, slots=True)
class Row:
    """Of one size of the state."""

    state_keys: int
    execute_us: float  # processor time per transaction: contract, receipt, buckets, state root
    write_us: float  # and of the synced batch
    merge_us: (
        float  # and of LevelDB's own thread until it rests, mean of all turns: it works in fits
    )
    ratio: float  # of all three together to those of the first row
    bucket_bits: int
    state_mb: int
    open_s: float  # the store opened, and the tree of all buckets hashed
    open_cpu_s: float


@dataclass(frozen=True, slots=True)
class _Cost:
    """Microseconds of a transaction."""

    execute: float
    write: float
    merge: float


def run(root: Path, sizes: Sequence[int], bucket_bits: int, told: Say) -> list[Row]:
    """Raises `CliError` (BENCH_FAILED) if the state that was written is not the state that is read."""
    chains = [_Chain(root / str(size), bucket_bits) for size in sizes]
    try:
        opened = []
        for chain, size in zip(chains, sizes, strict=True):
            told(f"a state of {size} keys")
            found(chain.place, chain.genesis, size)
            opened.append(chain.open())
            rest()
        told(f"{TURNS} turns of {BLOCKS} blocks each, size by size")
        turns = [[chain.turn() for chain in chains] for _ in range(TURNS + 1)][1:]
        for chain in chains:
            chain.close()
            chain.open()  # what was written is what is read: the roots are compared
    finally:
        for chain in chains:
            chain.close()
    costs = [_quiet([turn[at] for turn in turns]) for at in range(len(sizes))]
    first = sum(astuple(costs[0]))
    return [
        Row(
            size,
            round(cost.execute, 1),
            round(cost.write, 1),
            round(cost.merge, 1),
            round(sum(astuple(cost)) / first, 2),
            bucket_bits,
            sum(file.stat().st_size for file in chain.place.rglob("*")) >> 20,
            round(wall, 4),  # a small state opens in less than a hundredth
            round(cpu, 4),
        )
        for chain, size, cost, (wall, cpu) in zip(chains, sizes, costs, opened, strict=True)
    ]


def _quiet(turns: Sequence[_Cost]) -> _Cost:
    return _Cost(
        min(turn.execute for turn in turns),
        min(turn.write for turn in turns),
        sum(turn.merge for turn in turns) / len(turns),
    )


class _Chain:
    """A validator alone, without a network."""

    def __init__(self, place: Path, bucket_bits: int) -> None:
        self.place = place
        self.key, self.operator = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(b"o" * 32)
        member = Member(
            "hosp-a",
            "Hospital A",
            (Role.HOSPITAL,),
            True,
            self.key.public_key,
            self.operator.public_key,
            bytes(32),
        )
        parameters = Parameters(state_bucket_bits=bucket_bits)
        self.genesis = Genesis(GENESIS_VERSION, CHAIN_ID, 1_000, (member,), parameters, NO_PEPPER)
        self.genesis_hash = self.genesis.hash()
        self.sent = 0
        self.state: StateStore | None = None

    def open(self) -> tuple[float, float]:
        """As a node does at its start; seconds, and of them processor time."""
        began, began_cpu = time.perf_counter(), time.process_time()
        state = StateStore.open(self.place, self.genesis_hash)
        epoch = state.current_epoch()
        tree = StateTree(
            self.genesis.parameters.state_bucket_bits,
            height=state.height(),
            uncertified_max=epoch.parameters.execute_ahead_max,
        )
        try:
            tree.load(state.buckets())
            recent = state.recent_ids(state.replay_start())
            self.executor = Executor(
                registry(), self.genesis, state, tree, state.head, epoch, recent
            )
        except StoreDamaged as error:
            state.close()
            raise CliError("BENCH_FAILED", f"the state is not what was written: {error}") from None
        self.state = state
        return time.perf_counter() - began, time.process_time() - began_cpu

    def turn(self) -> _Cost:
        execute = write = 0.0
        began_all, began_own = time.process_time(), time.thread_time()
        for _ in range(BLOCKS):
            proposal = self._proposal()
            began = time.thread_time()
            executed = self.executor.execute(proposal)
            execute += time.thread_time() - began
            if any(receipt.code != "OK" for receipt in executed.receipts):
                raise CliError("BENCH_FAILED", "a transaction was refused")
            certificate = self._certificate(executed.header.height, executed.header.hash())
            assert self.state is not None
            began = time.thread_time()
            self.state.commit(self.executor.batch(executed.header.height, certificate))
            write += time.thread_time() - began
            self.executor.certified(executed.header.height)
        rest()
        own = time.thread_time() - began_own
        merge = max(0.0, time.process_time() - began_all - own)
        each = 1e6 / (BLOCKS * BLOCK_TRANSACTIONS)
        return _Cost(execute * each, write * each, merge * each)

    def _proposal(self) -> ParsedProposal:
        height = self.executor.head.height + 1
        chain = load.Chain(
            CHAIN_ID,
            self.genesis_hash,
            height + self.genesis.parameters.expiry_window_blocks // 2,
            (b"o" * 32,),
        )
        signed = load.sign(chain, 0, self.sent, BLOCK_TRANSACTIONS, 0)
        self.sent += BLOCK_TRANSACTIONS
        raws = tuple(tx.raw for tx in signed)  # bad signatures too: nobody checks them here
        body = Proposal(BLOCK_VERSION, height, 0, 0, self.executor.head.time_ms + 20, raws)
        parameters = self.executor.epoch.parameters
        parsed = [parse(raw, CHAIN_ID, self.genesis_hash, parameters) for raw in raws]
        return ParsedProposal(encode(body), body, parsed)

    def _certificate(self, height: int, header_hash: bytes) -> Certificate:
        """Nobody checks it: a signature costs the same whatever the size of the state."""
        return Certificate(
            self.executor.certified_epoch.epoch,
            height,
            header_hash,
            (IndexedSignature(0, bytes(64)),),
        )

    def close(self) -> None:
        if self.state is not None:
            self.state.close()
            self.state = None
