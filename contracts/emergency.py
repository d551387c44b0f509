"""Emergency: a clinician opens the summary of somebody who cannot be asked (decision 0014).

Here: the declaration, how a case opens, by itself or after an outage, and who co-signs. Deadlines,
reviewers and verdicts stand in contracts/emergency_review.py; which members keep shares of a
summary's key, and opting out, in contracts/emergency_summary.py.
"""

from typing import Annotated

import msgspec

from contracts.context import Capacity, Context
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import Contract
from contracts.identity import CARE_ROLES, relation
from contracts.members import StaffEntry, staff_of
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.emergency import (
    ALONE_MAX,
    HOLDERS_MAX,
    LATE_MAX,
    NEW,
    NOBODY,
    Case,
    CaseTrail,
    Clinician,
    Cosign,
    Standing,
    Summary,
    Waiting,
    case_id,
    case_key,
    clinician_key,
    justify_until,
    standing_key,
    summary_key,
    trail_key,
)
from salus.emergency_forms import EmergencyRequest
from salus.keys import verify
from salus.staff import StaffRole
from salus.validators import MemberId

emergency = Contract(
    "emergency",
    version=1,
    doc="Emergencies: summaries that members keep together, and who opened one, why, and was he right.",
    reads=("members", "identity"),
    refusals={
        "UNKNOWN_RELATION": "The custodian has no relation with this handle.",
        "OPTED_OUT": "The patient wants no emergency access; fact `height`.",
        "DUPLICATE_CASE": "This case was opened before; fact `height`.",
        "UNKNOWN_CASE": "No case has this id.",
        "SAME_ORGANISATION": "A clinician of another organisation than the opener's agrees.",
        "ALREADY_COSIGNED": "The case is co-signed.",
        "DEADLINE_OVER": "The time for it is over; fact `until_ms`.",
        "REQUEST_UNFIT": "The signed request is not of this clinician, or not for this case.",
        "NO_HOLDER": "The sender holds no share of this relation's summary.",
        "ALREADY_LOGGED": "This holder's late entry stands already.",
        "NOTHING_READ": "Nothing could be read under this case: it was never co-signed.",
        "ALREADY_JUSTIFIED": "The justification stands already.",
        "ALREADY_DECIDED": "A reviewer has decided.",
        "NOT_REVIEWER": "The sender's organisation is not drawn to review it, or not yet.",
        "ALREADY_DISPUTED": "The patient disputes the case already.",
        "RECOVERY_OPEN": "A recovery was approved: nothing is deposited or changed until it ends.",
        "BAD_HOLDERS": "Holders ascend, once each, and are active organisations.",
        "BAD_THRESHOLD": "The threshold is more than f, at least 2, at most the number of holders.",
        "NOT_OPTED_OUT": "The patient has not opted out.",
        "STALE_GENERATION": "The summary changed since; fact `generation` is the newest.",
        "NEEDS_COSIGNATURE": "A hospital's key needs a guardian's or another organisation's word.",
        "BAD_COSIGNATURE": "The co-signature is of a key that may not, or does not fit.",
    },
)

OPENED = emergency.event(
    "opened",
    "A clinician opened an emergency case.",
    org="the custodian",
    handle="the relation",
    case="its id",
    opener="the clinician's organisation",
    alone="may be read before anybody co-signs",
    late="read while nothing could be certified",
)
COSIGNED = emergency.event(
    "cosigned",
    "A clinician of another organisation agreed.",
    org="the custodian",
    handle="the relation",
    case="its id",
    by="the organisation",
)
DEFERRED = emergency.event(
    "deferred",
    "A holder gave its share while nothing could be certified: logged late.",
    org="the custodian",
    handle="the relation",
    case="its id",
    holder="the organisation",
)

COSIGNERS = frozenset({StaffRole.CLINICIAN, StaffRole.EMERGENCY})


class OpenArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    nonce: Annotated[Bytes32, public("random; the case's id follows from it and the opener")]
    details: Annotated[Bytes32, committed("reason, place and clinician")]


@emergency.method(senders=(Capacity.STAFF,), roles=CARE_ROLES)
def open(ctx: Context, state: State, args: OpenArgs) -> list[Event]:
    """Open a case, by a key with the role `emergency` (rules E-1 … E-4, E-7)."""
    identity = ctx.identity
    assert identity is not None
    assert identity.staff is not None, "the framework admits staff only"
    if StaffRole.EMERGENCY not in identity.staff_roles:
        raise Refused(NOT_AUTHORISED)
    if ctx.ask(relation, args.org, args.handle) is None:
        raise Refused("UNKNOWN_RELATION")
    summary = state.get(Summary, own(summary_key(args.org, args.handle)))
    if summary is not None and summary.opted_out:
        raise Refused("OPTED_OUT", height=summary.height)
    patient = args.org, args.handle
    case = case_id(patient, identity.member, identity.staff, args.nonce)
    known = state.get(Case, own(case_key(case)))
    if known is not None:
        raise Refused("DUPLICATE_CASE", height=known.opened_height)
    alone = not (
        standing(state, identity.member).restricted(ctx.time_ms)
        or clinician(state, identity.member, identity.staff).restricted(ctx.time_ms)
    )
    return [
        enter(
            ctx,
            state,
            patient,
            (identity.member, identity.staff),
            case,
            args.details,
            alone,
        )
    ]


