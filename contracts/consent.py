"""Consent: permits, and when one ends (rules C-1 … C-3 of decision 0010).

A permit is the outer part of a consent: who, why, six coarse classes, days. What is finer stands
in the inner terms, of which the chain holds a commitment. The decision itself is the pure function
`salus.permit.decide`; `access` asks it for every ticket.
"""

from typing import Annotated

import msgspec

from contracts.context import Capacity, Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public, sealed
from contracts.framework import ANYONE, Contract
from contracts.identity import relation
from contracts.members import MemberStatus, organisation
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Bytes32, Wire
from salus.grant_notice import SEALED_NOTICE_BYTES
from salus.permit import (
    EMPTY,
    Classes,
    Docket,
    Effect,
    Permit,
    PermitHead,
    PermitPlace,
    Purpose,
    Reach,
    docket_key,
    head_key,
    place_key,
    with_new,
)
from salus.relation import DAY_MS, Day, RelationEntry, Right
from salus.validators import MemberId

consent = Contract(
    "consent",
    version=1,
    doc="Permits: which organisation may read which classes of a patient's records, why, until when.",
    reads=("members", "identity"),
    refusals={
        "UNKNOWN_RELATION": "The custodian has no relation with this handle.",
        "RECOVERY_OPEN": "A recovery was approved: nothing is granted until it ends.",
        "UNKNOWN_GRANTEE": "The grantee is no active organisation.",
        "BAD_CLASSES": "Classes are listed once each, in ascending order, at least one.",
        "BAD_PERIOD": "The last day comes before the first, or is over already.",
        "BAD_OPENING": "The sealed field has 512 bytes, or none.",
        "BAD_PURPOSE": "Nobody grants an emergency, or the patient's own request.",
        "DUPLICATE_PERMIT": "The relation has a permit with this id.",
        "DOCKET_FULL": "64 permits stand for this grantee and purpose; grant one that covers them.",
        "UNKNOWN_PERMIT": "The relation has no permit with this id.",
        "ALREADY_ENDED": "The permit was revoked before; fact `height`.",
        "NEEDS_COSIGNATURE": "A hospital's key grants treatment to others; more is co-signed.",
        "BAD_COSIGNATURE": "The co-signature is of a key that may not, or does not fit.",
    },
)

GRANTED = consent.event(
    "granted",
    "A permit, or a denial, is in force.",
    org="the custodian",
    handle="the relation",
    permit="its id",
    grantee="of whom it speaks",
    effect="permit or deny",
    custodial="the hospital's key signed",
)
REVOKED = consent.event(
    "revoked",
    "A permit ended.",
    org="the custodian",
    handle="the relation",
    permit="its id",
    grantee="of whom it spoke",
)

Sealed = Annotated[bytes, msgspec.Meta(max_length=SEALED_NOTICE_BYTES)]


class GrantArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    permit: Annotated[Bytes32, public("its id: random")]
    grantee: Annotated[MemberId, public("the organisation of whom it speaks")]
    effect: Annotated[Effect, public("permit or deny")]
    reach: Annotated[Reach, public("the whole organisation, or a part of it")]
    purpose: Annotated[Purpose, public("why they may read")]
    classes: Annotated[Classes, public("coarse classes of records")]
    from_day: Annotated[Day, public("first day: UTC days since 1970")]
    until_day: Annotated[Day, public("last day, included")]
    terms: Annotated[Bytes32, committed("the inner terms")]
    opening: Annotated[
        Sealed, sealed("for the grantee: whom to ask, and which patient of his own it is")
    ]
    cosigner: Cosigner
    cosignature: Cosignature


