"""The lawful order of one simulated node: persist → send → deliver, and where the power goes (S3).

Law of the file: effects are released first in, first out; a group of waiting persists is synced
at once; a crash may strike between any two of these or inside the sync. What is volatile lives in
this object and dies with `crash`; what the effects mean is written in work.py and shell.py.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consensus.effects import (
    Action,
    BuildProposal,
    Effects,
    Persist,
    PersistBody,
    Sending,
    WriteBlock,
)
from consensus.events import (
    BodyArrived,
    Event,
    Executed,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
)
from consensus.invariants import Watch
from consensus.messages import Checkpoint, Commit, Prepare, PrePrepare
from consensus.replica import Replica, ReplicaConfig
from salus.vote import JournalEntry
from tests.sim import model
from tests.sim.disk import Disk
from tests.sim.model import Block
from tests.sim.plan import Crash, CrashMode, Loss
from tests.sim.signatures import DOMAIN, SimSigner, verifier

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

REFORWARD_TICKS = 10
REJOIN_TICKS = 15
PLAIN_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))
SLOT_EVENTS = frozenset((BodyArrived, ProposalBuilt, ProposalChecked, Executed))


class Machine:
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
        config = ReplicaConfig(
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
        self.replica = Replica(config)
        self.cluster.observer.born(self, config)
        self.cluster.promises.born(self, config)
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
            self.cluster.observer.lost_disk(self)
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
        self.cluster.observer.stepped(self, event, effects)
        self.cluster.promises.stepped(self, event, effects)
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
        for _, effects in ready:
            self.cluster.observer.synced(self, effects)
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

    # -- what work.py and shell.py add ----------------------------------------------------------

    def emit(self, sending: Sending) -> None:
        raise NotImplementedError

    def perform(self, action: Action) -> None:
        raise NotImplementedError

    def submit(self, tx: bytes) -> None:
        raise NotImplementedError

    def forward(self) -> None:
        raise NotImplementedError

    def tell_pending(self) -> None:
        raise NotImplementedError

    # -- bodies ---------------------------------------------------------------------------------

    def body(self, sequence: int, digest: bytes) -> bytes | None:
        known = self.bodies.get((sequence, digest)) or self.disk.bodies.get((sequence, digest))
        if known is None and digest == model.null(sequence)[0]:
            return model.null(sequence)[1]
        return known

    def body_of(self, message: PrePrepare) -> bytes | None:
        return self.body(message.sequence, message.digest)
