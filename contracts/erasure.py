"""Erasure: who must erase what a patient wants gone, and who has said so (decision 0015).

Nothing on the chain can be erased, and nothing on it needs to be: it holds salted commitments. The
case says who holds copies, computed from the tickets, and who has answered. An answer is a claim.
What one key asks for waits, and can be stopped meanwhile: nothing brings it back (rule X-9).
"""

from typing import Annotated

import msgspec

from contracts.access import readers_of
from contracts.context import Capacity, Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.emergency_summary import keepers_of, openers_of
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import ANYONE, Contract
from contracts.identity import relation
from contracts.members import operator_ever, operator_of
from contracts.state import ReadState, State
from salus.answers import AskedAnswer, AskedPage, CaseAnswer, HolderAnswer
from salus.block import Event
from salus.codec import Bytes32, Wire
from salus.erasure import (
    AskedHead,
    AskedIn,
    Basis,
    ErasureCase,
    ErasureHead,
    ErasureHolder,
    Holding,
    Reply,
    Stage,
    asked_key,
    case_key,
    head_key,
    holder_key,
)
from salus.genesis import Role
from salus.relation import RelationEntry, Right
from salus.validators import MemberId

erasure = Contract(
    "erasure",
    version=1,
    doc="Cases of erasure: who holds copies, by the tickets, and what each has answered.",
    reads=("members", "identity", "access", "emergency"),
    refusals={
        "UNKNOWN_RELATION": "The custodian has no relation with this handle.",
        "RECOVERY_OPEN": "A recovery was approved, or was cancelled not long ago: nothing is erased.",
        "NEEDS_COSIGNATURE": "Where the hospital holds the key, somebody else co-signs.",
        "BAD_COSIGNATURE": "The co-signature is of a key that may not, or does not fit.",
        "DUPLICATE_CASE": "The custodian has a case with this id; fact `height`.",
        "UNKNOWN_CASE": "The custodian has no case with this id.",
        "NOT_A_HOLDER": "The organisation had no permitted ticket, and holds no summary.",
        "ALREADY_ANSWERED": "The organisation has answered; fact `height`.",
        "NOT_WAITING": "The case has begun, or was cancelled.",
        "TOO_EARLY": "The waiting time is not over; fact `due_ms`.",
        "ASKER_REPLACED": "The key that asked is in force no more: who has the new one asks anew.",
        "NOT_BEGUN": "Until the waiting time is over nothing is answered but «retained».",
        "CASE_CANCELLED": "The case was cancelled: nobody owes an answer.",
        "BAD_REPLY": "The custodian holds something; a reason belongs to «retained» and to no other.",
    },
)

REQUESTED = erasure.event(
    "requested",
    "Records are to be erased.",
    org="the custodian",
    handle="the relation",
    case="its id",
    basis="by whose word",
    holders="so many must answer",
    due_ms="block time at which it may begin",
)
BEGUN = erasure.event(
    "begun",
    "The waiting time is over: holders erase.",
    org="the custodian",
    handle="the relation",
    case="the case",
)
CANCELLED = erasure.event(
    "cancelled",
    "The case was stopped before it began.",
    org="the custodian",
    handle="the relation",
    case="the case",
)
ANSWERED = erasure.event(
    "answered",
    "A holder says what became of its copies.",
    org="the custodian",
    case="the case",
    holder="the organisation",
    reply="what it says",
    open="so many have not answered",
)


ASKED_PER_ANSWER = 100


class RequestArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    case: Annotated[Bytes32, public("its id: random")]
    records: Annotated[Bytes32, committed("the leaves of what is to be erased")]
    reason: Annotated[Bytes32, committed("why")]
    cosigner: Cosigner
    cosignature: Cosignature


