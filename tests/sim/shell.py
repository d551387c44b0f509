"""One simulated node: the shell around the real core, as the real runner must be (rule S3).

Law of the file: effects are released first in, first out; those of one step in the order persist
→ send → deliver; a group of waiting persists is synced at once; a crash may strike between any
two of these or inside the sync. What is volatile lives in this object and dies with `crash`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from consensus.effects import (
    BuildProposal,
    CatchUp,
    CheckProposal,
    Effects,
    Evidence,
    Execute,
    Halt,
    Persist,
    PersistBody,
    Quarantine,
    Rejected,
    Send,
    SendBlocks,
    SendBody,
    Sending,
    ViewEntered,
    ViewLeft,
    WriteBlock,
)
from consensus.events import (
    BlockWritten,
    BodyArrived,
    CaughtUp,
    Complain,
    Event,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
)
from consensus.invariants import Watch
from consensus.messages import Checkpoint, Commit, Message, Prepare, PrePrepare
from consensus.replica import Replica, ReplicaConfig
from salus.block import proposal_digest
from salus.certificate import Certificate, check_signatures
from salus.errors import SalusError
from salus.vote import JournalEntry
from tests.sim import model
from tests.sim.disk import Disk
from tests.sim.model import Block
from tests.sim.plan import Crash, CrashMode, Loss
from tests.sim.signatures import DOMAIN, SimSigner, verifier

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

BLOCKS_PER_ANSWER_MAX = 16
# Rule L17, fairness: so many later transactions were executed before one that waits here.
POOL_TRANSACTIONS_MAX = 40
REFORWARD_TICKS = 10
REJOIN_TICKS = 15
BUILD_MS = 1.0
PLAIN_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))
SLOT_EVENTS = frozenset((BodyArrived, ProposalBuilt, ProposalChecked, Executed))


class Node:
    """A validator at address `address` (its member index, except for a twin)."""

    honest = True

    def __init__(self, cluster: Cluster, address: int, member: int) -> None:
        self.cluster, self.address, self.member = cluster, address, member
        self.plan, self.parameters = cluster.plan, cluster.plan.parameters
        self.random = cluster.random
        self.disk = Disk()
        self.signer = SimSigner(member, cluster.ledger)
        self.life = 0  # raised by each crash: what was under way before never arrives
        self.up = False
        self.paused_until = 0.0
        self.armed: Crash | None = None
        self.clock_offset_ms = cluster.plan.skew_ms[address]
        self.tick_ms = self.parameters.tick_ms * cluster.plan.tick_rate[address]
        self.forget()

    def forget(self) -> None:
        """Everything volatile."""
        self.queue: deque[tuple[Replica, Effects]] = deque()
        self.syncing: list[tuple[Replica, Effects]] = []
        self.bodies: dict[tuple[int, bytes], bytes] = {}
        self.stack: list[Block] = []  # executed, not certified
        self.executing: deque[tuple[int, bytes]] = deque()
        self.writing: deque[WriteBlock] = deque()
        self.pool: dict[bytes, int] = {}  # transaction → executed_count when it came
        self.proposed: set[bytes] = set()
        self.executed_count = 0
        self.open: BuildProposal | None = None
        self.pending = False
        self.complained = False
        self.ticks = 0
        self.watch = Watch()
        self.replica: Replica | None = None

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        self.up = True
        self.bodies.update(self.disk.bodies)
        self.make_replica()
        self.cluster.at(self.random.random() * self.tick_ms, self.tick, self.life)

    def make_replica(self) -> None:
        """Birth, restart, or the first height of a new epoch (S13)."""
        head, n = self.disk.head, self.plan.n
        epoch, base, end = model.place(head)
        voting = not self.disk.quarantined and epoch >= self.disk.votes_from_epoch
        self.replica = Replica(
            ReplicaConfig(
                vote_domain=DOMAIN,
                parameters=self.parameters,
                epoch=epoch,
                base=base,
                validators=model.validators(epoch, n),
                me=self.member,
                signer=self.signer,
                verifier=verifier,
                journal=self.disk.entries(epoch, whole=self.plan.journal_whole),
                certified=head.height,
                certificate=None if head.height == base else head.certificate,
                epoch_end=end,
                voting=voting,
            )
        )
        self.watch = Watch()
        self.open, self.pending, self.complained = None, False, False
        self.proposed = set()
        self.stack = []
        self.executing, self.writing = deque(), deque()
        self.cluster.note(
            self, f"starts epoch {epoch} above {head.height}{'' if voting else ', not voting'}"
        )
        if epoch:
            self.cluster.cover("epoch changed")
        if self.disk.wipes and voting:
            self.cluster.cover("rejoined")
        self.tell_pending()

    def crash(self, crash: Crash, where: str = "") -> None:
        self.cluster.note(self, f"CRASH {where or crash.mode.value}; loses {crash.loss.value}")
        self.cluster.cover(f"crash {crash.mode.name.lower()}")
        self.up, self.armed = False, None
        self.life += 1
        disk = self.disk
        if self.syncing:
            group, bodies = self.group()
            kept = disk.tear(group, bodies, self.random)
            self.cluster.cover("crash inside a persist")
            if 0 < kept < len(group):
                self.cluster.cover("torn persist")
        for _, effects in (*self.syncing, *self.queue):
            for item in effects.persist:
                if isinstance(item, JournalEntry):
                    place = (item.kind, item.epoch, item.view, item.sequence)
                    if place not in disk.votes:
                        self.cluster.ledger.never_left(self.member, *place)
        self.forget()
        if crash.loss in (Loss.JOURNAL, Loss.EVERYTHING, Loss.BACKUP):
            if crash.loss is not Loss.JOURNAL:
                height = int(self.random.random() * disk.head.height)
                disk.cut_back(height if crash.loss is Loss.BACKUP else 0)
            disk.lose_journal()
            self.cluster.checkers.lost_disk(self)
        elif crash.loss is Loss.UNNOTICED:
            disk.forget_newest(self.random)
        self.cluster.at(crash.down_ms, self.come_back, self.life)

    def come_back(self, life: int) -> None:
        if life == self.life and not self.up:
            self.start()

    def arm(self, crash: Crash) -> None:
        """The plan's time has come; the mode says what the power waits for."""
        if not self.up:
            return
        if crash.mode is CrashMode.NOW:
            self.crash(crash)
        else:
            self.armed = crash
            self.cluster.at(1_000.0, self.disarm, self.life, crash)

    def disarm(self, life: int, crash: Crash) -> None:
        if life == self.life and self.armed is crash:
            self.crash(crash, "between two steps")

    def tick(self, life: int) -> None:
        if life != self.life:
            return
        self.cluster.at(self.tick_ms, self.tick, life)
        if self.cluster.now < self.paused_until:
            return
        self.ticks += 1
        if self.pool and self.ticks % REFORWARD_TICKS == 0:
            self.forward()
        if self.disk.quarantined and self.ticks % REJOIN_TICKS == 2:
            self.submit(model.rejoin(self.member, self.disk.wipes))
        self.step(Tick())

    # -- the core -------------------------------------------------------------------------------

    def step(self, event: Event) -> None:
        """One event in, its effects into the queue, and what can be released is released."""
        replica = self.replica
        assert replica is not None
        self.cluster.events += 1
        if self.cluster.tracing:
            self.cluster.note_event(self, event)
        effects = replica.step(event)
        # After what concerns one slot, that slot; after everything else, all of them.
        kind = type(event)
        about = event.message if kind is Received else event  # type: ignore[union-attr]
        single = kind in SLOT_EVENTS or (kind is Received and type(about) in PLAIN_VOTES)
        self.watch.check(replica, about.sequence if single else None)  # type: ignore[union-attr]
        if effects.persist or effects.send or effects.deliver:
            if effects.persist or self.queue or self.syncing:
                self.queue.append((replica, effects))
                self.sync()
            else:
                self.release(replica, effects)

    def sync(self) -> None:
        """Group commit: all that waits goes to disk with one sync."""
        if self.syncing:
            return
        while self.queue and not self.queue[0][1].persist:
            if not self.release(*self.queue.popleft()):
                return
        if not self.queue or self.syncing:
            return
        self.syncing = list(self.queue)
        self.queue.clear()
        delay = self.plan.persist_ms * (0.5 + self.random.random())
        if self.armed is not None and self.armed.mode is CrashMode.PERSIST:
            crash = self.armed
            self.cluster.at(delay * self.random.random(), self.strike, self.life, crash)
        self.cluster.at(delay, self.synced, self.life)

    def strike(self, life: int, crash: Crash) -> None:
        if life == self.life and self.armed is crash:
            self.crash(crash)

    def group(self) -> tuple[list[Persist], list[bytes]]:
        items = [
            item
            for _, effects in self.syncing
            for item in effects.persist
            # A sync may have written the whole block meanwhile.
            if not isinstance(item, PersistBody) or item.sequence > self.disk.head.height
        ]
        bodies = [self.body(i.sequence, i.digest) for i in items if isinstance(i, PersistBody)]
        for body in bodies:
            assert body is not None, "PersistBody of a body that the shell does not hold"
        return items, bodies  # type: ignore[return-value]

    def synced(self, life: int) -> None:
        if life != self.life:
            return
        group, bodies = self.group()
        self.disk.write(group, bodies)
        ready, self.syncing = self.syncing, []
        for replica, effects in ready:
            if not self.release(replica, effects):
                return
        self.sync()

    def release(self, replica: Replica, effects: Effects) -> bool:
        """Send, then deliver; False when the power went in the middle."""
        armed = self.armed
        for index, sending in enumerate(effects.send):
            if armed is not None and armed.mode is CrashMode.SEND and index >= 1:
                self.crash(armed)
                return False
            self.emit(sending)
        if effects.send and armed is not None and armed.mode is CrashMode.DELIVER:
            self.crash(armed)
            return False
        life = self.life
        for action in effects.deliver:
            if replica is not self.replica:
                break  # Its epoch is over: only what it had to say is still of use.
            self.perform(action)
        return life == self.life

    # -- sending --------------------------------------------------------------------------------

    def emit(self, sending: Sending) -> None:
        if isinstance(sending, Send):
            message = sending.message
            self.cluster.checkers.on_send(self, message)
            body = self.body_of(message) if isinstance(message, PrePrepare) else None
            if sending.to is None:
                self.broadcast(message, body)
            else:
                self.transmit(sending.to, message, body)
        elif isinstance(sending, SendBody):
            found = self.body(sending.sequence, sending.digest)
            if found is not None:
                self.cluster.cover("body served")
                self.post(sending.to, "on_body", (sending.sequence, sending.digest, found))
        else:
            self.offer_blocks(sending)

    def broadcast(self, message: Message, body: bytes | None) -> None:
        self.cluster.network.broadcast(self.address, self.member, (message, body))

    def transmit(self, member: int, message: Message, body: bytes | None) -> None:
        self.post(member, "on_message", (message, body))

    def post(self, member: int, kind: str, payload: object) -> None:
        self.cluster.network.send(self.address, member, kind, payload)

    def offer_blocks(self, sending: SendBlocks) -> None:
        blocks = self.disk.blocks[sending.above + 1 : sending.above + 1 + BLOCKS_PER_ANSWER_MAX]
        if blocks:
            self.post(sending.to, "on_blocks", tuple(blocks))

    # -- receiving ------------------------------------------------------------------------------

    def on_message(self, payload: tuple[Message, bytes | None]) -> None:
        message, body = payload
        arrived: BodyArrived | None = None
        if (
            body is not None
            and isinstance(message, PrePrepare)
            and proposal_digest(body) == message.digest
            and self.wants_body(message.sequence)
        ):
            self.bodies[message.sequence, message.digest] = body
            arrived = BodyArrived(message.sequence, message.digest)
        if arrived is not None and self.plan.body_first:
            self.step(arrived)
            arrived = None
            if not self.up:
                return
        self.step(Received(message))
        if arrived is not None and self.up:
            self.step(arrived)

    def wants_body(self, sequence: int) -> bool:
        """The shell's own bound: bodies within two windows of the certified height."""
        height = self.disk.head.height
        return height < sequence <= height + 2 * self.parameters.watermark_window

    def on_body(self, payload: tuple[int, bytes, bytes]) -> None:
        sequence, digest, body = payload
        if proposal_digest(body) == digest and self.wants_body(sequence):
            self.bodies[sequence, digest] = body
            self.step(BodyArrived(sequence, digest))

    def on_get_blocks(self, payload: tuple[int, int]) -> None:
        member, above = payload
        self.emit(SendBlocks(member, above, 0))

    def on_transactions(self, payload: tuple[bytes, ...]) -> None:
        for tx in payload:
            self.admit(tx)

    def on_blocks(self, blocks: tuple[Block, ...]) -> None:
        """Certified blocks: each certificate against the set of its height, each body executed
        on the block before (S14)."""
        last: Block | None = None
        for block in blocks:
            if not self.up:
                return
            head = self.disk.head
            if block.height != head.height + 1:
                continue
            mine = self.check_block(head, block)
            if mine is None:
                break
            self.disk.write_block(mine)
            self.cluster.cover("catch-up")
            self.cluster.checkers.on_certified(self, mine)
            self.note_executed(mine)
            last = mine
            if mine.ends_epoch:
                self.caught_up(mine)
                last = None
        if last is not None and self.up:
            self.caught_up(last)

    def check_block(self, head: Block, block: Block) -> Block | None:
        """My own execution of it with its certificate, or None if either is false."""
        try:
            mine = model.execute(
                head, block.body, proposal_digest(block.body), self.disk.executed, self.parameters
            )
            certificate = block.certificate
            if certificate is None or certificate.header_hash != mine.header_hash:
                return None
            if certificate.height != mine.height:
                return None
            check_signatures(
                certificate, model.validators(mine.epoch, self.plan.n), DOMAIN, verifier
            )
        except (SalusError, AssertionError):
            return None
        return certified(mine, certificate)

    def caught_up(self, block: Block) -> None:
        assert block.certificate is not None
        while self.stack and self.stack[0].height <= block.height:
            self.stack.pop(0)
        while self.executing and self.executing[0][0] <= block.height:
            self.executing.popleft()
        self.step(CaughtUp(block.height, block.certificate, block.end))
        self.after_certified(block)

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

    # -- bodies ---------------------------------------------------------------------------------

    def body(self, sequence: int, digest: bytes) -> bytes | None:
        known = self.bodies.get((sequence, digest)) or self.disk.bodies.get((sequence, digest))
        if known is None and digest == model.null(sequence)[0]:
            return model.null(sequence)[1]
        return known

    def body_of(self, message: PrePrepare) -> bytes | None:
        return self.body(message.sequence, message.digest)


def certified(block: Block, certificate: Certificate) -> Block:
    return replace(block, certificate=certificate)
