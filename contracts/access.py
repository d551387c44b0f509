"""Access: one ticket for every request to read, decided by the chain before a byte is released
(rules T-1 … T-6 of decision 0010).

PERMIT and DENY are both successful receipts. The ticket stands for ever, names the one before it
under the same handle, and so makes the patient's trail: a list that nobody can shorten unseen.
"""

from typing import Annotated

import msgspec

from contracts.consent import docket_of
from contracts.context import Capacity, Context
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import Contract
from contracts.identity import CARE_ROLES, relation
from contracts.members import MemberStatus, organisation
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire
from salus.keys import verify
from salus.permit import Classes, Outcome, Purpose, Reason, decide, decide_own
from salus.relation import DAY_MS, RelationEntry, Right
from salus.ticket import (
    TICKET_EXPIRY_BLOCKS_MAX,
    Reader,
    Readers,
    Ticket,
    TrailHead,
    own_request,
    reader_key,
    readers_key,
    ticket_key,
    trail_key,
)
from salus.validators import MemberId

access = Contract(
    "access",
    version=1,
    doc="Tickets: every request to read a patient's records, decided before anything is released.",
    reads=("members", "identity", "consent"),
    refusals={
        "UNKNOWN_RELATION": "The sender's organisation has no relation with this handle.",
        "REQUEST_SEEN": "The custodian has a ticket with this request id; fact `height`.",
        "REQUEST_LATE": "The request expired, or expires more than 20 blocks ahead.",
        "BAD_CLASSES": "Classes are listed once each, in ascending order, at least one.",
        "BAD_PURPOSE": "An emergency has a case of its own; no ticket by itself.",
        "UNKNOWN_TICKET": "The custodian has no permitted ticket with this request id.",
        "UNKNOWN_MEMBER": "The requester is no organisation of this chain, and never was.",
        "ALREADY_RECEIVED": "The ticket has its receipt; fact `height`.",
    },
)

DECIDED = access.event(
    "decided",
    "A request to read was decided.",
    org="the custodian",
    handle="the relation",
    requester="the organisation that asked",
    purpose="why",
    permitted="whether",
    reason="by which rule",
)
RECEIVED = access.event(
    "received",
    "The reader's organisation confirms what arrived.",
    org="the custodian",
    handle="the relation",
    requester="the organisation that asked",
)
DENIALS = access.event(
    "denials_counted",
    "More denials, without tickets of their own.",
    org="the custodian",
    handle="the relation",
    requester="the organisation that asked",
    count="so many",
)


class TicketArgs(Wire, frozen=True):
    handle: Annotated[Bytes32, public("the relation")]
    request_id: Annotated[Bytes16, public("random; each is decided once")]
    requester: Annotated[MemberId, public("the organisation that asks")]
    purpose: Annotated[Purpose, public("why")]
    classes: Annotated[Classes, public("coarse classes of what is asked for")]
    permit: Annotated[Bytes32 | None, public("the permit that is cited, or null")]
    narrowed: Annotated[bool, public("the inner terms do not allow it")]
    expiry_height: Annotated[Uint, public("of the signed request")]
    records: Annotated[Bytes32, committed("the set of record versions")]
    request: Annotated[Bytes32, committed("the request, as its reader signed it")]
    decision: Annotated[Bytes32, committed("the inner decision and what it was made from")]
    care: Annotated[Bytes32, committed("why the reader cares for the patient")]
    owner_key: Annotated[Bytes32 | None, public("of the owner or a delegate: asks for himself")]
    owner_signature: Annotated[Bytes64 | None, public("by that key, over this ticket's request")]


@access.method(senders=(Capacity.NODE,), roles=CARE_ROLES)
def ticket(ctx: Context, state: State, args: TicketArgs) -> list[Event]:
    """Decide a request at the ticket's own position in its block (rule T-2)."""
    org = _org(ctx)
    patient = ctx.ask(relation, org, args.handle)
    if patient is None:
        raise Refused("UNKNOWN_RELATION")
    key = _own(ticket_key(org, args.request_id))
    seen = state.get(Ticket, key)
    if seen is not None:
        raise Refused("REQUEST_SEEN", height=seen.height)
    if not ctx.height <= args.expiry_height <= ctx.height + TICKET_EXPIRY_BLOCKS_MAX:
        raise Refused("REQUEST_LATE")
    if list(args.classes) != sorted(set(args.classes)):
        raise Refused("BAD_CLASSES")
    if args.purpose is Purpose.EMERGENCY:
        raise Refused("BAD_PURPOSE")
    outcome = _decide(ctx, org, patient, args)
    if outcome.permitted and args.narrowed:
        outcome = Outcome(False, Reason.TERMS)
    place = _own(trail_key(org, args.handle))
    head = state.get(TrailHead, place) or TrailHead(None, 0, 0)
    state.put(
        key,
        Ticket(
            handle=args.handle,
            requester=args.requester,
            purpose=args.purpose,
            classes=args.classes,
            permit=args.permit,
            permitted=outcome.permitted,
            reason=outcome.reason,
            height=ctx.height,
            time_ms=ctx.time_ms,
            records=args.records,
            request=args.request,
            decision=args.decision,
            care=args.care,
            before=head.newest,
            receipt=None,
            receipt_height=None,
        ),
    )
    state.put(place, TrailHead(args.request_id, head.tickets + 1, head.denials))
    if outcome.permitted and args.purpose is not Purpose.PATIENT_REQUEST:
        _note_reader(ctx, state, org, args.handle, args.requester)
    return [
        DECIDED(
            org=org,
            handle=args.handle,
            requester=args.requester,
            purpose=args.purpose.value,
            permitted=outcome.permitted,
            reason=outcome.reason.value,
        )
    ]


