"""Emergency, afterwards: the opener justifies, a drawn reviewer decides, the patient may dispute
(rules E-5 … E-7, E-9 of decision 0014). Methods of the `emergency` contract.

Deadlines are weighed when somebody comes: nothing happens by itself but the draw, which needs a
block that did not exist when the case was opened.
"""

from typing import Annotated

import msgspec

from contracts.context import Capacity, Context, Turn
from contracts.emergency import (
    Open,
    clinician,
    emergency,
    find,
    link,
    linked,
    must_justify,
    put,
    put_clinician,
    put_standing,
    standing,
    unlink,
)
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import ANYONE
from contracts.identity import relation
from contracts.members import MemberStatus, everybody
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import UINT_MAX, Bytes32, Wire
from salus.emergency import Case, Decided, Parties, Verdict, draw
from salus.relation import Right
from salus.staff import StaffRole

JUSTIFIED = emergency.event(
    "justified",
    "The opener filed a justification.",
    org="the custodian",
    handle="the relation",
    case="its id",
    in_time="before the deadline",
)
REVIEWED = emergency.event(
    "reviewed",
    "A drawn reviewer decided.",
    org="the custodian",
    handle="the relation",
    case="its id",
    by="the organisation",
    verdict="justified or abuse",
    lapses="reviewers before it whose time ran out",
)
DISPUTED = emergency.event(
    "disputed",
    "The patient disputes the case.",
    org="the custodian",
    handle="the relation",
    case="its id",
)

_REVIEWERS = frozenset({StaffRole.ADMINISTRATION, StaffRole.CLINICIAN, StaffRole.EMERGENCY})


class JustifyArgs(Wire, frozen=True):
    case: Annotated[Bytes32, public("its id")]
    justification: Annotated[Bytes32, committed("why it was needed")]


@emergency.method(senders=(Capacity.STAFF, Capacity.OPERATOR))
def justify(ctx: Context, state: State, args: JustifyArgs) -> list[Event]:
    """The clinician who opened it, or the operator for one who left, files the justification. One
    that comes late is filed; what the lateness brought stays until a reviewer decides (E-5)."""
    case = find(state, args.case)
    identity = ctx.identity
    assert identity is not None, "the framework admits members only"
    theirs = identity.capacity is Capacity.OPERATOR or identity.staff == case.staff
    if identity.member != case.opener or not theirs:
        raise Refused(NOT_AUTHORISED)
    if not case.live:
        raise Refused("NOTHING_READ")
    if case.justified_ms is not None:
        raise Refused("ALREADY_JUSTIFIED")
    if case.decided is not None:
        raise Refused("ALREADY_DECIDED")
    in_time = ctx.time_ms < case.justify_until_ms
    if in_time:
        must_justify(ctx, state, case, -1)
    put(
        state,
        msgspec.structs.replace(case, justification=args.justification, justified_ms=ctx.time_ms),
    )
    return [JUSTIFIED(org=case.org, handle=case.handle, case=case.id, in_time=in_time)]


class ReviewArgs(Wire, frozen=True):
    case: Annotated[Bytes32, public("its id")]
    verdict: Annotated[Verdict, public("what the reviewer decides")]
    grounds: Annotated[Bytes32, committed("why")]


@emergency.method(senders=(Capacity.OPERATOR, Capacity.STAFF))
def review(ctx: Context, state: State, args: ReviewArgs) -> list[Event]:
    """An organisation that was drawn decides; whose time ran out before counts as lapsed (E-6)."""
    identity = ctx.identity
    assert identity is not None, "the framework admits members only"
    staff = identity.capacity is Capacity.STAFF
    if staff and _REVIEWERS.isdisjoint(identity.staff_roles):
        raise Refused(NOT_AUTHORISED)
    case = find(state, args.case)
    if case.decided is not None:
        raise Refused("ALREADY_DECIDED")
    if not case.live:
        raise Refused("NOTHING_READ")
    drawn = case.reviewers(ctx.time_ms)
    if identity.member not in drawn:
        raise Refused("NOT_REVIEWER")
    lapsed = drawn[: case.lapses(ctx.time_ms)]
    for org in lapsed:
        counted = standing(state, org)
        put_standing(state, org, msgspec.structs.replace(counted, lapses=counted.lapses + 1))
    _settle(ctx, state, case)
    decided = Decided(identity.member, args.verdict, args.grounds, ctx.time_ms, len(lapsed))
    put(state, msgspec.structs.replace(case, decided=decided))
    if args.verdict is Verdict.ABUSE:
        _sanction(ctx, state, case.opener)
    return [
        REVIEWED(
            org=case.org,
            handle=case.handle,
            case=case.id,
            by=identity.member,
            verdict=args.verdict.value,
            lapses=len(lapsed),
        )
    ]


