"""A patient's trail at one organisation: who saw, when, by what right, as the certified state has it
(rule T-6 of decision 0010, E-9 of 0014, X-5 of 0015).

    keys_of      which state values belong to a trail, for whoever makes the proof
    trail_of     the lists, walked from their heads; what is missing is said, never passed over
    complete     whether files that follow one another hold all of it

Pure. What the custodian's vault adds is checked in salus/looks.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from salus import emergency, erasure
from salus.codec import Wire, decode
from salus.emergency import Case, CaseTrail
from salus.erasure import ErasureCase, ErasureHead
from salus.errors import VerificationError
from salus.permit import EMPTY, Docket, PermitHead, Purpose, Reason, docket_key, head_key
from salus.relation import RelationEntry, relation_key
from salus.state_file import ProvedState
from salus.ticket import Ticket, TrailHead, ticket_key, trail_key

W = TypeVar("W", bound=Wire)
Value = Callable[[bytes], bytes | None]  # a state value by its key

# In one state file, with a kilobyte or two for the proof of each.
TICKETS_PER_FILE = 256
CASES_PER_FILE = 64


@dataclass(frozen=True, slots=True)
class Look:
    """One ticket: a request that was decided."""

    request_id: bytes
    ticket: Ticket

    @property
    def authority(self) -> str:
        """By what right, or against which rule; a word of salus.permit.Reason."""
        return self.ticket.reason.value

    @property
    def unconfirmed(self) -> bool:
        """Permitted, and the reader has not said what arrived."""
        return self.ticket.permitted and self.ticket.receipt_height is None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a file of a trail goes on: the place in each of its lists. None: that list has ended."""

    ticket: bytes | None
    emergency: bytes | None
    erasure: bytes | None


@dataclass(frozen=True, slots=True)
class Trail:
    """Newest first. `start`: where the file before has ended; None: this is the first. `next`: where
    the next file goes on; None: all lists end here. Counts are of the whole lists, not of this file."""

    org: str
    handle: bytes
    relation: RelationEntry | None
    height: int
    block_hash: bytes
    time_ms: int
    looks: tuple[Look, ...]
    tickets: int  # by the certified head
    denials: int  # more, without tickets of their own (rule G-4)
    emergencies: tuple[Case, ...]
    emergencies_count: int
    erasures: tuple[tuple[bytes, ErasureCase], ...]
    erasures_count: int
    # The permits of each requester and purpose that stands in `looks`, as of `height`.
    dockets: Mapping[tuple[str, Purpose], Docket]
    permits: int  # ever granted under this handle, whatever their docket has kept of them
    start: Start | None
    next: Start | None


def keys_of(org: str, handle: bytes, value: Value, start: Start | None = None) -> Iterator[bytes]:
    """The keys of a trail, in the order in which they are walked. `start`: where the file before has
    ended."""
    heads = trail_key(org, handle), emergency.trail_key(org, handle), erasure.head_key(org, handle)
    yield relation_key(org, handle)
    yield from heads
    yield head_key(org, handle)
    begin = start or _newest(org, handle, value)
    at = begin.ticket
    asking: dict[tuple[str, Purpose], None] = {}
    for _ in range(TICKETS_PER_FILE):
        if at is None:
            break
        yield (key := ticket_key(org, at))
        ticket = _read(Ticket, value(key))
        at = None if ticket is None else ticket.before
        if ticket is not None:
            asking[ticket.requester, ticket.purpose] = None
    for requester, purpose in asking:
        yield docket_key(org, handle, requester, purpose)
    at = begin.emergency
    for _ in range(CASES_PER_FILE):
        if at is None:
            break
        yield (key := emergency.case_key(at))
        case = _read(Case, value(key))
        at = None if case is None else case.before
    at = begin.erasure
    for _ in range(CASES_PER_FILE):
        if at is None:
            break
        yield (key := erasure.case_key(org, at))
        erased = _read(ErasureCase, value(key))
        at = None if erased is None else erased.before


def trail_of(org: str, handle: bytes, state: ProvedState, start: Start | None = None) -> Trail:
    """The trail that a verified file proves. `start`: the `next` of the file before.

    Raises `VerificationError` if a list in it is cut, or leads to another relation's."""
    tickets = _read(TrailHead, state.value(trail_key(org, handle)))
    opened = _read(CaseTrail, state.value(emergency.trail_key(org, handle)))
    asked = _read(ErasureHead, state.value(erasure.head_key(org, handle)))
    begin = start or _newest(org, handle, state.value)
    looks, ticket = _looks(org, handle, state, begin.ticket)
    cases, case = _emergencies(org, handle, state, begin.emergency)
    erasures, erased = _erasures(org, handle, state, begin.erasure)
    granted = _read(PermitHead, state.value(head_key(org, handle)))
    ends = Start(ticket, case, erased)
    last = ends == Start(None, None, None)
    trail = Trail(
        org=org,
        handle=handle,
        relation=_read(RelationEntry, state.value(relation_key(org, handle))),
        height=state.height,
        block_hash=state.block_hash,
        time_ms=state.time_ms,
        looks=looks,
        tickets=0 if tickets is None else tickets.tickets,
        denials=0 if tickets is None else tickets.denials,
        emergencies=cases,
        emergencies_count=0 if opened is None else opened.count,
        erasures=erasures,
        erasures_count=0 if asked is None else asked.count,
        dockets=_dockets(org, handle, state, looks),
        permits=0 if granted is None else granted.count,
        start=start,
        next=None if last else ends,
    )
    if start is None and last and not complete((trail,)):
        raise VerificationError("the trail ends before its first ticket or case")
    return trail


