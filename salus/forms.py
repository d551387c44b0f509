"""The JSON forms of the HTTP API: what a node answers and what the client reads.

One struct per thing, shared by both sides, so that server, client and OpenAPI document cannot
drift apart. Law of the file: bytes are lowercase hex, integers stay below 2^53, times are
RFC 3339 in UTC with `…_ms` beside them where arithmetic is likely, units stand last in names.
Requests refuse unknown fields; answers may grow, so readers ignore what they do not know.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from salus.codec import Uint

TRANSACTIONS_PER_REQUEST_MAX = 500  # the yardstick's array (performance.md); ≈ 150 kB of work

Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
AddressText = Annotated[str, Meta(pattern=r"^sal1[02-9ac-hj-np-z]{58}$(?!\n)")]
TimeText = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$(?!\n)")]
MemberText = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]
CodeWord = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{1,47}$(?!\n)")]
Cursor = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]


class Form(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Base of every answer. Subclasses repeat `frozen=True` for the type checker."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every request body."""


# ── blocks ───────────────────────────────────────────────────────────────────


class HeaderForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    hash: Hex32
    version: Uint
    epoch: Uint
    height: Uint
    parent_hash: Hex32
    time: TimeText
    time_ms: Uint
    proposal_digest: Hex32
    proposer: Uint | None
    origin_view: Uint
    transactions_count: Uint
    transactions_root: Hex32
    receipts_count: Uint
    receipts_root: Hex32
    state_root: Hex32
    validators_hash: Hex32
    next_validators_hash: Hex32
    parameters_hash: Hex32
    epoch_end: Uint


class SignatureForm(Form, frozen=True, omit_defaults=False):
    index: Uint
    signature: Hex


class CertificateForm(Form, frozen=True, omit_defaults=False):
    epoch: Uint
    height: Uint
    header_hash: Hex32
    signatures: tuple[SignatureForm, ...]


class EventForm(Form, frozen=True, omit_defaults=False):
    kind: str
    data: dict[str, Any]


class ReceiptForm(Form, frozen=True, omit_defaults=False):
    tx_id: Hex32
    operation: Uint
    code: CodeWord
    facts: dict[str, Any]
    events: tuple[EventForm, ...]


class Block(Form, frozen=True, kw_only=True, omit_defaults=False):
    header: HeaderForm
    certificate: CertificateForm | None  # None for the genesis block only
    transactions: tuple[Hex32, ...]  # ids, in order
    receipts: tuple[ReceiptForm, ...]


class HeaderPage(Form, frozen=True, omit_defaults=False):
    items: tuple[HeaderForm, ...]
    next: str | None


# ── transactions ─────────────────────────────────────────────────────────────


class TransactionState(StrEnum):
    """pending → ordered → committed | rejected; or expired. `ordered` promises no result."""

    PENDING = "pending"
    ORDERED = "ordered"
    COMMITTED = "committed"  # certified, and every operation succeeded or was independent
    REJECTED = "rejected"  # certified, and refused: the receipts say why
    EXPIRED = "expired"  # its expiry height has passed without it: it can never commit
    UNKNOWN = "unknown"  # this node has not seen it

    @property
    def final(self) -> bool:
        return self in (
            TransactionState.COMMITTED,
            TransactionState.REJECTED,
            TransactionState.EXPIRED,
        )


class SubmitRequest(Request, frozen=True):
    transactions: Annotated[
        tuple[Hex, ...], Meta(min_length=1, max_length=TRANSACTIONS_PER_REQUEST_MAX)
    ]


class SubmitItem(Form, frozen=True):
    """What came of one transaction of an array; `code` and `detail` only when it was refused."""

    state: TransactionState
    tx_id: Hex32 | None = None  # None only when the bytes are not a transaction at all
    height: Uint | None = None
    code: CodeWord | None = None
    detail: str | None = None


class SubmitAnswer(Form, frozen=True, omit_defaults=False):
    """The answer to an array: one item per transaction, in order."""

    accepted: Uint
    refused: Uint
    items: tuple[SubmitItem, ...]


