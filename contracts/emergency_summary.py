"""Emergency, beforehand: which members keep shares of the key to a patient's summary, and whether
he wants it at all (rule E-2 of decision 0014); and what can be asked of all of it. Methods and
queries of the `emergency` contract.
"""

from typing import Annotated

import msgspec

import contracts.emergency_review  # noqa: F401 — methods in one order, whoever is imported first
from contracts.context import Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.emergency import (
    Link,
    Open,
    clinician,
    emergency,
    find,
    linked,
    own,
    standing,
)
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import ANYONE
from contracts.identity import relation
from contracts.members import MemberStatus, organisation
from contracts.state import ReadState, State
from salus.answers import Cases
from salus.block import Event
from salus.codec import Bytes32, Uint, Wire
from salus.emergency import (
    HOLDERS_MAX,
    Case,
    CaseTrail,
    Clinician,
    Holders,
    Standing,
    Summary,
    Threshold,
    case_key,
    summary_key,
    trail_key,
)
from salus.relation import RelationEntry
from salus.validators import MemberId

DEPOSITED = emergency.event(
    "deposited",
    "A patient's summary is kept by these many members.",
    org="the custodian",
    handle="the relation",
    generation="of the key",
    holders="so many keep shares",
    threshold="so many open it",
)
OPTED = emergency.event(
    "opted",
    "A patient wants no emergency access, or wants it again.",
    org="the custodian",
    handle="the relation",
    out="wants none",
)

CASES_PER_ANSWER = 50  # 25 kB


class DepositArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    summary: Annotated[Bytes32, committed("the sealed summary")]
    holders: Annotated[Holders, public("who keep shares of its key, ascending")]
    threshold: Annotated[Threshold, public("so many shares open it")]
    generation: Annotated[Uint, public("of its key: one more than the last")]
    cosigner: Cosigner
    cosignature: Cosignature


@emergency.method(senders=ANYONE)
def deposit(ctx: Context, state: State, args: DepositArgs) -> list[Event]:
    """The patient agrees that these members keep his summary and shares of its key. A new one takes
    the place of the old: its key, and its holders."""
    patient = _owned(ctx, args.org, args.handle)
    if patient.custodial:
        check_cosignature(ctx, emergency, "deposit", patient.guardians, args)
    before = _summary(state, args.org, args.handle)
    if before.opted_out:
        raise Refused("OPTED_OUT", height=before.height)
    _next(before, args.generation)
    if list(args.holders) != sorted(set(args.holders)):
        raise Refused("BAD_HOLDERS")
    for holder in args.holders:
        entry = ctx.ask(organisation, holder)
        if entry is None or entry.status is not MemberStatus.ACTIVE:
            raise Refused("BAD_HOLDERS")
    if not ctx.validators.weak <= args.threshold <= len(args.holders):
        raise Refused("BAD_THRESHOLD")
    former = tuple(one for one in _former(before) if one not in args.holders)
    new = Summary(
        args.summary,
        args.holders,
        args.threshold,
        args.generation,
        ctx.height,
        False,
        former,
    )
    state.put(own(summary_key(args.org, args.handle)), new)
    return [
        DEPOSITED(
            org=args.org,
            handle=args.handle,
            generation=new.generation,
            holders=len(new.holders),
            threshold=new.threshold,
        )
    ]


class OptArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the custodian")]
    handle: Annotated[Bytes32, public("the relation")]
    generation: Annotated[Uint, public("one more than the last of the summary")]
    cosigner: Cosigner
    cosignature: Cosignature


@emergency.method(senders=ANYONE)
def opt_out(ctx: Context, state: State, args: OptArgs) -> list[Event]:
    """The patient wants no emergency access; holders destroy what they keep."""
    patient = _owned(ctx, args.org, args.handle)
    if patient.custodial:
        check_cosignature(ctx, emergency, "opt_out", patient.guardians, args)
    before = _summary(state, args.org, args.handle)
    if before.opted_out:
        raise Refused("OPTED_OUT", height=before.height)
    _next(before, args.generation)
    former = _former(before)
    out = Summary(None, (), 0, args.generation, ctx.height, True, former)
    state.put(own(summary_key(args.org, args.handle)), out)
    return [OPTED(org=args.org, handle=args.handle, out=True)]


@emergency.method(senders=ANYONE)
def opt_in(ctx: Context, state: State, args: OptArgs) -> list[Event]:
    """The patient wants it again; the summary is to be deposited anew."""
    patient = _owned(ctx, args.org, args.handle)
    if patient.custodial:
        check_cosignature(ctx, emergency, "opt_in", patient.guardians, args)
    before = _summary(state, args.org, args.handle)
    if not before.opted_out:
        raise Refused("NOT_OPTED_OUT")
    _next(before, args.generation)
    back = msgspec.structs.replace(
        before, generation=args.generation, height=ctx.height, opted_out=False
    )
    state.put(own(summary_key(args.org, args.handle)), back)
    return [OPTED(org=args.org, handle=args.handle, out=False)]


