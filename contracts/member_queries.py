"""What can be asked of the members: organisations, their staff, whose a key is."""

from enum import StrEnum

from contracts.context import Capacity
from contracts.members import (
    KeyStanding,
    MemberEntry,
    MemberStatus,
    StaffEntry,
    all_members,
    get_entry,
    in_force,
    key_place,
    members,
    staff_place,
)
from contracts.state import ReadState
from salus.codec import Bytes32, Uint, Wire
from salus.validators import MemberId


class NoArgs(Wire, frozen=True):
    """No arguments."""


class MemberList(Wire, frozen=True):
    members: tuple[MemberEntry, ...]


@members.query
def list_members(state: ReadState, args: NoArgs) -> MemberList:
    """All organisations that ever were, ascending by id."""
    return MemberList(tuple(all_members(state)))


class MemberArgs(Wire, frozen=True):
    id: MemberId


@members.query
def member(state: ReadState, args: MemberArgs) -> MemberEntry | None:
    """An organisation by id."""
    return get_entry(state, args.id)


class StaffArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@members.query
def staff(state: ReadState, args: StaffArgs) -> StaffEntry | None:
    """A staff member by organisation and handle."""
    return state.get(StaffEntry, staff_place(args.org, args.handle))


class KeyArgs(Wire, frozen=True):
    public_key: Bytes32


class KeyStatus(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"  # or replaced, or of an organisation that was removed
    SUSPENDED = "suspended"  # its organisation is


class KeyAnswer(Wire, frozen=True):
    member: MemberId
    capacity: Capacity
    staff: Bytes32 | None
    status: KeyStatus
    from_ms: Uint | None  # of staff: the period of validity
    until_ms: Uint | None


@members.query
def key(state: ReadState, args: KeyArgs) -> KeyAnswer | None:
    """To whom a public key belongs or belonged, and whether it still opens anything."""
    standing = state.get(KeyStanding, key_place(args.public_key))
    if standing is None:
        return None
    owner = get_entry(state, standing.member)
    assert owner is not None, "a key without its member"
    entry = None
    if standing.staff is not None:
        entry = state.get(StaffEntry, staff_place(standing.member, standing.staff))
        revoked = entry is not None and entry.revoked_height is not None
    else:
        revoked = args.public_key != in_force(owner, standing.capacity)
    if revoked or owner.status is MemberStatus.REMOVED:
        status = KeyStatus.REVOKED
    elif owner.status is MemberStatus.SUSPENDED:
        status = KeyStatus.SUSPENDED
    else:
        status = KeyStatus.ACTIVE
    return KeyAnswer(
        standing.member,
        standing.capacity,
        standing.staff,
        status,
        entry.from_ms if entry else None,
        entry.until_ms if entry else None,
    )
