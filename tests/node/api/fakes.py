"""A node at the seam: a certified chain from the factories behind `NodeView`, nothing else real."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from node.api.app import Api
from node.api.settings import ApiSettings
from node.api.view import (
    BlockView,
    Document,
    FaultsView,
    NodeView,
    SimulationView,
    StateView,
    Submitted,
    TransactionView,
)
from node.feed import Feed
from node.metrics import Metrics
from salus.block import Header
from salus.certificate import Certificate
from salus.consent.terms import decode_terms, terms_commitment
from salus.errors import BadMessage, SalusError
from salus.forms import (
    Account,
    Consensus,
    ContractForm,
    Faults,
    FieldForm,
    Mempool,
    MethodForm,
    PeerCount,
    PeerForm,
    QueryDeclaration,
    QuorumCount,
    Readiness,
    RecordForm,
    Slot,
    Staged,
    Status,
    TransactionState,
    UnsignedOperation,
    ValidatorForm,
    Validators,
    VersionForm,
)
from salus.keys import address
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction, check_signature, parse
from tests import factories
from tests.factories import Chain

HOSTS = frozenset({"127.0.0.1", "localhost"})
RECORD = "ab" * 16
DOCUMENT = b'{"resourceType":"Bundle"}'


class FakeContracts:
    def declarations(self) -> tuple[ContractForm, ...]:
        field = FieldForm("root", "32 bytes", "committed", "root of the batch")
        method = MethodForm("anchor", 1, "Anchor a batch.", ("operator",), (field,))
        query = QueryDeclaration("anchor_of", "Who anchored a root.", (field,))
        return (ContractForm("records", 1, "Records.", (method,), (query,)),)

    def decoded(self, operation: Operation) -> dict[str, Any] | None:
        return {"length": len(operation.args)}

    def query(self, contract: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
        if (contract, name) != ("records", "anchor_of"):
            raise BadMessage("no such query", code="UNKNOWN_QUERY")
        if set(arguments) != {"root"}:
            raise BadMessage("root is missing", code="BAD_ARGUMENTS")
        return 1, {"org": "hosp-a"}


class FakeOpenings:
    def __init__(self) -> None:
        self.kept: list[tuple[bytes, bytes, bytes]] = []

    async def keep(self, handle: bytes, salt: bytes, terms: bytes) -> bytes:
        commitment = terms_commitment(salt, decode_terms(terms))
        self.kept.append((handle, salt, terms))
        return commitment


class FakeRecords:
    def __init__(self) -> None:
        self.staged: list[tuple[bytes, str, str | None]] = []
        self.handles: list[bytes | None] = []

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
    ) -> Staged:
        if previous not in (None, RECORD):
            raise SalusError("no such record", code="UNKNOWN_RECORD")
        self.handles.append(handle)
        self.staged.append((content, media_type, previous))
        version = 1 if previous is None else 2
        operation = UnsignedOperation("records", "anchor", 1, "aa" * len(self.staged))
        return Staged(RECORD, version, "11" * 32, "22" * 32, (operation,))

    async def retract(self, record_id: str, reason: str) -> Staged:
        if record_id != RECORD:
            raise SalusError("no such record", code="UNKNOWN_RECORD")
        operation = UnsignedOperation("records", "retract", 1, "bb")
        return Staged(RECORD, 1, "11" * 32, "22" * 32, (operation,))

    def operations(self, record_id: str) -> Staged | None:
        if record_id != RECORD:
            return None
        return Staged(
            RECORD,
            1,
            "11" * 32,
            "22" * 32,
            (UnsignedOperation("records", "anchor", 1, "aa"),),
        )

    def list(self, after: str | None, limit: int) -> tuple[tuple[RecordForm, ...], str | None]:
        return ((self.record(),), None) if after is None else ((), None)

    def record(self) -> RecordForm:
        version = VersionForm(version=1, commitment="11" * 32, root="22" * 32, state="staged")
        return RecordForm(record_id=RECORD, media_type="text/plain", versions=(version,))

    def show(self, record_id: str) -> RecordForm | None:
        return self.record() if record_id == RECORD else None

    async def document(self, record_id: str, version: int | None) -> Document | None:
        known = record_id == RECORD and version in (None, 1)
        return Document("application/fhir+json", DOCUMENT) if known else None

    async def proof(self, record_id: str, version: int | None, as_of: bool) -> bytes | None:
        return b"proof" if record_id == RECORD and version in (None, 1) else None


class FakeFaults:
    def __init__(self) -> None:
        self.now = Faults((), 0)

    def get(self) -> Faults:
        return self.now

    def set(self, blocked: frozenset[str], delay_ms: int) -> Faults:
        self.now = Faults(tuple(sorted(blocked)), delay_ms)
        return self.now


class FakeNode:
    """Transactions wait until the test calls `certify`."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.chain = chain or Chain()
        self.genesis = self.chain.genesis
        self.genesis_hash = self.genesis.hash()
        self.roster = frozenset(member.id for member in self.genesis.members)
        self.metrics = Metrics()
        self.contracts = FakeContracts()
        self.records: FakeRecords | None = FakeRecords()
        self.openings: FakeOpenings | None = FakeOpenings()
        self.faults: FaultsView | None = None
        self.ready = Readiness(True)
        self.pending: dict[bytes, ParsedTransaction] = {}
        self.refuse: str | None = None  # a code word for every submission
        self.break_down = False  # handlers meet an exception that nobody foresaw
        self.first = 0
        self.submissions = 0
        self._grown = asyncio.Event()
        self.arrived = asyncio.Event()  # a transaction waits
        self.feed = Feed(self._read, height=self.height())

    def _read(self, height: int) -> tuple[Header, tuple[Any, ...]] | None:
        if height > self.height() or height < self.first:
            return None
        return self.chain.headers[height], tuple(self.chain.receipts[height])

    def certify(self, *transactions: ParsedTransaction, code: str = "OK") -> None:
        """The next block holds these (default: all that wait)."""
        chosen = list(transactions) or list(self.pending.values())
        receipts = factories.receipts_of(chosen, code)
        self.chain.add(*chosen, receipts=receipts)
        for tx in chosen:
            self.pending.pop(tx.id, None)
        self.feed.publish(self.chain.headers[-1], tuple(receipts))
        self._grown.set()
        self._grown = asyncio.Event()

    def height(self) -> int:
        if self.break_down:
            raise KeyError("planted")
        return self.chain.height

    def first_height(self) -> int:
        return self.first

    async def wait_height(self, height: int, timeout_s: float) -> bool:
        return height <= self.height()

    def readiness(self) -> Readiness:
        return self.ready

    def status(self) -> Status:
        header = self.chain.headers[-1]
        return Status(
            chain_id=self.genesis.chain_id,
            genesis_hash=self.genesis_hash.hex(),
            member="hosp-a",
            version="0.1.0",
            height=header.height,
            epoch=0,
            epoch_end=0,
            view=0,
            primary="hosp-a",
            is_primary=True,
            syncing=False,
            sync_lag_blocks=0,
            ready=True,
            signing="signing",
            reason=None,
            peers=PeerCount(3, 3),
            quorum=QuorumCount(3, 4),
            last_block_time="2023-11-14T22:13:20.000Z",
            last_block_age_s=0.5,
            block_hash=header.hash().hex(),
            state_root=header.state_root.hex(),
            mempool_transactions=len(self.pending),
            mempool_bytes=0,
            storage_bytes={"state": 1},
        )

    def validators(self) -> Validators:
        current = self.chain.validators
        items = tuple(
            ValidatorForm(i, v.member, "Hospital", address(v.public_key), i == 0, True, None)
            for i, v in enumerate(current.validators)
        )
        hashed = current.hash().hex()
        return Validators(0, hashed, current.n, current.f, current.quorum, items)

    def peers(self) -> tuple[PeerForm, ...]:
        peer = PeerForm(
            member="hosp-b",
            address="127.0.0.1:1",
            connected_in=True,
            connected_out=True,
            rtt_ms=0.4,
            last_seen=None,
            queued=0,
            refused=None,
        )
        return (peer,)

    def consensus(self) -> Consensus:
        return Consensus(
            epoch=0,
            view=0,
            primary="hosp-a",
            phase="normal",
            stable_height=0,
            executed_height=0,
            watermark_low=0,
            watermark_high=64,
            timeout_ms=1000,
            view_changes=0,
            slots=(Slot(1, None, "prepared", (0, 1), (), ()),),
        )

    def mempool(self) -> Mempool:
        return Mempool(len(self.pending), 0, 20_000, 1, 0)

    def members(self) -> frozenset[str]:
        return self.roster

    def parameters(self) -> tuple[int, Parameters]:
        return 0, self.genesis.parameters

    def block(self, height: int) -> BlockView | None:
        if height > self.height() or height < self.first:
            return None
        block = self.chain.blocks[height]
        return BlockView(
            self.chain.headers[height],
            None if block is None else block.certificate,
            None if block is None else block.proposal,
            tuple(self.chain.receipts[height]),
        )

    def header(self, height: int) -> Header | None:
        block = self.block(height)
        return None if block is None else block.header

    def certificate(self, height: int) -> Certificate | None:
        block = self.block(height)
        return None if block is None else block.certificate

    def height_of(self, block_hash: bytes) -> int | None:
        hashes = [header.hash() for header in self.chain.headers]
        return hashes.index(block_hash) if block_hash in hashes else None

    def state(self, key: bytes, *, proof: bool) -> StateView:
        value = b"value" if key == b"known" else None
        root = self.chain.headers[-1].state_root
        return StateView(self.height(), root, value, b"proof" if proof else None)

    def account(self, public_key: bytes) -> Account:
        for member in self.genesis.members:
            if member.operator_key == public_key:
                return Account(
                    address(public_key),
                    public_key.hex(),
                    member.id,
                    member.name,
                    "operator",
                    tuple(member.roles),
                    True,
                )
        return Account(address(public_key), public_key.hex(), None, None, None, (), False)

    async def submit(self, transactions: Sequence[bytes]) -> list[Submitted]:
        self.submissions += 1
        if self.refuse == "NOT_READY":
            raise SalusError("starting", code="NOT_READY")
        return [self._submit(raw) for raw in transactions]

    def _submit(self, raw: bytes) -> Submitted:
        try:
            tx = parse(raw, self.genesis.chain_id, self.genesis_hash, self.genesis.parameters)
        except SalusError as error:
            return Submitted(TransactionState.REJECTED, None, None, error.code, error.message)
        try:
            check_signature(tx)
        except SalusError as error:
            return Submitted(TransactionState.REJECTED, tx.id, None, error.code, error.message)
        if self.refuse is not None:
            return Submitted(TransactionState.REJECTED, tx.id, None, self.refuse, "refused")
        known = self.transaction(tx.id)
        if known.state is TransactionState.UNKNOWN:
            self.pending[tx.id] = tx
            self.arrived.set()
            return Submitted(TransactionState.PENDING, tx.id)
        code = next((receipt.code for receipt in known.receipts if not receipt.ok), None)
        return Submitted(known.state, tx.id, known.height, code)

    def transaction(self, tx_id: bytes) -> TransactionView:
        if tx_id in self.pending:
            return TransactionView(tx_id, TransactionState.PENDING, self.pending[tx_id].raw)
        for height, transactions in enumerate(self.chain.transactions):
            for index, tx in enumerate(transactions):
                if tx.id == tx_id:
                    receipts = tuple(r for r in self.chain.receipts[height] if r.tx_id == tx_id)
                    ok = any(receipt.ok for receipt in receipts)
                    state = TransactionState.COMMITTED if ok else TransactionState.REJECTED
                    time_ms = self.chain.headers[height].time_ms
                    return TransactionView(tx_id, state, tx.raw, height, index, time_ms, receipts)
        return TransactionView(tx_id, TransactionState.UNKNOWN)

    async def wait(self, tx_id: bytes, timeout_s: float) -> TransactionView:
        try:
            async with asyncio.timeout(timeout_s):
                while not self.transaction(tx_id).state.final:
                    await self._grown.wait()
        except TimeoutError:
            pass
        return self.transaction(tx_id)

    async def simulate(self, transaction: bytes) -> SimulationView:
        tx = parse(transaction, self.genesis.chain_id, self.genesis_hash, self.genesis.parameters)
        return SimulationView(tx.id, self.height(), tuple(factories.receipts_of([tx])))

    async def proof(self, tx_id: bytes, operation: int, as_of: bool) -> bytes | None:
        return b"proof of " + tx_id[:4]


def api_of(node: NodeView, settings: ApiSettings | None = None) -> Api:
    return Api(node, settings or ApiSettings(hosts=HOSTS))