class OperationForm(Form, frozen=True, omit_defaults=False):
    contract: str
    method: str
    version: Uint
    args: Hex
    decoded: dict[str, Any] | None  # by the contract's declaration; None if it declares none


class TransactionForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    """State and, once the node holds the bytes, content of one transaction."""

    tx_id: Hex32
    state: TransactionState
    height: Uint | None = None
    index: Uint | None = None
    time: TimeText | None = None
    code: CodeWord | None = None  # OK, or the first refusal
    expiry_height: Uint | None = None
    sender: AddressText | None = None
    operations: tuple[OperationForm, ...] = ()
    receipts: tuple[ReceiptForm, ...] = ()
    links: dict[str, str] = {}


class TransactionRow(Form, frozen=True, omit_defaults=False):
    tx_id: Hex32
    height: Uint
    index: Uint
    state: TransactionState
    code: CodeWord
    sender: AddressText
    calls: tuple[str, ...]  # contract.method of each operation, the first 16


class TransactionPage(Form, frozen=True, omit_defaults=False):
    items: tuple[TransactionRow, ...]
    next: str | None


class Simulation(Form, frozen=True, omit_defaults=False):
    """What the transaction would do on top of the certified state; changes nothing."""

    tx_id: Hex32
    height: Uint
    code: CodeWord
    receipts: tuple[ReceiptForm, ...]


# ── state, contracts, proofs ─────────────────────────────────────────────────


class StateForm(Form, frozen=True, omit_defaults=False):
    key: Hex
    height: Uint
    value: Hex | None  # None: the key is absent at this height
    proof: Hex | None = None  # StateProof, canonical MessagePack; leads to state_root
    state_root: Hex32 | None = None


class FieldForm(Form, frozen=True, omit_defaults=False):
    name: str
    type: str
    publication: str  # public, committed or sealed (docs/on-chain-fields.md)
    doc: str


class MethodForm(Form, frozen=True, omit_defaults=False):
    name: str
    version: Uint
    doc: str
    senders: tuple[str, ...]
    fields: tuple[FieldForm, ...]


class QueryDeclaration(Form, frozen=True, omit_defaults=False):
    name: str
    doc: str
    fields: tuple[FieldForm, ...]


class ContractForm(Form, frozen=True, omit_defaults=False):
    name: str
    version: Uint
    doc: str
    methods: tuple[MethodForm, ...]
    queries: tuple[QueryDeclaration, ...]


class Contracts(Form, frozen=True, omit_defaults=False):
    items: tuple[ContractForm, ...]


class QueryRequest(Request, frozen=True):
    """Arguments of a contract's query by name; byte fields as hex, null where the query says so."""

    arguments: dict[str, bool | Uint | Annotated[str, Meta(max_length=65_536)] | None] = {}


class QueryAnswer(Form, frozen=True, omit_defaults=False):
    height: Uint
    result: Any


class CheckForm(Form, frozen=True, omit_defaults=False):
    name: str
    ok: bool
    detail: str


class VerifyAnswer(Form, frozen=True, omit_defaults=False):
    """What this node finds when it checks a proof file; the CLI does the same offline."""

    verified: bool
    claim: str  # what is proved; empty if nothing is
    limit: str  # what is not
    checks: tuple[CheckForm, ...]


# ── faults for tests, and errors ─────────────────────────────────────────────


class FaultsRequest(Request, frozen=True):
    """Replaces all faults of this node; an empty body heals (development networks only)."""

    blocked: tuple[MemberText, ...] = ()  # members that neither reach us nor are reached
    delay_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0  # added to every frame that we send


class Faults(Form, frozen=True, omit_defaults=False):
    blocked: tuple[str, ...]
    delay_ms: Uint


class Problem(Form, frozen=True, kw_only=True, omit_defaults=False):
    """RFC 9457, with the words of `salus.codes`."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: str
    code: CodeWord
    retryable: bool
    tx_id: Hex32 | None = None
    hint: str | None = None
    facts: dict[str, Any] = {}
