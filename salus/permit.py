"""Permits, the outer part of a consent, and the outer decision (decision 0010, rules C-1 … C-6).

One function decides in the contract, at the gate and in the offline verifier. It knows
organisation, purpose, coarse classes and days; what is finer stands in the inner terms, which may
only narrow it.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from salus.codec import Bytes32, Uint, Wire
from salus.relation import Day
from salus.validators import MemberId

DOCKET_PERMITS_MAX = 64  # one state value of at most 11 kB, read by every ticket


class Purpose(StrEnum):
    """Why somebody reads. HL7 PurposeOfUse: TREAT, HPAYMT, HRESCH, HOPERAT, PUBHLTH, PATRQT, ETREAT."""

    TREATMENT = "treatment"
    PAYMENT = "payment"
    RESEARCH = "research"
    OPERATIONS = "operations"
    PUBLIC_HEALTH = "public_health"
    PATIENT_REQUEST = "patient_request"
    EMERGENCY = "emergency"


class RecordClass(StrEnum):
    """Six coarse classes; finer ones stand in the inner terms. Ascending."""

    CONDITIONS = "conditions"
    DOCUMENTS = "documents"
    MEDICATIONS = "medications"
    OTHER = "other"
    RESULTS = "results"
    SUMMARY = "summary"


Classes = Annotated[tuple[RecordClass, ...], msgspec.Meta(min_length=1, max_length=6)]


class Effect(StrEnum):
    PERMIT = "permit"
    DENY = "deny"


class Reach(StrEnum):
    """Whom of the grantee a permit speaks of."""

    ORGANISATION = "organisation"
    PART = "part"  # the inner terms say whom


class Permit(Wire, frozen=True):
    """One entry of a docket: a grant as it stands."""

    id: Bytes32
    effect: Effect
    reach: Reach
    classes: Classes
    from_day: Day
    until_day: Day  # the last day, included
    terms: Bytes32  # commitment of the inner terms
    granted_height: Uint
    ended_height: Uint | None

    def holds(self, day: int) -> bool:
        """Is it in force on this day?"""
        return self.ended_height is None and self.from_day <= day <= self.until_day


class Docket(Wire, frozen=True):
    """All permits of (handle, grantee, purpose), in the order of their commitment (rule C-3)."""

    permits: Annotated[tuple[Permit, ...], msgspec.Meta(max_length=DOCKET_PERMITS_MAX)]


EMPTY = Docket(())


class Reason(StrEnum):
    """Why a ticket was decided as it was. At most 48 characters: it stands in receipts."""

    PERMIT = "PERMIT"
    OWN_CARE = "OWN_CARE"  # the custodian's own staff (rule C-6)
    OWN_REQUEST = "OWN_REQUEST"  # the patient's own view (rule C-6)
    NO_PERMIT = "NO_PERMIT"
    ENDED = "ENDED"
    NOT_YET = "NOT_YET"
    PAST = "PAST"
    CLASS = "CLASS"
    LATER_DENY = "LATER_DENY"
    LATER_CONSENT = "LATER_CONSENT"
    TERMS = "TERMS"  # the inner terms do not allow it
    REQUESTER = "REQUESTER"  # the asking organisation is not active


class Outcome(NamedTuple):
    permitted: bool
    reason: Reason


def docket_key(org: str, handle: bytes, grantee: str, purpose: Purpose) -> bytes:
    """The state key of a docket."""
    return b"consent/docket/" + _place(org, handle, grantee, purpose)


def _place(org: str, handle: bytes, grantee: str, purpose: Purpose) -> bytes:
    words = f"{org}/{grantee}/{purpose.value}/"
    return words.encode("ascii") + handle


def decide(
    docket: Docket, cited: bytes | None, classes: Collection[RecordClass], day: int
) -> Outcome:
    """Rule C-4. `cited`: the id of the permit that the ticket names; `day`: UTC day of the block.

    Total, and linear in the docket; whatever is not plainly permitted is denied."""
    asked = set(classes)
    found: Permit | None = None
    against: Reason | None = None
    for permit in docket.permits:
        if permit.id == cited:
            found, against = permit, None
        elif found is not None and not asked.isdisjoint(permit.classes):
            # Later, and about the same: a denial, or a consent of the whole organisation, which
            # takes the place of the older one on its first day, even when it has ended (none is
            # revived); what is agreed for next month leaves today's in force.
            # What speaks of a part of the organisation is the inner terms' to decide.
            if permit.reach is Reach.PART:
                continue
            if permit.effect is Effect.PERMIT and day >= permit.from_day:
                against = against or Reason.LATER_CONSENT
            elif permit.effect is Effect.DENY and permit.holds(day):
                against = Reason.LATER_DENY
    if found is None or found.effect is not Effect.PERMIT:
        return Outcome(False, Reason.NO_PERMIT)
    if found.ended_height is not None:
        return Outcome(False, Reason.ENDED)
    if day < found.from_day:
        return Outcome(False, Reason.NOT_YET)
    if day > found.until_day:
        return Outcome(False, Reason.PAST)
    if not asked or not asked.issubset(found.classes):
        return Outcome(False, Reason.CLASS)
    if against is not None:
        return Outcome(False, against)
    return Outcome(True, Reason.PERMIT)


def decide_own(docket: Docket, classes: Collection[RecordClass], day: int) -> Outcome:
    """Rule C-6, the custodian's own staff: permitted unless a denial in force names all of it."""
    asked = set(classes)
    for permit in docket.permits:
        denial = permit.effect is Effect.DENY and permit.reach is Reach.ORGANISATION
        if denial and permit.holds(day) and not asked.isdisjoint(permit.classes):
            return Outcome(False, Reason.LATER_DENY)
    return Outcome(bool(asked), Reason.OWN_CARE if asked else Reason.CLASS)