@consent.method(senders=ANYONE)
def grant(ctx: Context, state: State, args: GrantArgs) -> list[Event]:
    """Permit an organisation to read, or deny it (rule C-1)."""
    patient = _relation(ctx, args.org, args.handle)
    owner = ctx.sender == patient.owner_at(ctx.time_ms)
    if not owner:
        rights = patient.rights_at(ctx.sender, ctx.time_ms)
        if args.effect is not Effect.DENY or Right.DENY not in rights:
            raise Refused(NOT_AUTHORISED)
    if patient.frozen and args.effect is Effect.PERMIT:
        raise Refused("RECOVERY_OPEN")
    _check(ctx, args)
    key = _own(docket_key(args.org, args.handle, args.grantee, args.purpose))
    docket = state.get(Docket, key) or EMPTY
    if patient.custodial and owner and args.effect is Effect.PERMIT:
        narrow = args.purpose is Purpose.TREATMENT and args.grantee != args.org
        if not narrow or _overrides(ctx, docket, args) or not _active(ctx, args.org):
            check_cosignature(ctx, consent, "grant", patient.guardians, args, involved=args.grantee)
    place = _own(place_key(args.org, args.handle, args.permit))
    if state.get(PermitPlace, place) is not None:
        raise Refused("DUPLICATE_PERMIT")
    permit = Permit(
        args.permit,
        args.effect,
        args.reach,
        args.classes,
        args.from_day,
        args.until_day,
        args.terms,
        ctx.height,
        None,
    )
    longer = with_new(docket, permit, ctx.time_ms // DAY_MS)
    if longer is None:
        raise Refused("DOCKET_FULL")
    state.put(key, longer)
    head = state.get(PermitHead, _own(head_key(args.org, args.handle)))
    before = None if head is None else head.newest
    state.put(place, PermitPlace(args.grantee, args.purpose, before))
    count = 1 if head is None else head.count + 1
    state.put(_own(head_key(args.org, args.handle)), PermitHead(args.permit, count))
    return [
        GRANTED(
            org=args.org,
            handle=args.handle,
            permit=args.permit,
            grantee=args.grantee,
            effect=args.effect.value,
            custodial=patient.custodial,
        )
    ]


def _active(ctx: Context, org: str) -> bool:
    """A suspended hospital's custodial keys grant no more than its own keys."""
    found = ctx.ask(organisation, org)
    return found is not None and found.status is MemberStatus.ACTIVE


def _overrides(ctx: Context, docket: Docket, args: GrantArgs) -> bool:
    """Would it take the place of a denial that stands? A hospital's key does so with no one else's."""
    today = ctx.time_ms // DAY_MS
    return any(
        one.effect is Effect.DENY
        and one.ended_height is None
        and one.until_day >= today
        and not set(one.classes).isdisjoint(args.classes)
        for one in docket.permits
    )


def _check(ctx: Context, args: GrantArgs) -> None:
    if not _active(ctx, args.grantee):
        raise Refused("UNKNOWN_GRANTEE")
    if list(args.classes) != sorted(set(args.classes)):
        raise Refused("BAD_CLASSES")
    if len(args.opening) not in (0, SEALED_NOTICE_BYTES):
        raise Refused("BAD_OPENING")  # another length would tell of what is sealed
    if args.until_day < args.from_day or args.until_day < ctx.time_ms // DAY_MS:
        raise Refused("BAD_PERIOD")
    if args.purpose in (Purpose.EMERGENCY, Purpose.PATIENT_REQUEST):
        raise Refused("BAD_PURPOSE")


class RevokeArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    permit: Annotated[Bytes32, public("its id")]
    cosigner: Cosigner
    cosignature: Cosignature


@consent.method(senders=ANYONE)
def revoke(ctx: Context, state: State, args: RevokeArgs) -> list[Event]:
    """End a permit, at once and for ever; also while a recovery is open (rule C-2). A denial is
    ended by the owner alone, for that lets more be read; where the hospital holds the key, with a
    co-signature (rule I-6)."""
    patient = _relation(ctx, args.org, args.handle)
    place = state.get(PermitPlace, _own(place_key(args.org, args.handle, args.permit)))
    if place is None:
        raise Refused("UNKNOWN_PERMIT")
    key = _own(docket_key(args.org, args.handle, place.grantee, place.purpose))
    docket = state.get(Docket, key) or EMPTY
    index = next((n for n, one in enumerate(docket.permits) if one.id == args.permit), None)
    if index is None:  # dropped, when it said nothing any more
        raise Refused("UNKNOWN_PERMIT")
    permit = docket.permits[index]
    _may_end(ctx, patient, permit, place.grantee, args)
    if permit.ended_height is not None:
        raise Refused("ALREADY_ENDED", height=permit.ended_height)
    ended = msgspec.structs.replace(permit, ended_height=ctx.height)
    permits = (*docket.permits[:index], ended, *docket.permits[index + 1 :])
    state.put(key, Docket(permits))
    return [REVOKED(org=args.org, handle=args.handle, permit=args.permit, grantee=place.grantee)]


def _may_end(
    ctx: Context, patient: RelationEntry, permit: Permit, grantee: str, args: RevokeArgs
) -> None:
    if ctx.sender == patient.owner_at(ctx.time_ms):
        if permit.effect is Effect.DENY:
            if patient.frozen:
                raise Refused("RECOVERY_OPEN")
            if patient.custodial and permit.ended_height is None:
                check_cosignature(ctx, consent, "revoke", patient.guardians, args, involved=grantee)
        return
    if permit.effect is Effect.PERMIT:
        if Right.REVOKE in patient.rights_at(ctx.sender, ctx.time_ms):
            return
        if patient.custodial and ctx.capacity is Capacity.OPERATOR and ctx.member == args.org:
            return
    raise Refused(NOT_AUTHORISED)


def _relation(ctx: Context, org: str, handle: bytes) -> RelationEntry:
    patient = ctx.ask(relation, org, handle)
    if patient is None:
        raise Refused("UNKNOWN_RELATION")
    return patient


# ── views and queries ────────────────────────────────────────────────────────


@consent.view
def docket_of(state: ReadState, org: str, handle: bytes, grantee: str, purpose: Purpose) -> Docket:
    """For other contracts: the permits of (handle, grantee, purpose)."""
    return state.get(Docket, _own(docket_key(org, handle, grantee, purpose))) or EMPTY


class DocketArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32
    grantee: MemberId
    purpose: Purpose


@consent.query
def docket(state: ReadState, args: DocketArgs) -> Docket:
    """The permits of a handle for one grantee and purpose, in the order of their commitment."""
    key = docket_key(args.org, args.handle, args.grantee, args.purpose)
    return state.get(Docket, _own(key)) or EMPTY


class PermitArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32
    permit: Bytes32


class PermitAnswer(Wire, frozen=True):
    grantee: MemberId
    purpose: Purpose
    permit: Permit | None  # null: it says nothing any more, and was dropped
    before: Bytes32 | None  # the permit before it


@consent.query
def permit(state: ReadState, args: PermitArgs) -> PermitAnswer | None:
    """A permit by its id, and the id of the one before it under the same handle."""
    place = state.get(PermitPlace, _own(place_key(args.org, args.handle, args.permit)))
    if place is None:
        return None
    key = docket_key(args.org, args.handle, place.grantee, place.purpose)
    docket = state.get(Docket, _own(key)) or EMPTY
    found = next((one for one in docket.permits if one.id == args.permit), None)
    return PermitAnswer(place.grantee, place.purpose, found, place.before)


class HeadArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@consent.query
def newest(state: ReadState, args: HeadArgs) -> PermitHead | None:
    """The newest permit of a handle: from it, `permit` leads to all of them."""
    return state.get(PermitHead, _own(head_key(args.org, args.handle)))


def _own(state_key: bytes) -> bytes:
    """salus/permit.py names whole state keys; contracts speak within their prefix."""
    return state_key.removeprefix(b"consent/")
