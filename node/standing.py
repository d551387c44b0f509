"""May this validator vote? (rule S4: not without its own, intact, unique vote journal)

The journal is born with the keys: whoever makes new keys leaves a birth mark, and the first start
turns the mark into a journal. A start that finds neither the journal it used last nor a mark is a
node that lost its memory: it signs nothing, follows the others, and asks by `members.rejoin` for
a new epoch, in which its old votes are void (docs/decisions/0002).
"""

import logging
import os
from pathlib import Path

from node.logs import log_event
from salus.codec import Bytes32, Uint, Wire, decode, encode
from storage.disk import RealDisk
from storage.errors import JournalLost
from storage.journal import JournalIdentity, VoteJournal, set_aside
from storage.state import StateStore

log = logging.getLogger("salus.standing")

BIRTH_MARK = "journal.birth"
META_STANDING = "standing"


class Standing(Wire, frozen=True):
    """In the state store, apart from the journal: which journal may vote, from which epoch on."""

    journal: JournalIdentity
    first_epoch: Uint
    node_key: Bytes32


def mark_birth(data: Path) -> None:
    """Whoever has just *made* the node's key calls this; never for imported or restored keys."""
    data.mkdir(parents=True, exist_ok=True)
    mark = data / BIRTH_MARK
    mark.touch(mode=0o600, exist_ok=False)
    RealDisk().sync_directory(str(data))


class Voter:
    """The vote journal of this node, or its absence, and from which epoch on it may vote."""

    def __init__(self, data: Path, state: StateStore, genesis_hash: bytes, node_key: bytes) -> None:
        """Raises `JournalDamaged` or `StoreUnavailable`: then the node must not start."""
        self.directory = data / "journal"
        self.data, self.state = data, state
        self.genesis_hash, self.node_key = genesis_hash, node_key
        self.first_epoch = 0
        self.journal: VoteJournal | None = None
        stored = state.meta(META_STANDING)
        if stored:
            self._open(decode(stored, Standing))
        elif (data / BIRTH_MARK).exists() and not self.directory.exists():
            self._create(first_epoch=0, floor=(0, 0))
            (data / BIRTH_MARK).unlink()
            RealDisk().sync_directory(str(data))
        else:
            log_event(log, logging.ERROR, "journal_lost", reason="no journal is known of here")

    def may_vote(self, epoch: int) -> bool:
        return self.journal is not None and epoch >= self.first_epoch

    def rejoined(self, epoch: int, base: int) -> None:
        """`members.rejoin` has ended the epoch before: a new journal votes from this one on."""
        assert self.journal is None
        if self.directory.exists():
            log_event(
                log, logging.INFO, "journal_set_aside", segments=set_aside(str(self.directory))
            )
        self._create(first_epoch=epoch, floor=(epoch, base))

    def lose(self) -> None:
        """A peer has shown a vote of mine that the journal lacks: it is not the newest one."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None
            self.state.put_meta(META_STANDING, b"")

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    def vouch(self) -> dict[str, bytes]:
        """For the state store, with each block: so many records this journal has at least."""
        return {} if self.journal is None else {META_STANDING: self._standing(self.journal)}

    def _open(self, standing: Standing) -> None:
        try:
            if standing.node_key != self.node_key:
                raise JournalLost("the journal is of another node key")
            self.journal = VoteJournal.open(
                str(self.directory), self.genesis_hash, expected=standing.journal
            )
            self.first_epoch = standing.first_epoch
        except JournalLost as lost:
            log_event(log, logging.ERROR, "journal_lost", reason=lost.message)

    def _create(self, *, first_epoch: int, floor: tuple[int, int]) -> None:
        self.journal = VoteJournal.create(
            str(self.directory), self.genesis_hash, instance=os.urandom(16), floor=floor
        )
        self.first_epoch = first_epoch
        self.state.put_meta(META_STANDING, self._standing(self.journal))

    def _standing(self, journal: VoteJournal) -> bytes:
        return encode(Standing(journal.identity(), self.first_epoch, self.node_key))