class CosignArgs(Wire, frozen=True):
    case: Annotated[Bytes32, public("its id")]


@emergency.method(senders=(Capacity.STAFF,), roles=CARE_ROLES)
def cosign(ctx: Context, state: State, args: CosignArgs) -> list[Event]:
    """A clinician of another organisation agrees, in time (rules E-4, E-7)."""
    identity = ctx.identity
    assert identity is not None
    assert identity.staff is not None, "the framework admits staff only"
    if COSIGNERS.isdisjoint(identity.staff_roles):
        raise Refused(NOT_AUTHORISED)
    case = find(state, args.case)
    if identity.member == case.opener:
        raise Refused("SAME_ORGANISATION")
    if case.cosign is not None:
        raise Refused("ALREADY_COSIGNED")
    if case.decided is not None:
        raise Refused("ALREADY_DECIDED")
    if ctx.time_ms >= case.cosign_until_ms:
        raise Refused("DEADLINE_OVER", until_ms=case.cosign_until_ms)
    if not case.live:  # from now on something can be read, so it is to be justified
        must_justify(ctx, state, case, +1)
    agreed = Cosign(identity.member, identity.staff, ctx.time_ms)
    put(state, msgspec.structs.replace(case, cosign=agreed))
    waiting = clinician(state, case.opener, case.staff)
    put_clinician(
        state,
        case,
        msgspec.structs.replace(
            waiting, waiting=tuple(one for one in waiting.waiting if one.case != case.id)
        ),
    )
    return [COSIGNED(org=case.org, handle=case.handle, case=case.id, by=identity.member)]


class DeferredArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    opener: Annotated[MemberId, public("the clinician's organisation")]
    key: Annotated[Bytes32, public("the clinician's key")]
    nonce: Annotated[Bytes32, public("of the case")]
    details: Annotated[Bytes32, committed("reason, place and clinician")]
    release_key: Annotated[Bytes32, public("ephemeral key that the share was sealed to")]
    signature: Annotated[Bytes64, public("by the clinician, over the request")]
    released_ms: Annotated[Uint, public("by the holder's clock, Unix milliseconds")]


@emergency.method(senders=(Capacity.NODE,))
def deferred(ctx: Context, state: State, args: DeferredArgs) -> list[Event]:
    """A holder enters what it released while nothing could be certified (rule E-8)."""
    holder = ctx.member
    assert holder is not None, "the framework admits members only"
    staff, entry = _clinician_of(ctx, args)
    request = EmergencyRequest(
        ctx.chain_id,
        args.org,
        args.handle,
        args.opener,
        staff,
        args.nonce,
        args.details,
        args.release_key,
    )
    if not verify(entry.key, request.payload(), args.signature):
        raise Refused("REQUEST_UNFIT")
    summary = state.get(Summary, own(summary_key(args.org, args.handle)))
    # Those of the key before count too: it may have been changed before this entry got here.
    if summary is None or holder not in (*summary.holders, *summary.former):
        raise Refused("NO_HOLDER")
    events: list[Event] = []
    case = state.get(Case, own(case_key(request.case)))
    if case is None:
        # Whatever forbade it, what was read stands on record: no other question is asked here, and
        # who has filled his list with cases under which nobody read hides none behind them.
        who, where = (args.opener, staff), (args.org, args.handle)
        events.append(enter(ctx, state, where, who, request.case, args.details, False, late=True))
        case = find(state, request.case)
    if holder in case.holders or len(case.holders) >= HOLDERS_MAX:
        raise Refused("ALREADY_LOGGED")
    if not case.live:
        # Nobody had to justify it until now: a holder that comes late, or says so, makes nobody late.
        until_ms = justify_until(ctx.time_ms, ctx.parameters.emergency_justify_ms)
        case = msgspec.structs.replace(case, justify_until_ms=until_ms)
        must_justify(ctx, state, case, +1)
    put(state, msgspec.structs.replace(case, late=True, holders=(*case.holders, holder)))
    events.append(DEFERRED(org=case.org, handle=case.handle, case=case.id, holder=holder))
    return events


def _clinician_of(ctx: Context, args: DeferredArgs) -> tuple[bytes, StaffEntry]:
    """Whose key it is. One that was revoked since has signed all the same."""
    found = ctx.ask(staff_of, args.key)
    if found is None or found[1].org != args.opener:
        raise Refused("REQUEST_UNFIT")
    staff, entry = found
    in_time = entry.from_ms <= args.released_ms < entry.until_ms
    if StaffRole.EMERGENCY not in entry.roles or not in_time:
        raise Refused("REQUEST_UNFIT")
    return staff, entry


# ── for the other files of this contract ─────────────────────────────────────


