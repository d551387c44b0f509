"""What can happen to a replica; each is one call of `Replica.step`.

Only the shell knows clocks, disks and bodies; what the core must know of them arrives here.
"""

from dataclasses import dataclass
from enum import Enum, auto

from consensus.messages import Message
from salus.certificate import Certificate


@dataclass(frozen=True, slots=True)
class Received:
    """A decoded message from a peer; nothing about it has been checked yet."""

    message: Message


@dataclass(frozen=True, slots=True)
class Tick:
    """`Parameters.tick_ms` milliseconds have passed."""


@dataclass(frozen=True, slots=True)
class ProposalBuilt:
    """Answer to `BuildProposal`: a body of mine for this sequence, checked by the same function
    as everybody's (rule S15). The shell holds the body under its digest."""

    view: int
    sequence: int
    digest: bytes


class Verdict(Enum):
    VALID = auto()
    INVALID = auto()  # by rule S15, or (first proposals) another proposer or origin view: a lie
    OFF_CLOCK = auto()  # valid, but |time − local| above the drift; first proposals only (L21)


@dataclass(frozen=True, slots=True)
class ProposalChecked:
    """Answer to `CheckProposal`."""

    view: int
    sequence: int
    digest: bytes
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class BodyArrived:
    """The shell now holds the body with this digest (from a PRE-PREPARE frame or a BODY).

    For a PRE-PREPARE frame it follows the `Received` of the message."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class BodyDropped:
    """The shell holds this body no more: it made room for others (rule B25). Never one that the
    core wants or has persisted (`Replica.counts_on`)."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """Answer to `Execute`: the header that the contracts gave, and where the epoch ends
    (0 while that is open, rule S13). For a height that a sync has passed meanwhile the answer
    may also stay out."""

    sequence: int
    header_hash: bytes
    epoch_end: int


@dataclass(frozen=True, slots=True)
class BlockWritten:
    """The certified block stands on disk in its one batch (rule S12: truncation)."""

    height: int


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The shell fetched, checked, executed and wrote certified blocks up to `height` (rules
    S14, L20); never past the epoch's end. Asked for or not; best once per block, so that the
    core sees each certificate that carries a signature of mine (rule S4)."""

    height: int
    certificate: Certificate
    epoch_end: int


@dataclass(frozen=True, slots=True)
class PendingWork:
    """Whether transactions wait in the mempool: the progress timer runs only then (L17)."""

    pending: bool


@dataclass(frozen=True, slots=True)
class Complain:
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
