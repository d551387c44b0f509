"""Who asks to read: a member's staff by a key in force, or the patient by his own (rules G-1, C-6).

Read from the certified state at the moment of the question, and again for every chunk. Law of the
file: whoever cannot be told apart is refused here, before anything is weighed, written or counted
by name.
"""

from dataclasses import dataclass

from contracts.context import Capacity
from contracts.members import MemberStatus, get_entry, identify, members
from contracts.state import Read, ReadState
from salus.errors import SalusError
from salus.keys import verify
from salus.permit import Purpose
from salus.reading import Ask
from salus.relation import RelationEntry, Right
from salus.ticket import Request, own_request


@dataclass(frozen=True, slots=True)
class Reader:
    """`staff`: the handle, None for the patient himself or a delegate."""

    org: str
    staff: bytes | None
    roles: tuple[str, ...] = ()


def check_signatures(ask: Ask) -> None:
    """The person's signature over the request, and over what of it the chain will show. Takes 0.1 ms
    each. Raises `SalusError` (UNKNOWN_READER)."""
    request = ask.request
    if not verify(request.key, request.payload(), ask.signature):
        raise _unknown("the request is not signed by the key that it names")
    own = request.purpose is Purpose.PATIENT_REQUEST
    if own != (ask.owner_signature is not None):
        raise _unknown("the patient's own request, and no other, has the owner's signature")
    if ask.owner_signature is not None:
        payload = own_request(
            request.chain_id,
            request.custodian,
            request.handle,
            request.request_id,
            request.requester,
            request.classes,
            request.expiry_height,
            request.records,
            ask.commitment(),
        )
        if not verify(request.key, payload, ask.owner_signature):
            raise _unknown("the owner's signature is over another request")


def reader_of(
    read: Read, member: str, request: Request, relation: RelationEntry, time_ms: int
) -> Reader:
    """Whose key it is now. `member`: who brought the request. Raises `SalusError`
    (UNKNOWN_READER)."""
    state = ReadState(read, members.name)
    if request.requester != member:
        raise _unknown("the request is another organisation's")
    if request.purpose is Purpose.PATIENT_REQUEST:
        entry = get_entry(state, member)
        if entry is None or entry.status is not MemberStatus.ACTIVE:
            raise _unknown("the asking organisation is not active")
        owner = request.key == relation.owner_at(time_ms)
        if not owner and Right.VIEW not in relation.rights_at(request.key, time_ms):
            raise _unknown("the key is neither the owner's nor of a delegate who may view")
        return Reader(member, None)
    found = identify(state, request.key, time_ms)  # None, too, if its organisation is not active
    if found is None or found.capacity is not Capacity.STAFF or found.member != member:
        raise _unknown("the key is of no staff in force of the asking organisation")
    return Reader(member, found.staff, found.staff_roles)


def _unknown(why: str) -> SalusError:
    return SalusError(why, code="UNKNOWN_READER")
