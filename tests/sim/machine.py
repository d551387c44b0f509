"""The lawful order of one simulated node: persist → send → deliver, and where the power goes (S3).

It stands for `node.runner.Runner`, which needs an event loop, and keeps its law: effects are
released first in, first out; a group of waiting persists is synced at once; a new epoch drops what
the old one still wanted to say. A crash may strike between any two of these or inside the sync.
What is volatile lives in this object and dies with `crash`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from consensus.effects import Action, Effects, PersistBody, Sending
from consensus.events import Event, PendingWork, Received, Tick
from consensus.invariants import COUNTED_AT_MOST, Watch
from consensus.replica import Replica
from node.runner import Step
from salus.vote import JournalEntry
from storage.errors import SigningRefused, StoreUnavailable
from storage.keys import VALUE
from tests.sim.disk import Disks
from tests.sim.faults import Crash, CrashMode, Loss
from tests.sim.poison import CALLS
from tests.sim.power import UNCUT, PowerCut
from tests.sim.promises import PROMISE_NOTHING
from tests.sim.rules import TELLING

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

NOTHING = Effects()
TICK = Tick()


class Machine:
    """The node at `address`; its number in the consortium is `member`, the same for a twin."""

    honest = True

    def __init__(self, cluster: Cluster, address: int, member: int) -> None:
        self.cluster, self.address, self.member = cluster, address, member
        self.plan, self.parameters = cluster.plan, cluster.plan.parameters
        self.suspect = member in self.plan.faulty
        self.random = cluster.random
        self.disks = Disks(address, self.random)
        self.life = 0  # raised by each crash: what was under way before never arrives
        self.up = False
        self.paused_until = 0.0
        self.stalled_until = 0.0  # its disks answer nothing before
        self.armed: Crash | None = None
        self.clock_offset_ms = cluster.plan.skew_ms[address]
        self.tick_ms = self.parameters.tick_ms * cluster.plan.tick_rate[address]
        self.unsure: list[JournalEntry] = []  # signed, and perhaps lost with the power
        self.forget()

    def forget(self) -> None:
        """Everything volatile."""
        self.steps: deque[Step] = deque()
        self.syncing = False
        self.releasing = False
        self.told_pending: bool | None = None
        self.tick_s = 0.0  # set by the real `Epochs`, as the runner's
        self.misfit = False  # a vote waits for the disk that it must refuse (traps.py)
        self.replica: Replica | None = None
        self.watch = Watch(thorough=self.cluster.thorough)

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        raise NotImplementedError

    def crash(self, crash: Crash, where: str = "") -> None:
        cluster, disks = self.cluster, self.disks
        cluster.note(self, f"CRASH {where or crash.mode.value}; loses {crash.loss.value}")
        cluster.cover(f"crash {crash.mode.name.lower()}")
        self.up, self.armed = False, None
        self.life += 1
        if self.syncing:
            cluster.cover("crash inside a persist")
            disks.power.left = int(self.random.random() * 4)
            try:
                self.persist()
            except PowerCut:
                cluster.cover("S3 torn persist")
            except (StoreUnavailable, SigningRefused):
                pass  # The disk was full as well, or what was to be written is refused.
        disks.lose()
        self.unsure += [
            item
            for step in self.steps
            for item in step.effects.persist
            if isinstance(item, JournalEntry)
        ]
        self.forget()
        if crash.loss is not Loss.NOTHING:
            self.lose(crash.loss)
        cluster.at(crash.down_ms, self.come_back, self.life)

    def lose(self, loss: Loss) -> None:
        """What the disks hold when the node comes back."""
        disks, cluster = self.disks, self.cluster
        disks.lost = True
        cluster.cover(f"loses {loss.value}")
        if loss in _STATES and not (disks.backup is not None and disks.backup.state):
            loss = Loss.EVERYTHING
        if loss is Loss.JOURNAL_OLD and not self.outdated():
            loss = Loss.JOURNAL
        if loss is Loss.EVERYTHING or (loss in _BACKUPS and disks.backup is None):
            disks.wipe()
        elif loss is Loss.JOURNAL:
            disks.wipe_journal()
        elif loss is Loss.JOURNAL_COPY:
            disks.restore_journal()
        elif loss is Loss.JOURNAL_OLD:
            disks.restore_journal(same_inodes=True)
        elif loss is Loss.STATE:
            disks.restore_state()
        elif loss in _BACKUPS:
            disks.restore_backup(same_inodes=loss is Loss.UNNOTICED)
        elif loss is Loss.JOURNAL_BIT:
            disks.flip_journal_bit()
        elif loss is Loss.STATE_BIT and self.plan.contract_bit:
            disks.state.damaged.add(CALLS_KEY)
        elif loss is Loss.STATE_BIT:
            # What no start reads: the executor meets it in the middle of a block (S16).
            disks.state.flip_bit(among=WHOSE_KEY if self.plan.seed % 2 else b"")
        elif loss is Loss.BODY_BIT:
            disks.blocks.flip_bit()
        cluster.checkers.lost_disk(self)
        if loss in _NO_JOURNAL:
            cluster.observer.lost_disk(self)
            cluster.promises.lost_disk(self)

    def outdated(self) -> bool:
        """Has the state store been told of more votes than the backup's journal holds? (S4)"""
        raise NotImplementedError

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

    def die(self, why: str) -> None:
        """The process ends by itself, as a real one does after an I/O error. The machine does not:
        what was written stays."""
        self.cluster.note(self, f"ENDS: {why}")
        self.cluster.cover("ends by itself")
        self.up, self.armed = False, None
        self.disks.power.left = UNCUT
        self.life += 1
        self.unsure += [
            item
            for step in self.steps
            for item in step.effects.persist
            if isinstance(item, JournalEntry)
        ]
        self.forget()
        self.cluster.at(RESTART_MS, self.come_back, self.life)

    # -- the core -------------------------------------------------------------------------------

    def install(self, replica: Replica | None) -> None:
        """As `Runner.install`: votes of the old epoch that wait for the disk are dropped unsent."""
        for step in self.steps:
            for item in step.effects.persist:
                if isinstance(item, JournalEntry):
                    self.never_left(item)
        self.steps.clear()
        self.replica = replica
        self.watch = Watch(thorough=self.cluster.thorough)
        self.told_pending = None  # what this replica knows; None: nothing yet
        self.ran_to = 0  # the last sequence that this replica object let execute

    def never_left(self, entry: JournalEntry) -> None:
        place = (entry.kind, entry.epoch, entry.view, entry.sequence)
        if place not in self.disks.votes:
            self.cluster.ledger.never_left(self.member, *place)

    def step(self, event: Event) -> Effects:
        """One event in; its effects are released as soon as the law lets them."""
        replica = self.replica
        if replica is None:
            return NOTHING
        cluster = self.cluster
        cluster.events += 1
        if cluster.tracing:
            cluster.note_event(self, event)
        effects = replica.step(event)
        came = bool(effects.persist or effects.send or effects.deliver)
        about: type = type(event)
        if about is Received:
            about = type(event.message)  # type: ignore[union-attr]
        if cluster.watched:
            cluster.observer.stepped(self, event, effects)
        if came or about not in PROMISE_NOTHING or self.suspect:
            cluster.promises.stepped(self, event, effects)
        if came or about in TELLING:
            cluster.rules.stepped(self, event, effects)
        if came or about not in COUNTED_AT_MOST or cluster.thorough:
            self.watch.check(replica, event)
        if came:
            self.steps.append(Step(effects))
            if not self.releasing:
                self.release()
        return effects

    def pending(self, pending: bool) -> None:
        """As `Runner.pending`: said when it changes."""
        if pending is not self.told_pending:
            self.told_pending = pending
            self.step(PendingWork(pending))

    def persist_entry(self, entry: JournalEntry) -> None:
        """An entry of the shell's own, in its turn behind the votes of earlier steps."""
        if self.replica is not None:
            self.steps.append(Step(Effects(persist=[entry])))
            self.release()

    def wants(self, sequence: int, digest: bytes) -> bool:
        return self.replica is not None and self.replica.wants(sequence, digest)

    def counts_on(self, sequence: int, digest: bytes) -> bool:
        return self.replica is not None and self.replica.counts_on(sequence, digest)

    def sync(self) -> None:
        """Group commit: all that waits goes to disk with one sync."""
        if self.syncing:
            return
        group = [step for step in self.steps if not step.synced]
        if not group:
            return
        self.syncing = True
        entries: list[JournalEntry] = []
        bodies: list[PersistBody] = []
        for step in group:
            for wish in step.effects.persist:
                if isinstance(wish, JournalEntry):
                    entries.append(wish)
                else:
                    bodies.append(wish)
        self.group, self.entries = group, entries
        self.gather(bodies)
        delay = self.plan.persist_ms * (0.5 + self.random.random()) + self.stall_ms()
        if self.armed is not None and self.armed.mode is CrashMode.PERSIST:
            crash = self.armed
            self.cluster.at(delay * self.random.random(), self.strike, self.life, crash)
        self.cluster.at(delay, self.synced, self.life)

    def stall_ms(self) -> float:
        return max(0.0, self.stalled_until - self.cluster.now)

    def strike(self, life: int, crash: Crash) -> None:
        if life == self.life and self.armed is crash:
            self.crash(crash)

    def synced(self, life: int) -> None:
        if life != self.life:
            return
        try:
            self.persist()
        except StoreUnavailable as error:
            self.die(error.code)
            return
        except SigningRefused as error:
            if not self.misfit:
                raise
            self.cluster.cover("S4 the journal refuses a vote that does not fit")
            self.die(error.code)
            return
        self.syncing = False
        for step in self.group:
            step.synced = True
            self.cluster.observer.synced(self, step.effects)
            self.cluster.promises.synced(self, step.effects)
        self.release()

    def release(self) -> None:
        """Send, then deliver, in the order of the steps; the power may go in the middle."""
        if self.releasing:
            return  # A delivery stepped the core again; the loop below comes to it in order.
        self.releasing = True
        life, steps = self.life, self.steps
        while steps and steps[0].synced:
            effects = steps.popleft().effects
            if effects.send:
                armed = self.armed
                for index, sending in enumerate(effects.send):
                    if index and armed is not None and armed.mode is CrashMode.SEND:
                        self.crash(armed)
                        return
                    self.emit(sending)
                if armed is not None and armed.mode is CrashMode.DELIVER:
                    self.crash(armed)
                    return
            for action in effects.deliver:
                if self.replica is None:
                    break  # Halted by the action before.
                self.perform(action)
                if life != self.life:
                    return
        self.releasing = False
        if steps:
            self.sync()

    # -- what work.py and shell.py add ----------------------------------------------------------

    def gather(self, bodies: list[PersistBody]) -> None:
        """The bytes of what is to be synced, now."""
        raise NotImplementedError

    def persist(self) -> None:
        """`entries` and the gathered bodies, to the real stores."""
        raise NotImplementedError

    def emit(self, sending: Sending) -> None:
        raise NotImplementedError

    def perform(self, action: Action) -> None:
        raise NotImplementedError

    def tick(self, life: int) -> None:
        if life != self.life:
            return
        self.cluster.at(self.tick_ms, self.tick, life)
        if self.cluster.now >= self.paused_until:
            self.upkeep()
            self.step(TICK)

    def upkeep(self) -> None:
        raise NotImplementedError


WHOSE_KEY = b"members/key/"
CALLS_KEY = VALUE + CALLS
RESTART_MS = 300.0  # whoever looks after the node makes room and starts it again
_BACKUPS = (Loss.BACKUP, Loss.JOURNAL_COPY, Loss.UNNOTICED)
_STATES = (Loss.STATE, Loss.JOURNAL_OLD)
_NO_JOURNAL = (  # and it is noticed
    Loss.JOURNAL,
    Loss.EVERYTHING,
    Loss.BACKUP,
    Loss.JOURNAL_COPY,
    Loss.JOURNAL_OLD,
)
