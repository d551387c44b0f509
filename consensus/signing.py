"""My own signatures: journalled before they leave, never two that contradict (rules S3, S4).

Law of the file: `sign` is the only way a vote of mine comes into being; it records the vote for
the journal in the same step, and asserts that nothing else was ever signed in its place.
"""

from typing import TypeVar

import msgspec

from consensus.config import ReplicaConfig
from consensus.effects import Effects
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    content_digest,
    payload,
    vote_type,
)
from salus.codec import encode
from salus.vote import JOURNAL_NEW_VIEW, JournalEntry, VoteType

V = TypeVar("V", PrePrepare, Prepare, Commit, Checkpoint)
C = TypeVar("C", ViewChange, NewView)

Key = tuple[int, int]  # (vote type, view) within one sequence


class Voter:
    """Signs, and remembers what was signed above the floor."""

    __slots__ = ("_by_sequence", "_config", "_me", "active", "floor", "silent_to", "withheld")

    def __init__(self, config: ReplicaConfig) -> None:
        self._config = config
        self._me = -1 if config.me is None else config.me
        # An observer and a quarantined validator sign nothing at all (S4).
        self.active = config.voting and config.me is not None and config.signer is not None
        self.floor = config.certified  # nothing at or below is voted on again (S12)
        # Nor, for now, at or below this: of what I signed there my window holds only a part (S12).
        self.withheld = 0
        self.silent_to = self.floor  # the higher of both: nothing there is signed, nor said again
        self._by_sequence: dict[int, dict[Key, bytes]] = {}

    # -- what was signed ------------------------------------------------------------------------

    def recall(self, entry: JournalEntry) -> None:
        """A vote of an earlier life, from the journal."""
        self._by_sequence.setdefault(entry.sequence, {})[entry.kind, entry.view] = entry.digest

    def signed(self, kind: VoteType, view: int, sequence: int) -> bytes | None:
        votes = self._by_sequence.get(sequence)
        return None if votes is None else votes.get((kind, view))

    def signed_sequences(self) -> list[int]:
        """Sequences above the floor with a vote of mine (0 stands for the view changes)."""
        return sorted(self._by_sequence)

    def signed_at(self, sequence: int) -> list[tuple[int, int, bytes]]:
        """(vote type, view, digest) of my votes at a sequence, in order."""
        votes = self._by_sequence.get(sequence, {})
        return [(kind, view, digest) for (kind, view), digest in sorted(votes.items())]

    def free(self, kind: VoteType, view: int, sequence: int, digest: bytes) -> bool:
        """May I sign this? Not when inactive, below the floor, or against an earlier vote (S4)."""
        if not self.active or 0 < sequence <= self.silent_to:
            return False
        earlier = self.signed(kind, view, sequence)
        return earlier is None or earlier == digest

    def denies(self, kind: VoteType, view: int, sequence: int, digest: bytes) -> bool:
        """A valid signature of mine over this is *not* what my journal knows (S4).

        Only above the floor, where the journal knows everything."""
        if sequence != 0 and sequence <= self.floor:
            return False
        return self.signed(kind, view, sequence) != digest

    def forget(self, height: int) -> None:
        """Raise the floor: votes at or below are void, the block is certified (S12)."""
        for sequence in range(self.floor + 1, height + 1):
            self._by_sequence.pop(sequence, None)
        self.floor = max(self.floor, height)
        self.silent_to = max(self.floor, self.withheld)

    def withhold(self, sequence: int) -> None:
        """Sign nothing at or below for now; 0: the floor alone counts again."""
        self.withheld = sequence
        self.silent_to = max(self.floor, sequence)

    def forget_views(self, view: int) -> None:
        """Votes of views below are never asked for again: my view never runs backwards. But those that
        no slot holds yet are asked for once more (S12)."""
        if self.withheld:
            return
        for sequence, votes in list(self._by_sequence.items()):
            kept = {
                key: digest
                for key, digest in votes.items()
                if key[1] >= view or key[0] == VoteType.CHECKPOINT
            }
            if kept:
                self._by_sequence[sequence] = kept
            else:
                del self._by_sequence[sequence]

    # -- signing --------------------------------------------------------------------------------

    def vote(self, kind: type[V], view: int, sequence: int, digest: bytes, out: Effects) -> V:
        """A plain vote; journalled in this step unless an earlier life did it."""
        unsigned = kind(self._config.epoch, view, sequence, digest, self._me, NO_SIGNATURE)
        vote_kind = vote_type(unsigned)
        self._journal(vote_kind, view, sequence, digest, b"", out)
        return msgspec.structs.replace(unsigned, signature=self._sign(unsigned))

    def view_message(self, unsigned: C, out: Effects) -> C:
        """A VIEW-CHANGE or NEW-VIEW, journalled whole: a restart sends the same one again."""
        digest = content_digest(unsigned)
        message = msgspec.structs.replace(unsigned, signature=self._sign(unsigned))
        kind = vote_type(unsigned)
        if kind is VoteType.NEW_VIEW:
            # First in the step: what a torn write leaves of it must not be a NEW-VIEW vote or a
            # PRE-PREPARE whose content is lost.
            out.persist.append(new_view_entry(message))  # type: ignore[arg-type]
            self._journal(kind, message.view, 0, digest, b"", out)
        else:
            self._journal(kind, message.view, 0, digest, encode(message), out)
        return message

    def chosen(self, view: int, sequence: int, digest: bytes) -> PrePrepare:
        """A PRE-PREPARE that a NEW-VIEW of mine carries; `journal_chosen` follows (S9)."""
        earlier = self.signed(VoteType.PRE_PREPARE, view, sequence)
        assert earlier is None or earlier == digest, "never two different votes (S4)"
        unsigned = PrePrepare(self._config.epoch, view, sequence, digest, self._me, NO_SIGNATURE)
        return msgspec.structs.replace(unsigned, signature=self._sign(unsigned))

    def journal_chosen(self, pre_prepares: tuple[PrePrepare, ...], out: Effects) -> None:
        """After the NEW-VIEW that holds them. Those at or below the floor are bound by its digest
        alone: the choice may reach below what I certified since my VIEW-CHANGE."""
        for vote in pre_prepares:
            if vote.sequence > self.floor:
                kind, view = VoteType.PRE_PREPARE, vote.view
                self._journal(kind, view, vote.sequence, vote.digest, b"", out)

    def status(self, unsigned: Status) -> Status:
        """STATUS binds nobody: no journal. Unsigned, it is a mere request (S4, L20)."""
        if not self.active:
            return unsigned
        return msgspec.structs.replace(unsigned, signature=self._sign(unsigned))

    def _sign(self, unsigned: PrePrepare | Prepare | Commit | Checkpoint | C | Status) -> bytes:
        assert self.active
        assert self._config.signer is not None
        return self._config.signer.sign(payload(self._config.vote_domain, unsigned))

    def _journal(
        self, kind: VoteType, view: int, sequence: int, digest: bytes, content: bytes, out: Effects
    ) -> None:
        assert self.free(kind, view, sequence, digest), "never two different votes (S4)"
        if self.signed(kind, view, sequence) == digest:
            return
        self._by_sequence.setdefault(sequence, {})[kind, view] = digest
        out.persist.append(
            JournalEntry(int(kind), self._config.epoch, view, sequence, digest, content)
        )


def new_view_entry(message: NewView) -> JournalEntry:
    """A NEW-VIEW that I install: my view survives a restart and never runs backwards."""
    return JournalEntry(
        JOURNAL_NEW_VIEW, message.epoch, message.view, 0, content_digest(message), encode(message)
    )
