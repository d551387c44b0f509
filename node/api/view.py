"""What the HTTP API needs from a node: the one seam between handlers and the composition root.

Law of the file: everything here speaks of certified heights only; the single exception is a
transaction's state `ordered`, which promises no result. Methods without `async` answer from
memory or a local read and never wait. Refusals are `SalusError`s whose code is in
`salus.codes`; the API turns them into problems, so an implementation never builds HTTP answers.
"""

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from node.contacts import Box, Contact
from node.feed import Feed
from node.metrics import Metrics
from node.seen_asks import SeenAsks
from salus.block import Header, Receipt
from salus.certificate import Certificate
from salus.consent.terms import Terms
from salus.consent.weigh import Opened
from salus.desk_json import CaseForm, CasesAnswer, CheckAnswer, FindAnswer, SearchesAnswer
from salus.emergency_wire import CaseNote, Deposit, ShareAsk, ShareGiven
from salus.forms import ContractForm, Faults, TransactionState
from salus.forms_access import KnownPermits, MissingReceipt
from salus.forms_node import Account, Consensus, Mempool, PeerForm, Readiness, Status, Validators
from salus.forms_records import RecordForm, Staged
from salus.genesis import Genesis
from salus.looks import LookOpening, Openings, SignedAsk
from salus.parameters import Parameters
from salus.reading import Ask, Decided, Found, Locate, Range
from salus.trail import Start
from salus.transaction import Operation, Transaction


class Submitted(msgspec.Struct, frozen=True, gc=False):  # there is one for each that comes
    """What came of one submitted transaction. Known bytes give their present state, no error."""

    state: TransactionState
    tx_id: bytes | None = None  # None only when the bytes do not parse as a transaction
    height: int | None = None
    code: str | None = None  # the word of the refusal; with a height: of the certified one
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HolderSaid:
    """What one holder of an emergency summary answered: a share, or the code of its refusal."""

    holder: str
    code: str  # OK
    given: ShareGiven | None


class TransactionView(msgspec.Struct, frozen=True):  # two for each that is waited for
    """One transaction: its state, and what it says if this node holds its bytes."""

    tx_id: bytes
    state: TransactionState
    body: Transaction | None = None
    height: int | None = None
    index: int | None = None
    time_ms: int | None = None  # of its block
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockView:
    """A certified block (genesis: no certificate). `proposal` is None where it was pruned."""

    header: Header
    certificate: Certificate | None
    proposal: bytes | None
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class StateView:
    """A value of the state map at the certified height (the salt is not part of `value`)."""

    height: int
    state_root: bytes
    value: bytes | None
    proof: bytes | None = None  # encode(StateProof), when it was asked for


@dataclass(frozen=True, slots=True)
class SimulationView:
    tx_id: bytes
    height: int
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A document that left the vault through its gate."""

    media_type: str
    content: bytes


class ContractsView(Protocol):
    """The registry of contracts, as declared (contracts/framework.py)."""

    def declarations(self) -> tuple[ContractForm, ...]: ...

    def decoded(self, operation: Operation) -> dict[str, Any] | None:
        """The arguments by field name, JSON-ready (bytes as hex); None if they do not decode."""

    def query(self, contract: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
        """(certified height, JSON-ready result); raises `SalusError` UNKNOWN_QUERY, BAD_ARGUMENT."""


class RecordsView(Protocol):
    """The records service: documents in the vault, their anchors on the chain."""

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
    ) -> Staged: ...

    async def deposit(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
    ) -> Awaitable[Staged]:
        """With the next batch: the content is in the vault at once, the answer comes with the batch."""

    def room(self) -> AbstractAsyncContextManager[None]:
        """Waits for a place in memory for a large document that is read whole."""

    def streams(self, media_type: str) -> bool:
        """Whether documents of this type are taken as they come, by `stage_stream`."""

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
        """`pieces`: of 1 MiB, the last one shorter."""

    async def retract(self, record_id: str, reason: str) -> Staged: ...

    def operations(self, record_id: str) -> Staged | None:
        """Those of the newest version once more, while it is not anchored."""

    def list(self, after: str | None, limit: int) -> tuple[tuple[RecordForm, ...], str | None]:
        """A page and the cursor of the next one; newest first."""

    def of_handle(self, handle: bytes) -> tuple[RecordForm, ...]:
        """All records of one patient, newest first."""

    def show(self, record_id: str) -> RecordForm | None: ...

    async def document(self, record_id: str, version: int | None) -> Document | None: ...

    async def proof(self, record_id: str, version: int | None, as_of: bool) -> bytes | None:
        """A proof file with the document's opening; `as_of`: with its currency at this height."""


