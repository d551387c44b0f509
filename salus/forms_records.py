"""JSON forms of records and of what opens permits, trails, contacts and erasures.

In the manner of salus/forms.py.
"""

from typing import Annotated

from msgspec import Meta

from salus.codec import Uint
from salus.forms import Form, Hex, Hex32, MemberText, Request


class UnsignedOperation(Form, frozen=True, omit_defaults=False):
    """An operation that the caller signs into a transaction."""

    contract: str
    method: str
    version: Uint
    args: Hex


class Staged(Form, frozen=True, omit_defaults=False):
    """A document that lies encrypted in the vault and waits for its anchor on the chain."""

    record_id: Hex
    version: Uint
    commitment: Hex32
    root: Hex32
    operations: tuple[UnsignedOperation, ...]
    resources: Uint = 0  # of FHIR in it
    schemaless: Uint = 0  # of them of a type whose fields cannot be checked
    notices: tuple[str, ...] = ()  # what was not checked, and why; at most 20


class RetractRequest(Request, frozen=True):
    """`reason` is for people and may name one: it stays in the vault."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class VersionForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    version: Uint
    commitment: Hex32
    root: Hex32
    state: str  # "staged", "anchored", "superseded" or "retracted"
    tx_id: Hex32 | None = None
    height: Uint | None = None


class RecordForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    record_id: Hex
    media_type: str
    versions: tuple[VersionForm, ...]
    handle: Hex32 | None = None  # of the patient, if it is one's
    classes: tuple[str, ...] = ()  # coarse ones, of all its versions


RecordIdHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]


class OpeningRequest(Request, frozen=True):
    """The inner terms of a permit (salus/consent/terms.py)."""

    handle: Hex32
    salt: Hex32
    terms: Annotated[Hex, Meta(min_length=2, max_length=2 * 16_384)]


class OpeningAnswer(Form, frozen=True):
    commitment: Hex32  # what the permit names


class TrailStart(Request, frozen=True):
    """Where each list of a trail goes on; null: it has ended in a file before."""

    ticket: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None  # its request id
    emergency: Hex32 | None  # case ids
    erasure: Hex32 | None


class TrailRequest(Request, frozen=True):
    """`start`: where the file before has ended; null: with the newest."""

    org: MemberText
    handle: Hex32
    start: TrailStart | None = None


class PermitListRequest(Request, frozen=True):
    """`start`: the permit with which the file before has ended; null: the newest."""

    org: MemberText
    handle: Hex32
    start: Hex32 | None = None


class ContactRequest(Request, frozen=True):
    """Where a patient wants to be told; `carrier` and `address` null: nowhere any more."""

    handle: Hex32
    carrier: Annotated[str, Meta(pattern="^(email|webhook|print)$(?!\\n)")] | None
    address: Annotated[str, Meta(min_length=1, max_length=256)] | None
    language: Annotated[str, Meta(pattern="^(en|zh)$(?!\\n)")] = "en"


class NoticesRequest(Request, frozen=True):
    """Whose messages."""

    handle: Hex32


class NoticeForm(Form, frozen=True, omit_defaults=False):
    """A message to a patient; it says no more than this."""

    kind: str
    count: Uint  # so often, in one message
    time_ms: Uint  # block time of the first
    height: Uint
    delivery: str  # queued, sent, failed
    attempts: Uint
    due_ms: Uint  # while queued: not before
    changed_ms: Uint  # sent, given up, or tried last; 0: not tried
    text: str


class NoticePage(Form, frozen=True, omit_defaults=False):
    """Of one relation: how it is told, and what was; the newest first."""

    carrier: str | None  # null: the patient gave no contact
    address: str | None
    language: str | None
    notices: tuple[NoticeForm, ...]


class ErasureRequest(Request, frozen=True):
    """What a request of erasure is about, before it is sent (decision 0015, rule X-2)."""

    case: Hex32  # random
    handle: Hex32
    records: Annotated[tuple[RecordIdHex, ...], Meta(min_length=1, max_length=256)]
    records_salt: Hex32
    reason: Annotated[str, Meta(max_length=200)]
    reason_salt: Hex32


class CaseRequest(Request, frozen=True):
    """Of an erasure or an emergency. In a body: the chain says whose case it is."""

    case: Hex32


class ErasureAnswer(Form, frozen=True):
    leaves: tuple[Hex32, ...]  # of all versions; the request commits to them


class RecordPage(Form, frozen=True, omit_defaults=False):
    items: tuple[RecordForm, ...]
    next: str | None
