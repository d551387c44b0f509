"""Members: the organisations, their keys and roles, their staff; and a validator's rejoin.

Genesis founds the organisations; later ones are added, suspended and removed by the acts of
contracts/member_acts.py, with an epoch (rule S13). An organisation registers its own staff: a random handle, a key, roles of at most
eight words, and a commitment to the qualification — no name, ever (health.md §4.0).
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from contracts.context import Capacity, Context, Identity
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import Contract
from contracts.registry import Membership
from contracts.state import Read, ReadState, State
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.genesis import DisplayName, Genesis, Member, Role
from salus.keys import valid_public_key, verify
from salus.staff import StaffRole, possession
from salus.validators import MemberId, Validator, ValidatorSet

members = Contract(
    "members",
    version=1,
    doc="Organisations of the consortium, their keys and roles, and their staff.",
    refusals={
        "DUPLICATE_STAFF": "A staff member of this organisation has this handle.",
        "KEY_IN_USE": "The key belongs to somebody already; every key has one owner, for ever.",
        "BAD_KEY": "The 32 bytes are not a valid Ed25519 public key.",
        "NO_POSSESSION": "The key has not signed that it belongs to this organisation and handle.",
        "BAD_PERIOD": "The period ends before it begins.",
        "BAD_ROLES": "Staff roles are listed once each, in ascending order, at least one.",
        "BAD_OFFER": "Services, places and ways to reach it are listed once each, ascending.",
        "UNKNOWN_STAFF": "No staff member of this organisation has this handle.",
        "ALREADY_REVOKED": "The staff member was revoked before; fact `height`.",
        "REJOIN_TOO_SOON": "The validator rejoined too often of late; fact `height`: from then on.",
    },
)

STAFF_REGISTERED = members.event(
    "staff_registered",
    "An organisation registered a key of its staff.",
    org="the organisation",
    handle="the staff handle",
)
STAFF_REVOKED = members.event(
    "staff_revoked",
    "An organisation withdrew a staff key; it signs nothing more.",
    org="the organisation",
    handle="the staff handle",
)
REJOINED = members.event(
    "rejoined",
    "A validator that lost its vote journal asks for a new epoch, in which it votes again.",
    org="the validator's organisation",
)

# So many rejoins in a row wait for nothing but the epoch that each asked to end: a bad disk, a
# second try. After that the wait doubles, and `epoch_blocks_max` blocks without one forgive one:
# each is a step in the chain of validator sets that every proof carries.
REJOINS_FREE = 4

MEMBERS_PER_PAGE = 256  # of the index: 256 ids of 32 letters fit into half of a state value


class MemberStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"  # its keys open nothing, until it is reinstated
    REMOVED = "removed"  # for ever: nobody gets its id or its keys


class MemberEntry(Wire, frozen=True):
    """State under member/<id>: an organisation, its keys in force and how it stands."""

    id: MemberId
    name: DisplayName
    roles: tuple[Role, ...]
    validator: bool
    node_key: Bytes32
    operator_key: Bytes32
    box_key: Bytes32
    status: MemberStatus
    since_height: Uint  # of the status
    returns: bool  # suspended while it had a vote: it stands for one again when reinstated


class BoxEntry(Wire, frozen=True):
    """State under box/<X25519 key>: whose it is; for ever, as with signing keys."""

    member: MemberId


class KeyStanding(Wire, frozen=True):
    """State under key/<public key>: to whom a key belongs, or once belonged."""

    member: MemberId
    capacity: Capacity
    staff: Bytes32 | None


class StaffEntry(Wire, frozen=True):
    """State under staff/<org>/<handle>: another organisation cannot take a handle away."""

    org: MemberId
    key: Bytes32
    roles: tuple[StaffRole, ...]
    qualification: Bytes32
    from_ms: Uint
    until_ms: Uint
    revoked_height: Uint | None


class MemberPage(Wire, frozen=True):
    """State under index/<page>: member ids as they came, MEMBERS_PER_PAGE a page."""

    ids: tuple[MemberId, ...]


class RejoinEntry(Wire, frozen=True):
    """State under rejoin/<member>: when this validator last rejoined, and how often of late."""

    epoch: Uint
    height: Uint
    recent: Uint


# ── methods ──────────────────────────────────────────────────────────────────

StaffRoles = Annotated[tuple[StaffRole, ...], msgspec.Meta(min_length=1, max_length=8)]


class StaffRegisterArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation that employs")]
    handle: Annotated[Bytes32, public("random; names the person nowhere else")]
    key: Annotated[Bytes32, public("Ed25519 public key that the person signs with")]
    roles: Annotated[StaffRoles, public("what the person does there")]
    qualification: Annotated[Bytes32, committed("licence and qualification")]
    from_ms: Annotated[Uint, public("valid from this block time on, Unix milliseconds")]
    until_ms: Annotated[Uint, public("valid before this block time, Unix milliseconds")]
    possession: Annotated[Bytes64, public("by the key: that it belongs to organisation and handle")]


@members.method(senders=(Capacity.OPERATOR,))
def staff_register(ctx: Context, state: State, args: StaffRegisterArgs) -> list[Event]:
    """Register a key of the organisation's own staff."""
    if args.org != ctx.member:
        raise Refused(NOT_AUTHORISED)
    if list(args.roles) != sorted(set(args.roles)):
        raise Refused("BAD_ROLES")
    if args.until_ms <= args.from_ms:
        raise Refused("BAD_PERIOD")
    if not valid_public_key(args.key):
        raise Refused("BAD_KEY")
    if not verify(args.key, possession(ctx.chain_id, args.org, args.handle), args.possession):
        raise Refused("NO_POSSESSION")
    if state.get(StaffEntry, staff_place(args.org, args.handle)) is not None:
        raise Refused("DUPLICATE_STAFF")
    if state.get(KeyStanding, key_place(args.key)) is not None:
        raise Refused("KEY_IN_USE")
    entry = StaffEntry(
        args.org, args.key, args.roles, args.qualification, args.from_ms, args.until_ms, None
    )
    state.put(staff_place(args.org, args.handle), entry)
    state.put(key_place(args.key), KeyStanding(args.org, Capacity.STAFF, args.handle))
    return [STAFF_REGISTERED(org=args.org, handle=args.handle)]