@erasure.method(senders=ANYONE)
def request(ctx: Context, state: State, args: RequestArgs) -> list[Event]:
    """Ask all who hold copies to erase them (rules X-1 … X-3): at once if somebody co-signs, else
    after a waiting time (X-9)."""
    patient = ctx.ask(relation, args.org, args.handle)
    if patient is None:
        raise Refused("UNKNOWN_RELATION")
    basis = _basis(ctx, patient, args)
    key = _own(case_key(args.org, args.case))
    known = state.get(ErasureCase, key)
    if known is not None:
        raise Refused("DUPLICATE_CASE", height=known.height)
    place = _own(head_key(args.org, args.handle))
    head = state.get(ErasureHead, place)
    state.put(place, ErasureHead(args.case, 1 if head is None else head.count + 1))
    alone = args.cosigner is None
    case = ErasureCase(
        handle=args.handle,
        basis=basis,
        asker=ctx.sender,
        stage=Stage.WAITING if alone else Stage.BEGUN,
        due_ms=ctx.time_ms + (ctx.parameters.erasure_wait_ms if alone else 0),
        records=args.records,
        reason=args.reason,
        height=ctx.height,
        time_ms=ctx.time_ms,
        before=None if head is None else head.newest,
        newest=args.org,
        holders=1,
        answered=0,
        closed=False,
    )
    _ask(state, AskedIn(args.org, args.case), args.org, Holding.CUSTODIAN, None)
    case = _add_holders(ctx, state, args.org, args.case, case)
    state.put(key, case)
    return [
        REQUESTED(
            org=args.org,
            handle=args.handle,
            case=args.case,
            basis=basis.value,
            holders=case.holders,
            due_ms=case.due_ms,
        )
    ]


def _basis(ctx: Context, patient: RelationEntry, args: RequestArgs) -> Basis:
    """Rule X-1: who may ask for what cannot be undone."""
    cosigned = (args.cosigner, args.cosignature) != (None, None)
    if ctx.sender == patient.owner_at(ctx.time_ms):
        # What waits is looked at again when it begins.
        if patient.frozen or (cosigned and patient.contested(ctx.time_ms)):
            raise Refused("RECOVERY_OPEN")
        if patient.custodial or cosigned:
            check_cosignature(ctx, erasure, "request", patient.guardians, args)
        return Basis.OWNER
    authority = _regulator(ctx)
    if authority is None or authority == args.org:
        raise Refused(NOT_AUTHORISED)
    if cosigned:
        check_cosignature(ctx, erasure, "request", patient.guardians, args, involved=authority)
    return Basis.REGULATOR


def _regulator(ctx: Context) -> str | None:
    """The regulator whose operator sends this."""
    identity = ctx.identity
    if identity is None or identity.capacity is not Capacity.OPERATOR:
        return None
    return identity.member if Role.REGULATOR in identity.roles else None


def _add_holders(
    ctx: Context, state: State, org: str, case_id: bytes, case: ErasureCase
) -> ErasureCase:
    """The case with all who came to hold a copy since it was last looked at (rule X-3)."""
    # Oldest first, so that the list of a case stands in the order in which they came.
    readers = ctx.ask(readers_of, org, case.handle)
    asked = [(one, Holding.READER) for one in reversed(readers)]
    asked += [(one, Holding.SUMMARY) for one in ctx.ask(keepers_of, org, case.handle)]
    asked += [(one, Holding.SUMMARY) for one in ctx.ask(openers_of, org, case.handle)]
    for member, holding in asked:
        if state.get(ErasureHolder, _own(holder_key(org, case_id, member))) is None:
            _ask(state, AskedIn(org, case_id), member, holding, case.newest)
            case = msgspec.structs.replace(case, newest=member, holders=case.holders + 1)
    return case


def _ask(state: State, case: AskedIn, member: str, holding: Holding, before: str | None) -> None:
    """Enter a holder, in the list of its case and in that of all that it is asked."""
    place = _own(asked_key(member))
    head = state.get(AskedHead, place)
    earlier = None if head is None else head.newest
    state.put(place, AskedHead(case, 1 if head is None else head.count + 1))
    state.put(
        _own(holder_key(case.org, case.case, member)),
        ErasureHolder(holding, None, None, None, before, earlier),
    )


class WaitingArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    case: Annotated[Bytes32, public("the case")]


@erasure.method(senders=ANYONE)
def begin(ctx: Context, state: State, args: WaitingArgs) -> list[Event]:
    """The waiting time is over: from now on it is carried out (rule X-9). Anybody may."""
    case = _waiting(state, args)
    if ctx.time_ms < case.due_ms:
        raise Refused("TOO_EARLY", due_ms=case.due_ms)
    patient = ctx.ask(relation, args.org, case.handle)
    assert patient is not None, "a relation stays"
    if case.basis is Basis.OWNER:
        if patient.contested(ctx.time_ms):
            raise Refused("RECOVERY_OPEN")
        if patient.owner_at(ctx.time_ms) != case.asker:
            raise Refused("ASKER_REPLACED")
    elif ctx.ask(operator_of, case.asker) is None:  # stolen, and replaced since; or suspended
        raise Refused("ASKER_REPLACED")
    state.put(_own(case_key(args.org, args.case)), msgspec.structs.replace(case, stage=Stage.BEGUN))
    return [BEGUN(org=args.org, handle=case.handle, case=args.case)]


@erasure.method(senders=ANYONE)
def cancel(ctx: Context, state: State, args: WaitingArgs) -> list[Event]:
    """Stop a case that waits (rule X-9): the owner of now, a delegate who may deny, or a guardian; of a
    regulator's case that regulator, also by the key that came after the one that asked."""
    case = _waiting(state, args)
    patient = ctx.ask(relation, args.org, case.handle)
    assert patient is not None, "a relation stays"
    if case.basis is Basis.OWNER:
        may = ctx.sender == patient.owner_at(ctx.time_ms) or ctx.sender in patient.guardians
        # What it stops can be asked for again; what it lets pass comes back never.
        may = may or Right.DENY in patient.rights_at(ctx.sender, ctx.time_ms)
    else:
        authority = _regulator(ctx)
        may = authority is not None and authority == ctx.ask(operator_ever, case.asker)
    if not may:
        raise Refused(NOT_AUTHORISED)
    ended = msgspec.structs.replace(case, stage=Stage.CANCELLED, closed=True)
    state.put(_own(case_key(args.org, args.case)), ended)
    return [CANCELLED(org=args.org, handle=case.handle, case=args.case)]


def _waiting(state: State, args: WaitingArgs) -> ErasureCase:
    case = state.get(ErasureCase, _own(case_key(args.org, args.case)))
    if case is None:
        raise Refused("UNKNOWN_CASE")
    if case.stage is not Stage.WAITING:
        raise Refused("NOT_WAITING")
    return case


class ReceiptArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    case: Annotated[Bytes32, public("the case")]
    reply: Annotated[Reply, public("what became of the copies")]
    reason: Annotated[Bytes32 | None, committed("why something is kept; else null")]


@erasure.method(senders=(Capacity.NODE, Capacity.OPERATOR))
def receipt(ctx: Context, state: State, args: ReceiptArgs) -> list[Event]:
    """A holder answers: a signed claim (rule X-4)."""
    assert ctx.member is not None, "the framework admits members only"
    key = _own(case_key(args.org, args.case))
    case = state.get(ErasureCase, key)
    if case is None:
        raise Refused("UNKNOWN_CASE")
    if case.stage is Stage.CANCELLED:
        raise Refused("CASE_CANCELLED")
    if case.stage is Stage.WAITING and args.reply is not Reply.RETAINED:
        raise Refused("NOT_BEGUN")
    place = _own(holder_key(args.org, args.case, ctx.member))
    if not case.closed:
        case = _add_holders(ctx, state, args.org, args.case, case)
    holder = state.get(ErasureHolder, place)
    if holder is None:
        raise Refused("NOT_A_HOLDER")
    final = holder.reply is not Reply.RETAINED or holder.reply is args.reply
    if holder.height is not None and final:
        raise Refused("ALREADY_ANSWERED", height=holder.height)
    _check_reply(ctx, holder, args)
    state.put(
        place,
        msgspec.structs.replace(holder, reply=args.reply, reason=args.reason, height=ctx.height),
    )
    answered = case.answered + (holder.reply is None)
    # One that retains goes on releasing, and so may get new readers.
    closed = case.closed or (holder.holding is Holding.CUSTODIAN and args.reply is Reply.ERASED)
    case = msgspec.structs.replace(case, answered=answered, closed=closed)
    state.put(key, case)
    return [
        ANSWERED(
            org=args.org,
            case=args.case,
            holder=ctx.member,
            reply=args.reply.value,
            open=case.holders - case.answered,
        )
    ]


