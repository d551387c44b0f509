"""What the journal remembers in memory: which votes bind this validator, what a restart needs.

A vote is named by (kind, epoch, view, sequence) and bound to one digest for ever (rule S4).
Forgetting is by the floor alone: what lies at or below it may be forgotten because nothing
there is ever voted on again (rule S12).
"""

from collections.abc import Iterable

import msgspec

from salus.hashing import ZERO_HASH
from salus.vote import JOURNAL_FLOOR, JOURNAL_NEW_VIEW, JOURNAL_PREPARED, JournalEntry, VoteType
from storage.errors import BelowFloor, DoubleSign

# STATUS binds its sender to nothing and has no place in the journal (salus/vote.py).
VOTES = frozenset(VoteType) - {VoteType.STATUS}
KINDS = VOTES | {JOURNAL_PREPARED, JOURNAL_FLOOR, JOURNAL_NEW_VIEW}

# These carry sequence 0 and live until their epoch is over.
_OF_A_VIEW = frozenset({VoteType.VIEW_CHANGE, VoteType.NEW_VIEW, JOURNAL_NEW_VIEW})

Floor = tuple[int, int]  # epoch, height
_Name = tuple[int, int, int, int]  # kind, epoch, view, sequence
_Place = tuple[int, int, int]  # kind, epoch, sequence: all views of it


class VoteMemory:
    def __init__(self) -> None:
        self.floor: Floor = (0, 0)
        self._digests: dict[_Name, bytes] = {}  # of votes
        self._entries: dict[_Name, JournalEntry] = {}  # what a restart is given, oldest first
        # Those whose payload a later view spends, by kind, epoch, sequence: a COMMIT must not walk
        # over everything above the floor.
        self._spendable: dict[_Place, list[_Name]] = {}

    def entries(self) -> tuple[JournalEntry, ...]:
        """The floor, then what still lives. Of the VIEW-CHANGEs, NEW-VIEWs and prepared
        certificates only the one of the highest view has its payload: older ones are spent."""
        return (floor_entry(self.floor), *self._entries.values())

    def news(self, entries: Iterable[JournalEntry]) -> list[JournalEntry]:
        """Those of `entries` that have to be written.

        Raises `DoubleSign` or `BelowFloor` if any must not be signed; nothing is changed here.
        """
        floor = self.floor
        staged: dict[_Name, bytes] = {}
        news = []
        for entry in entries:
            assert entry.kind in KINDS, f"kind {entry.kind} has no place in the journal"
            if entry.kind == JOURNAL_FLOOR:
                if (entry.epoch, entry.sequence) > floor:
                    floor = entry.epoch, entry.sequence
                    news.append(entry)
                continue
            if at_or_below(entry, floor):
                if entry.kind in VOTES:
                    raise BelowFloor(f"{_words(entry)} lies at or below the floor {floor}")
                continue
            if entry.kind in VOTES:
                name = _name(entry)
                known = staged.get(name) or self._digests.get(name)
                if known is not None:
                    if known != entry.digest:
                        raise DoubleSign(f"{_words(entry)} was signed before for another digest")
                    continue
                staged[name] = entry.digest
            news.append(entry)
        return news

    def apply(self, entry: JournalEntry) -> None:
        """Remember an entry that is on disk."""
        if entry.kind == JOURNAL_FLOOR:
            self.raise_floor((entry.epoch, entry.sequence))
            return
        if at_or_below(entry, self.floor):
            return
        if entry.kind in VOTES:
            self._digests[_name(entry)] = entry.digest
        if entry.payload and (entry.kind in _OF_A_VIEW or entry.kind == JOURNAL_PREPARED):
            self._spend_older(entry)
        self._entries[_name(entry)] = entry

    def raise_floor(self, floor: Floor) -> None:
        """Forget what lies at or below; a lower floor than the present one changes nothing."""
        if floor <= self.floor:
            return
        self.floor = floor
        for name, entry in list(self._entries.items()):
            if at_or_below(entry, floor):
                del self._entries[name]
                self._digests.pop(name, None)
                self._spendable.pop(_place(entry), None)

    def _spend_older(self, entry: JournalEntry) -> None:
        """Bounds memory while views change without progress: the votes of older views still
        bind, by their digest; their payload serves nobody."""
        name = _name(entry)
        kept = [name]
        for older in self._spendable.get(_place(entry), ()):
            old = self._entries[older]
            if old.view >= entry.view:
                if older != name:
                    kept.append(older)
            elif old.kind in VOTES:
                self._entries[older] = msgspec.structs.replace(old, payload=b"")
            else:
                del self._entries[older]
        self._spendable[_place(entry)] = kept


def at_or_below(entry: JournalEntry, floor: Floor) -> bool:
    epoch, height = floor
    if entry.epoch != epoch or entry.kind in _OF_A_VIEW:
        return entry.epoch < epoch
    return entry.sequence <= height


def floor_entry(floor: Floor) -> JournalEntry:
    return JournalEntry(JOURNAL_FLOOR, floor[0], 0, floor[1], ZERO_HASH)


def _name(entry: JournalEntry) -> _Name:
    return entry.kind, entry.epoch, entry.view, entry.sequence


def _place(entry: JournalEntry) -> _Place:
    return entry.kind, entry.epoch, entry.sequence


def _words(entry: JournalEntry) -> str:
    kind = VoteType(entry.kind).name
    return f"epoch {entry.epoch} view {entry.view} sequence {entry.sequence} {kind}"