class StaffRevokeArgs(Wire, frozen=True):
    handle: Annotated[Bytes32, public("of the staff member")]


@members.method(senders=(Capacity.OPERATOR,))
def staff_revoke(ctx: Context, state: State, args: StaffRevokeArgs) -> list[Event]:
    """Withdraw a staff key at once; what it signed before stays valid."""
    assert ctx.member is not None, "an operator's key has its organisation"
    key = staff_place(ctx.member, args.handle)
    entry = state.get(StaffEntry, key)
    if entry is None:
        raise Refused("UNKNOWN_STAFF")
    if entry.revoked_height is not None:
        raise Refused("ALREADY_REVOKED", height=entry.revoked_height)
    state.put(key, msgspec.structs.replace(entry, revoked_height=ctx.height))
    return [STAFF_REVOKED(org=entry.org, handle=args.handle)]


class RejoinArgs(Wire, frozen=True):
    """Nothing to say: who signs is who rejoins."""


@members.method(senders=(Capacity.NODE,))
def rejoin(ctx: Context, state: State, args: RejoinArgs) -> list[Event]:
    """A validator without its own intact journal asks for a new epoch (rule S4).

    At most once an epoch, for each one costs everybody an epoch change and every proof a step;
    who does it again and again waits twice as long each time.
    """
    if ctx.member is None or ctx.validators.index_of(ctx.sender) is None:
        raise Refused(NOT_AUTHORISED)
    key = _rejoin(ctx.member)
    last = state.get(RejoinEntry, key)
    recent = 0
    if last is not None:
        limits = ctx.parameters
        # The epoch that it asked to end is over by then, whoever else asked before (S13).
        wait = limits.watermark_window << min(max(last.recent - REJOINS_FREE, 0), 32)
        again = last.height + min(wait, limits.epoch_blocks_max) + 1
        if ctx.height < again:
            raise Refused("REJOIN_TOO_SOON", height=again)
        forgiven = (ctx.height - last.height) // limits.epoch_blocks_max
        recent = max(last.recent - forgiven, 0)
    state.put(key, RejoinEntry(ctx.epoch, ctx.height, recent + 1))
    ctx.request_epoch_end()
    return [REJOINED(org=ctx.member)]


# ── genesis, and what the node asks ──────────────────────────────────────────


@members.genesis
def found(genesis: Genesis, state: State) -> None:
    """The founding members and their keys."""
    for member in genesis.members:
        put_new(state, member, 0)
    ids = tuple(member.id for member in genesis.members)
    for page, start in enumerate(range(0, len(ids), MEMBERS_PER_PAGE)):
        state.put(page_key(page), MemberPage(ids[start : start + MEMBERS_PER_PAGE]))


def put_new(state: State, member: Member, height: int) -> None:
    """The entry of a new organisation and its three keys; the index is the caller's."""
    entry = MemberEntry(
        member.id,
        member.name,
        member.roles,
        member.validator,
        member.node_key,
        member.operator_key,
        member.box_key,
        MemberStatus.ACTIVE,
        height,
        False,
    )
    put_entry(state, entry)
    state.put(key_place(member.node_key), KeyStanding(member.id, Capacity.NODE, None))
    state.put(key_place(member.operator_key), KeyStanding(member.id, Capacity.OPERATOR, None))
    state.put(box_key(member.box_key), BoxEntry(member.id))


def put_entry(state: State, entry: MemberEntry) -> None:
    state.put(_member(entry.id), entry)


def get_entry(state: ReadState, member_id: str) -> MemberEntry | None:
    return state.known(MemberEntry, _member(member_id))


