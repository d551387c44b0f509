"""Who is a member, by which key and name: as the certified state of the epoch says (rule S13).

Read anew when an epoch begins and never in between, so that all parts of the node go by the same
members. Law of the file: genesis is not asked; whoever joined or left since would be forgotten.
"""

from collections.abc import Iterable
from enum import StrEnum

from contracts.context import Capacity
from contracts.members import (
    MemberEntry,
    MemberStatus,
    all_members,
    get_entry,
    members,
    owner_of,
)
from contracts.state import Read, ReadState


class Belonging(StrEnum):
    """How a node key stands."""

    MEMBER = "member"
    SUSPENDED = "suspended"  # it follows and reads; its transactions are refused
    UNKNOWN = "unknown"  # nobody's: not yet a member's
    REPLACED = "replaced"  # its organisation has another one by now
    REMOVED = "removed"


class Roster:
    """The members of the epoch at work."""

    def __init__(self, read: Read, pinned: Iterable[bytes] = ()) -> None:
        """`read`: of the certified state, without salts; `pinned`: keys that this node's own
        configuration names."""
        self._state, self._pinned = ReadState(read, members.name), frozenset(pinned)
        self._by_id: dict[str, MemberEntry] = {}
        self._by_key: dict[bytes, str] = {}
        self.refresh()

    def pin(self, node_keys: Iterable[bytes]) -> None:
        """The configuration names these as well."""
        self._pinned |= frozenset(node_keys)

    def refresh(self) -> bool:
        """Read the members again; True if anything about them is new."""
        found = {m.id: m for m in all_members(self._state) if m.status is not MemberStatus.REMOVED}
        changed = found != self._by_id
        self._by_id = found
        self._by_key = {member.node_key: member.id for member in found.values()}
        return changed

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all members that are connected, ascending; a suspended one stays so."""
        return tuple(self._by_id)

    def is_member(self, member: str) -> bool:
        return member in self._by_id

    def name(self, member: str) -> str:
        """For people. Who was removed is called by its id."""
        entry = self._by_id.get(member)
        return member if entry is None else entry.name

    def member(self, node_key: bytes) -> str | None:
        """Whose node key in force this is."""
        return self._by_key.get(node_key)

    def organisation(self, node_key: bytes) -> str | None:
        """Whose node key it is or ever was."""
        owner = owner_of(self._state, node_key)
        return owner[0] if owner is not None and owner[1] is Capacity.NODE else None

    def node_key(self, member: str) -> bytes | None:
        entry = self._by_id.get(member)
        return None if entry is None else entry.node_key

    def current_key(self, node_key: bytes) -> bytes:
        """What has come in this key's place: configured addresses outlive the keys in them."""
        organisation = self.organisation(node_key)
        current = None if organisation is None else self.node_key(organisation)
        return node_key if current is None else current

    def peer(self, node_key: bytes) -> str | None:
        """Under which name a connection of this key is led; None: it gets none.

        A key of the configuration that the state has never heard of has a name of its own. It may
        be of a member that this node, new or long away, has yet to read of: such a peer can bring
        certified blocks, which prove themselves, and gets nothing (node/inlet.py)."""
        member = self._by_key.get(node_key)
        if member is not None:
            return member
        if node_key in self._pinned and self.organisation(node_key) is None:
            return f"peer-{node_key.hex()[:12]}"
        return None

    def belonging(self, node_key: bytes) -> Belonging:
        organisation = self.organisation(node_key)
        if organisation is None:
            return Belonging.UNKNOWN
        entry = get_entry(self._state, organisation)
        assert entry is not None, "a key without its member"
        if entry.status is MemberStatus.REMOVED:
            return Belonging.REMOVED
        if entry.node_key != node_key:
            return Belonging.REPLACED
        suspended = entry.status is MemberStatus.SUSPENDED
        return Belonging.SUSPENDED if suspended else Belonging.MEMBER
