"""A node at the seam: a certified chain from the factories behind `NodeView`, nothing else real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from node.api.app import Api
from node.api.settings import ApiSettings
from node.api.view import (
    BlockView,
    Document,
    FaultsView,
    HolderSaid,
    NodeView,
    SimulationView,
    StateView,
    Submitted,
    TransactionView,
)
from node.contacts import BOX_VERSION, Box, Contact, Delivery, Message
from node.feed import Feed
from node.metrics import Metrics
from node.notices import Notice, NoticeKind
from node.records import RecordService
from node.seen_asks import SeenAsks
from salus.block import Header
from salus.certificate import Certificate
from salus.codec import decode
from salus.consent.terms import Terms, decode_terms, terms_commitment
from salus.consent.weigh import Opened
from salus.desk_asks import Signed
from salus.desk_json import (
    CaseForm,
    CasesAnswer,
    CaseStepForm,
    CheckAnswer,
    FindAnswer,
    MetForm,
    SearchesAnswer,
    SearchForm,
)
from salus.emergency_wire import CaseNote, Deposit, ShareAsk, ShareGiven
from salus.errors import BadMessage, SalusError
from salus.forms import (
    ContractForm,
    Faults,
    FieldForm,
    MethodForm,
    QueryDeclaration,
    TransactionState,
)
from salus.forms_access import KnownPermitForm, KnownPermits, MissingReceipt
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
from salus.forms_records import RecordForm, Staged, UnsignedOperation, VersionForm
from salus.keys import address
from salus.looks import LookOpening, Openings, SignedAsk
from salus.parameters import Parameters
from salus.permit import Reason, RecordClass
from salus.reading import Ask, Decided, Found, Locate, Located, Range
from salus.trail import Start
from salus.transaction import Operation, ParsedTransaction, check_signature, parse
from salus.wire_json import to_json
from tests import factories
from tests.factories import Chain

HOSTS = frozenset({"127.0.0.1", "localhost"})
RECORD = "ab" * 16
MEMBERS = factories.genesis().members
STANDING = {"status": "active", "since_height": 0, "returns": False}
OFFER = {
    "services": ["emergency"],
    "sites": [156_110_101],
    "surfaces": ["fhir", "page"],
    "height": 1,
}
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
        if (contract, name) == ("members", "list_members"):
            return 1, {"members": [to_json(member) | STANDING for member in MEMBERS]}
        if (contract, name) == ("members", "member"):
            known = {member.id: to_json(member) for member in MEMBERS}
            return 1, known.get(str(arguments["id"]))
        if (contract, name) == ("members", "staff"):
            known = {("hosp-b", "ab" * 32)}
            return 1, {} if (arguments["org"], arguments["handle"]) in known else None
        if (contract, name) == ("members", "offers"):
            return 1, {"offers": [{"org": "hosp-b", "offer": OFFER}]}
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

    def find(self, handle: bytes, commitment: bytes) -> Terms | None:
        found = self.opened(handle, commitment)
        return None if found is None else found.terms

    def opened(self, handle: bytes, commitment: bytes) -> Opened | None:
        for whose, salt, raw in self.kept:
            one = Opened(salt, decode_terms(raw))
            if (whose, one.commitment) == (handle, commitment):
                return one
        return None


class FakeAudit:
    """A trail of its own words; every ask is refused but one of the key 00…."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, Start | None]] = []
        self.permits_asked: list[tuple[str, bytes, bytes | None]] = []
        self.known: dict[bytes, LookOpening] = {}

    def opening(self, handle: bytes, request_id: bytes) -> LookOpening | None:
        return self.known.get(request_id)

    async def trail(self, org: str, handle: bytes, start: Start | None) -> bytes:
        self.asked.append((org, handle, start))
        return b"a state file"

    async def permits(self, org: str, handle: bytes, start: bytes | None) -> bytes:
        self.permits_asked.append((org, handle, start))
        return b"a state file"

    async def openings(self, signed: SignedAsk) -> Openings:
        if signed.ask.key != bytes(32):
            raise SalusError("this key may not see the trail in full", code="AUDIT_REFUSED")
        return Openings((None,) * len(signed.ask.requests))


