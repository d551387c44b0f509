"""What is known of each sequence between the watermarks, and how far each stage has come.

    certified ≤ executed ≤ executing ≤ committed ≤ settled     (contiguous from below)
    certified ≤ low ≤ settled;  votes are cast in (low, low + L]     (rules S10, S12)

`certified` means: the block stands on disk with its certificate. `low` is above it only while
I fetch what a NEW-VIEW proved to be certified elsewhere; then slots are kept in two windows, above
`certified` (to go on executing) and above `low` (to vote), and `settled` counts from the upper.
"""

from dataclasses import dataclass, field

from consensus.events import Verdict
from consensus.messages import Commit, Prepare, PreparedCertificate, PrePrepare
from consensus.votes import Ballot
from salus.certificate import Certificate

# Different bodies a slot remembers as held. An honest view has one; equivocating primaries of
# several views can bring more. Forgetting one costs a FETCH.
BODIES_PER_SLOT_MAX = 4

# Views besides mine in which one sender's COMMITs for one sequence are kept: a commit proof of an
# old view may arrive late (rule L20), an honest member rarely commits in more than two views.
OLD_COMMITS_PER_SENDER_MAX = 4
OLD_COMMIT_VIEWS_MAX = 8  # views of which a slot takes its ballots along into a new view


@dataclass(slots=True)
class Slot:
    """One sequence number. The fields of the view are reset when a view is entered."""

    sequence: int
    # Of the current view:
    pre_prepare: PrePrepare | None = None
    first: bool = False  # not fixed by this view's NEW-VIEW: the clock is checked (L21)
    checking: bool = False  # a CheckProposal of this view is out
    verdict: Verdict | None = None  # of pre_prepare.digest
    prepares: Ballot[Prepare] = field(default_factory=Ballot)
    prepare_sent: bool = False
    exposed: bool = False  # two PRE-PREPAREs of this view have been reported
    # Of all views:
    commits: dict[int, Ballot[Commit]] = field(default_factory=dict)  # by view
    prepared: PreparedCertificate | None = None  # that of the highest view (S7)
    bodies: list[bytes] = field(default_factory=list)  # digests that the shell holds
    persisted: list[bytes] = field(default_factory=list)  # digests whose body is synced (S3)
    valid: bytes | None = None  # digest that passed rule S15; holds in every view
    committed: bytes | None = None
    committed_view: int = 0
    sought: bytes | None = None  # body that a NEW-VIEW of mine would need (S3)
    fetches: int = 0  # how often the missing body was asked for: rotates the peer

    def enter_view(self) -> None:
        self.pre_prepare, self.verdict, self.sought = None, None, None
        self.first = self.checking = self.prepare_sent = self.exposed = False
        self.prepares = Ballot()
        self.forget_commits()

    def forget_commits(self) -> None:
        """Every view that passes leaves a ballot behind (B25). The proof of what is committed is
        enough; before that the newest views: an older one can still be proved again by voting."""
        kept = [self.committed_view] if self.committed is not None else sorted(self.commits)
        for view in [v for v in self.commits if v not in kept[-OLD_COMMIT_VIEWS_MAX:]]:
            del self.commits[view]

    @property
    def prepared_view(self) -> int:
        """The view of the prepared certificate, −1 without one."""
        return -1 if self.prepared is None else self.prepared.pre_prepare.view

    @property
    def wanted(self) -> bytes | None:
        """The digest whose body this slot needs next: what is committed, else what is proposed."""
        if self.committed is not None:
            return self.committed
        if self.sought is not None:
            return self.sought
        return None if self.pre_prepare is None else self.pre_prepare.digest

    def hold(self, digest: bytes) -> None:
        """The shell holds this body; the oldest that nothing points to makes room."""
        if digest in self.bodies:
            return
        if len(self.bodies) >= BODIES_PER_SLOT_MAX:
            spare = [d for d in self.bodies if d != self.wanted and d not in self.persisted]
            self.bodies.remove((spare or [d for d in self.bodies if d != self.wanted])[0])
        self.bodies.append(digest)

    def ballot(self, commit: Commit, view: int) -> Ballot[Commit] | None:
        """Where to count a COMMIT; None when its sender has used up its old views (B25)."""
        ballot = self.commits.get(commit.view)
        if commit.view != view and (ballot is None or commit.sender not in ballot.votes):
            old = [v for v, b in self.commits.items() if v != view and commit.sender in b.votes]
            if len(old) >= OLD_COMMITS_PER_SENDER_MAX:
                return None
        if ballot is None:
            ballot = self.commits[commit.view] = Ballot()
        return ballot