def _note_reader(ctx: Context, state: State, org: str, handle: bytes, reader: str) -> None:
    """Who may hold a copy, for an erasure to ask (rule X-3). The patient's own view is sealed to
    the patient, so whoever carries it holds nothing."""
    place = _own(reader_key(org, handle, reader))
    if reader == org or state.get(Reader, place) is not None:
        return
    head = state.get(Readers, _own(readers_key(org, handle)))
    state.put(place, Reader(ctx.height, None if head is None else head.newest))
    count = 1 if head is None else head.count + 1
    state.put(_own(readers_key(org, handle)), Readers(reader, count))


def _decide(ctx: Context, org: str, patient: RelationEntry, args: TicketArgs) -> Outcome:
    requester = ctx.ask(organisation, args.requester)
    if requester is None:
        raise Refused("UNKNOWN_MEMBER")  # no word of the custodian's choosing stands on the chain
    if requester.status is not MemberStatus.ACTIVE:
        return Outcome(False, Reason.REQUESTER)
    if args.purpose is Purpose.PATIENT_REQUEST:
        return _own_view(ctx, org, patient, args)
    day = ctx.time_ms // DAY_MS
    docket = ctx.ask(docket_of, org, args.handle, args.requester, args.purpose)
    own = args.purpose in (Purpose.TREATMENT, Purpose.OPERATIONS)
    if args.requester == org and own and args.permit is None:
        return decide_own(docket, args.classes, day)
    return decide(docket, args.permit, args.classes, day)


def _own_view(ctx: Context, org: str, patient: RelationEntry, args: TicketArgs) -> Outcome:
    """Rule C-6: the patient, or a delegate who may view, signed the request; nobody denies it."""
    key, signature = args.owner_key, args.owner_signature
    if key is None or signature is None:
        return Outcome(False, Reason.NO_PERMIT)
    owner = key == patient.owner_at(ctx.time_ms)
    if not owner and Right.VIEW not in patient.rights_at(key, ctx.time_ms):
        return Outcome(False, Reason.NO_PERMIT)
    payload = own_request(
        ctx.chain_id,
        org,
        args.handle,
        args.request_id,
        args.requester,
        args.classes,
        args.expiry_height,
        args.records,
        args.request,
    )
    if not verify(key, payload, signature):
        return Outcome(False, Reason.NO_PERMIT)
    return Outcome(True, Reason.OWN_REQUEST)


class ReceiptArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    request_id: Annotated[Bytes16, public("of the ticket")]
    arrived: Annotated[Bytes32, committed("the digest of what arrived")]


@access.method(senders=(Capacity.NODE,))
def receipt(ctx: Context, state: State, args: ReceiptArgs) -> list[Event]:
    """The reader's organisation confirms what arrived; once (rule T-5)."""
    key = _own(ticket_key(args.org, args.request_id))
    found = state.get(Ticket, key)
    if found is None or not found.permitted:
        raise Refused("UNKNOWN_TICKET")
    if ctx.member != found.requester:
        raise Refused(NOT_AUTHORISED)
    if found.receipt_height is not None:
        raise Refused("ALREADY_RECEIVED", height=found.receipt_height)
    state.put(key, msgspec.structs.replace(found, receipt=args.arrived, receipt_height=ctx.height))
    return [RECEIVED(org=args.org, handle=found.handle, requester=found.requester)]


Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class DenialsArgs(Wire, frozen=True):
    handle: Annotated[Bytes32, public("the relation")]
    requester: Annotated[MemberId, public("the organisation that asked")]
    count: Annotated[Count, public("denials since the last count")]


@access.method(senders=(Capacity.NODE,), roles=CARE_ROLES)
def denials(ctx: Context, state: State, args: DenialsArgs) -> list[Event]:
    """The custodian counts denials that were too many for tickets of their own (rule G-4)."""
    org = _org(ctx)
    if ctx.ask(relation, org, args.handle) is None:
        raise Refused("UNKNOWN_RELATION")
    if ctx.ask(organisation, args.requester) is None:
        raise Refused("UNKNOWN_MEMBER")
    place = _own(trail_key(org, args.handle))
    head = state.get(TrailHead, place) or TrailHead(None, 0, 0)
    state.put(place, TrailHead(head.newest, head.tickets, head.denials + args.count))
    return [DENIALS(org=org, handle=args.handle, requester=args.requester, count=args.count)]


# ── views and queries ────────────────────────────────────────────────────────


@access.view
def readers_of(state: ReadState, org: str, handle: bytes) -> tuple[str, ...]:
    """For other contracts: organisations with a permitted ticket under a handle, newest first."""
    head = state.get(Readers, _own(readers_key(org, handle)))
    found: list[str] = []
    at = None if head is None else head.newest
    while at is not None:
        found.append(at)
        entry = state.get(Reader, _own(reader_key(org, handle, at)))
        assert entry is not None, "readers are written together with what names them"
        at = entry.before
    return tuple(found)


class TicketOfArgs(Wire, frozen=True):
    org: MemberId
    request_id: Bytes16


@access.query
def ticket_of(state: ReadState, args: TicketOfArgs) -> Ticket | None:
    """A ticket by custodian and request id."""
    return state.get(Ticket, _own(ticket_key(args.org, args.request_id)))


class TrailArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@access.query
def trail(state: ReadState, args: TrailArgs) -> TrailHead | None:
    """The newest ticket of a handle: from it, `ticket_of` leads to all of them."""
    return state.get(TrailHead, _own(trail_key(args.org, args.handle)))


def _org(ctx: Context) -> str:
    assert ctx.member is not None, "the framework admits members only"
    return ctx.member


def _own(state_key: bytes) -> bytes:
    """salus/ticket.py names whole state keys; contracts speak within their prefix."""
    return state_key.removeprefix(b"access/")