def _settle(ctx: Context, state: State, case: Case) -> None:
    """It waits for nobody any more."""
    justified = case.justified_ms
    if case.overruled is None and (justified is None or justified >= case.justify_until_ms):
        must_justify(ctx, state, case, -1)
    found = clinician(state, case.opener, case.staff)
    put_clinician(state, case, found.without(case.id))
    unlink(state, case.id)


def _sanction(ctx: Context, state: State, org: str) -> None:
    """Never no access: from now on another organisation co-signs before anything is read (E-7)."""
    counted = standing(state, org)
    until_ms = ctx.time_ms + ctx.parameters.emergency_sanction_ms
    put_standing(
        state,
        org,
        msgspec.structs.replace(
            counted,
            abuses=counted.abuses + 1,
            sanction_until_ms=max(counted.sanction_until_ms, until_ms),
        ),
    )


class DisputeArgs(Wire, frozen=True):
    case: Annotated[Bytes32, public("its id")]
    statement: Annotated[Bytes32, committed("what the patient says")]


@emergency.method(senders=ANYONE)
def dispute(ctx: Context, state: State, args: DisputeArgs) -> list[Event]:
    """The patient, or a delegate who may deny, disputes the case, once; nothing more is read under
    it. One that was decided gets new reviewers, and their verdict is the last (rule E-9)."""
    case = find(state, args.case)
    patient = ctx.ask(relation, case.org, case.handle)
    assert patient is not None, "a case has its relation"
    if ctx.sender != patient.owner_at(ctx.time_ms):
        rights = patient.rights_at(ctx.sender, ctx.time_ms)
        if Right.DENY not in rights:
            raise Refused(NOT_AUTHORISED)
    if case.disputed_ms is not None:
        raise Refused("ALREADY_DISPUTED")
    if case.decided is not None:
        link(ctx, state, case.id)
        case = msgspec.structs.replace(case, decided=None, overruled=case.decided, panel=None)
    put(
        state,
        msgspec.structs.replace(case, dispute=args.statement, disputed_ms=ctx.time_ms),
    )
    return [DISPUTED(org=case.org, handle=case.handle, case=case.id)]


# ── the draw ─────────────────────────────────────────────────────────────────


def undrawn(state: ReadState) -> int:
    """The height from whose end on somebody must be drawn."""
    head = state.get(Open, b"open")
    return UINT_MAX if head is None or head.undrawn_height is None else head.undrawn_height + 1


@emergency.takes_turn(undrawn)
def draw_panels(turn: Turn, state: State) -> None:
    """Reviewers for the cases of earlier blocks, by a header that nobody knew when he opened one."""
    head = state.get(Open, b"open")
    if head is None or head.undrawn_height is None:
        return
    block = turn.block.header_hash(turn.height - 1)
    assert block is not None, "a block has one below it"
    active = tuple(entry.id for entry in turn.ask(everybody) if entry.status is MemberStatus.ACTIVE)
    case_id, left = head.newest, None
    while case_id is not None:
        place, case = linked(state, case_id), find(state, case_id)
        assert place is not None, "an undecided case is linked"
        if case.panel is not None:
            break
        if place.height >= turn.height:  # of this very block, the last of its epoch
            left = place.height
        else:
            others = (case.cosign and case.cosign.org, case.overruled and case.overruled.org)
            parties = Parties(case.opener, case.org, frozenset(one for one in others if one))
            put(state, msgspec.structs.replace(case, panel=draw(block, case_id, active, parties)))
        case_id = place.older
    state.put(b"open", msgspec.structs.replace(head, undrawn_height=left))
