"""May this validator vote? (rule S4: not without its own, intact, unique vote journal)

The journal is born with the keys: whoever makes new keys leaves a birth mark, and the first start
turns the mark into a journal. A start that finds neither the journal it used last nor a mark is a
node that lost its memory: it signs nothing, follows the others, and asks by `members.rejoin` for
a new epoch, in which its old votes are void (docs/decisions/0002).
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from node.logs import log_event
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.keys import PUBLIC_KEY_BYTES
from salus.vote import JOURNAL_FLOOR, JournalEntry
from storage.disk import Disk, RealDisk
from storage.errors import JournalLost, StoreUnavailable
from storage.journal import JournalIdentity, VoteJournal, set_aside
from storage.segment import SEGMENT_SUFFIX
from storage.state import StateStore

log = logging.getLogger("salus.standing")

BIRTH_MARK = "journal.birth"
NEXT_BIRTH_MARK = "journal.next.birth"  # of a node key that waits to take the other's place
META_STANDING = "standing"  # a `Standing`; or a node key alone, with which nothing here may vote


class Standing(Wire, frozen=True):
    """In the state store, apart from the journal: which journal may vote, from which epoch on."""

    journal: JournalIdentity
    first_epoch: Uint
    node_key: Bytes32


def mark_birth(data: Path, name: str = BIRTH_MARK) -> None:
    """Whoever has just *made* the node's key calls this; never for imported or restored keys."""
    data.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(data / name, flags, 0o600), "w") as mark:
        mark.write(_place(data / name, RealDisk()))
        mark.flush()
        os.fsync(mark.fileno())
    RealDisk().sync_directory(str(data))


def pass_birth_on(data: Path) -> None:
    """The key that waited takes its place: its mark is the mark now, and still the same file.
    Called again it does nothing."""
    if (data / NEXT_BIRTH_MARK).exists():
        (data / NEXT_BIRTH_MARK).rename(data / BIRTH_MARK)
        RealDisk().sync_directory(str(data))


def is_born(data: Path, disk: Disk | None = None) -> bool:
    """Is the mark the very file that was made? One out of a backup is no leave to vote: the node
    may have voted since the backup was made. Where the file system keeps no birth times, the inode
    alone has to tell, and it may be given again: the way back after a loss has no `data/` in it
    (docs/operating.md)."""
    mark, disk = data / BIRTH_MARK, disk or RealDisk()
    written = disk.read(str(mark))
    return written is not None and written.strip() == _place(mark, disk).encode()


def _place(mark: Path, disk: Disk) -> str:
    """As `stat -c "%d %i %.6W"` prints it."""
    device, inode, born = disk.identity(str(mark))
    return f"{device} {inode} {born // 1_000_000}.{born % 1_000_000:06}"


def _is_lost(stored: bytes) -> bool:
    """A key alone; or nothing, as it was written before the key was noted."""
    return len(stored) in (0, PUBLIC_KEY_BYTES)


