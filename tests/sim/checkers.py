"""What must hold of all nodes together, asked at every commit, header, certificate and send.

What one replica must hold by itself is `consensus.invariants`; double votes are the ledger's
(signatures.py), the disks check their own order (disk.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from consensus.effects import Evidence, Halt, Quarantine, ViewLeft
from consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
    Vote,
    decode_message,
    vote_type,
)
from contracts.errors import CONTRACT_FAULT
from node.gossip_rules import TRACKED_MAX, WANTED_MAX
from node.runner import STEPS_WAITING_MAX
from node.uncertified import Executed
from salus.block import DUPLICATE, Header, VerifiedTransactions, check_proposal
from salus.errors import SalusError
from salus.vote import VoteType
from storage.errors import StorageError
from storage.state import BlockBatch
from tests.sim.founding import TIME_MS, null, number
from tests.sim.lawful import Law
from tests.sim.poison import LEFT
from tests.sim.signatures import verifier

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine
    from tests.sim.shell import Node
    from tests.sim.work import Worker

SHOWN_BLOCKS = 8  # of so many blocks a node is asked about one

_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView))
_OF_VIEWS = frozenset((ViewChange, NewView))


class Checkers:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.faulty = cluster.plan.faulty
        self.digests: dict[int, bytes] = {}  # height → what an honest node committed there
        self.headers: dict[int, bytes] = {}
        self.heights: dict[int, int] = {}  # address → certified height on disk
        self.ran: dict[bytes, int] = {}  # transaction → height that executed it
        self.places: dict[bytes, int] = {}  # digest → height that it was committed at
        self.times: dict[int, int] = {0: TIME_MS}  # height → block time
        self.ends: dict[int, int] = {}  # epoch → height of its end, once it is fixed
        self.law = Law(cluster)
        self.ordered: dict[int, tuple[bytes, ...]] = {}  # height → its transactions

    def honest(self, node: Worker) -> bool:
        return node.member not in self.faulty

    def on_committed(self, node: Worker, sequence: int, digest: bytes) -> None:
        if not self.honest(node):
            return
        assert sequence > node.ran_to, f"n{node.member} is told to execute {sequence} again (S6)"
        node.ran_to = sequence
        if sequence not in self.digests:
            self._valid(node, sequence, digest)
        agreed = self.digests.setdefault(sequence, digest)
        assert agreed == digest, f"AGREEMENT: two digests committed at height {sequence}"
        place = self.places.setdefault(digest, sequence)
        assert place == sequence, f"one proposal committed at heights {place} and {sequence} (S11)"
        assert node.replica is not None
        state = node.replica.state
        n = len(state.validators.validators)
        # Not asked of the core: a wrong formula there must be seen here (S5).
        quorum = (n + (n - 1) // 3) // 2 + 1
        assert self.cluster.ledger.committed(state.epoch, sequence, digest, quorum), (
            f"height {sequence} committed at n{node.member} without a prepared and committed "
            "quorum of signatures (S6)"
        )

    def _valid(self, node: Worker, sequence: int, digest: bytes) -> None:
        """Whatever is committed is a valid proposal: q members have judged it (S15)."""
        raw, domain = node.bodies.get(sequence, digest), node.judge.domain
        assert raw is not None, f"height {sequence} is executed without its body (S3)"
        limits = node.executor.epoch.parameters
        try:
            proposal = check_proposal(
                raw,
                sequence,
                domain.chain_id,
                domain.genesis_hash,
                limits,
                VerifiedTransactions(verifier),
            )
        except SalusError as error:
            raise AssertionError(f"height {sequence}: {error.message} (S15)") from None
        transactions = proposal.transactions
        # Not left to the code alone: a hole in its check must be seen here.
        assert len({tx.id for tx in transactions}) == len(transactions), (
            f"height {sequence} holds a transaction twice (S15)"
        )
        for tx in transactions:
            body = tx.body
            assert tx.raw not in self.cluster.founding.foreign, (
                f"height {sequence} holds a transaction of another chain (S1)"
            )
            until = min(body.expiry_height, sequence + limits.expiry_window_blocks)
            assert body.first_height <= sequence <= body.expiry_height == until, (
                f"height {sequence} holds what is valid from {body.first_height} to "
                f"{body.expiry_height} (S15)"
            )

    def on_executed(self, node: Worker, executed: Executed) -> None:
        header = executed.header
        if executed.header.proposal_digest == null(header.height)[0]:
            self.cluster.cover("S11 null executed")
        if not self.honest(node):
            return
        height = header.height
        known = self.headers.get(height)
        if known is None:
            self.headers[height] = known = header.hash()
            self.ordered[height] = executed.tx_ids
            self._derived(node, header)
            self.law.executed(node, executed)
        assert known == header.hash(), f"two headers at height {height}"
        if (height + node.member) % SHOWN_BLOCKS == 0:
            self._shown(node, executed)
        for receipt in executed.receipts:
            if receipt.code == DUPLICATE:
                self.cluster.cover("S15 a transaction is ordered twice and runs once")
            else:
                ran = self.ran.setdefault(receipt.tx_id, height)
                if receipt.code == CONTRACT_FAULT:
                    self.cluster.cover("S16 a contract fails and the chain goes on")
                assert ran == height, f"a transaction ran at {ran} and again at {height} (S15)"

    def _derived(self, node: Worker, header: Header) -> None:
        """What a header says beside its roots, by numbers of our own."""
        height, epoch, end = header.height, header.epoch, header.epoch_end
        self.times[height] = header.time_ms
        before = self.times.get(height - 1, 0)
        assert header.time_ms >= before, f"time runs backwards at height {height} (S11)"
        window = self.cluster.plan.parameters.watermark_window
        fixed = self.ends.get(epoch)
        if fixed is None and end:
            # By this block, or by the one before, which ended the epoch before it.
            first = self.ends.get(epoch - 1, 0) + 1 == height
            assert end in (height + window, height + window - first), (
                f"at height {height} the epoch's end is fixed at {end}, L is {window} (S13)"
            )
            fixed = self.ends[epoch] = end
            self.cluster.ambush.end_is_fixed(node, end)
        assert end == (fixed or 0), f"height {height} moves its epoch's end to {end} (S13)"

    def _shown(self, node: Worker, executed: Executed) -> None:
        """Of what is executed and not certified, who asks for a simulation learns nothing (S12)."""
        header = executed.header
        executor = node.executor
        proposal = node.bodies.parsed(header.proposal_digest)
        if proposal is None or executor.certified_head.height < executor.epoch.base:
            return
        for tx, receipt in zip(proposal.transactions, executed.receipts, strict=False):
            # What it says must stand by itself: an anchor needs nothing that came before.
            if receipt.tx_id == tx.id and receipt.ok and b"anchor" in tx.body.operations[0]:
                _, again = executor.simulate(tx)
                assert all(one.ok for one in again), (
                    f"n{node.member} shows what block {header.height} did, and it is not certified "
                    "(S12)"
                )
                self.cluster.cover("S12 a client simulates before the certificate")
                return

    def on_certified(self, node: Worker, batch: BlockBatch) -> None:
        if not self.honest(node):
            return
        height = batch.header.height
        self._proved(node, batch)
        before = self.heights.get(node.address, 0)
        assert height == before + 1, f"certified {height} after {before}"
        self.cluster.promises.fairness.certified(node, batch.tx_ids)
        self.heights[node.address] = height
        self.cluster.on_certified(node, batch)

    def _proved(self, node: Worker, batch: BlockBatch) -> None:
        """Whatever road a block came by, q members of its epoch have signed its header (S12, S14)."""
        assert node.replica is not None
        s, header, certificate = node.replica.state, batch.header, batch.certificate
        assert certificate is not None
        what = (VoteType.CHECKPOINT, header.epoch, 0, header.height, header.hash())
        signed = self.cluster.founding.domain.payload(*what)
        signers = {
            one.index
            for one in certificate.signatures
            if verifier(s.validators.key(one.index), signed, one.signature)
        }
        n = len(s.validators.validators)
        assert header.epoch == s.epoch, f"height {header.height} is of epoch {header.epoch} (S13)"
        assert len(signers) >= (n + (n - 1) // 3) // 2 + 1, (
            f"n{node.member} stores height {header.height}, signed by {len(signers)} of {n} (S14)"
        )

    def lost_disk(self, node: Machine) -> None:
        """What it comes back with is older, or nothing: `on_start` says what."""
        self.heights.pop(node.address, None)

    def on_start(self, node: Worker) -> None:
        self.cluster.promises.fairness.started(node)
        known = self.heights.get(node.address)
        height = node.state.height()
        if known is not None and self.honest(node):
            assert height >= known, f"n{node.member} had certified {known}, its disk has {height}"
        self.heights[node.address] = height

    def damaged(self, node: Worker, error: StorageError) -> None:
        """A store refuses to be used: only what the plan has damaged may say so. It is replaced."""
        self.heights.pop(node.address, None)
        self.cluster.note(node, f"REFUSES TO START: {error.message}")
        self.cluster.cover(f"refuses to start: {error.code}")
        if self.honest(node):
            assert node.member in self.cluster.plan.losers, (
                f"n{node.member} refuses its own disk: {error.message}"
            )

    def on_upkeep(self, node: Worker) -> None:
        """What clients and peers can fill in the shell is within its caps (B25)."""
        self.cluster.promises.fairness.on_upkeep(node)
        limits = node.pipeline.epoch.parameters
        pool, bodies = node.mempool, node.bodies
        assert pool.pending <= limits.pool_transactions_max, "the pool is over its cap"
        assert len(bodies._raw) <= bodies.bodies_max + limits.execute_ahead_max + 1
        assert len(node.steps) < STEPS_WAITING_MAX, "steps wait for the disk without a bound"
        sizes = node.rumours.gossip.sizes()
        assert sizes["tracked"] <= TRACKED_MAX
        assert sizes["wanted"] <= WANTED_MAX
        assert node.executor.read(LEFT) is None, "a contract failed, and what it wrote stays (S16)"

    def on_view(self, node: Worker, view: int) -> None:
        assert node.replica is not None
        self.cluster.on_view(node, node.replica.state.epoch, view)

    def on_send(self, node: Node, message: Message) -> None:
        """Rule S3: a vote of mine that leaves is on my disk."""
        kind = type(message)
        if kind in _VOTES and message.sender == node.hands.me:
            left, found = _journalled(node, cast("SignedMessage", message), kind in _OF_VIEWS)
            assert found is not None, (
                f"a vote left before it was on disk (S3): {type(message).__name__} of "
                f"n{node.member}, epoch {message.epoch}"
            )
            assert found == left, "the journal holds another digest than what left (S3)"

    def on_alarm(self, node: Worker, action: Evidence | Quarantine | Halt | ViewLeft) -> None:
        match action:
            case Evidence(culprit, first, _):
                self.cluster.note(node, f"EVIDENCE against {culprit}")
                member = node.seats.member(node.seats.epoch, culprit)
                assert member is not None
                if self.honest(node):
                    assert number(member) in self.faulty, (
                        f"honest {member} is accused by n{node.member} (L23): "
                        f"{type(first).__name__}"
                    )
            case Quarantine(reason):
                self.cluster.note(node, f"QUARANTINE: {reason}")
                self.cluster.cover("S4 quarantine: a peer shows a vote that is not known")
                if self.honest(node):
                    raise AssertionError(f"honest n{node.member} is in quarantine: {reason}")

    def on_halt(self, node: Worker, reason: str) -> None:
        self.cluster.note(node, f"HALT: {reason}")
        self.cluster.cover("L24 a diverged node halts")
        if self.honest(node):
            raise AssertionError(f"honest n{node.member} halted with at most f liars: {reason}")


def _journalled(node: Node, message: SignedMessage, of_view: bool) -> tuple[bytes, bytes | None]:
    """What leaves, and what the disk binds it to: its own entry, or the NEW-VIEW that contains it (a
    torn write may have kept that and not the entries which follow it)."""
    left, sequence = b"", 0
    if of_view:
        left = node.cluster.seals.content(cast("ViewChange | NewView", message))
    else:
        vote = cast("Vote", message)
        left, sequence = vote.digest, vote.sequence
    key = (int(vote_type(message)), message.epoch, message.view, sequence)
    entry = node.disks.votes.get(key)
    if entry is not None:
        return left, entry.digest
    entry = node.disks.new_views.get((message.epoch, message.view))
    if entry is None:
        return left, None
    if isinstance(message, NewView):
        return left, entry.digest
    new_view = decode_message(entry.payload)
    assert isinstance(new_view, NewView)
    chosen = {vote.sequence: vote.digest for vote in new_view.pre_prepares}
    return left, chosen.get(sequence) if isinstance(message, PrePrepare) else None
