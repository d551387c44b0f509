"""What the API shows of a running node: certified heights, and how the agreement is doing.

Implements `node.api.view.NodeView` over the parts that the composition root made. Nothing here
changes anything; what the node does is in the parts.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.member_queries import KeyStatus
from contracts.registry import Registry
from node import VERSION
from node.admission import Admission
from node.api.view import (
    AccessView,
    AuditView,
    BlockView,
    EmergenciesView,
    ErasuresView,
    FaultsView,
    IdentityView,
    OpeningsView,
    OutboxView,
    RecordsView,
    SimulationView,
    StateView,
    Submitted,
    TransactionView,
)
from node.clock_watch import ahead_ms, trouble
from node.contracts_desk import ContractsDesk
from node.drain import SINGLE_TRANSACTIONS, Drain
from node.executor import Executor
from node.feed import Feed
from node.mempool import Mempool as Pool
from node.meters import CommitMeter
from node.metrics import Metrics
from node.net.handshake import Refusal
from node.net.network import Network
from node.pipeline import Pipeline
from node.proofs import ProofMaker
from node.roster import Roster
from node.seen_asks import SeenAsks
from node.sync import BlockSource, Sync
from node.vitals import Vitals
from node.waiters import Outcome, Waiters
from salus.block import DUPLICATE, Header, Proposal, Receipt
from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.forms_node import (
    Account,
    Consensus,
    Mempool,
    PeerCount,
    PeerForm,
    QuorumCount,
    Readiness,
    Slot,
    Status,
    ValidatorForm,
    Validators,
)
from salus.genesis import Genesis
from salus.keys import address
from salus.parameters import Parameters
from salus.statemap import SALT_BYTES
from salus.transaction import ParsedTransaction, Transaction, check_signature, parse
from storage.state import StateStore


class Facade:
    """The node as the API sees it."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        roster: Roster,
        member: str | None,
        registry: Registry,
        state: StateStore,
        source: BlockSource,
        executor: Executor,
        pipeline: Pipeline,
        mempool: Pool,
        network: Network,
        sync: Sync,
        admission: Admission,
        proofs: ProofMaker,
        feed: Feed,
        metrics: Metrics,
        waiters: Waiters,
        commits: CommitMeter,
        vitals: Vitals,
        asks: SeenAsks,
        faults: FaultsView | None,
    ) -> None:
        self.genesis, self.genesis_hash, self.member = genesis, genesis.hash(), member
        self.roster = roster
        self._registry, self._state, self._source = registry, state, source
        self._executor, self._pipeline, self._pool = executor, pipeline, mempool
        self._network, self._sync, self._admission = network, sync, admission
        self._proofs, self._waiters, self._vitals = proofs, waiters, vitals
        self._commits = commits
        self._drain, self._entering = Drain(), 0  # transactions of clients whose check is not done
        self.feed, self.metrics, self.faults = feed, metrics, faults
        self.asks = asks
        # Desks for patients, as soon as the node has its organisation (node/care.py).
        self.records: RecordsView | None = None
        self.openings: OpeningsView | None = None
        self.audit: AuditView | None = None
        self.erasures: ErasuresView | None = None
        self.access: AccessView | None = None
        self.emergencies: EmergenciesView | None = None
        self.identity: IdentityView | None = None
        self.outbox: OutboxView | None = None
        self.contracts = ContractsDesk(registry, executor, state)

    # -- the node -------------------------------------------------------------------------------

    def height(self) -> int:
        return self._state.height()

    def first_height(self) -> int:
        return 1  # nothing is pruned yet

    async def wait_height(self, height: int, timeout_s: float) -> bool:
        return await self._waiters.for_height(height, timeout_s)

    def readiness(self) -> Readiness:
        code, reason = self._vitals.trouble()
        if code == "OK" and self._sync.behind:
            code, reason = "SYNCING", f"catching up to height {self._sync.target}"
        if code == "OK" and self._turned_away():
            code, reason = "NOT_A_MEMBER", "peers say that this node's key is no member's"
        if code == "OK":
            code, reason = trouble(self.clock_ahead_ms(), self.member or "this node")
        if code == "OK" and self._vitals.signing() == "signing":
            online, needed = self._vitals.online(), self._pipeline.epoch.validators.quorum
            if online < needed:
                code, reason = "NO_QUORUM", f"{online} validators seen, {needed} needed"
        return Readiness(code == "OK", code, reason)

    def require_news(self) -> None:
        """Would this node know of a block that was certified just now? Raises `SalusError` with the
        code of `readiness` if not. Who does not vote reads all the same, if a quorum is near."""
        now = self.readiness()
        if not now.ready and now.code != "QUARANTINE":
            raise SalusError(now.reason, code=now.code)
        if self._vitals.signing() != "signing":
            validators = self._pipeline.epoch.validators
            seated = {validator.member for validator in validators.validators}
            near = {peer.member for peer in self._network.peers() if peer.connected}
            if len(seated & (near | {self.member})) < validators.quorum:
                raise SalusError("too few validators are near", code="NO_QUORUM")

    def clock_ahead_ms(self) -> int:
        """As last measured, negative if behind; in any thread."""
        return self._vitals.clock_ahead_ms

    def measure_clock(self) -> int:
        """This clock minus those of the validators; 0 if it is none of a quorum's trouble. In the loop."""
        epoch = self._pipeline.epoch
        seated = {validator.member for validator in epoch.validators.validators}
        readings = [one.clock_ahead_ms for one in self._network.peers() if one.member in seated]
        return ahead_ms(readings, epoch.validators.weak, epoch.parameters.clock_drift_max_ms)

    def _turned_away(self) -> bool:
        """Do so many say it that one of them is honest? Whoever was cut off before it had read of
        its own removal, or of its new key, cannot know it otherwise."""
        validators = self._pipeline.epoch.validators
        seated = {validator.member for validator in validators.validators}
        refused = [p for p in self._network.peers() if p.refused == Refusal.NOT_A_MEMBER]
        return sum(peer.member in seated for peer in refused) >= validators.weak

    def members(self) -> frozenset[str]:
        return frozenset(self.roster.ids)

    def status(self) -> Status:
        head, epoch = self._state.head, self._pipeline.epoch
        core = self._vitals.core()
        readiness = self.readiness()
        expected = [v.member for v in epoch.validators.validators if v.member != self.member]
        connected = [p for p in self._network.peers() if p.connected and p.member in expected]
        return Status(
            chain_id=self.genesis.chain_id,
            genesis_hash=self.genesis_hash.hex(),
            member=self.member,
            version=VERSION,
            height=head.height,
            epoch=epoch.epoch,
            epoch_end=epoch.end,
            view=core.view,
            primary=epoch.validators.validators[core.primary].member,
            is_primary=core.primary == self._vitals.me,
            syncing=self._sync.behind,
            sync_lag_blocks=max(0, self._sync.target - head.height),
            ready=readiness.ready,
            signing=self._vitals.signing(),
            reason=readiness.reason or None,
            code=None if readiness.code == "OK" else readiness.code,
            peers=PeerCount(len(connected), len(expected)),
            quorum=QuorumCount(epoch.validators.quorum, self._vitals.online()),
            last_block_time=_time_text(head.time_ms),
            last_block_age_s=max(0, round(time.time() - head.time_ms / 1000, 3)),
            block_hash=head.hash().hex(),
            state_root=head.state_root.hex(),
            mempool_transactions=self._pool.pending,
            mempool_bytes=self._pool.bytes,
            storage_bytes=self._vitals.storage_bytes(),
            contract_faults=self._vitals.contract_faults,
            equivocations=self._vitals.equivocations,
        )

    def validators(self) -> Validators:
        epoch, core = self._pipeline.epoch, self._vitals.core()
        online = {peer.member for peer in self._network.peers() if peer.connected} | {self.member}
        return Validators(
            epoch.epoch,
            epoch.validators.hash().hex(),
            epoch.validators.n,
            epoch.validators.f,
            epoch.validators.quorum,
            tuple(
                ValidatorForm(
                    index,
                    validator.member,
                    self.roster.name(validator.member),
                    address(validator.public_key),
                    index == core.primary,
                    validator.member in online,
                    self._vitals.last_signed.get(validator.member),
                )
                for index, validator in enumerate(epoch.validators.validators)
            ),
        )

    def peers(self) -> tuple[PeerForm, ...]:
        now = time.time()
        return tuple(
            PeerForm(
                member=peer.member,
                address=peer.address or "",
                connected_in=peer.connected_in,
                connected_out=peer.connected_out,
                rtt_ms=peer.rtt_ms,
                clock_ahead_ms=peer.clock_ahead_ms,
                last_seen=None
                if peer.last_seen_ms is None
                else _time_text(int(now * 1000) - peer.last_seen_ms),
                queued=sum(peer.queues.values()),
                refused=peer.refused or peer.problem,
            )
            for peer in self._network.peers()
        )

    def consensus(self) -> Consensus:
        core, epoch = self._vitals.core(), self._pipeline.epoch
        checkpoints = {
            group.height: tuple(sorted(index for _, voters in group.groups for index in voters))
            for group in core.header_groups
        }
        return Consensus(
            epoch=epoch.epoch,
            view=core.view,
            primary=epoch.validators.validators[core.primary].member,
            phase="view change" if core.in_view_change else "normal",
            stable_height=core.certified,
            executed_height=core.executed,
            watermark_low=core.low,
            watermark_high=core.high,
            timeout_ms=self._pipeline.epoch.parameters.progress_timeout_ms << core.doublings,
            view_changes=self._vitals.view_changes,
            slots=tuple(
                Slot(
                    slot.sequence,
                    None if slot.digest is None else slot.digest.hex(),
                    slot.phase,
                    slot.prepares,
                    slot.commits,
                    checkpoints.get(slot.sequence, ()),
                )
                for slot in core.slots
            ),
        )

    def mempool(self) -> Mempool:
        pool = self._pool
        return Mempool(
            pool.pending,
            pool.bytes,
            pool.parameters.pool_transactions_max,
            pool.organisations,
            pool.in_flight,
        )

    def parameters(self) -> tuple[int, Parameters]:
        return self._pipeline.epoch.epoch, self._pipeline.epoch.parameters

    # -- blocks and state -----------------------------------------------------------------------

    def block(self, height: int) -> BlockView | None:
        header = self.header(height)
        if header is None:
            return None
        body = self._source.blocks.body(height, header.proposal_digest) if height else None
        return BlockView(
            header, self._state.certificate(height), body, self._state.receipts(height)
        )

    def header(self, height: int) -> Header | None:
        return self._state.header(height) if 0 <= height <= self._state.height() else None

    def certificate(self, height: int) -> Certificate | None:
        return self._state.certificate(height) if 0 < height <= self._state.height() else None

    def height_of(self, block_hash: bytes) -> int | None:
        return self._state.height_of(block_hash)

    def state(self, key: bytes, *, proof: bool) -> StateView:
        _, (head, stored) = self._state.at_one_height(
            lambda: (self._state.head, self._state.get(key))
        )
        value = None if stored is None else stored[SALT_BYTES:]
        if not proof:
            return StateView(head.height, head.state_root, value)
        header, made = self._proofs.state_of(key)
        return StateView(header.height, header.state_root, made.value, encode(made))

    def account(self, public_key: bytes) -> Account:
        return self._state.at_one_height(lambda: self._account(public_key))[1]

    def _account(self, public_key: bytes) -> Account:
        active = self._executor.certified_active
        answer = active.query(
            self._read, active.membership.contract, "key", {"public_key": public_key.hex()}
        )
        if answer is None:
            return Account(address(public_key), public_key.hex(), None, None, None, (), False)
        member = active.query(
            self._read, active.membership.contract, "member", {"id": answer["member"]}
        )
        return Account(
            address(public_key),
            public_key.hex(),
            answer["member"],
            member["name"],
            answer["capacity"],
            tuple(member["roles"]),
            answer["status"] == KeyStatus.ACTIVE,
        )

    def _read(self, key: bytes) -> bytes | None:
        stored = self._state.get(key)
        return None if stored is None else stored[SALT_BYTES:]

    # -- transactions ---------------------------------------------------------------------------

    async def submit(self, transactions: Sequence[bytes]) -> list[Submitted]:
        began = time.perf_counter()
        taken = self._pool.taken + self._entering
        room = self._drain.room(taken, self._pool.served, int(1000 * time.monotonic()))
        if len(transactions) > 1:
            room = max(0, room - SINGLE_TRANSACTIONS)
            if not room and self._admission.is_news(transactions):
                self._admission.turn_away_all(transactions)
        entering = min(len(transactions), room)  # more are not checked
        self._entering += entering
        try:
            answers = await self._admission.submit(transactions, room)
        finally:
            self._entering -= entering
        # Not what a block has taken, or time, while others of the request were checked.
        waiting = [
            a.tx_id for a in answers if a.tx_id and a.code is None and self._pool.find(a.tx_id)
        ]
        self._commits.submitted(waiting, began)
        return answers

    def transaction(self, tx_id: bytes) -> TransactionView:
        found = self._state.find_transaction(tx_id)
        if found is not None:
            return self._certified(tx_id, *found)
        waiting = self._pool.find(tx_id)
        if waiting is None:
            if self._vitals.has_expired(tx_id):
                return TransactionView(tx_id, TransactionState.EXPIRED)
            return TransactionView(tx_id, TransactionState.UNKNOWN)
        ordered = self._pool.is_ordered(tx_id)
        state = TransactionState.ORDERED if ordered else TransactionState.PENDING
        return TransactionView(tx_id, state, waiting.body)

    def known(self, tx: ParsedTransaction) -> Submitted | None:
        """For admission: what became of a transaction that comes again."""
        view = self.transaction(tx.id)
        if not view.state.final:
            return None
        refused = next((r.code for r in view.receipts if not r.ok), None)
        return Submitted(view.state, tx.id, view.height, refused)

    def _certified(self, tx_id: bytes, height: int, index: int) -> TransactionView:
        header = self._state.header(height)
        recent = self.feed.recent(height)  # whoever waits asks at once: spare it the decoding
        block = recent if recent is not None else self._state.receipts(height)
        receipts = tuple(r for r in block if r.tx_id == tx_id)
        proposal = self._source.blocks.body(height, header.proposal_digest)
        body = None
        if proposal is not None:
            body = decode(decode(proposal, Proposal).transactions[index], Transaction)
        return _certified(tx_id, body, Outcome(header, index, receipts))

    async def wait(self, tx_id: bytes, timeout_s: float) -> TransactionView:
        # What is in the pool is not certified: it leaves when its block wakes the waiters. So
        # neither the question nor the answer has to ask the store.
        waiting = self._pool.find(tx_id)
        if waiting is None:
            view = self.transaction(tx_id)
            if view.state.final:
                return view
        outcome = await self._waiters.for_transaction(tx_id, timeout_s)
        if waiting is None or outcome is None or _is_duplicate(outcome.receipts):
            return self.transaction(tx_id)
        return _certified(tx_id, waiting.body, outcome)

    async def simulate(self, transaction: bytes) -> SimulationView:
        tx = parse(
            transaction,
            self.genesis.chain_id,
            self.genesis_hash,
            self._pipeline.epoch.parameters,
        )
        check_signature(tx)
        height, receipts = self._executor.simulate(tx)
        return SimulationView(tx.id, height, receipts)

    async def proof(self, tx_id: bytes, operation: int, as_of: bool) -> bytes | None:
        return await self._proofs.file(tx_id, operation, as_of=as_of)


def _certified(tx_id: bytes, body: Transaction | None, outcome: Outcome) -> TransactionView:
    committed = any(receipt.ok for receipt in outcome.receipts)
    return TransactionView(
        tx_id,
        TransactionState.COMMITTED if committed else TransactionState.REJECTED,
        body,
        outcome.header.height,
        outcome.index,
        outcome.header.time_ms,
        outcome.receipts,
    )


def _is_duplicate(receipts: tuple[Receipt, ...]) -> bool:
    """Ordered twice: what became of it was said by the first block."""
    return any(receipt.code == DUPLICATE for receipt in receipts)


def _time_text(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"
