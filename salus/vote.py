"""What a consensus signature covers, and what a validator must remember of its own votes.

◆ Rule 1: a signature covers chain id, genesis hash, protocol version, epoch, message type,
view, sequence and digest — so a vote of one place, time or kind is never one of another.
"""

from enum import IntEnum

from salus.codec import Bytes32, Uint, Wire, encode
from salus.hashing import domain

PROTOCOL_VERSION = 1  # Do not change: a new protocol gets a new number and an activation height.


class VoteType(IntEnum):
    """Message types that carry a signature. The numbers are on the wire: do not change.

    STATUS is signed but is no vote: two of them may differ at one (epoch, view, height), so it
    stands outside the journal, the evidence and the deduplication of votes.
    """

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    CHECKPOINT = 4
    VIEW_CHANGE = 5
    NEW_VIEW = 6
    STATUS = 7


class VoteDomain:
    """The chain that a vote belongs to; makes the bytes that are signed."""

    __slots__ = ("_prefix", "chain_id", "genesis_hash")

    def __init__(self, chain_id: str, genesis_hash: bytes) -> None:
        self.chain_id, self.genesis_hash = chain_id, genesis_hash
        self._prefix = domain("vote") + encode((chain_id, genesis_hash, PROTOCOL_VERSION))

    def payload(self, kind: VoteType, epoch: int, view: int, sequence: int, digest: bytes) -> bytes:
        """The bytes under the signature; `digest` is 32 bytes (for a CHECKPOINT the header hash)."""
        return self._prefix + encode((epoch, int(kind), view, sequence, digest))


class JournalEntry(Wire, frozen=True):
    """One line of the vote journal: written and synced before the vote leaves (rule 3).

    `kind` is a `VoteType`, or one of the JOURNAL_* numbers below; `payload` is empty for plain
    votes and otherwise the canonical bytes of the thing that a restart needs again.
    """

    kind: Uint
    epoch: Uint
    view: Uint
    sequence: Uint
    digest: Bytes32
    payload: bytes = b""


JOURNAL_PREPARED = 16  # payload: consensus PreparedCertificate
# (epoch, sequence): nothing at or below is ever voted on again (rule 12). It ends PRE-PREPARE,
# PREPARE, COMMIT, CHECKPOINT and JOURNAL_PREPARED at or below it; VIEW-CHANGE, NEW-VIEW and
# JOURNAL_NEW_VIEW carry sequence 0 and live until their epoch is over.
JOURNAL_FLOOR = 17
JOURNAL_NEW_VIEW = 18  # payload: the NEW-VIEW that this replica installed