class OpeningsView(Protocol):
    """What permits say in full, as the custodian keeps it."""

    async def keep(self, handle: bytes, salt: bytes, terms: bytes) -> bytes:
        """The commitment; raises `SalusError` (UNKNOWN_RELATION, BAD_TERMS …)."""

    def opened(self, handle: bytes, commitment: bytes) -> Opened | None:
        """As `find`, with the salt."""

    def find(self, handle: bytes, commitment: bytes) -> Terms | None:
        """The terms that a permit of this handle commits to, where somebody has shown them."""


class OutboxView(Protocol):
    """What patients are told of their relations, and whether it arrived."""

    async def set_contact(self, handle: bytes, contact: Contact | None) -> None:
        """Raises `SalusError` (UNKNOWN_RELATION, NOT_ENABLED, BAD_CONTACT)."""

    def of_handle(self, handle: bytes) -> Box | None:
        """Contact and messages, the newest last; None: no contact was given."""


class ErasuresView(Protocol):
    """What is to be erased, of which the chain will say that it is wanted."""

    async def want(
        self,
        case: bytes,
        handle: bytes,
        records: Sequence[bytes],
        records_salt: bytes,
        reason: str,
        reason_salt: bytes,
    ) -> tuple[bytes, ...]:
        """The leaves; raises `SalusError` (UNKNOWN_RECORD, ERASED …)."""

    async def carry_out(self, case: bytes) -> None:
        """Raises `SalusError` (UNKNOWN_CASE)."""


class AccessView(Protocol):
    """Reads of patients' records, at whichever member they are kept (node/reader_desk.py)."""

    async def locate(self, locate: Locate, custodian: str | None = None) -> Found: ...

    async def ask(self, ask: Ask) -> Decided: ...

    async def chunk(self, custodian: str, wanted: Range) -> bytes: ...

    async def confirm(self, custodian: str, request_id: bytes, digest: bytes) -> None:
        """What arrived; the receipt is sent from then on."""

    def permits_of(self, here: bytes) -> KnownPermits:
        """What the patient with this handle has permitted this organisation elsewhere."""

    @property
    def sites(self) -> tuple[str, ...]:
        """From where this organisation's staff may say that they read, as SYSTEM|VALUE."""

    def missing(self) -> tuple[MissingReceipt, ...]:
        """Reads of this organisation whose receipts the chain does not show, oldest first."""


class AuditView(Protocol):
    """A patient's trail."""

    async def trail(self, org: str, handle: bytes, start: Start | None) -> bytes:
        """A state file (salus/trail.py); of any custodian's relations."""

    async def permits(self, org: str, handle: bytes, start: bytes | None) -> bytes:
        """A state file (salus/permit_list.py); of any custodian's relations."""

    async def openings(self, signed: SignedAsk) -> Openings:
        """Raises `SalusError` (AUDIT_REFUSED, AUDIT_LATE, UNKNOWN_RELATION)."""

    def opening(self, handle: bytes, request_id: bytes) -> LookOpening | None:
        """For a patient whose session is checked already."""


class EmergenciesView(Protocol):
    """Summaries at their holders, and what opens the commitments of a case (decision 0014)."""

    @property
    def org(self) -> str: ...

    async def deposit(self, deposits: Mapping[str, Deposit]) -> dict[str, str]:
        """Holder → OK, or the code with which it refused."""

    async def shares(self, ask: ShareAsk, have: Collection[str]) -> list[HolderSaid]:
        """Of the holders but those in `have`; raises `SalusError` (NO_SUMMARY, OPTED_OUT)."""

    async def keep_note(self, note: CaseNote) -> None: ...

    async def notes(self, case: bytes) -> tuple[list[CaseNote], list[str]]:
        """And who did not answer; raises `SalusError` (UNKNOWN_CASE)."""