class Voter:
    """The vote journal of this node, or its absence, and from which epoch on it may vote."""

    def __init__(
        self,
        data: Path,
        state: StateStore,
        genesis_hash: bytes,
        node_key: bytes,
        disk: Disk | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Raises `JournalDamaged` or `StoreUnavailable`: then the node must not start."""
        self.disk, self.random = disk or RealDisk(), random
        self.directory = data / "journal"
        self.data, self.state = data, state
        self.genesis_hash, self.node_key = genesis_hash, node_key
        self.first_epoch = 0
        self.journal: VoteJournal | None = None
        self.lost = False  # by `lose`, and not begun anew since
        self._void_before = 0  # votes of epochs below were dropped before they left
        stored = state.meta(META_STANDING)
        if stored and self._replaced(stored):
            # Votes of the old key are void for whoever knows the new one: nothing to remember.
            set_aside(str(self.directory), disk=self.disk)
            self._be_born()
        elif stored and not _is_lost(stored):
            self._open(decode(stored, Standing))
        elif stored is None and is_born(data, self.disk):
            self._be_born()
        else:
            self.lost = stored is not None
            log_event(log, logging.ERROR, "journal_lost", reason=self._why())
        if stored is not None or self.journal is not None:
            self._wipe_mark()  # It has served, or has no business here.

    def may_vote(self, epoch: int) -> bool:
        return self.journal is not None and epoch >= self.first_epoch

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """In the journal's thread. Whoever may not vote has no votes to write, but a floor may have
        waited while the journal was lost."""
        journal = self.journal
        try:
            if journal is not None:
                journal.append(entries)
                return
        except StoreUnavailable:
            if not self.lost:
                raise
        assert all(
            entry.kind == JOURNAL_FLOOR or entry.epoch < self._void_before for entry in entries
        ), "a voter has a journal"

    def rejoined(self, epoch: int, base: int) -> None:
        """`members.rejoin` has ended the epoch before: a new journal votes from this one on."""
        assert self.journal is None
        aside = set_aside(str(self.directory), disk=self.disk)
        if aside:
            log_event(log, logging.INFO, "journal_set_aside", segments=aside)
        self._create(first_epoch=epoch, floor=(epoch, base))

    def lose(self, *, void_before: int = 0) -> None:
        """Somebody else has signed, or may sign, in my name: a peer has shown a vote of mine that
        the journal lacks, or a copy of my key has rejoined. `void_before`: votes of earlier epochs
        that wait for the disk leave no more."""
        if self.journal is not None:
            self._void_before = void_before
            journal, self.journal, self.lost = self.journal, None, True
            journal.close()
            # A block that is being written vouches for the journal once more: so it must go.
            set_aside(str(self.directory), disk=self.disk)
            self.state.put_meta(META_STANDING, self.node_key)

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    def vouch(self) -> dict[str, bytes]:
        """For the state store, with each block: so many records this journal has at least."""
        if self.journal is not None:
            return {META_STANDING: self._standing(self.journal)}
        return {META_STANDING: self.node_key} if self.lost else {}

    def _replaced(self, stored: bytes) -> bool:
        """Has a vote given the node another key, one that was made here and never signed?"""
        key = stored if _is_lost(stored) else decode(stored, Standing).node_key
        return key != self.node_key and is_born(self.data, self.disk)

    def _be_born(self) -> None:
        """The mark becomes a journal; a crash may have come between this and the word for it."""
        try:
            self.journal = VoteJournal.open(
                str(self.directory), self.genesis_hash, expected=None, disk=self.disk
            )
        except JournalLost as lost:
            names = self.disk.names(str(self.directory))
            if any(name.endswith(SEGMENT_SUFFIX) for name in names):
                log_event(log, logging.ERROR, "journal_lost", reason=lost.message)
            else:
                self._create(first_epoch=0, floor=(0, 0))
        else:
            self.state.put_meta(META_STANDING, self._standing(self.journal))

    def _wipe_mark(self) -> None:
        mark = str(self.data / BIRTH_MARK)
        if self.disk.exists(mark):
            self.disk.remove(mark)
            self.disk.sync_directory(str(self.data))

    def _open(self, standing: Standing) -> None:
        try:
            if standing.node_key != self.node_key:
                raise JournalLost("the journal is of another node key")
            self.journal = VoteJournal.open(
                str(self.directory),
                self.genesis_hash,
                expected=standing.journal,
                disk=self.disk,
            )
            self.first_epoch = standing.first_epoch
        except JournalLost as lost:
            log_event(log, logging.ERROR, "journal_lost", reason=lost.message)

    def _create(self, *, first_epoch: int, floor: tuple[int, int]) -> None:
        self.journal = VoteJournal.create(
            str(self.directory),
            self.genesis_hash,
            instance=self.random(16),
            floor=floor,
            disk=self.disk,
        )
        self.first_epoch, self.lost = first_epoch, False
        self.state.put_meta(META_STANDING, self._standing(self.journal))

    def _standing(self, journal: VoteJournal) -> bytes:
        return encode(Standing(journal.identity(), self.first_epoch, self.node_key))

    def _why(self) -> str:
        if self.lost:
            return "others have shown that somebody else signed with this key"
        if self.disk.exists(str(self.data / BIRTH_MARK)):
            return "the birth mark was copied or restored: it is not where it was made"
        return "no journal is known of here"
