"""Pieces of fixed work, of which a node does little else: made here, counted by `test_budget.py`.

Each is the real code over a real LevelDB, in one thread, without socket, clock or chance.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from cli.bench.decisions import House
from consensus.effects import Effects
from consensus.events import Event
from consensus.messages import Message
from consensus.replica import Replica
from contracts.records import AnchorArgs
from node.admissible import check_admissible
from node.admission import Admission
from node.api.view import Submitted
from node.gossip import Gossip, GossipTask
from node.mempool import Mempool
from node.metrics import Metrics
from node.verify import VerifyPool
from salus.block import check_proposal
from salus.codec import encode
from salus.forms import TransactionState
from salus.keys import verify
from salus.transaction import Operation, ParsedTransaction, parse
from storage.kv import LevelKV
from storage.state import log_beside
from tests import factories
from tests.consensus.cluster import Cluster, Node
from tests.ledger import Ledger
from tests.perf.counting import Counts, count

OPERATIONS = 100
FILLING = 40  # transactions of so many operations in each block that fills the state
EXPIRY = (
    100  # above what any test here reaches; one height for all: one part of the index of recent ids
)
ALL = 10_000, 2**22  # transactions and bytes: a proposal takes whatever waits
HELD = 12_000  # state keys before anything is counted: a sixth of all buckets hold one
PATIENTS, PERMITS = 40, 20
PEERS = ("hosp-b", "hosp-c", "hosp-d")

T = TypeVar("T")


class Validator:
    """One of four, alone: its stores, its executor, its pool and the door to it."""

    def __init__(self, place: Path, name: str, held: int = HELD) -> None:
        """`name`: two of one name meet what the other has left in the caches of this process."""
        self.name = name
        self.ledger = Ledger(
            factories.genesis(4), lambda name: LevelKV(place / name), log_beside(place / "state")
        )
        self.made = 0
        while self.made < held:
            self.ledger.block(*self.transactions(FILLING, OPERATIONS))
        self.mempool = self._mempool()
        self.loop = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self.loop.run(self._open())

    def _mempool(self) -> Mempool:
        executor, genesis = self.ledger.executor, self.ledger.genesis
        return Mempool(
            genesis.chain_id,
            self.ledger.genesis_hash,
            executor.epoch.parameters,
            verify,
            height=self.ledger.height,
            is_executed=executor.is_executed,
            organisation=executor.organisation,
            admit=partial(check_admissible, executor),
        )

    async def _open(self) -> None:
        gossip = Gossip(self.mempool, PEERS, PEERS[0])
        self.admission = Admission(
            self.mempool,
            VerifyPool(0),
            GossipTask(gossip, lambda member, kind, payload: True),
            Metrics(),
            lambda tx: None,
            lambda: None,
        )

    def close(self) -> None:
        self.loop.close()
        for store in (self.ledger.state, self.ledger.blocks):
            store.close()

    def transactions(self, number: int, operations: int = 1) -> list[ParsedTransaction]:
        """New ones of the first hospital, each operation anchoring a record of its own."""
        return [
            factories.transaction(
                self.ledger.genesis,
                *(self._anchor() for _ in range(operations)),
                number=self.made,
                expiry_height=EXPIRY,
            )
            for _ in range(number)
        ]

    def _anchor(self) -> Operation:
        self.made += 1
        root = sha256(f"{self.name} {self.made}".encode()).digest()
        author, context = sha256(root + b"author").digest(), sha256(root + b"context").digest()
        return Operation("records", "anchor", 1, encode(AnchorArgs(root, 1, author, context)))

    # ── work ─────────────────────────────────────────────────────────────────

    def block(self, transactions: list[ParsedTransaction]) -> dict[str, Counts]:
        """These from the client's array to the block on disk; what each stage cost."""
        found: dict[str, Counts] = {}

        def stage(name: str, work: Callable[[], T]) -> T:
            results: list[T] = []
            found[name] = count(lambda: results.append(work()))
            return results[0]

        ledger, mempool, executor = self.ledger, self.mempool, self.ledger.executor
        chain = ledger.genesis.chain_id, ledger.genesis_hash, executor.epoch.parameters
        height, raws = ledger.height + 1, [tx.raw for tx in transactions]
        stage("decode", lambda: [parse(raw, *chain) for raw in raws])
        answers = stage("admit", lambda: self.loop.run(self._submit(raws)))
        assert all(answer.state is TransactionState.PENDING for answer in answers)
        raw = stage("propose", lambda: factories.proposal(height, *mempool.take(height, *ALL)))
        proposal = stage("check", lambda: check_proposal(raw, height, *chain, mempool))
        executed = stage("execute", lambda: executor.execute(proposal))
        operations = sum(len(tx.body.operations) for tx in transactions)
        assert [receipt.ok for receipt in executed.receipts] == [True] * operations
        assert len(executed.writes) >= operations, "each has its own receipt and state key"
        signers = ledger.signers(executor.certified_epoch.validators)
        certificate = factories.certificate(executed.header, ledger.genesis, signers)
        stage("write", lambda: ledger.state.commit(executor.batch(height, certificate)))
        executor.certified(height)
        stage("settle", lambda: self._settle(executed.tx_ids, height))
        return found

    async def _submit(self, raws: list[bytes]) -> list[Submitted]:
        answers = await self.admission.submit(raws, len(raws))
        await asyncio.sleep(0)  # in the next turn of the loop the primary is told
        return answers

    def _settle(self, tx_ids: Sequence[bytes], height: int) -> None:
        self.mempool.executed(tx_ids, height)
        self.admission.gossip.gossip.executed(tx_ids, 0)


class Counted:
    """A replica whose steps are counted: not what its test does around them."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.counts = Counts()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica, name)

    def step(self, event: Event) -> Effects:
        effects: list[Effects] = []
        self.counts += count(lambda: effects.append(self._replica.step(event)))
        return effects[0]


@dataclass(frozen=True, slots=True)
class Ordered:
    """One block through n replicas that have agreed on one before."""

    n: int
    counts: Counts  # of all replicas together
    messages: tuple[Message, ...]  # one entry for each that received it


def ordered(n: int) -> Ordered:
    cluster = Cluster(n)
    messages: list[Message] = []
    deliver = cluster.receive

    def receive(node: Node, message: Message, body: bytes | None = None) -> None:
        messages.append(message)
        deliver(node, message, body)

    cluster.submit("first")
    cluster.settle()
    cluster.receive = receive  # type: ignore[method-assign]
    for node in cluster.nodes:
        node.replica = Counted(node.replica)  # type: ignore[assignment]
    cluster.submit("second")
    cluster.settle()
    assert all(node.height == 2 for node in cluster.nodes)
    counts = sum((node.replica.counts for node in cluster.nodes), Counts())  # type: ignore[attr-defined]
    return Ordered(n, counts, tuple(messages))


def decided(place: Path) -> Counts:
    """Of one decision at a gate, with everything in memory."""
    house = House(place, PATIENTS, PERMITS)
    house.fill()
    house.ask()
    return count(house.ask).over(len(house.questions))
