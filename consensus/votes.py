"""Counting votes: distinct senders only, and two different votes of one sender are evidence.

Law of the file: a `Ballot` holds votes of one (type, epoch, view, sequence), at most one per
member of the set; `count` never counts a member twice (rules S2, S5).
"""

from typing import Generic, TypeVar

from consensus.messages import Checkpoint, Commit, Prepare, PreparedCertificate, PrePrepare, Vote
from salus.certificate import Certificate, IndexedSignature

V = TypeVar("V", Prepare, Commit, Checkpoint)


class Ballot(Generic[V]):
    """The verified votes of one (type, epoch, view, sequence), by sender."""

    __slots__ = ("_counts", "exposed", "votes")

    def __init__(self) -> None:
        self.votes: dict[int, V] = {}
        self._counts: dict[bytes, int] = {}
        self.exposed: list[int] = []  # whose double vote has been reported: once is enough

    def has(self, vote: V) -> bool:
        """This sender's vote is here already, with this digest: a silent duplicate."""
        known = self.votes.get(vote.sender)
        return known is not None and known.digest == vote.digest

    def add(self, vote: V) -> V | None:
        """Count a verified vote; returns the sender's earlier, different vote if there is one.

        The first vote of a sender stays counted: which of two lies came first is nobody's proof.
        """
        known = self.votes.get(vote.sender)
        if known is not None:
            return known if known.digest != vote.digest else None
        self.votes[vote.sender] = vote
        self._counts[vote.digest] = self._counts.get(vote.digest, 0) + 1
        return None

    def count(self, digest: bytes) -> int:
        return self._counts.get(digest, 0)

    def digests(self) -> list[bytes]:
        """What was voted for, in byte order."""
        return sorted(self._counts)

    def senders(self, digest: bytes) -> list[int]:
        """Who voted for it, ascending."""
        return sorted(s for s, vote in self.votes.items() if vote.digest == digest)

    def signatures(self, digest: bytes, count: int) -> tuple[IndexedSignature, ...]:
        """`count` signatures for the digest, ascending by sender."""
        senders = self.senders(digest)[:count]
        assert len(senders) == count
        return tuple(IndexedSignature(s, self.votes[s].signature) for s in senders)


def prepared_certificate(
    pre_prepare: PrePrepare, prepares: Ballot[Prepare], quorum: int
) -> PreparedCertificate:
    """Rule S6: the PRE-PREPARE is the primary's prepare, q−1 others are needed beside it."""
    signatures = prepares.signatures(pre_prepare.digest, quorum - 1)
    return PreparedCertificate(pre_prepare, signatures)


def block_certificate(
    epoch: int, height: int, header_hash: bytes, checkpoints: Ballot[Checkpoint], quorum: int
) -> Certificate:
    """Rule S12: q CHECKPOINT signatures over one header."""
    return Certificate(epoch, height, header_hash, checkpoints.signatures(header_hash, quorum))


class FutureVotes:
    """Verified votes of views that I have not entered yet (rule B25).

    Without them every vote that overtakes its NEW-VIEW would be lost until somebody repeats it.
    Bounded per sender, so that a liar only fills his own share; the farthest future goes first.
    """

    __slots__ = ("_by_sender", "votes_max")

    def __init__(self, votes_max: int) -> None:
        self.votes_max = votes_max
        self._by_sender: dict[int, dict[tuple[int, int, str], Vote]] = {}

    def wants(self, vote: Vote) -> bool:
        """Cheap, before its signature is checked: it is new, and nearer than what is here."""
        kept = self._by_sender.get(vote.sender)
        if kept is None:
            return True
        key = _future_key(vote)
        return key not in kept and (len(kept) < self.votes_max or key < max(kept))

    def add(self, vote: Vote) -> None:
        kept = self._by_sender.setdefault(vote.sender, {})
        if len(kept) >= self.votes_max:
            del kept[max(kept)]
        kept[_future_key(vote)] = vote

    def take(self, view: int) -> list[Vote]:
        """The votes of `view`, in the order of sequence, phase, sender; older ones are dropped."""
        taken: list[tuple[int, int, int, Vote]] = []
        for sender in sorted(self._by_sender):
            kept = self._by_sender[sender]
            for key in sorted(kept):
                if key[0] > view:
                    break
                vote = kept.pop(key)
                if vote.view == view:
                    taken.append((vote.sequence, _PHASE[type(vote)], sender, vote))
        taken.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in taken]

    def sizes(self) -> list[int]:
        return [len(kept) for kept in self._by_sender.values()]


_PHASE: dict[type, int] = {PrePrepare: 1, Prepare: 2, Commit: 3}


def _future_key(vote: Vote) -> tuple[int, int, str]:
    return (vote.view, vote.sequence, type(vote).__name__)