def _next(before: Summary, generation: int) -> None:
    """Each change is of one moment: else a hospital would use what was co-signed once again, to
    undo the patient's last word or to bring an old summary back."""
    if generation != before.generation + 1:
        raise Refused("STALE_GENERATION", generation=before.generation)


def _owned(ctx: Context, org: str, handle: bytes) -> RelationEntry:
    patient = ctx.ask(relation, org, handle)
    if patient is None:
        raise Refused("UNKNOWN_RELATION")
    if ctx.sender != patient.owner_at(ctx.time_ms):
        raise Refused(NOT_AUTHORISED)
    if patient.frozen:
        raise Refused("RECOVERY_OPEN")
    return patient


def _former(summary: Summary) -> tuple[str, ...]:
    """Who holds it, and who held it before, the latest first: late entries and requests of erasure
    come after several deposits too."""
    return tuple(dict.fromkeys((*summary.holders, *summary.former)))[:HOLDERS_MAX]


def _summary(state: ReadState, org: str, handle: bytes) -> Summary:
    found = state.get(Summary, own(summary_key(org, handle)))
    return found or Summary(None, (), 0, 0, 0, False, ())


# ── views and queries ────────────────────────────────────────────────────────


@emergency.view
def keepers_of(state: ReadState, org: str, handle: bytes) -> tuple[str, ...]:
    """For other contracts: who keeps, or last kept, shares of a relation's summary."""
    found = _summary(state, org, handle)
    return (*found.holders, *found.former)


# Of the newest cases: each state value that is read counts against the caps of the transaction.
OPENERS_CASES_MAX = 256


@emergency.view
def openers_of(state: ReadState, org: str, handle: bytes) -> tuple[str, ...]:
    """For other contracts: who could read a relation's summary under a case of his, newest first."""
    head = state.get(CaseTrail, own(trail_key(org, handle)))
    at = None if head is None else head.newest
    found: dict[str, None] = {}
    for _ in range(OPENERS_CASES_MAX):
        if at is None:
            break
        case = state.get(Case, own(case_key(at)))
        assert case is not None, "the trail names a case that is not there"
        if case.live:
            found[case.opener] = None
        at = case.before
    return tuple(found)


class HandleArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@emergency.query
def summary_of(state: ReadState, args: HandleArgs) -> Summary | None:
    """Who keeps shares of a relation's summary, and whether the patient opted out."""
    return state.get(Summary, own(summary_key(args.org, args.handle)))


class CaseArgs(Wire, frozen=True):
    case: Bytes32


@emergency.query
def case_of(state: ReadState, args: CaseArgs) -> Case | None:
    """A case by its id."""
    return state.get(Case, own(case_key(args.case)))


class CasesArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32
    start: Bytes32  # of an answer before; zeroes: the newest


@emergency.query
def cases_of(state: ReadState, args: CasesArgs) -> Cases:
    """The emergency cases of a handle: a list that nobody can shorten."""
    head = state.get(CaseTrail, own(trail_key(args.org, args.handle)))
    if head is None:
        return Cases((), 0, None)
    found: list[Case] = []
    at: bytes | None = args.start if any(args.start) else head.newest
    while at is not None and len(found) < CASES_PER_ANSWER:
        case = state.get(Case, own(case_key(at)))
        if case is None or (case.org, case.handle) != (args.org, args.handle):
            break  # no place of this list
        found.append(case)
        at = case.before
    return Cases(tuple(found), head.count, at)


class UndecidedArgs(Wire, frozen=True):
    start: Bytes32  # of an answer before; zeroes: the newest


@emergency.query
def undecided(state: ReadState, args: UndecidedArgs) -> Cases:
    """The cases that no reviewer has decided, of everybody."""
    head = state.get(Open, b"open")
    at = args.start if any(args.start) else (head.newest if head else None)
    found: list[Case] = []
    while at is not None and len(found) < CASES_PER_ANSWER:
        place: Link | None = linked(state, at)
        if place is None:
            break
        found.append(find(state, at))
        at = place.older
    return Cases(tuple(found), 0, at)


class OrgArgs(Wire, frozen=True):
    org: MemberId


@emergency.query
def standing_of(state: ReadState, args: OrgArgs) -> Standing:
    """What speaks for and against an organisation's emergency openings and reviews."""
    return standing(state, args.org)


class ClinicianArgs(Wire, frozen=True):
    org: MemberId
    staff: Bytes32


@emergency.query
def clinician_of(state: ReadState, args: ClinicianArgs) -> Clinician:
    """The cases of a clinician that nobody has co-signed or reviewed yet."""
    return clinician(state, args.org, args.staff)
