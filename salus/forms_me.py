"""The JSON forms of what a node says to a patient of its own relation (paths /v1/me/…).

As in salus/forms.py, and under its law. No handle stands in them: the session says whose it is.
"""

from typing import Annotated, Any

from msgspec import Meta

from salus.codec import Uint
from salus.forms import Cursor, Form, Hex, Hex32, MemberText, Request, TimeText
from salus.forms_records import RecordForm

Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
Scope = Annotated[str, Meta(pattern=r"^[A-Za-z]{1,64}$(?!\n)")]
DayText = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$(?!\n)")]


class DelegateForm(Form, frozen=True, omit_defaults=False):
    key: Hex32
    rights: tuple[str, ...]
    until: DayText  # the last day, included
    this_one: bool  # the key of this session


class Me(Form, frozen=True, kw_only=True, omit_defaults=False):
    """A relation, as its patient is told of it."""

    organisation: MemberText
    name: str  # of the organisation
    rights: tuple[str, ...]  # of this session's key: deny, revoke, view, owner
    custodial: bool  # the hospital holds the owner key
    guardians: Uint
    threshold: Uint
    delegates: tuple[DelegateForm, ...]
    rotation_at: TimeText | None  # a new owner key is in force from then on
    proposals: Uint  # of new keys by others, that wait for approvals
    recovery_at: TimeText | None  # one is approved: its keys are in force from then on
    since_height: Uint
    height: Uint


class RuleForm(Form, frozen=True, kw_only=True):
    """A rule of the inner terms (docs/consent.md); empty conditions are left out."""

    effect: str
    exception_to: Uint = 0
    begins: TimeText | None = None
    ends: TimeText | None = None
    actors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


class PermitForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    """Who may see what: the outer permit, and its terms where this node knows them."""

    consent_id: Hex32
    to: MemberText
    to_name: str
    purpose: str
    effect: str | None  # null: it says nothing any more, and was dropped
    reach: str | None  # organisation, or a part of it
    classes: tuple[str, ...]
    begins: DayText | None
    ends: DayText | None  # the last day, included
    state: str  # active, to_come, past, revoked, replaced
    granted_height: Uint | None
    ended_height: Uint | None
    terms: tuple[RuleForm, ...] | None  # null: nobody has shown them to this node


class PermitPage(Form, frozen=True, omit_defaults=False):
    """Newest first; `count` is the chain's: so many there must be."""

    items: tuple[PermitForm, ...]
    next: Cursor | None
    count: Uint
    height: Uint


class OpeningForm(Form, frozen=True, omit_defaults=False):
    """What opens the terms of a permit: `terms_commitment(salt, terms)` is what the chain has."""

    consent_id: Hex32
    salt: Hex32
    terms: str  # canonical bytes as hex (salus.consent.terms)


class OpeningPage(Form, frozen=True, omit_defaults=False):
    """Newest first; of permits that say nothing any more, or whose opening nobody brought, there is none.
    `count`: of all permits, by the chain."""

    items: tuple[OpeningForm, ...]
    next: Cursor | None
    count: Uint
    height: Uint


class LookForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    """One request to read: a ticket of the trail."""

    request_id: Hex16
    by: MemberText
    by_name: str
    purpose: str
    classes: tuple[str, ...]
    permitted: bool
    reason: str
    consent_id: Hex32 | None
    time: TimeText
    height: Uint
    receipt_height: Uint | None  # null though permitted: nobody confirmed what arrived
    staff: Hex32 | None = None  # handle of the person who asked, where the custodian opened it
    records: tuple[Hex16, ...] | None = None  # which ones, likewise
    care: str | None = None  # why, in the reader's words, likewise


class LookPage(Form, frozen=True, omit_defaults=False):
    """Newest first, by the list that the chain keeps (rule T-6). `denials`: answered without a
    ticket of their own."""

    items: tuple[LookForm, ...]
    next: Cursor | None
    tickets: Uint
    denials: Uint
    height: Uint


class EmergencyLook(Form, frozen=True, kw_only=True, omit_defaults=False):
    """An emergency case of this relation (decision 0014)."""

    case_id: Hex32
    by: MemberText
    by_name: str
    staff: Hex32  # handle of the clinician
    opened: TimeText
    height: Uint
    live: bool  # something could be read under it
    late: bool  # read while nothing could be certified, entered afterwards
    cosigned_by: MemberText | None
    justified: bool
    disputed: bool
    verdict: str | None  # justified or abuse, by a reviewer
    panel: tuple[MemberText, ...] | None


class EmergencyPage(Form, frozen=True, omit_defaults=False):
    """Newest first; `count` is the chain's."""

    items: tuple[EmergencyLook, ...]
    next: Cursor | None
    count: Uint
    height: Uint


class ErasureLook(Form, frozen=True, kw_only=True, omit_defaults=False):
    """A case of erasure of this relation (decision 0015)."""

    case_id: Hex32
    basis: str  # owner or regulator: who asked for it
    stage: str  # waiting, begun or cancelled
    asked: TimeText
    begins: TimeText  # by block time, at the earliest
    height: Uint
    holders: Uint  # so many must answer
    answered: Uint
    may_stop: bool  # by the key of this session, now


class ErasurePage(Form, frozen=True, omit_defaults=False):
    """Newest first; `count` is the chain's."""

    items: tuple[ErasureLook, ...]
    next: Cursor | None
    count: Uint
    height: Uint


class CheckRequest(Request, frozen=True):
    """Who would read what, and why."""

    actor: Annotated[str, Meta(min_length=1, max_length=97)]  # ORG or ORG/STAFF-HANDLE
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=64)]
    purpose: Annotated[str, Meta(min_length=1, max_length=32)]  # HL7 or our own word
    site: Annotated[str, Meta(min_length=3, max_length=265)] | None = None  # SYSTEM|VALUE


class HandleCheckRequest(CheckRequest, frozen=True, kw_only=True):
    handle: Hex32


class CheckAnswer(Form, frozen=True, kw_only=True, omit_defaults=False):
    """As `salus consent check` says it; `outer`: what the chain alone decides, by its rule."""

    decision: str
    reason: str
    outer: str
    obligations: tuple[dict[str, Any], ...]
    consents: tuple[Hex32, ...]
    height: Uint


class MyRecords(Form, frozen=True, omit_defaults=False):
    items: tuple[RecordForm, ...]


class SignedRequest(Request, frozen=True):
    """A transaction that the patient's key built and signed."""

    transaction: Annotated[Hex, Meta(min_length=2, max_length=2 * 16_384)]
