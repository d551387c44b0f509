"""The mutable heart of one replica: everything the rules read and change, and nothing else.

The rule files (normal_case, checkpoint, view_change, status) are functions over this object;
`Replica` owns it and calls them. `out` collects the effects of the step that is under way.
"""

from consensus.config import ReplicaConfig
from consensus.effects import (
    Action,
    Effects,
    Evidence,
    Halt,
    Quarantine,
    Rejected,
    Send,
    Sending,
)
from consensus.log import Log, Slot
from consensus.messages import (
    Checkpoint,
    Message,
    NewView,
    SignedMessage,
    Status,
    ViewChange,
    content_digest,
    vote_type,
)
from consensus.proofs import Proofs
from consensus.signing import Voter
from consensus.votes import Ballot, FutureVotes
from salus.certificate import Certificate
from salus.vote import VoteType


class State:
    """All of a replica. Sizes: slots and checkpoints ≤ 2 windows, the rest ≤ one entry a member
    (future votes: `FutureVotes`). `invariants.check` holds it to this after every step."""

    def __init__(self, config: ReplicaConfig) -> None:
        self.config = config
        self.parameters = config.parameters
        self.validators = config.validators
        self.epoch, self.base, self.me = config.epoch, config.base, config.me
        self.n, self.quorum = config.validators.n, config.validators.quorum
        self.weak = config.validators.weak
        self.others = [index for index in range(self.n) if index != config.me]
        self.proofs = Proofs(config)
        self.voter = Voter(config)
        window = config.parameters.watermark_window
        self.log = Log(config.certified, config.certificate, window, config.epoch_end)
        self.out = Effects()

        # The view (S9, L18, L19). wish > view: I left `view` and ask for `wish`.
        self.view = 0
        self.wish = 0
        self._led = (0, config.validators.primary(0))  # `primary`, asked for in every step
        self.new_view: NewView | None = None  # the one that I installed; None in view 0
        self.view_changes: dict[int, ViewChange] = {}  # highest wish of each sender, mine too
        self.checked: dict[int, bool] = {}  # of those: passed rule S8, or failed it
        self.exposed_wish = [0] * self.n  # a double VIEW-CHANGE for it was reported
        self.new_view_tick = [-1] * self.n  # when its last NEW-VIEW was examined: one a tick
        self.false_views: list[int] = []  # whose NEW-VIEW was false, ascending: not read again
        self.reached = [0] * self.n  # highest view each member is known to be at or to wish
        self.views_moved = False  # something above changed in this step
        self.complaint: str | None = None  # why I leave the view at the end of this step
        self.future = FutureVotes(4 * window)

        # Certification (S12, L24).
        self.checkpoints: dict[int, Ballot[Checkpoint]] = {}  # by height above certified
        self.headers: dict[int, bytes] = {}  # my own, executed and not yet certified
        self.certificates: dict[int, Certificate] = {}  # complete, not yet on my disk
        self.proved = config.certified  # highest height that I saw a certificate of
        self.split_height = 0  # a height that cannot reach q equal headers any more (L24)

        # Proposing.
        self.building: tuple[int, bool] | None = None  # the open BuildProposal: sequence, fill

        # Time, in ticks.
        self.tick = 0
        self.pending = False  # the mempool holds work (L17)
        self.committed_in_view = True  # a restart does not know, and does not punish
        self.doublings = 0  # timeouts are shifted left by so much (L18)
        self.progress_left = config.progress_ticks
        self.view_change_left: int | None = None  # runs once q members are at my wish
        self.retry_left = 0
        self.quiet_retries = 0  # since my last STATUS
        self.retry_certified = config.certified  # certified height at the last retry: standstill?
        self.catch_up_certified = -1  # the same for catching up
        self.catch_up_left = 0
        self.wake: list[int] = []  # slots that a restart restored, to be looked at in step one

        # What others said, by member (L20). −1: nothing yet.
        self.claimed = [-1] * self.n  # certified height in the last signed STATUS
        self.answered = [-1] * self.n  # certified height in the last STATUS that I answered
        self.asked_tick = [-1] * self.n  # when it last asked: one answer a tick
        self.heard_tick = [-1] * self.n  # when a signature of it last verified
        self.strangers: dict[int, int] = {}  # ticks of answers to an old epoch, by its indexes
        self.newer_tick = -1  # when a STATUS of a newer epoch was last acted upon

        self.halted: Halt | None = None
        self.quarantined: Quarantine | None = None

    # -- questions ------------------------------------------------------------------------------

    @property
    def in_view_change(self) -> bool:
        return self.wish > self.view

    @property
    def primary(self) -> int:
        """Of the view I am in, or wish to be in."""
        if self._led[0] != self.wish:
            self._led = (self.wish, self.validators.primary(self.wish))
        return self._led[1]

    @property
    def leading(self) -> bool:
        """I am the primary, in my view, with a voice."""
        if self.wish != self.view:
            return False
        led = self._led  # as `primary`, without the call: asked in every step
        primary = led[1] if led[0] == self.wish else self.primary
        return primary == self.me and self.voter.active

    @property
    def finished(self) -> bool:
        """The epoch's last block is certified here: the next replica object takes over (S13)."""
        return 0 < self.log.epoch_end <= self.log.certified

    @property
    def below_floor(self) -> bool:
        """My journal may have forgotten what I prepared above my low watermark, or knows more than my
        window holds: I vouch for nothing, so I leave no view, until I have caught up (S12)."""
        return self.voter.withheld > 0 or self.voter.floor > self.log.low

    @property
    def quorum_view(self) -> int:
        """The highest view that q members are known to have reached (L18)."""
        return sorted(self.reached, reverse=True)[self.quorum - 1]

    @property
    def weak_view(self) -> int:
        """The highest view that f+1 members are known to have reached: one of them is honest."""
        return sorted(self.reached, reverse=True)[self.weak - 1]

    @property
    def weak_claim(self) -> int:
        """The highest certified height that f+1 members claim: one of them is honest (L20)."""
        return sorted(self.claimed, reverse=True)[self.weak - 1]

    # -- saying and doing -----------------------------------------------------------------------

    def send(self, message: Message, to: int | None = None) -> None:
        if to is not None or self.others:
            self.out.send.append(Send(message, to))

    def answer(self, sending: Sending) -> None:
        self.out.send.append(sending)

    def deliver(self, action: Action) -> None:
        self.out.deliver.append(action)

    def complain(self, reason: str) -> None:
        """Leave the view once this step is through; the first reason stands."""
        if self.complaint is None:
            self.complaint = reason

    def reject(self, reason: str) -> None:
        self.deliver(Rejected(reason))

    def has_halted(self) -> bool:
        """To be asked again after a call: of the attribute a type checker believes its last look."""
        return self.halted is not None

    def halt(self, reason: str, height: int) -> None:
        """Rules S6, S12, L24: going on is unsafe; nothing is signed from here on."""
        if self.halted is None:
            self.halted = Halt(reason, height)
            self.voter.active = False
            self.deliver(self.halted)

    def expose(self, first: SignedMessage, second: SignedMessage) -> None:
        """Rule L23: both signed messages, for everybody to see."""
        self.deliver(Evidence(second.sender, first, second))

    # -- trusting -------------------------------------------------------------------------------

    def verified(self, message: SignedMessage) -> bool:
        """The dear check, last of all (B25); a false signature is scored, never more."""
        if not self.proofs.signed(message):
            self.reject(f"{type(message).__name__}: the signature is not valid")
            return False
        self.heard_tick[message.sender] = self.tick
        return True

    def is_mine(self, message: SignedMessage) -> bool:
        """A message that names me as its sender comes back from a peer: never counted, but a
        valid vote that my journal does not know means a lost journal or a second me (S4)."""
        if message.sender != self.me:
            return False
        if isinstance(message, Status) or not self.voter.active:
            return True
        sequence, digest = _place(message)
        if message.view < self.view and not isinstance(message, Checkpoint):
            return True  # my journal keeps no account of views that are over
        kind = vote_type(message)
        if self.voter.denies(kind, message.view, sequence, digest) and self.verified(message):
            self.quarantine(f"{kind.name} of view {message.view}, sequence {sequence}")
        return True

    def check_own_signature(self, certificate: Certificate) -> None:
        """The same for a verified block certificate: did I sign this header? (S4)"""
        if self.me is None or not self.voter.active:
            return
        if all(signature.index != self.me for signature in certificate.signatures):
            return
        height = certificate.height
        if self.voter.denies(VoteType.CHECKPOINT, 0, height, certificate.header_hash):
            self.quarantine(f"CHECKPOINT of height {height}")

    def quarantine(self, what: str) -> None:
        if self.quarantined is None:
            self.quarantined = Quarantine(f"a peer shows a {what} of mine that my journal lacks")
            self.voter.active = False
            self.building = None
            self.deliver(self.quarantined)

    def learn_view(self, sender: int, view: int) -> None:
        """Rule L19: the highest wish of each member; one member's number moves nobody."""
        if view > self.reached[sender]:
            self.reached[sender] = view
            self.views_moved = True

    # -- progress -------------------------------------------------------------------------------

    def progressed(self) -> None:
        """A commit, or a certified block from elsewhere: the primary works (L17, L18)."""
        self.committed_in_view = True
        self.doublings = max(0, self.doublings - 1)
        self.progress_left = self.config.progress_ticks << self.doublings

    def slot_for_vote(self, sequence: int) -> Slot:
        assert self.log.votable(sequence)
        return self.log.slot(sequence)


def _place(message: SignedMessage) -> tuple[int, bytes]:
    """(sequence, digest) under which my journal would know this message."""
    if isinstance(message, (ViewChange, NewView, Status)):
        return 0, content_digest(message)
    return message.sequence, message.digest
