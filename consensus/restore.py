"""From the journal back to where I stood: the same view, the same wish, the same votes (S3, S4).

Votes are not stored with their signatures: Ed25519 is deterministic, so signing the journalled
digest again gives the vote that left before the crash. What others said is gone; my first STATUS
draws it again (L20).
"""

from consensus import checkpoint, normal_case
from consensus.effects import Effects
from consensus.events import Verdict
from consensus.messages import (
    Commit,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    decode_message,
)
from consensus.proofs import choose, null_digest
from consensus.state import State
from consensus.votes import Ballot
from salus.codec import decode
from salus.vote import (
    JOURNAL_FLOOR,
    JOURNAL_NEW_VIEW,
    JOURNAL_PREPARED,
    JournalEntry,
    VoteType,
)

VOTE_KINDS = tuple(int(kind) for kind in VoteType)


def restore(s: State) -> None:
    """Entries of other epochs are void (S13); the floor is the higher of journal and disk (S12)."""
    entries = _entries(s)
    if any(e.kind == JOURNAL_FLOOR and e.epoch > s.epoch for e in s.config.journal):
        # The state store fell back behind the end of this epoch, and the journal has forgotten what I
        # said in it. It takes no vote of it any more, and knows of none: so I only look on (S4, S12).
        s.voter.active = False
    for entry in entries:
        if entry.kind == JOURNAL_FLOOR:
            s.voter.floor = max(s.voter.floor, entry.sequence)
    for entry in entries:
        if entry.kind in VOTE_KINDS and (entry.sequence == 0 or entry.sequence > s.voter.floor):
            s.voter.recall(entry)
    _restore_view(s, entries)
    # Above my window only if the state store was replaced by one older than the journal: what I prepared
    # there a VIEW-CHANGE of mine could not tell, so I say nothing until my window reaches it (S7, S12).
    highest = max((entry.sequence for entry in entries), default=0)
    s.voter.withhold(highest if highest > s.log.high else 0)
    _restore_prepared(s, entries)
    if s.voter.active and not s.in_view_change:
        _restore_fixed(s)
    _restore_votes(s)


def resume(s: State) -> None:
    """What I lacked has come as certified blocks, and my window reaches all that my journal knows: from
    here on I stand where a restart would put me, and have heard more (S12)."""
    s.voter.withhold(0)
    _restore_prepared(s, _entries(s))
    _restore_votes(s)
    for _, slot in sorted(s.log.slots.items()):
        for view, ballot in sorted(slot.commits.items()):
            if s.me in ballot.votes:  # With those of others it may be a quorum (S6).
                normal_case.check_committed(s, slot, view, ballot.votes[s.me].digest)
    for height in sorted(s.headers):
        checkpoint.say_header(s, height)
    s.views_moved = True


def _entries(s: State) -> list[JournalEntry]:
    return [entry for entry in s.config.journal if entry.epoch == s.epoch]


def _restore_view(s: State, entries: list[JournalEntry]) -> None:
    """The highest NEW-VIEW that I installed, the highest VIEW-CHANGE that I sent."""
    installed = _highest(entries, JOURNAL_NEW_VIEW)
    if installed is not None:
        message = decode_message(installed.payload)
        assert isinstance(message, NewView)
        s.new_view = message
        s.view = s.wish = message.view
        choice = choose(message.view_changes, s.base)
        s.log.adopt(choice.low, choice.certificate)  # S10
        if choice.certificate is not None:
            s.proved = max(s.proved, choice.low)
        for view_change in message.view_changes:
            s.reached[view_change.sender] = message.view
        s.reached[message.sender] = message.view
        if message.sender == s.me:
            # What a torn write kept of the step may be the content without its votes.
            s.voter.recall(
                JournalEntry(VoteType.NEW_VIEW, s.epoch, message.view, 0, installed.digest)
            )
            for vote in message.pre_prepares:
                if vote.sequence > s.voter.floor:
                    s.voter.recall(
                        JournalEntry(
                            VoteType.PRE_PREPARE, s.epoch, vote.view, vote.sequence, vote.digest
                        )
                    )
    asked = _highest(entries, VoteType.VIEW_CHANGE)
    if asked is not None and asked.view > s.view and s.me is not None:
        wish = decode_message(asked.payload)
        assert isinstance(wish, ViewChange)
        s.wish = wish.view
        s.view_changes[s.me], s.checked[s.me] = wish, True
        s.views_moved = True
    if s.me is not None:
        s.reached[s.me] = s.wish


