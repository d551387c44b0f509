"""What the shell must do after a step, in this order: persist → send → deliver (rule S3).

The shell syncs `persist` before it sends, and sends before it delivers; it releases the effects
of successive steps first in, first out, while the core steps on.
"""

from msgspec import Struct

from consensus.messages import Message, SignedMessage
from salus.certificate import Certificate
from salus.vote import JournalEntry


class PersistBody(Struct, frozen=True):
    """Sync the body with this digest to the block store, before the entries of the same step.

    The shell holds it: it said so (`BodyArrived`, `ProposalBuilt`), or it is the body of
    Null(sequence), which everybody can make (rule S11).
    """

    sequence: int
    digest: bytes


class Send(Struct, frozen=True):
    """To one validator by index, or to all others (`to` is None). A PRE-PREPARE of mine that is
    sent to all travels with its body."""

    message: Message
    to: int | None = None


class SendBody(Struct, frozen=True):
    """Answer a FETCH, if the shell holds the body."""

    to: int
    sequence: int
    digest: bytes


class SendBlocks(Struct, frozen=True):
    """The peer is behind: offer it certified blocks above `above` (rule L20).

    `to` is an index in the set of `epoch`: mine, or an older one whose boundary certificate the
    peer still lacks (rule S13).
    """

    to: int
    above: int
    epoch: int


class BuildProposal(Struct, frozen=True):
    """I am the primary and may propose this sequence; answer when there is something to propose,
    at once when `fill` (an epoch must end, rule S13). One is open at a time: a newer one
    replaces it, and `ViewEntered` or `ViewLeft` closes it."""

    view: int
    sequence: int
    fill: bool


class CheckProposal(Struct, frozen=True):
    """Judge the body: rule S15 always; the clock, proposer and origin view only if `first`."""

    view: int
    sequence: int
    digest: bytes
    proposer: int
    first: bool


class Execute(Struct, frozen=True):
    """Committed: run it on top of the previous sequence and answer `Executed`."""

    sequence: int
    digest: bytes


class WriteBlock(Struct, frozen=True):
    """Certified: write the one batch and answer `BlockWritten` (rule S12)."""

    height: int
    certificate: Certificate


class CatchUp(Struct, frozen=True):
    """Certified blocks up to about this height should be had: fetch and check them (S14).

    The height may be hearsay (a STATUS); only the certificates that come with the blocks decide.
    """

    height: int


class ViewEntered(Struct, frozen=True):
    """For status and metrics; also tells the shell to drop its open `BuildProposal`."""

    view: int
    primary: int


class ViewLeft(Struct, frozen=True):
    """I asked for view `wish`: nothing of mine is proposed until a view is entered."""

    wish: int
    reason: str


class Rejected(Struct, frozen=True):
    """The message of this step is a lie or garbage (signature, form): score the connection that
    brought it, whoever it names as its sender (rule B25)."""

    reason: str


class Evidence(Struct, frozen=True):
    """Two signed messages that contradict each other (rule L23): gossip, record, alarm.

    A NEW-VIEW that contradicts its own VIEW-CHANGEs (rule S9) stands in both places.
    """

    culprit: int
    first: SignedMessage
    second: SignedMessage | None


class Quarantine(Struct, frozen=True):
    """Somebody shows a vote of mine that my journal lacks (rule S4): sign nothing more."""

    reason: str


class Halt(Struct, frozen=True):
    """I diverged, or a contradiction makes going on unsafe (S6, L24): stop signing, keep data."""

    reason: str
    height: int


Persist = PersistBody | JournalEntry
Action = (
    BuildProposal
    | CheckProposal
    | Execute
    | WriteBlock
    | CatchUp
    | ViewEntered
    | ViewLeft
    | Rejected
    | Evidence
    | Quarantine
    | Halt
)
Sending = Send | SendBody | SendBlocks


class Effects(Struct):
    persist: list[Persist] = []
    send: list[Sending] = []
    deliver: list[Action] = []