def with_new(docket: Docket, new: Permit, day: int) -> Docket | None:
    """The docket with one more at its end; None if there is no room (rule C-3). `day`: today.

    Where it is full, the oldest go that say nothing any more: ended, past, or consents all of whose
    classes later ones of the whole organisation have taken over, the new one counted. But none
    behind an older consent that stays and was not revoked: it hides that one, whose inner terms
    would speak again without it. A denial in force, or of days to come, stays."""
    permits = (*docket.permits, new)
    if len(permits) <= DOCKET_PERMITS_MAX:
        return Docket(permits)
    covered: set[RecordClass] = set()
    silent: list[bool] = []
    for permit in reversed(permits):
        over = permit.ended_height is not None or permit.until_day < day
        taken = permit.effect is Effect.PERMIT and covered.issuperset(permit.classes)
        silent.append(over or taken)
        whole = permit.effect is Effect.PERMIT and permit.reach is Reach.ORGANISATION
        if whole and permit.from_day <= day:
            covered.update(permit.classes)
    silent[0] = False  # the new one stays
    kept: list[Permit] = []
    hides = False  # an older consent
    for permit, says_nothing in zip(permits, reversed(silent), strict=True):
        if says_nothing and not hides:
            continue
        kept.append(permit)
        hides |= permit.effect is Effect.PERMIT and permit.ended_height is None
    return Docket(tuple(kept)) if len(kept) <= DOCKET_PERMITS_MAX else None


class PermitPlace(Wire, frozen=True):
    """State value under `place_key`: in which docket a permit stands, and the one before it under
    the same handle."""

    grantee: MemberId
    purpose: Purpose
    before: Bytes32 | None


class PermitHead(Wire, frozen=True):
    """State value under `head_key`: the newest permit of a handle."""

    newest: Bytes32
    count: Uint


def place_key(org: str, handle: bytes, permit_id: bytes) -> bytes:
    """The state key of a permit's place: permit ids are of their handle alone."""
    return b"consent/permit/" + org.encode("ascii") + b"/" + handle + permit_id


def head_key(org: str, handle: bytes) -> bytes:
    """The state key of the newest permit."""
    return b"consent/head/" + org.encode("ascii") + b"/" + handle
