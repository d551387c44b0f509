"""What governance may have done to the organisations: `members` stays the owner of every entry.

Law of the file: an act asserts what contracts/changes.py has checked, and decides nothing.
"""

import msgspec

from contracts.context import Capacity
from contracts.members import (
    MEMBERS_PER_PAGE,
    KeyStanding,
    MemberEntry,
    MemberPage,
    MemberStatus,
    get_entry,
    members,
    page_key,
    put_entry,
    put_new,
)
from contracts.state import State
from salus.genesis import Member

_BY_VOTE = ("governance",)


@members.act(callers=_BY_VOTE)
def add_member(state: State, member: Member, height: int) -> None:
    """A new organisation, without a vote, at the end of the index."""
    assert get_entry(state, member.id) is None
    assert not member.validator, "a learner first (S13)"
    put_new(state, member, height)
    page = 0
    while (entry := state.get(MemberPage, page_key(page))) is not None:
        if len(entry.ids) < MEMBERS_PER_PAGE:
            break
        page += 1
    ids = () if entry is None else entry.ids
    state.put(page_key(page), MemberPage((*ids, member.id)))


@members.act(callers=_BY_VOTE)
def give_vote(state: State, member: str) -> None:
    entry = _entry(state, member)
    assert entry.status is MemberStatus.ACTIVE
    assert not entry.validator
    put_entry(state, msgspec.structs.replace(entry, validator=True))


@members.act(callers=_BY_VOTE)
def take_vote(state: State, member: str) -> None:
    entry = _entry(state, member)
    assert entry.validator
    put_entry(state, msgspec.structs.replace(entry, validator=False))


@members.act(callers=_BY_VOTE)
def set_status(state: State, member: str, status: MemberStatus, height: int) -> None:
    """Whoever is not active has no vote either."""
    entry = _entry(state, member)
    assert entry.status is not MemberStatus.REMOVED, "for ever"
    put_entry(
        state,
        msgspec.structs.replace(
            entry,
            status=status,
            since_height=height,
            validator=entry.validator and status is MemberStatus.ACTIVE,
            returns=entry.validator and status is MemberStatus.SUSPENDED,
        ),
    )


@members.act(callers=_BY_VOTE)
def replace_key(state: State, member: str, capacity: Capacity, new_key: bytes) -> None:
    """The old key stays its owner's in the books, so that nobody else can ever get it."""
    entry = _entry(state, member)
    state.put(b"key/" + new_key, KeyStanding(member, capacity, None))
    match capacity:
        case Capacity.NODE:
            put_entry(state, msgspec.structs.replace(entry, node_key=new_key))
        case Capacity.OPERATOR:
            put_entry(state, msgspec.structs.replace(entry, operator_key=new_key))
        case Capacity.STAFF:
            raise ValueError("an organisation replaces its staff's keys itself")


def _entry(state: State, member: str) -> MemberEntry:
    entry = get_entry(state, member)
    assert entry is not None
    return entry