def _check_reply(ctx: Context, holder: ErasureHolder, args: ReceiptArgs) -> None:
    if (args.reply is Reply.RETAINED) != (args.reason is not None):
        raise Refused("BAD_REPLY")
    if holder.reply is Reply.RETAINED and args.reply is not Reply.ERASED:
        raise Refused("BAD_REPLY")
    if holder.holding is not Holding.CUSTODIAN:
        return
    if args.reply is Reply.NOTHING_HELD:
        raise Refused("BAD_REPLY")
    # The node has the vault: that it erased is for nobody else of the custodian to say.
    if (args.reply is Reply.ERASED) != (ctx.capacity is Capacity.NODE):
        raise Refused(NOT_AUTHORISED)


# ── queries ──────────────────────────────────────────────────────────────────


class CaseArgs(Wire, frozen=True):
    org: MemberId
    case: Bytes32


@erasure.query
def case_of(state: ReadState, args: CaseArgs) -> CaseAnswer | None:
    """A case by custodian and id, and all its holders."""
    case = state.get(ErasureCase, _own(case_key(args.org, args.case)))
    if case is None:
        return None
    found: list[HolderAnswer] = []
    at: str | None = case.newest
    while at is not None:
        holder = state.get(ErasureHolder, _own(holder_key(args.org, args.case, at)))
        assert holder is not None, "holders are written together with what names them"
        found.append(HolderAnswer(at, holder))
        at = holder.before
    return CaseAnswer(case, tuple(reversed(found)))


class HeadArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@erasure.query
def newest(state: ReadState, args: HeadArgs) -> ErasureHead | None:
    """The newest case of a handle: from it, `case_of` leads to all of them (rule X-5)."""
    return state.get(ErasureHead, _own(head_key(args.org, args.handle)))


class AskedArgs(Wire, frozen=True):
    member: MemberId
    org: MemberId | None  # with `case`: where an answer before has ended; null: the newest
    case: Bytes32 | None


@erasure.query
def asked_of(state: ReadState, args: AskedArgs) -> AskedPage:
    """The cases that ask a member: what it has not answered, it owes."""
    head = state.get(AskedHead, _own(asked_key(args.member)))
    if head is None:
        return AskedPage((), 0, None)
    at: AskedIn | None = head.newest
    if args.org is not None and args.case is not None:
        at = AskedIn(args.org, args.case)
    found: list[AskedAnswer] = []
    while at is not None and len(found) < ASKED_PER_ANSWER:
        case = state.get(ErasureCase, _own(case_key(at.org, at.case)))
        holder = state.get(ErasureHolder, _own(holder_key(at.org, at.case, args.member)))
        if case is None or holder is None:
            break  # no place of this list
        found.append(AskedAnswer(at, case.handle, case.stage, holder))
        at = holder.earlier
    return AskedPage(tuple(found), head.count, at)


def _own(state_key: bytes) -> bytes:
    """salus/erasure.py names whole state keys; contracts speak within their prefix."""
    return state_key.removeprefix(b"erasure/")