def identify(state: ReadState, sender: bytes, time_ms: int) -> Identity | None:
    """Whose key it is at this block time; None for strangers, replaced keys, revoked and expired
    staff, and everybody of an organisation that is suspended or removed."""
    standing = state.known(KeyStanding, key_place(sender))
    if standing is None:
        return None
    member = get_entry(state, standing.member)
    assert member is not None, "a key without its member"
    if member.status is not MemberStatus.ACTIVE:
        return None
    if standing.staff is None:
        if sender != in_force(member, standing.capacity):
            return None
        return Identity(standing.member, standing.capacity, member.roles)
    staff = state.known(StaffEntry, staff_place(standing.member, standing.staff))
    assert staff is not None, "a staff key without its entry"
    if staff.revoked_height is not None or not staff.from_ms <= time_ms < staff.until_ms:
        return None
    return Identity(standing.member, standing.capacity, member.roles, standing.staff, staff.roles)


def in_force(member: MemberEntry, capacity: Capacity) -> bytes:
    return member.node_key if capacity is Capacity.NODE else member.operator_key


def validator_set(state: ReadState, epoch: int) -> ValidatorSet:
    """The members with a vote, ascending by id."""
    chosen = [member for member in all_members(state) if member.validator]
    return ValidatorSet(epoch, tuple(Validator(m.id, m.node_key) for m in chosen))


MEMBERSHIP = Membership(members.name, identify, validator_set)


def owner_of(state: ReadState, public_key: bytes) -> tuple[str, Capacity] | None:
    """Whose signing key this is or ever was, and as what; for the node."""
    standing = state.get(KeyStanding, key_place(public_key))
    return None if standing is None else (standing.member, standing.capacity)


def rejoin_of(read: Read, member: str) -> RejoinEntry | None:
    """When this validator last asked to rejoin; for the node that asked."""
    return ReadState(read, members.name).get(RejoinEntry, _rejoin(member))


# ── views ─────────────────────────────────────────────────────────────────


@members.view
def organisation(state: ReadState, member: str) -> MemberEntry | None:
    """For other contracts: an organisation by id."""
    return get_entry(state, member)


@members.view
def key_taken(state: ReadState, public_key: bytes) -> bool:
    """For other contracts: does, or did, this key belong to anybody? Of either kind."""
    if state.get(KeyStanding, key_place(public_key)) is not None:
        return True
    return state.get(BoxEntry, box_key(public_key)) is not None


@members.view
def operator_of(state: ReadState, public_key: bytes) -> str | None:
    """For other contracts: the active organisation whose operator key in force this is."""
    found = identify(state, public_key, 0)
    return found.member if found and found.capacity is Capacity.OPERATOR else None


@members.view
def operator_ever(state: ReadState, public_key: bytes) -> str | None:
    """For other contracts: the organisation whose operator key this is, or was before another."""
    standing = state.get(KeyStanding, key_place(public_key))
    if standing is None or standing.capacity is not Capacity.OPERATOR:
        return None
    return standing.member


@members.view
def staff_of(state: ReadState, public_key: bytes) -> tuple[bytes, StaffEntry] | None:
    """For other contracts: the staff member whose key this is or was: handle and entry."""
    standing = state.get(KeyStanding, key_place(public_key))
    if standing is None or standing.staff is None:
        return None
    entry = state.get(StaffEntry, staff_place(standing.member, standing.staff))
    assert entry is not None, "a staff key without its entry"
    return standing.staff, entry


@members.view
def everybody(state: ReadState) -> list[MemberEntry]:
    """For other contracts: all organisations that ever were, ascending by id."""
    return all_members(state)


@members.view
def voters(state: ReadState, epoch: int) -> ValidatorSet:
    """For other contracts: who has a vote, as the state now says; not yet in force."""
    return validator_set(state, epoch)


@members.view
def others(state: ReadState, org: str) -> int:
    """For other contracts: how many active organisations there are beside this one."""
    return sum(one.status is MemberStatus.ACTIVE and one.id != org for one in all_members(state))


def all_members(state: ReadState) -> list[MemberEntry]:
    """Ascending by id, whatever order they came in."""
    found: list[MemberEntry] = []
    page = 0
    while (entry := state.get(MemberPage, page_key(page))) is not None:
        for member_id in entry.ids:
            member = get_entry(state, member_id)
            assert member is not None, "an id in the index without its member"
            found.append(member)
        page += 1
    return sorted(found, key=lambda member: member.id)


def _member(member_id: str) -> bytes:
    return b"member/" + member_id.encode("ascii")


def key_place(public_key: bytes) -> bytes:
    return b"key/" + public_key


def staff_place(org: str, handle: bytes) -> bytes:
    return b"staff/" + org.encode("ascii") + b"/" + handle


def _rejoin(member_id: str) -> bytes:
    return b"rejoin/" + member_id.encode("ascii")


def page_key(number: int) -> bytes:
    return b"index/" + number.to_bytes(4)


def box_key(public_key: bytes) -> bytes:
    return b"box/" + public_key
