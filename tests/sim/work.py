"""What a node is made of: the real parts over its disks, built anew at each start.

As in `node.node.Node`, which needs an event loop: this is the same composition with the parts of
parts.py in place of those that wait, listen or measure.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

from consensus.effects import (
    Action,
    CheckProposal,
    Evidence,
    Halt,
    PersistBody,
    Quarantine,
    ViewEntered,
    ViewLeft,
)
from consensus.events import (
    BlockWritten,
    BodyDropped,
    CaughtUp,
    Complain,
    ProposalBuilt,
    ProposalChecked,
)
from consensus.replica import Replica
from node.admission import Admission
from node.api.view import Submitted
from node.bodies import Bodies
from node.epochs import Epochs
from node.evidence import EvidenceDesk
from node.gossip_rules import Gossip
from node.pace import Pace
from node.pipeline import Written
from node.proposer import Proposer
from node.ready import Ready, is_waited_for
from node.rejoin import Rejoin
from node.roster import Roster
from node.seats import Seats
from node.standing import META_STANDING, Standing, Voter
from node.sync import BlockSource
from node.vitals import Vitals
from salus.codec import decode
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.statemap import SALT_BYTES, StateTree
from salus.transaction import ParsedTransaction
from storage.blocks import BlockStore
from storage.errors import JournalDamaged, StorageError, StoreDamaged, StoreUnavailable
from storage.state import StateStore
from storage.votes import floor_entry
from tests.sim.execution import SharingExecutor
from tests.sim.faults import CrashMode
from tests.sim.founding import TIME_MS, name
from tests.sim.machine import Machine
from tests.sim.parts import (
    Fetcher,
    Hands,
    HeardAlarms,
    Inline,
    LaterJudge,
    Rumours,
    SeenMempool,
    SeenPipeline,
    run,
)
from tests.sim.power import PowerCut
from tests.sim.signatures import SharedProofs, SimSigner, keyed, true_key, verifier
from tests.sim.silence import SILENCE

UPKEEP_TICKS = 2  # the real node: once a second, when its blocks take as long as here a tick
FLOOR_EVERY_BLOCKS = 4  # the real node: 64, more than a run lasts
REJOIN_TICKS = 15
DEEPER_FRAMES = 150  # every other node executes further down its stack (S16)
KEY_CHANGE_MS = 100.0


class Worker(Machine):
    """A machine with everything inside."""

    tree_type = StateTree
    key_turn = ""  # « next» once the node key has been replaced

    # -- building -------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process. What its disks do not allow, whoever looks after it puts right: a damaged
        journal is set aside, a damaged store is thrown away and fetched again."""
        self.up = True
        self.node_key = true_key(f"node {name(self.member)}{self.key_turn}").public_key
        if self.disks.met_damage:  # by the process before
            self._replace(StoreDamaged("met while it ran"))
        try:
            self.build()
        except StoreUnavailable as error:
            self.die(error.code)  # The disk is full: it is started again when there is room.
            return
        except StorageError as error:
            self._replace(error)
            self.build()
        self.cluster.at(self.random.random() * self.tick_ms, self.tick, self.life)

    def change_key(self) -> None:
        """Whoever looks after it stops it, puts the new key and its birth mark in place, and starts
        it again (decision 0006)."""
        self.cluster.note(self, "gets its new node key")
        self.life += 1
        self.up, self.armed = False, None
        self.forget()
        self.key_turn = " next"
        self.disks.mark_birth()
        self.cluster.at(KEY_CHANGE_MS, self.come_back, self.life)

    @property
    def seated(self) -> bool:
        """Has it a vote in the epoch at work?"""
        return self.up and self.vitals.me is not None

    def outdated(self) -> bool:
        stored = self.state.meta(META_STANDING)
        if not stored:
            return False
        return self.disks.backup_records < decode(stored, Standing).journal.records

    def _replace(self, error: StorageError) -> None:
        self.cluster.checkers.damaged(self, error)
        self.cluster.observer.lost_disk(self)
        self.cluster.promises.lost_disk(self)
        if isinstance(error, JournalDamaged):
            self.disks.wipe_journal()
        else:
            self.disks.wipe()
        self.forget()

    def build(self) -> None:
        cluster, disks, founding = self.cluster, self.disks, self.cluster.founding
        genesis, genesis_hash, domain = founding.genesis, founding.hash, founding.domain
        if not disks.state.data:
            disks.state.restore(founding.state)
            disks.blocks.restore(founding.blocks)
        self.blocks = BlockStore(disks.blocks, genesis_hash)
        self.state = StateStore(disks.state, genesis_hash, log=disks.log)
        self.voter = Voter(
            disks.data, self.state, genesis_hash, self.node_key, disks.files, self.random.randbytes
        )
        entries = () if self.voter.journal is None else self.voter.journal.entries()
        disks.opened(entries)
        for entry in self.unsure:
            self.never_left(entry)
        self.unsure.clear()
        height = self.state.height()
        cluster.checkers.on_start(self)
        epoch = self.state.current_epoch()
        tree = self.tree_type(
            genesis.parameters.state_bucket_bits,
            height=height,
            uncertified_max=epoch.parameters.execute_ahead_max,
        )
        tree.load(self.state.buckets())
        recent = self.state.recent_ids(self.state.replay_start())
        self.executor = SharingExecutor(
            founding.registry, genesis, self.state, tree, self.state.head, epoch, recent
        )
        if self.tree_type is StateTree and not disks.lost:
            self.executor.outcomes = cluster.outcomes
        self.executor.depth = DEEPER_FRAMES * (self.member % 2)
        self.mempool = SeenMempool(
            genesis.chain_id,
            genesis_hash,
            epoch.parameters,
            verifier,
            height=height,
            is_executed=self.executor.is_executed,
            organisation=self.executor.organisation,
            admit=self._admissible,
        )
        self.mempool.node = cast(Any, self)
        self.pace = Pace(self.mempool, epoch.parameters)
        self.bodies = Bodies(self.blocks, height, self._counted_on, self._body_dropped)
        self.pipeline = SeenPipeline(
            self.executor,
            self.state,
            self.bodies,
            domain,
            verifier,
            epoch,
            self._block_written,
            self.voter.vouch,
            lambda fault: None,
            SILENCE,
            cast(Any, None),
            cast(Any, None),
        )
        self.pipeline.node = cast(Any, self)
        self.writing = False
        self.seats = Seats(lambda: self.pipeline.epoch, self.state.epoch)
        self.source = BlockSource(self.state, self.blocks)
        self.fetcher = Fetcher(cast(Any, self))
        self.proposer = Proposer(self.mempool, self.bodies, self.clock_ms)
        self.judge = LaterJudge(
            self.bodies,
            self.mempool,
            cast(Any, Inline()),
            domain,
            verifier,
            lambda: self.pipeline.epoch,
            self.clock_ms,
            self._judged,
            self._in_view,
            self._fatal,
        )
        self.judge.node = cast(Any, self)
        self.hands = Hands(
            cast(Any, self),
            cast(Any, self),
            self.bodies,
            self.judge,
            self.pipeline,
            self.proposer,
            cast(Any, self.fetcher),
            self.seats,
            self._alarm,
        )
        self.hands.node = cast(Any, self)
        self.rings_at = 0.0
        self.rumours = Rumours(cast(Any, self), Gossip(self.mempool, (), None))
        self.admission = Admission(
            self.mempool,
            cast(Any, Inline()),
            cast(Any, self.rumours),
            SILENCE,
            self._known,
            self._pending,
        )
        self.signer = SimSigner(self.node_key, self.member, cluster.ledger)
        errand = (
            cast(Any, SimTransactionKey(self.node_key)),
            genesis.chain_id,
            genesis_hash,
            self.admission.submit,
            self.state,
            self.random.randbytes,
        )
        self.rejoin, self.ready = Rejoin(*errand), Ready(*errand)
        self.vitals = Vitals(
            disks.data,
            lambda: self.epochs.replica,
            lambda: self.epochs.may_vote(),
            lambda: (),
            lambda: self.cluster.now / 1000,
        )
        self.evidence = EvidenceDesk(domain, verifier, lambda: self.pipeline.epoch)
        self.alarms = HeardAlarms(
            self.vitals,
            SILENCE,
            self.seats,
            self.voter,
            cast(Any, self),
            cast(Any, self.fetcher),
            self.admission,
            self.evidence,
            cast(Any, self.rumours),
            SILENCE,
        )
        self.alarms.node = cast(Any, self)
        self.epochs = Epochs(
            genesis=genesis,
            signer=self.signer,
            roster=Roster(self._certified),
            state=self.state,
            voter=self.voter,
            executor=self.executor,
            pipeline=self.pipeline,
            bodies=self.bodies,
            mempool=self.mempool,
            pace=self.pace,
            gossip=cast(Any, self.rumours),
            proposer=self.proposer,
            runner=cast(Any, self),
            outlet=self.hands,
            sync=cast(Any, self.fetcher),
            rejoin=self.rejoin,
            ready=self.ready,
            vitals=self.vitals,
            on_pending=self._pending,
            on_roster=lambda: None,
            verifier=verifier,
        )
        self.ticks = 0
        self.epochs.begin(epoch)

    def _certified(self, key: bytes) -> bytes | None:
        stored = self.state.get(key)
        return None if stored is None else stored[SALT_BYTES:]

    def install(self, replica: Replica | None) -> None:
        """Birth, restart, or the first height of a new epoch (S13)."""
        super().install(replica)
        if replica is None:
            return
        config, cluster = replica.state.config, self.cluster
        if cluster.signed is not None:
            replica.state.proofs = SharedProofs(config, cluster.signed)
        cluster.observer.born(self, config)
        cluster.promises.born(self, config)
        voting = replica.state.voter.active
        cluster.note(
            self,
            f"starts epoch {config.epoch} above {config.certified}"
            f"{'' if voting else ', not voting'}",
        )
        if config.epoch:
            cluster.cover("S13 the epoch changed")
        if config.validators.n != self.plan.n:
            cluster.cover("S13 an epoch of more or fewer validators")
        if config.parameters != self.parameters:
            cluster.cover("S13 an epoch of other parameters")
        if voting and self.voter.first_epoch:
            cluster.cover("S4 votes again after its journal was lost")

    # -- disk -----------------------------------------------------------------------------------

    def gather(self, bodies: list[PersistBody]) -> None:
        self.raws = self.bodies.persist([(body.sequence, body.digest) for body in bodies])

    def persist(self) -> None:
        """As `node.disk.Disk`, which also writes a body behind the first vote for it. Of the states that a
        crash can leave, here a first vote without its body is the rule; a body without its COMMIT comes
        of a torn persist. The order of that writer itself: tests/node/test_disk_order.py."""
        if self.raws:
            self.blocks.put_bodies(self.raws, sync=True)
        if self.entries:
            try:
                self.voter.append(self.entries)
            except OSError as error:  # a full disk, before it has its words
                raise StoreUnavailable(str(error), code="DISK_FULL") from error
            if self.voter.journal is not None:
                self.disks.appended(self.entries, self.voter.journal.floor)
        self.bodies.persisted(self.raws)

    def write_soon(self) -> None:
        """There is one writer (`Pipeline.write_next`)."""
        pipeline = self.pipeline
        if not self.writing and pipeline.queued_height > self.state.height():
            self.writing = True
            delay = self.plan.persist_ms * self.random.random() + self.stall_ms()
            self.cluster.at(delay, self.write, self.life)

    def write(self, life: int) -> None:
        if life != self.life:
            return
        armed = self.armed
        batch, bodies = self.pipeline.due()
        height, digest = batch.header.height, batch.header.proposal_digest
        if armed is not None and armed.mode is CrashMode.PERSIST:
            self.disks.power.left = int(self.random.random() * 8)
        try:
            if bodies:
                self.blocks.put_bodies(bodies, sync=True)
                self.bodies.persisted(bodies)
            self.state.commit(batch, meta=self.voter.vouch())
            if self.bodies.orphaned(height, digest):
                self.blocks.drop_orphans([(height, digest)])
        except PowerCut:
            assert armed is not None
            self.cluster.cover("crash inside a block's batch")
            self.crash(armed)
            return
        except StoreUnavailable as error:
            self.die(error.code)
            return
        self.disks.power.left = -1
        self.writing = False
        self.pipeline.stands(batch)
        if life == self.life:
            self.fetcher.feed()
            self.write_soon()

    def _block_written(self, written: Written) -> None:
        """As `Node._block_written`."""
        batch, height = written.batch, written.batch.header.height
        assert batch.certificate is not None
        life = self.life
        gone = self.mempool.executed(batch.tx_ids, height)
        self.rumours.gossip.executed(batch.tx_ids, self.rumours.now_ms())
        self.rumours.gossip.gone(gone)
        self.pace.block(batch.header.transactions_count, written.size_bytes)
        self.cluster.checkers.on_certified(self, batch)
        if written.fetched:
            self.step(CaughtUp(height, batch.certificate, batch.header.epoch_end))
        else:
            self.step(BlockWritten(height))
        if life != self.life:
            return
        if self.voter.journal is not None and height % FLOOR_EVERY_BLOCKS == 0:
            self.persist_entry(floor_entry((batch.header.epoch, height)))
        if life == self.life and batch.epoch is not None:
            before = self.voter.journal
            self.epochs.over(batch.epoch)
            if self.voter.journal is not before and self.voter.journal is not None:
                self.disks.opened(self.voter.journal.entries())
        if life == self.life:
            self._pending()

    # -- deliveries -----------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        self.hands.act(action)
        self.write_soon()

    def judged(self, life: int, work: Coroutine[Any, Any, None]) -> None:
        if life == self.life:
            run(work)
        else:
            work.close()

    def _judged(self, checked: ProposalChecked) -> None:
        self.step(checked)

    def _fatal(self, error: BaseException) -> None:
        raise error

    def _alarm(self, action: Evidence | Quarantine | Halt | ViewEntered | ViewLeft) -> None:
        if isinstance(action, ViewEntered):
            self.cluster.checkers.on_view(self, action.view)
            self.cluster.note(self, f"enters view {action.view}")
            self.epochs.view_entered(action)
        else:
            if isinstance(action, ViewLeft):
                self.cluster.note(self, f"leaves its view: {action}")
            self.alarms.sound(action)

    # -- proposing ------------------------------------------------------------------------------

    def nudge(self) -> None:
        wait_ms = self.proposer.wait_ms()
        if wait_ms is not None:
            due = self.cluster.now + max(1, wait_ms)
            if not self.cluster.now < self.rings_at <= due:
                self.rings_at = due
                self.cluster.at(max(1, wait_ms), self.rings, self.life)

    def rings(self, life: int) -> None:
        if life == self.life:
            self.rings_at = 0.0
            built = self.propose()
            if built is not None:
                self.step(built)
            if life == self.life:
                self.nudge()

    def propose(self) -> ProposalBuilt | None:
        return self.proposer.propose()

    def clock_ms(self) -> int:
        return TIME_MS + max(0, int(self.cluster.now + self.clock_offset_ms))

    # -- once in a while ------------------------------------------------------------------------

    def upkeep(self) -> None:
        self.ticks += 1
        if self.rumours.gossip.waits:
            self.rumours.perform(self.rumours.gossip.tick(self.rumours.now_ms()))
        self.fetcher.tick()
        if self.ticks % REJOIN_TICKS == 0:
            self.cluster.checkers.on_upkeep(self)
        if self.ticks % UPKEEP_TICKS == 0 and self.mempool.fairness():
            self.cluster.cover("L17 fairness complaint")
            self.step(Complain())
        self.epochs.ticked()
        if self.pace.tick(self.epochs.replica.waits_for_primary):
            self.cluster.cover("L22 complaint of a slow primary")
            self.step(Complain())
        if self.ticks % REJOIN_TICKS == 2 and not self.fetcher.behind:
            now_s = self.cluster.now / 1000
            if self.vitals.me is None:
                if is_waited_for(self._certified, self.epochs.member):
                    run(self.ready.ask(self.state.head, now_s))
            elif not self.epochs.may_vote():
                run(self.rejoin.ask(self.state.height(), now_s))

    # -- between the parts ----------------------------------------------------------------------

    def _counted_on(self, sequence: int, digest: bytes) -> bool:
        return sequence <= self.executor.head.height or self.counts_on(sequence, digest)

    def _body_dropped(self, sequence: int, digest: bytes) -> None:
        self.step(BodyDropped(sequence, digest))

    def _admissible(self, tx: ParsedTransaction) -> None:
        for operation in tx.body.operations:
            self.executor.active.check(operation)

    def _in_view(self, question: CheckProposal) -> bool:
        core = self.epochs.replica.state
        return question.view == core.view and not core.in_view_change

    def _pending(self) -> None:
        self.pending(self.mempool.owed > 0)
        self.hands.nudge()

    def _known(self, tx: ParsedTransaction) -> Submitted | None:
        """As `Facade.known`: an errand has to hear that it was refused."""
        found = self.state.find_transaction(tx.id)
        if found is None:
            return None
        receipts = [one for one in self.state.receipts(found[0]) if one.tx_id == tx.id]
        done = any(receipt.ok for receipt in receipts)
        refused = next((receipt.code for receipt in receipts if not receipt.ok), None)
        state = TransactionState.COMMITTED if done else TransactionState.REJECTED
        return Submitted(state, tx.id, found[0], refused)

    def submit(self, raw: bytes) -> str | None:
        """From a client; the code with which it was refused, if it was."""
        try:
            (answer,) = run(self.admission.submit([raw]))
        except SalusError as error:
            return error.code
        return cast("str | None", answer.code)


class SimTransactionKey:
    """A node key that signs transactions: votes go through `SimSigner` alone."""

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key

    def sign(self, payload: bytes) -> bytes:
        return keyed(self.public_key, payload)
