"""What can happen to a replica; each is one call of `Replica.step`.

Only the shell knows clocks, disks and bodies; what the core must know of them arrives here.
"""

from enum import Enum, auto

from msgspec import Struct

from consensus.messages import Message
from salus.certificate import Certificate


class Received(Struct, frozen=True):
    """A decoded message from a peer; nothing about it has been checked yet."""

    message: Message


class Tick(Struct, frozen=True):
    """`Parameters.tick_ms` milliseconds have passed."""


class ProposalBuilt(Struct, frozen=True):
    """Answer to `BuildProposal`: a body of mine for this sequence, checked by the same function
    as everybody's (rule S15). The shell holds the body under its digest."""

    view: int
    sequence: int
    digest: bytes


class Verdict(Enum):
    VALID = auto()
    INVALID = auto()  # by rule S15, or (first proposals) another proposer or origin view: a lie
    OFF_CLOCK = auto()  # valid, but |time − local| above the drift; first proposals only (L21)


class ProposalChecked(Struct, frozen=True):
    """Answer to `CheckProposal`."""

    view: int
    sequence: int
    digest: bytes
    verdict: Verdict


class BodyArrived(Struct, frozen=True):
    """The shell now holds the body with this digest (from a PRE-PREPARE frame or a BODY).

    For a PRE-PREPARE frame it follows the `Received` of the message."""

    sequence: int
    digest: bytes


class BodyDropped(Struct, frozen=True):
    """The shell holds this body no more: it made room for others (rule B25). Never one that the
    core wants or has persisted (`Replica.counts_on`)."""

    sequence: int
    digest: bytes


class Executed(Struct, frozen=True):
    """Answer to `Execute`: the header that the contracts gave, and where the epoch ends
    (0 while that is open, rule S13). For a height that a sync has passed meanwhile the answer
    may also stay out."""

    sequence: int
    header_hash: bytes
    epoch_end: int


class BlockWritten(Struct, frozen=True):
    """The certified block stands on disk in its one batch (rule S12: truncation)."""

    height: int


class CaughtUp(Struct, frozen=True):
    """The shell fetched, checked, executed and wrote certified blocks up to `height` (rules
    S14, L20); never past the epoch's end. Asked for or not; best once per block, so that the
    core sees each certificate that carries a signature of mine (rule S4)."""

    height: int
    certificate: Certificate
    epoch_end: int


class PendingWork(Struct, frozen=True):
    """Whether transactions wait in the mempool: the progress timer runs only then (L17)."""

    pending: bool


class Complain(Struct, frozen=True):
    """The mempool's fairness measure says that the primary censors or starves (rules L17, L22)."""


Event = (
    Received
    | Tick
    | ProposalBuilt
    | ProposalChecked
    | BodyArrived
    | BodyDropped
    | Executed
    | BlockWritten
    | CaughtUp
    | PendingWork
    | Complain
)