class Open(Wire, frozen=True):
    """State under open: the newest undecided case, and since when one waits for its panel."""

    newest: Bytes32 | None
    undrawn_height: Uint | None


class Link(Wire, frozen=True):
    """State under open/<case>: its neighbours among the undecided cases."""

    older: Bytes32 | None
    newer: Bytes32 | None
    height: Uint  # since when


def enter(
    ctx: Context,
    state: State,
    patient: tuple[str, bytes],
    who: tuple[str, bytes],
    case: bytes,
    details: bytes,
    alone: bool,
    *,
    late: bool = False,
) -> Event:
    """A new case. `patient`: custodian and handle; `who`: the opener and its clinician."""
    (org, handle), (opener, staff) = patient, who
    limits, now = ctx.parameters, ctx.time_ms
    place = own(trail_key(org, handle))
    head = state.get(CaseTrail, place)
    new = Case(
        id=case,
        org=org,
        handle=handle,
        opener=opener,
        staff=staff,
        details=details,
        alone=alone,
        late=late,
        opened_ms=now,
        opened_height=ctx.height,
        cosign_until_ms=now + limits.emergency_cosign_ms,
        open_until_ms=now + limits.emergency_open_ms,
        justify_until_ms=justify_until(now, limits.emergency_justify_ms),
        review_ms=limits.emergency_review_ms,
        cosign=None,
        justification=None,
        justified_ms=None,
        dispute=None,
        disputed_ms=None,
        decided=None,
        overruled=None,
        panel=None,
        holders=(),
        before=None if head is None else head.newest,
    )
    put(state, new)
    state.put(place, CaseTrail(case, 1 if head is None else head.count + 1))
    counted = standing(state, opener)
    put_standing(state, opener, msgspec.structs.replace(counted, opened=counted.opened + 1))
    if new.live:
        must_justify(ctx, state, new, +1)
    waits = clinician(state, opener, staff)
    if alone:  # not `restricted`, so there is room
        assert len(waits.waiting) < ALONE_MAX
        waits = msgspec.structs.replace(
            waits, waiting=(*waits.waiting, Waiting(case, new.cosign_until_ms))
        )
    if late and len(waits.late) < LATE_MAX:
        waits = msgspec.structs.replace(waits, late=(*waits.late, case))
    put_clinician(state, new, waits)
    link(ctx, state, case)
    return OPENED(org=org, handle=handle, case=case, opener=opener, alone=alone, late=late)


def must_justify(ctx: Context, state: State, case: Case, change: int) -> None:
    """The opener has one more case to justify (+1), or one fewer (−1)."""
    counted = standing(state, case.opener).at(ctx.time_ms)
    put_standing(state, case.opener, counted.with_due(case.justify_until_ms, change))


def link(ctx: Context, state: State, case: bytes) -> None:
    """Among the undecided ones, as the newest; its reviewers are drawn with the next block."""
    head = state.get(Open, b"open") or Open(None, None)
    if head.newest is not None:
        newest = state.get(Link, _link(head.newest))
        assert newest is not None, "the newest undecided case is linked"
        state.put(_link(head.newest), msgspec.structs.replace(newest, newer=case))
    state.put(_link(case), Link(head.newest, None, ctx.height))
    undrawn = ctx.height if head.undrawn_height is None else head.undrawn_height
    state.put(b"open", Open(case, undrawn))


def unlink(state: State, case: bytes) -> None:
    found, head = state.get(Link, _link(case)), state.get(Open, b"open")
    assert found is not None
    assert head is not None, "an undecided case is linked"
    if found.newer is None:
        state.put(b"open", msgspec.structs.replace(head, newest=found.older))
    else:
        newer = state.get(Link, _link(found.newer))
        assert newer is not None
        state.put(_link(found.newer), msgspec.structs.replace(newer, older=found.older))
    if found.older is not None:
        older = state.get(Link, _link(found.older))
        assert older is not None
        state.put(_link(found.older), msgspec.structs.replace(older, newer=found.newer))
    state.delete(_link(case))


def linked(state: ReadState, case: bytes) -> Link | None:
    return state.get(Link, _link(case))


def find(state: ReadState, case: bytes) -> Case:
    found = state.get(Case, own(case_key(case)))
    if found is None:
        raise Refused("UNKNOWN_CASE")
    return found


def put(state: State, case: Case) -> None:
    state.put(own(case_key(case.id)), case)


def standing(state: ReadState, org: str) -> Standing:
    return state.get(Standing, own(standing_key(org))) or NEW


def put_standing(state: State, org: str, value: Standing) -> None:
    state.put(own(standing_key(org)), value)


def clinician(state: ReadState, org: str, staff: bytes) -> Clinician:
    return state.get(Clinician, own(clinician_key(org, staff))) or NOBODY


def put_clinician(state: State, case: Case, value: Clinician) -> None:
    state.put(own(clinician_key(case.opener, case.staff)), value)


def own(state_key: bytes) -> bytes:
    """salus/emergency.py names whole state keys; contracts speak within their prefix."""
    return state_key.removeprefix(b"emergency/")


def _link(case: bytes) -> bytes:
    return b"open/" + case