def _restore_prepared(s: State, entries: list[JournalEntry]) -> None:
    """Their bodies were synced in the same step, before the entry (S3)."""
    for entry in entries:
        if entry.kind != JOURNAL_PREPARED or not s.log.near(entry.sequence):
            continue
        slot = s.log.slot(entry.sequence)
        slot.hold(entry.digest)
        if entry.digest not in slot.persisted:
            slot.persisted.append(entry.digest)
        if entry.view > slot.prepared_view:
            slot.prepared = decode(entry.payload, PreparedCertificate)
            slot.valid = entry.digest  # I judged it before I let it be prepared.


def _restore_votes(s: State) -> None:
    if s.voter.active and not s.voter.withheld:
        _restore_commits(s)
        if not s.in_view_change:
            _restore_prepares(s)
    s.voter.forget_views(s.view)
    s.wake = sorted(s.log.slots)


def _restore_commits(s: State) -> None:
    """Of all views: they may still complete a proof of a commit (S6)."""
    for sequence in s.voter.signed_sequences():
        if not s.log.near(sequence):
            continue
        for kind, view, digest in s.voter.signed_at(sequence):
            if kind == VoteType.COMMIT:
                vote = s.voter.vote(Commit, view, sequence, digest, _nothing_new())
                slot = s.log.slot(sequence)
                slot.commits.setdefault(view, Ballot()).add(vote)
                # Its body was synced before it, though the journal may have dropped the prepared
                # certificate for one of a later view (S3).
                slot.hold(digest)
                if digest not in slot.persisted:
                    slot.persisted.append(digest)
        if sequence in s.log.slots:
            s.log.slots[sequence].forget_commits()


def _restore_fixed(s: State) -> None:
    """What the NEW-VIEW of the view that I am in proposes: also to whoever may not vote for it yet."""
    fixed = () if s.new_view is None else s.new_view.pre_prepares
    for proposal in fixed:
        if s.log.votable(proposal.sequence):
            _propose_again(s, proposal, first=False)


def _restore_prepares(s: State) -> None:
    """My proposals and my PREPAREs of the view that I am in."""
    for sequence in s.voter.signed_sequences():
        if sequence == 0 or not s.log.votable(sequence):
            continue
        digest = s.voter.signed(VoteType.PRE_PREPARE, s.view, sequence)
        slot = s.log.slot(sequence)
        if digest is not None and slot.pre_prepare is None:
            vote = s.voter.vote(PrePrepare, s.view, sequence, digest, _nothing_new())
            slot.valid = digest
            _propose_again(s, vote, first=True)
        digest = s.voter.signed(VoteType.PREPARE, s.view, sequence)
        if digest is not None:
            slot.prepares.add(s.voter.vote(Prepare, s.view, sequence, digest, _nothing_new()))
            slot.prepare_sent = True
    for sequence in sorted(s.log.slots):
        slot = s.log.slots[sequence]
        if slot.prepared is None or slot.prepared_view != s.view or not s.log.votable(sequence):
            continue
        heard, mine = slot.pre_prepare, slot.prepared.pre_prepare
        if heard is not None and heard.digest != mine.digest:
            # Heard in my silence. A certificate binds without a PREPARE of mine: off the clock there is
            # none (L21).
            s.expose(heard, mine)
            s.complain("the primary proposed another digest before my restart")
            slot.pre_prepare, slot.verdict, slot.checking, slot.exposed = None, None, False, True
        if slot.pre_prepare is None:
            _propose_again(s, mine, first=True)


def _propose_again(s: State, proposal: PrePrepare, *, first: bool) -> None:
    slot = s.log.slot(proposal.sequence)
    slot.pre_prepare, slot.first = proposal, first
    s.log.proposed = max(s.log.proposed, proposal.sequence)
    if not first and proposal.digest == null_digest(proposal.sequence):
        slot.hold(proposal.digest)
        slot.verdict = Verdict.VALID
    elif slot.valid == proposal.digest:
        slot.verdict = Verdict.VALID


def _highest(entries: list[JournalEntry], kind: int) -> JournalEntry | None:
    found = [entry for entry in entries if entry.kind == kind]
    return max(found, key=lambda entry: entry.view, default=None)


def _nothing_new() -> Effects:
    """Signing again what the journal holds persists nothing: its effects stay empty."""
    return Effects()