def complete(trails: Sequence[Trail]) -> bool:
    """Do the files of a trail, in order, hold the whole of it as of the height of the first? The
    others go on where the one before has ended, also at a later height: what stands in a list never
    changes its place (rule T-6)."""
    newest, last = trails[0], trails[-1]
    follow = all(before.next == after.start for before, after in pairwise(trails))
    counted = (
        sum(len(one.looks) for one in trails),
        sum(len(one.emergencies) for one in trails),
        sum(len(one.erasures) for one in trails),
    )
    told = newest.tickets, newest.emergencies_count, newest.erasures_count
    return newest.start is None and follow and last.next is None and counted == told


def _newest(org: str, handle: bytes, value: Value) -> Start:
    """By the heads of the lists."""
    tickets = _read(TrailHead, value(trail_key(org, handle)))
    cases = _read(CaseTrail, value(emergency.trail_key(org, handle)))
    asked = _read(ErasureHead, value(erasure.head_key(org, handle)))
    return Start(
        None if tickets is None else tickets.newest,
        None if cases is None else cases.newest,
        None if asked is None else asked.newest,
    )


def _looks(
    org: str, handle: bytes, state: ProvedState, at: bytes | None
) -> tuple[tuple[Look, ...], bytes | None]:
    found: list[Look] = []
    while at is not None and len(found) < TICKETS_PER_FILE:
        ticket = _read(Ticket, state.value(ticket_key(org, at)))
        if ticket is None or ticket.handle != handle:
            raise VerificationError("the trail leads to a ticket that is not this relation's")
        found.append(Look(at, ticket))
        at = ticket.before
    return tuple(found), at


def _dockets(
    org: str, handle: bytes, state: ProvedState, looks: Sequence[Look]
) -> dict[tuple[str, Purpose], Docket]:
    return {
        place: _read(Docket, state.value(docket_key(org, handle, *place))) or EMPTY
        for place in dict.fromkeys((one.ticket.requester, one.ticket.purpose) for one in looks)
    }


def _emergencies(
    org: str, handle: bytes, state: ProvedState, at: bytes | None
) -> tuple[tuple[Case, ...], bytes | None]:
    found: list[Case] = []
    while at is not None and len(found) < CASES_PER_FILE:
        case = _read(Case, state.value(emergency.case_key(at)))
        if case is None or (case.org, case.handle) != (org, handle):
            raise VerificationError("the list of emergencies leads to another relation's case")
        found.append(case)
        at = case.before
    return tuple(found), at


def _erasures(
    org: str, handle: bytes, state: ProvedState, at: bytes | None
) -> tuple[tuple[tuple[bytes, ErasureCase], ...], bytes | None]:
    found: list[tuple[bytes, ErasureCase]] = []
    while at is not None and len(found) < CASES_PER_FILE:
        case = _read(ErasureCase, state.value(erasure.case_key(org, at)))
        if case is None or case.handle != handle:
            raise VerificationError("the list of erasures leads to another relation's case")
        found.append((at, case))
        at = case.before
    return tuple(found), at


def _read(kind: type[W], value: bytes | None) -> W | None:
    return None if value is None else decode(value, kind)


# What each reason of a ticket says, in plain words; for people, never for a machine.
PLAIN: dict[Reason, str] = {
    Reason.PERMIT: "by a permit of the patient",
    Reason.OWN_CARE: "own care: staff of the hospital that keeps the record",
    Reason.OWN_REQUEST: "at the patient's own request",
    Reason.NO_PERMIT: "denied: no permit",
    Reason.ENDED: "denied: the permit was revoked",
    Reason.NOT_YET: "denied: the permit has not begun",
    Reason.PAST: "denied: the permit has run out",
    Reason.CLASS: "denied: the permit does not cover these classes",
    Reason.LATER_DENY: "denied: a denial stands",
    Reason.LATER_CONSENT: "denied: a later consent took the permit's place",
    Reason.TERMS: "denied: the permit's terms do not allow it",
    Reason.REQUESTER: "denied: the organisation is not active",
}