class FakeErasures:
    """Keeps what it is told; of a record, one leaf."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, bytes, tuple[bytes, ...], str]] = []
        self.carried_out: list[bytes] = []

    async def want(
        self,
        case: bytes,
        handle: bytes,
        records: Sequence[bytes],
        records_salt: bytes,
        reason: str,
        reason_salt: bytes,
    ) -> tuple[bytes, ...]:
        if bytes.fromhex(RECORD) not in records:
            raise SalusError("this relation has no such record here", code="UNKNOWN_RECORD")
        self.kept.append((case, handle, tuple(records), reason))
        return tuple(bytes(16) + record for record in records)

    async def carry_out(self, case: bytes) -> None:
        if case not in [one[0] for one in self.kept]:
            raise SalusError("nothing waits under this case id", code="UNKNOWN_CASE")
        self.carried_out.append(case)


class FakeRecords:
    def __init__(self) -> None:
        self.staged: list[tuple[bytes, str, str | None]] = []
        self.handles: list[bytes | None] = []
        self.drawn: list[str | None] = []  # ids that the caller named
        self.batched: list[bool] = []
        self.pieces: list[int] = []  # sizes of what came last
        self.places = asyncio.Semaphore(1)

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
    ) -> Staged:
        self.drawn.append(record_id)
        if previous not in (None, RECORD):
            raise SalusError("no such record", code="UNKNOWN_RECORD")
        self.handles.append(handle)
        self.pieces = []
        self.staged.append((content, media_type, previous))
        version = 1 if previous is None else 2
        operation = UnsignedOperation("records", "anchor", 1, "aa" * len(self.staged))
        return Staged(RECORD, version, "11" * 32, "22" * 32, (operation,))

    async def deposit(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
    ) -> Awaitable[Staged]:
        staged = await self.stage(content, media_type, previous, handle=handle, record_id=record_id)

        async def later() -> Staged:
            self.batched.append(not self.places.locked())  # nobody holds a place meanwhile
            return staged

        return later()

    def room(self) -> AbstractAsyncContextManager[None]:
        return self.places

    def streams(self, media_type: str) -> bool:
        return RecordService.streams(media_type)

    async def stage_stream(
        self,
        pieces: AsyncIterator[bytes],
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
        batched: bool = False,
    ) -> Staged:
        parts = [piece async for piece in pieces]
        content, sizes = b"".join(parts), [len(piece) for piece in parts]
        if not content:
            raise SalusError("the document is empty", code="BAD_REQUEST")
        staged = await self.stage(content, media_type, previous, handle=handle, record_id=record_id)
        self.pieces = sizes
        return staged

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

    def of_handle(self, handle: bytes) -> tuple[RecordForm, ...]:
        return (self.record(),) if handle in self.handles else ()

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


class FakeAccess:
    """hosp-b keeps one record and denies it."""

    sites = ("urn:example:wards|3-north",)

    def __init__(self) -> None:
        self.confirmed: list[tuple[str, bytes, bytes]] = []
        self.asked: list[Ask] = []

    async def locate(self, locate: Locate, custodian: str | None = None) -> Found:
        if locate.record_id.hex() != RECORD:
            raise SalusError("nobody keeps it", code="UNKNOWN_RECORD")
        located = Located(bytes(32), 1, b"\x11" * 32, (RecordClass.RESULTS,))
        return Found(custodian or "hosp-b", located)

    async def ask(self, ask: Ask) -> Decided:
        self.asked.append(ask)
        return Decided(False, Reason.NO_PERMIT, bytes(32), 7, ())

    async def chunk(self, custodian: str, wanted: Range) -> bytes:
        if wanted.chunk:
            raise SalusError("it is over", code="TICKET_OLD")
        return b"sealed"

    async def confirm(self, custodian: str, request_id: bytes, digest: bytes) -> None:
        self.confirmed.append((custodian, request_id, digest))

    def permits_of(self, here: bytes) -> KnownPermits:
        one = KnownPermitForm(
            "hosp-b", "5a" * 32, "5b" * 32, "treatment", ("results",), "2027-01-31"
        )
        return KnownPermits((one,) if here == bytes(32) else (), 7)

    def missing(self) -> tuple[MissingReceipt, ...]:
        return (MissingReceipt("00" * 16, "hosp-b", "2026-11-22T10:00:00+00:00", "awaited"),)


class FakeOutbox:
    """Keeps contacts in memory; the box of `TOLD` has a message."""

    def __init__(self) -> None:
        self.contacts: dict[bytes, Contact | None] = {}

    async def set_contact(self, handle: bytes, contact: Contact | None) -> None:
        if contact is not None and contact.address == "nowhere":
            raise SalusError("no message could go to this address", code="BAD_CONTACT")
        self.contacts[handle] = contact

    def of_handle(self, handle: bytes) -> Box | None:
        contact = self.contacts.get(handle)
        if contact is None:
            return None
        notice = Notice(NoticeKind.READ, "hosp-a", 1_700_000_000_000, 3)
        return Box(
            BOX_VERSION,
            handle,
            contact,
            7,
            2,
            (Message(notice, None, 7, 2, Delivery.SENT, 1, 0, 9),),
        )


class FakeEmergencies:
    """Two holders: one gives, one waits; keeps the notes it is told."""

    org = "hosp-a"

    def __init__(self) -> None:
        self.deposits: dict[str, Deposit] = {}
        self.asked: list[ShareAsk] = []
        self.kept: list[CaseNote] = []

    async def deposit(self, deposits: Mapping[str, Deposit]) -> dict[str, str]:
        self.deposits.update(deposits)
        return {holder: "OK" if holder == "hosp-a" else "PEER_UNREACHABLE" for holder in deposits}

    async def shares(self, ask: ShareAsk, have: Collection[str]) -> list[HolderSaid]:
        self.asked.append(ask)
        said = [
            HolderSaid("hosp-a", "OK", ShareGiven(2, 2, True, b"share", b"sealed")),
            HolderSaid("hosp-b", "EMERGENCY_WAIT", None),
        ]
        return [one for one in said if one.holder not in have]

    async def keep_note(self, note: CaseNote) -> None:
        self.kept.append(note)

    async def notes(self, case: bytes) -> tuple[list[CaseNote], list[str]]:
        if not self.kept or self.kept[0].case != case:
            raise SalusError("no case has this id", code="UNKNOWN_CASE")
        return self.kept, ["hosp-c"]


class FakeIdentity:
    """A desk that has one case, keeps the bodies it is asked with, and can be told to refuse."""

    case = CaseForm(
        "ca" * 32,
        "5a" * 32,
        True,
        (MetForm("hosp-b", "5b" * 32),),
        "open",
        (CaseStepForm("2026-11-22T20:00:00Z", "0f" * 32, None, "open", ""),),
    )

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.refuse: SalusError | None = None

    async def check(self, body: bytes) -> CheckAnswer:
        self._asked(body)
        return CheckAnswer(("7a" * 32,), self.case.case_id)

    async def find(self, body: bytes) -> FindAnswer:
        self._asked(body)
        return FindAnswer(self.case.met)

    async def cases(self, body: bytes) -> CasesAnswer:
        self._asked(body)
        return CasesAnswer((self.case,), False)

    async def close(self, body: bytes) -> CaseForm:
        self._asked(body)
        return self.case

    async def searches(self, body: bytes) -> SearchesAnswer:
        self._asked(body)
        found = SearchForm("2026-11-22T20:00:00Z", "0f" * 32, "0e" * 32, "why", self.case.met)
        return SearchesAnswer((found,), None)

    def _asked(self, body: bytes) -> None:
        decode(body, Signed)
        if self.refuse is not None:
            raise self.refuse
        self.bodies.append(body)


class FakeNode:
    """Transactions wait until the test calls `certify`."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.chain = chain or Chain()
        self.genesis = self.chain.genesis
        self.genesis_hash = self.genesis.hash()
        self.roster = frozenset(member.id for member in self.genesis.members)
        self.metrics = Metrics()
        self.asks = SeenAsks()
        self.contracts = FakeContracts()
        self.records: FakeRecords | None = FakeRecords()
        self.openings: FakeOpenings | None = FakeOpenings()
        self.erasures: FakeErasures | None = FakeErasures()
        self.audit: FakeAudit | None = FakeAudit()
        self.access: FakeAccess | None = FakeAccess()
        self.outbox: FakeOutbox | None = FakeOutbox()
        self.emergencies: FakeEmergencies | None = FakeEmergencies()
        self.identity: FakeIdentity | None = FakeIdentity()
        self.faults: FaultsView | None = None
        self.ready = Readiness(True)
        self.pending: dict[bytes, ParsedTransaction] = {}
        self.refuse: str | None = None  # a code word for every submission
        self.on_submit: Callable[[], None] = lambda: None  # after each
        self.break_down = False  # handlers meet an exception that nobody foresaw
        self.first = 0
        self.submissions = 0
        self._grown = asyncio.Event()
        self.arrived = asyncio.Event()  # a transaction waits
        self.feed = Feed(self._read, height=self.height())
        self.awaited: list[tuple[int, float]] = []  # heights, and for how many seconds
        self.on_wait: Callable[[], None] = lambda: None

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
        self.awaited.append((height, timeout_s))
        self.on_wait()
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
        try:
            return [self._submit(raw) for raw in transactions]
        finally:
            self.on_submit()

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
            return TransactionView(tx_id, TransactionState.PENDING, self.pending[tx_id].body)
        for height, transactions in enumerate(self.chain.transactions):
            for index, tx in enumerate(transactions):
                if tx.id == tx_id:
                    receipts = tuple(r for r in self.chain.receipts[height] if r.tx_id == tx_id)
                    ok = any(receipt.ok for receipt in receipts)
                    state = TransactionState.COMMITTED if ok else TransactionState.REJECTED
                    time_ms = self.chain.headers[height].time_ms
                    return TransactionView(tx_id, state, tx.body, height, index, time_ms, receipts)
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
