"""What a node does for its core: propose, judge, execute, write, and keep a pool (S6, S12, S15).

Each job takes a while and ends in an event; jobs of one kind end in their order. A sync may
overtake any of them: then the job is dropped, as `CaughtUp` has told the core more.
"""

from __future__ import annotations

from dataclasses import replace

from consensus.effects import (
    BuildProposal,
    CatchUp,
    CheckProposal,
    Evidence,
    Execute,
    Halt,
    Quarantine,
    Rejected,
    ViewEntered,
    ViewLeft,
    WriteBlock,
)
from consensus.events import (
    BlockWritten,
    Complain,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
)
from consensus.replica import Replica
from salus.block import proposal_digest
from salus.certificate import Certificate
from tests.sim import model
from tests.sim.machine import Machine
from tests.sim.model import Block

# Rule L17, fairness: so many later transactions were executed before one that waits here.
POOL_TRANSACTIONS_MAX = 40
BUILD_MS = 1.0


class Worker(Machine):
    """A machine that performs the deliveries of its core."""

    # -- deliveries -----------------------------------------------------------------------------

    def perform(self, action: object) -> None:
        match action:
            case BuildProposal():
                self.open = action
                self.build_soon()
            case CheckProposal():
                self.cluster.at(BUILD_MS, self.checked, self.life, self.replica, action)
            case Execute(sequence, digest):
                if sequence <= self.disk.head.height:
                    return  # A sync has passed it while this step waited for its persist.
                self.cluster.checkers.on_committed(self, sequence, digest)
                self.executing.append((sequence, digest))
                self.cluster.at(
                    self.plan.execute_ms * (0.5 + self.random.random()), self.executed, self.life
                )
            case WriteBlock():
                self.writing.append(action)
                self.cluster.at(
                    self.plan.persist_ms * self.random.random(), self.written, self.life
                )
            case CatchUp():
                peers = [i for i in range(self.plan.n) if i != self.member]
                if peers:
                    peer = peers[int(self.random.random() * len(peers))]
                    self.post(peer, "on_get_blocks", (self.member, self.disk.head.height))
            case ViewEntered(view, _):
                self.open = None
                self.proposed = set()
                self.complained = False
                # The new primary starts with a clean slate, and is owed what we are owed (L17).
                self.pool = dict.fromkeys(self.pool, self.executed_count)
                self.forward()
                self.cluster.checkers.on_view(self, view)
                self.cluster.note(self, f"enters view {view}")
            case ViewLeft():
                self.open = None
                self.cluster.note(self, f"leaves its view: {action}")
            case Evidence():
                self.cluster.checkers.on_evidence(self, action)
            case Rejected(reason):
                self.cluster.rejections[reason] = self.cluster.rejections.get(reason, 0) + 1
            case Quarantine():
                self.cluster.checkers.on_quarantine(self, action)
                self.disk.quarantine()
            case Halt():
                self.cluster.checkers.on_halt(self, action)
            case _:
                raise AssertionError(f"an action that the shell does not know: {action}")

    def build_soon(self) -> None:
        if self.open is not None and (self.open.fill or self.fresh()):
            self.cluster.at(BUILD_MS, self.build, self.life, self.open)

    def fresh(self) -> list[bytes]:
        limit = self.parameters.block_transactions_max
        taken: list[bytes] = []
        for tx in self.pool:
            if tx not in self.proposed:
                taken.append(tx)
                if len(taken) == limit:
                    break
        return taken

    def build(self, life: int, asked: BuildProposal) -> None:
        if life != self.life or self.open is not asked:
            return
        transactions = self.fresh()
        if not transactions and not asked.fill:
            return
        self.open = None
        self.proposed.update(transactions)
        body = self.compose(asked, tuple(transactions))
        digest = proposal_digest(body)
        self.bodies[asked.sequence, digest] = body
        self.step(ProposalBuilt(asked.view, asked.sequence, digest))

    def compose(self, asked: BuildProposal, transactions: tuple[bytes, ...]) -> bytes:
        return model.make_body(
            asked.sequence, self.member, asked.view, self.clock_ms(), transactions
        )

    def clock_ms(self) -> int:
        return model.GENESIS_TIME_MS + max(0, int(self.cluster.now + self.clock_offset_ms))

    def checked(self, life: int, replica: Replica, asked: CheckProposal) -> None:
        if life != self.life or replica is not self.replica:
            return
        if asked.sequence <= self.disk.head.height:
            return  # A sync has passed it.
        body = self.body(asked.sequence, asked.digest)
        assert body is not None, "CheckProposal of a body that the shell does not hold"
        verdict = model.judge(
            body,
            asked.sequence,
            asked.view,
            asked.proposer,
            first=asked.first,
            clock_ms=self.clock_ms(),
            parameters=self.parameters,
        )
        self.step(ProposalChecked(asked.view, asked.sequence, asked.digest, verdict))

    def executed(self, life: int) -> None:
        """The worker's next job; jobs that a sync has overtaken are gone from the queue."""
        if life != self.life or not self.executing:
            return
        sequence, digest = self.executing.popleft()
        head = self.stack[-1] if self.stack else self.disk.head
        assert sequence == head.height + 1, (
            f"executed out of order or twice (S6): {sequence} on top of {head.height}"
        )
        body = self.body(sequence, digest)
        assert body is not None, "Execute of a body that the shell does not hold"
        known = self.disk.executed.union(*(block.transactions for block in self.stack))
        block = model.execute(head, body, digest, known, self.parameters)
        self.stack.append(block)
        self.cluster.checkers.on_executed(self, block)
        self.note_executed(block)
        self.step(Executed(sequence, block.header_hash, block.end))

    def note_executed(self, block: Block) -> None:
        self.executed_count += len(block.transactions)
        for tx in block.transactions:
            self.pool.pop(tx, None)
        if block.digest == model.null(block.height)[0]:
            self.cluster.cover("null executed")
        for since in self.pool.values():  # The oldest comes first.
            if self.executed_count - since > POOL_TRANSACTIONS_MAX and not self.complained:
                self.complained = True
                self.cluster.cover("fairness complaint")
                self.cluster.at(0.0, self.complain, self.life)
            break
        self.cluster.at(0.0, self.tell_pending_later, self.life)

    def complain(self, life: int) -> None:
        if life == self.life:
            self.step(Complain())

    def written(self, life: int) -> None:
        if life != self.life or not self.writing:
            return
        asked = self.writing.popleft()
        if self.disk.head.height >= asked.height:
            return  # A sync wrote it meanwhile, and CaughtUp said so.
        block = certified(self.stack.pop(0), asked.certificate)
        assert block.height == asked.height, "blocks are written in order"
        assert block.header_hash == asked.certificate.header_hash, "another header was certified"
        self.disk.write_block(block)
        self.cluster.checkers.on_certified(self, block)
        self.step(BlockWritten(block.height))
        if self.up:
            self.after_certified(block)

    def after_certified(self, block: Block) -> None:
        head = self.disk.head.height
        if len(self.bodies) > 4 * self.parameters.watermark_window:
            self.bodies = {key: body for key, body in self.bodies.items() if key[0] > head}
        if self.disk.quarantined:
            mine = model.rejoin(self.member, self.disk.wipes)
            if mine in self.disk.executed:
                # Its execution stands on disk: my old votes are all of this epoch or older.
                epochs = [b.epoch for b in self.disk.blocks if mine in b.transactions]
                self.disk.quarantined = False
                self.disk.votes_from_epoch = epochs[0] + 1
        if block.ends_epoch and self.up:
            self.make_replica()

    # -- transactions ---------------------------------------------------------------------------

    def submit(self, tx: bytes) -> None:
        """From a client: into the pool, and to everybody."""
        self.admit(tx)
        for member in range(self.plan.n):
            if member != self.member:
                self.post(member, "on_transactions", (tx,))

    def forward(self) -> None:
        """What waits long is said again: to the primary, and so to everybody in turn."""
        oldest = tuple(self.pool)[:4]
        for member in range(self.plan.n):
            if member != self.member:
                self.post(member, "on_transactions", oldest)

    def admit(self, tx: bytes) -> None:
        if tx in self.pool or tx in self.disk.executed:
            return
        if any(tx in block.transactions for block in self.stack):
            return
        self.pool[tx] = self.executed_count
        self.tell_pending()
        self.build_soon()

    def tell_pending_later(self, life: int) -> None:
        if life == self.life:
            self.tell_pending()

    def tell_pending(self) -> None:
        pending = bool(self.pool)
        if pending != self.pending:
            self.pending = pending
            self.step(PendingWork(pending))

    def post(self, member: int, kind: str, payload: object) -> None:
        raise NotImplementedError


def certified(block: Block, certificate: Certificate) -> Block:
    return replace(block, certificate=certificate)