class Log:
    """The slots and the heights. Every height only grows."""

    __slots__ = (
        "certificate",
        "certified",
        "committed",
        "epoch_end",
        "executed",
        "executing",
        "low",
        "low_certificate",
        "proposed",
        "settled",
        "slots",
        "window",
        "writing",
    )

    def __init__(
        self, certified: int, certificate: Certificate | None, window: int, epoch_end: int
    ) -> None:
        self.certified = self.low = certified
        self.certificate = self.low_certificate = certificate
        self.writing = self.executed = self.executing = self.committed = certified
        self.settled = certified  # agreement up to here is done, by my commits or by proof
        self.proposed = certified  # highest sequence with a PRE-PREPARE in this view
        self.window = window
        self.epoch_end = epoch_end
        self.slots: dict[int, Slot] = {}

    @property
    def high(self) -> int:
        return self.low + self.window

    def votable(self, sequence: int) -> bool:
        """Within the watermarks, and within the epoch as far as its end is known (S13)."""
        return self.low < sequence <= self.low + self.window and not (0 < self.epoch_end < sequence)

    def near(self, sequence: int) -> bool:
        """In one of the two windows: only there anything is kept (B25)."""
        return (
            self.certified < sequence <= self.certified + self.window
            or self.low < sequence <= self.low + self.window
        )

    def provable(self, sequence: int) -> bool:
        """Where COMMITs are still of use: also below an adopted watermark, until the block is
        certified here (L20)."""
        return self.near(sequence) and not 0 < self.epoch_end < sequence

    def slot(self, sequence: int) -> Slot:
        slot = self.slots.get(sequence)
        if slot is None:
            slot = self.slots[sequence] = Slot(sequence)
        return slot

    def adopt(self, low: int, certificate: Certificate | None) -> None:
        """Rule S10: the low watermark of a NEW-VIEW, also where I executed less.

        What falls between the windows comes as certified blocks; `committed` falls back with it.
        """
        if low <= self.low:
            return
        self.low, self.low_certificate = low, certificate
        for sequence in [q for q in self.slots if not self.near(q)]:
            del self.slots[sequence]
        if low > self.certified + self.window:
            self.committed = min(self.committed, self.certified + self.window)
        self.advance()

    def certify(self, height: int, certificate: Certificate) -> None:
        """The block stands on disk: everything at or below is settled (S12)."""
        assert height > self.certified
        for sequence in range(self.certified + 1, height + 1):
            self.slots.pop(sequence, None)
        self.certified, self.certificate = height, certificate
        self.writing = max(self.writing, height)
        self.executed = max(self.executed, height)
        self.executing = max(self.executing, height)
        self.committed = max(self.committed, height)
        self.adopt(height, certificate)
        self.advance()

    def advance(self) -> bool:
        """Move over what is contiguous; True if agreement came further by it."""
        while self._committed(self.committed + 1):
            self.committed += 1
        before = self.settled
        self.settled = max(before, self.low, self.committed)
        while self._committed(self.settled + 1):
            self.settled += 1
        return self.settled > before

    def _committed(self, sequence: int) -> bool:
        slot = self.slots.get(sequence)
        return slot is not None and slot.committed is not None
