"""From committed to certified on disk: execute in order, certify, write one batch per block.

Execution runs ahead of certification on stacked overlays; a certified block is written by one
task, in order, and only then does anybody see it (architecture.md). The same path serves the
core's own blocks and the ones fetched from peers, so there is one way into the state.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from contracts.runtime import Fault
from node.bodies import Bodies, Body
from node.disk_thread import DiskThread
from node.executor import Executor
from node.metrics import Metrics
from node.uncertified import Executed
from salus.block import Header, ParsedProposal, Proposal, proposal_digest
from salus.certificate import Certificate, CertifiedBlock, check_certificate
from salus.codec import decode
from salus.epoch import EpochRecord
from salus.errors import VerificationError
from salus.keys import Verifier
from salus.transaction import parse
from salus.vote import VoteDomain
from storage.state import BlockBatch, StateStore


class Diverged(Exception):
    """A quorum certified another header than my execution gave: a bug or a broken machine (L24)."""

    def __init__(self, mine: Header, theirs: bytes) -> None:
        super().__init__(
            f"height {mine.height}: my header {mine.hash().hex()}, certified {theirs.hex()}"
        )
        self.mine, self.theirs = mine, theirs


class Unsigned(Exception):
    """A quorum certified what a sender did not sign: more than f validators are faulty (S15)."""

    def __init__(self, height: int, tx_id: bytes) -> None:
        super().__init__(f"height {height}: nobody signed transaction {tx_id.hex()}")
        self.height, self.tx_id = height, tx_id


@dataclass(frozen=True, slots=True)
class Written:
    """One block is on disk; `fetched` tells that the core did not certify it itself."""

    batch: BlockBatch
    fetched: bool
    epoch: EpochRecord  # that signed it
    size_bytes: int  # of its proposal
    contracts: frozenset[str]  # that it called


class Pipeline:
    def __init__(
        self,
        executor: Executor,
        state: StateStore,
        bodies: Bodies,
        domain: VoteDomain,
        verifier: Verifier,
        epoch: EpochRecord,
        on_written: Callable[[Written], None],
        vouch: Callable[[], dict[str, bytes]],
        on_fault: Callable[[Fault], None],
        metrics: Metrics,
        disk: DiskThread,
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`vouch`: what the state store shall remember of the vote journal, with each block;
        `on_fault`: a contract failed, and whoever looks after this node must hear of it (S16);
        `fatal`: takes what went wrong on the way to the disk."""
        self.executor, self.state, self.bodies = executor, state, bodies
        self.domain, self.verifier, self.epoch = domain, verifier, epoch
        self.on_written, self.vouch, self.on_fault = on_written, vouch, on_fault
        self.metrics, self.disk, self.fatal = metrics, disk, fatal
        self.headers: dict[int, Header] = {}  # executed, not yet on disk: at most execute_ahead_max
        self._queue: deque[tuple[int, Certificate, bool]] = deque()
        self._queued_height = state.height()
        self._writing = False
        self._closed = False
        self._progress = asyncio.Event()

    # -- executing ------------------------------------------------------------------------------

    def execute(self, sequence: int, digest: bytes) -> Header:
        """Run a committed proposal on top of the previous one; again for one already executed
        gives the same header (a new view re-proposed it, or it was fetched meanwhile)."""
        known = self.headers.get(sequence) or self._written_header(sequence)
        if known is not None:
            assert known.proposal_digest == digest, "the core never executes two digests (S6)"
            return known
        assert sequence == self.executor.head.height + 1, "executed strictly in order (S6)"
        proposal = self.bodies.parsed(digest) or self.believed(sequence, digest)
        assert proposal is not None, "a committed body is on disk before COMMIT leaves (S3)"
        began = time.perf_counter()
        executed = self.executor.execute(proposal)
        self.metrics.block_apply_seconds.observe(time.perf_counter() - began)
        self.metrics.block_bytes.observe(len(proposal.raw))
        self._executed(executed)
        return executed.header

    def _executed(self, executed: Executed) -> None:
        header = executed.header
        self.headers[header.height] = header
        for fault in executed.faults:
            self.on_fault(fault)
        self.metrics.operations(executed.calls)

    def _written_header(self, sequence: int) -> Header | None:
        return self.state.header(sequence) if sequence <= self.state.height() else None

    def believed(self, sequence: int, digest: bytes) -> ParsedProposal | None:
        """What q others committed before it was judged here, or what was voted for before a restart.
        None if its body is not here."""
        raw = self.bodies.get(sequence, digest)
        if raw is None:
            return None
        proposal = self.parse_proposal(raw)
        self.bodies.remember_parsed(proposal)  # counted, and parsed, once
        self.metrics.crypto_covered_total.inc(len(proposal.transactions))
        return proposal

    def parse_proposal(self, raw: bytes) -> ParsedProposal:
        """Without the checks of rule S15: for what a quorum has already agreed on."""
        body = decode(raw, Proposal)
        parameters = self.epoch.parameters
        chain_id, genesis_hash = self.domain.chain_id, self.domain.genesis_hash
        transactions = [parse(tx, chain_id, genesis_hash, parameters) for tx in body.transactions]
        return ParsedProposal(raw, body, transactions)

    # -- certifying -----------------------------------------------------------------------------

    def certify(self, height: int, certificate: Certificate, *, fetched: bool = False) -> None:
        """Queue an executed block for its one batch; what is queued or written already is not."""
        if height <= self._queued_height:
            return
        assert height == self._queued_height + 1, "blocks are certified without a gap"
        assert height in self.headers
        self._queued_height = height
        self._queue.append((height, certificate, fetched))
        self.write_next()

    @property
    def queued_height(self) -> int:
        """The height up to which blocks are certified, on disk or on the way there."""
        return self._queued_height

    def check(self, block: CertifiedBlock) -> None:
        """Is this what a quorum certified? Raises `VerificationError` (the peer lies)."""
        header = block.header
        check_certificate(
            block.certificate, header, self.epoch.validators, self.domain, self.verifier
        )
        if proposal_digest(block.proposal) != header.proposal_digest:
            raise VerificationError("the body does not fit the certified header")

    def accept(self, block: CertifiedBlock, *, verified: bool = False) -> None:
        """A certified block from a peer, the next one: check, execute, queue. `verified`: its clients'
        signatures were checked here, so nobody had to be believed.

        Raises `VerificationError` or `BadMessage` (the peer lies) or `Diverged` (we are wrong).
        """
        header, height = block.header, block.header.height
        assert height == self._queued_height + 1
        self.check(block)
        mine = self.headers.get(height)
        if mine is None:
            proposal = self.parse_proposal(block.proposal)
            self.bodies.put(height, header.proposal_digest, block.proposal)
            executed = self.executor.execute(proposal)
            self._executed(executed)
            if not verified:
                self.metrics.crypto_covered_total.inc(executed.header.transactions_count)
            mine = executed.header
        if mine != header:
            raise Diverged(mine, header.hash())
        self.certify(height, block.certificate, fetched=True)

    def close(self) -> None:
        """The node stops: what is under way is finished, and nobody hears of it."""
        self._closed = True

    def write_next(self) -> None:
        """The one writer: certified blocks to disk, in order, one synced batch each."""
        if self._writing or self._closed or not self._queue:
            return
        self._writing = True
        batch, bodies = self.due()
        work = partial(self._commit, batch, bodies, self.vouch())
        self.disk.start(work, partial(self._written, batch, bodies))

    def _commit(self, batch: BlockBatch, bodies: list[Body], meta: dict[str, bytes]) -> float:
        """In the writer's thread; how many seconds the batch took."""
        if bodies:
            self.bodies.store.put_bodies(bodies, sync=True)
        began = time.perf_counter()
        self.state.commit(batch, meta=meta)
        return time.perf_counter() - began

    def _written(
        self, batch: BlockBatch, bodies: list[Body], took: float, failed: BaseException | None
    ) -> None:
        self._writing = False
        if self._closed:
            return
        if failed is not None:
            self.fatal(failed)
            return
        try:
            if bodies:
                self.bodies.persisted(bodies)
            self.metrics.storage_write_seconds.labels("state").observe(took)
            height, digest = batch.header.height, batch.header.proposal_digest
            if self.bodies.orphaned(height, digest):
                drop = partial(self.bodies.store.drop_orphans, [(height, digest)])
                self.disk.start(drop, self._dropped)
            self.stands(batch)
            self.write_next()
        except Exception as error:  # noqa: BLE001 - a block that is half told of is fatal
            self.fatal(error)

    def _dropped(self, _: object, failed: BaseException | None) -> None:
        if failed is not None and not self._closed:
            self.fatal(failed)

    def due(self) -> tuple[BlockBatch, list[Body]]:
        """The next block to be written, and the body that the block store lacks of it: a fetched
        one, for example, was never persisted for a vote."""
        height, certificate, _ = self._queue[0]
        batch = self.executor.batch(height, certificate)
        return batch, self.bodies.persist([(height, batch.header.proposal_digest)])

    def stands(self, batch: BlockBatch) -> None:
        """The block is on disk: memory forgets it, and everybody may know."""
        height, _, fetched = self._queue.popleft()
        assert height == batch.header.height
        raw = self.bodies.get(height, batch.header.proposal_digest)
        executed = self.executor.certified(height)
        del self.headers[height]
        self.bodies.certified(height)
        written = Written(batch, fetched, self.epoch, len(raw or b""), executed.contracts)
        if batch.epoch is not None:
            self.epoch = batch.epoch
        elif batch.header.epoch_end != self.epoch.end:
            self.epoch = msgspec.structs.replace(self.epoch, end=batch.header.epoch_end)
        self.on_written(written)
        self._progress.set()
        self._progress = asyncio.Event()

    async def room(self, height: int) -> None:
        """Returns once `height` can be accepted: executed already, or with room to execute it.

        If there is none, all that is executed is fetched and on its way to disk: `height` follows
        what is queued, so a place will come."""
        while height > self.executor.head.height and (
            self.executor.head.height - self.executor.certified_head.height
            >= self.epoch.parameters.execute_ahead_max
        ):
            await self._progress.wait()

    async def written(self, height: int) -> None:
        """Returns once `height` is on disk."""
        while self.state.height() < height:
            await self._progress.wait()