class IdentityView(Protocol):
    """Identifiers at this hospital's desk; each body is a signed ask (salus/desk_asks.py)."""

    async def check(self, body: bytes) -> CheckAnswer: ...

    async def find(self, body: bytes) -> FindAnswer: ...

    async def cases(self, body: bytes) -> CasesAnswer: ...

    async def close(self, body: bytes) -> CaseForm: ...

    async def searches(self, body: bytes) -> SearchesAnswer: ...


class FaultsView(Protocol):
    """Faults on purpose, for development networks ([dev] faults = true)."""

    def get(self) -> Faults: ...

    def set(self, blocked: frozenset[str], delay_ms: int) -> Faults: ...


class NodeView(Protocol):
    """A running node, as the API sees it; node/facade.py is the real one."""

    @property
    def genesis(self) -> Genesis: ...
    @property
    def genesis_hash(self) -> bytes: ...
    def members(self) -> frozenset[str]:
        """By the state of the epoch."""

    @property
    def feed(self) -> Feed: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def asks(self) -> SeenAsks: ...
    @property
    def contracts(self) -> ContractsView: ...
    @property
    def records(self) -> RecordsView | None:
        """None on a node without a vault (an observer)."""

    @property
    def openings(self) -> OpeningsView | None:
        """None on a node without a vault."""

    @property
    def erasures(self) -> ErasuresView | None:
        """None on a node without a vault."""

    @property
    def outbox(self) -> OutboxView | None:
        """None on a node without a vault."""

    @property
    def access(self) -> AccessView | None:
        """None on a node without a vault."""

    @property
    def emergencies(self) -> EmergenciesView | None:
        """None on a node without a vault."""

    @property
    def identity(self) -> IdentityView | None:
        """None on a node without a vault."""

    @property
    def audit(self) -> AuditView | None:
        """None before the node has an organisation."""

    @property
    def faults(self) -> FaultsView | None:
        """None unless faults are enabled."""

    # the node
    def height(self) -> int:
        """The newest certified height that stands on disk."""

    def first_height(self) -> int:
        """The oldest height whose block and receipts are still here (pruning)."""

    async def wait_height(self, height: int, timeout_s: float) -> bool:
        """True once `height` is certified here, False when the time is up."""

    def readiness(self) -> Readiness: ...
    def status(self) -> Status: ...
    def validators(self) -> Validators: ...
    def peers(self) -> tuple[PeerForm, ...]: ...
    def consensus(self) -> Consensus: ...
    def mempool(self) -> Mempool: ...
    def parameters(self) -> tuple[int, Parameters]:
        """(epoch, its parameters)."""

    # blocks and state
    def block(self, height: int) -> BlockView | None: ...
    def header(self, height: int) -> Header | None: ...
    def certificate(self, height: int) -> Certificate | None: ...
    def height_of(self, block_hash: bytes) -> int | None:
        """The height of a certified block by its header hash."""

    def state(self, key: bytes, *, proof: bool) -> StateView: ...
    def account(self, public_key: bytes) -> Account: ...

    # transactions
    async def submit(self, transactions: Sequence[bytes]) -> list[Submitted]:
        """Admit each (parse, signature, quotas), in order; never raises for a single one's fault.

        Raises `SalusError` only if the node takes none at all: NOT_READY, or POOL_FULL for an array that
        is news (`Admission.is_news`) and for which it has no room."""

    def transaction(self, tx_id: bytes) -> TransactionView: ...
    async def wait(self, tx_id: bytes, timeout_s: float) -> TransactionView:
        """Returns as soon as the state is final, or what it is when the time is up."""

    async def simulate(self, transaction: bytes) -> SimulationView: ...
    async def proof(self, tx_id: bytes, operation: int, as_of: bool) -> bytes | None:
        """A proof file for a certified operation; None if the transaction is not certified."""
