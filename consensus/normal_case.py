"""The normal case: PRE-PREPARE, PREPARE, COMMIT, and execution in order (rules S3, S5, S6).

A slot moves on by `advance`: propose → hold the body → judge it → PREPARE → prepared → COMMIT →
committed. Whatever becomes known, in whatever order, the same function is asked what follows.
"""

from typing import TypeVar

from consensus.effects import BuildProposal, CheckProposal, Execute, PersistBody, SendBody
from consensus.events import BodyArrived, BodyDropped, ProposalBuilt, ProposalChecked, Verdict
from consensus.log import Slot
from consensus.messages import Commit, Fetch, Prepare, PrePrepare
from consensus.proofs import null_digest
from consensus.state import State
from consensus.votes import Ballot, prepared_certificate
from salus.codec import encode
from salus.vote import JOURNAL_PREPARED, JournalEntry, VoteType

V = TypeVar("V", Prepare, Commit)

# -- proposing ----------------------------------------------------------------------------------


def propose(s: State) -> None:
    """I lead: ask for the next body if there is room (rules S13, B28)."""
    if s.finished:
        return
    log = s.log
    sequence = max(log.proposed, log.settled) + 1
    if sequence > log.settled + s.parameters.in_flight_proposals_max or not log.votable(sequence):
        return
    # A first proposal of mine that a crash made me forget is not made twice (S4): the journal
    # knows its digest, and the slot was restored with it. Below its floor I propose nothing (S12).
    if sequence <= s.voter.silent_to:
        return
    fill = log.epoch_end > 0
    if s.building != (sequence, fill):
        s.building = (sequence, fill)
        s.deliver(BuildProposal(s.view, sequence, fill))


def on_proposal_built(s: State, event: ProposalBuilt) -> None:
    if not s.leading or event.view != s.view or s.building is None:
        return
    sequence, digest = event.sequence, event.digest
    if sequence != s.building[0] or not s.log.votable(sequence):
        return  # An answer to a question that I withdrew.
    s.building = None
    slot = s.log.slot(sequence)
    slot.hold(digest)
    if slot.pre_prepare is not None or not s.voter.free(
        VoteType.PRE_PREPARE, s.view, sequence, digest
    ):
        return
    message = s.voter.vote(PrePrepare, s.view, sequence, digest, s.out)
    s.send(message)  # With its body: it is the one to all.
    slot.valid = digest  # The shell checked its own proposal with the same function (S15).
    accept(s, message, first=True)


# -- PRE-PREPARE --------------------------------------------------------------------------------


def on_pre_prepare(s: State, message: PrePrepare) -> None:
    if not _in_time(s, message) or message.sender != s.validators.primary(message.view):
        return
    if not s.log.votable(message.sequence):
        return
    if message.view > s.view:
        _keep_for_later(s, message)
        return
    slot = s.log.slot(message.sequence)
    known = slot.pre_prepare
    if known is not None:
        if known.digest != message.digest and not slot.exposed and s.verified(message):
            slot.exposed = True
            s.expose(known, message)
            s.complain("the primary proposed two digests for one sequence")  # L23
        return
    if s.in_view_change or not s.verified(message):
        return
    if slot.committed not in (None, message.digest):
        # Not a contradiction of agreement: only a NEW-VIEW can prove one (S6). This is a liar.
        s.complain("the primary proposed anew what is committed")
        return
    if s.voter.signed(VoteType.PREPARE, s.view, message.sequence) not in (None, message.digest):
        # I prepared another digest of this very view, and a crash took the proof (S4, L23).
        s.complain("the primary proposed another digest before my restart")
        return
    accept(s, message, first=True)


def accept(s: State, message: PrePrepare, *, first: bool) -> None:
    """This view's proposal for the sequence, signed by its primary and not seen before."""
    slot = s.slot_for_vote(message.sequence)
    assert slot.pre_prepare is None
    assert message.view == s.view
    slot.pre_prepare, slot.first = message, first
    slot.fetches = 0
    s.log.proposed = max(s.log.proposed, message.sequence)
    if message.digest == null_digest(message.sequence):
        slot.hold(message.digest)
        # As a first proposal it has neither proposer nor origin view, so it is invalid (L21).
        slot.verdict = Verdict.INVALID if first else Verdict.VALID
    elif slot.valid == message.digest:
        slot.verdict = Verdict.VALID  # S15 judges bytes; it said so in an earlier view.
    advance(s, slot)


# -- bodies and verdicts ------------------------------------------------------------------------


def on_body_arrived(s: State, event: BodyArrived) -> None:
    if not s.log.near(event.sequence):
        return
    slot = s.log.slot(event.sequence)
    slot.hold(event.digest)
    if slot.sought == event.digest:
        slot.sought = None
        s.views_moved = True  # A NEW-VIEW of mine may have waited for it.
    advance(s, slot)


def on_body_dropped(s: State, event: BodyDropped) -> None:
    """Whoever re-proposes it makes me fetch it again."""
    slot = s.log.slots.get(event.sequence)
    if slot is None or event.digest not in slot.bodies:
        return
    slot.bodies.remove(event.digest)
    if slot.pre_prepare is not None and slot.pre_prepare.digest == event.digest:
        slot.checking = False  # There was nothing to judge: ask again when it is here.


def on_proposal_checked(s: State, event: ProposalChecked) -> None:
    slot = s.log.slots.get(event.sequence)
    if slot is None or slot.pre_prepare is None or slot.pre_prepare.digest != event.digest:
        return
    if event.view != s.view or not slot.checking:
        return
    slot.checking = False
    slot.verdict = event.verdict
    if event.verdict is not Verdict.INVALID:
        slot.valid = event.digest
    advance(s, slot)


def fetch_missing(s: State, slot: Slot) -> None:
    """Rule S3: whoever lacks a body asks for it before voting: first the primary, then in turn
    everybody else, since whoever voted for the digest holds its body."""
    if s.me is None or not s.others:
        return  # An observer has no number to be answered at; its shell fetches whole blocks.
    digest = slot.wanted
    assert digest is not None
    start = s.primary if slot.pre_prepare is not None else s.me + 1
    candidates = [index % s.n for index in range(start, start + s.n) if index % s.n != s.me]
    peer = candidates[slot.fetches % len(candidates)]
    slot.fetches += 1
    s.send(Fetch(s.epoch, slot.sequence, digest, s.me), peer)


def on_fetch(s: State, message: Fetch) -> None:
    """Served to whoever asks; the shell limits the rate and answers if it holds the body."""
    if message.epoch == s.epoch and message.sender < s.n and message.sender != s.me:
        s.answer(SendBody(message.sender, message.sequence, message.digest))


# -- PREPARE and COMMIT -------------------------------------------------------------------------


def on_prepare(s: State, message: Prepare) -> None:
    if not _in_time(s, message) or not s.log.votable(message.sequence):
        return
    if message.sender == s.validators.primary(message.view):
        return  # Its PRE-PREPARE is its prepare, once (S5).
    if message.view > s.view:
        _keep_for_later(s, message)
        return
    if s.in_view_change:
        return
    slot = s.log.slot(message.sequence)
    if slot.prepared_view == s.view:
        return  # Late: the certificate stands, a signature less to check.
    if _count(s, slot.prepares, message):
        advance(s, slot)


def on_commit(s: State, message: Commit) -> None:
    """COMMITs of my view and of older ones: q of any one view are a proof for ever (S6)."""
    if not s.log.provable(message.sequence):
        return
    if message.sender >= s.n or s.is_mine(message):
        return
    if message.view > s.view:
        _keep_for_later(s, message)
        return
    slot = s.log.slot(message.sequence)
    if slot.committed == message.digest:
        return  # Late: a signature less to check.
    ballot = slot.ballot(message, s.view)
    if ballot is not None and _count(s, ballot, message):
        check_committed(s, slot, message.view, message.digest)


def _in_time(s: State, message: PrePrepare | Prepare) -> bool:
    """Cheap checks of a vote of my view or a later one: a member, not me, not the past (B25)."""
    return message.view >= s.view and message.sender < s.n and not s.is_mine(message)


def _keep_for_later(s: State, message: PrePrepare | Prepare | Commit) -> None:
    """A vote of a view that I have not entered: its NEW-VIEW may be on the way."""
    if s.future.wants(message) and s.verified(message):
        s.future.add(message)
        s.learn_view(message.sender, message.view)


def _count(s: State, ballot: Ballot[V], message: V) -> bool:
    """Count a vote once its signature holds; a second, different one is evidence (S2, L23)."""
    if ballot.has(message) or message.sender in ballot.exposed:
        return False
    if not s.verified(message):
        return False
    earlier = ballot.add(message)
    if earlier is not None:
        ballot.exposed.append(message.sender)
        s.expose(earlier, message)
        return False
    return True


# -- what follows -------------------------------------------------------------------------------


def advance(s: State, slot: Slot) -> None:
    """Do for this slot whatever is now possible; called after everything that concerns it."""
    proposal = slot.pre_prepare
    if proposal is None or s.in_view_change or not s.log.votable(slot.sequence):
        return
    if slot.sequence <= s.voter.withheld:
        return  # Once I may vote on it, `resume` asks again (S12).
    if slot.verdict is None:
        _judge(s, slot, proposal)
        return
    if slot.verdict is Verdict.INVALID:
        s.complain("the primary proposed what rule S15 forbids")
        return
    if proposal.digest not in slot.bodies:
        return  # Judged in an earlier life; a tick fetches the body (S3).
    if slot.committed not in (None, proposal.digest):
        s.complain("the primary proposed to me what is committed otherwise by now")  # (S6)
        return
    if slot.verdict is Verdict.VALID and not slot.prepare_sent:
        _prepare(s, slot, proposal)
    if slot.prepared_view < s.view and slot.prepares.count(proposal.digest) >= s.quorum - 1:
        # OFF_CLOCK ends here too: q others found the time good enough, and only a PREPARE vouches
        # for the clock (L21).
        slot.prepared = prepared_certificate(proposal, slot.prepares, s.quorum)
    if slot.prepared_view == s.view:
        _commit(s, slot, proposal)


def _judge(s: State, slot: Slot, proposal: PrePrepare) -> None:
    if proposal.digest in slot.bodies and not slot.checking:
        slot.checking = True
        s.deliver(
            CheckProposal(
                s.view, slot.sequence, proposal.digest, s.validators.primary(s.view), slot.first
            )
        )


def _prepare(s: State, slot: Slot, proposal: PrePrepare) -> None:
    """My PREPARE; as the primary I have said it with the PRE-PREPARE (S5)."""
    slot.prepare_sent = True
    if s.me == proposal.sender:
        return
    if not s.voter.free(VoteType.PREPARE, s.view, slot.sequence, proposal.digest):
        return
    vote = s.voter.vote(Prepare, s.view, slot.sequence, proposal.digest, s.out)
    slot.prepares.add(vote)
    s.send(vote)


def _commit(s: State, slot: Slot, proposal: PrePrepare) -> None:
    """Rule S3: body, prepared certificate and COMMIT reach the disk in one step, then leave."""
    sequence, digest = slot.sequence, proposal.digest
    ballot = slot.commits.setdefault(s.view, Ballot())
    if s.me is None:
        return
    if s.me in ballot.votes:  # since before my restart; alone, it is a quorum
        check_committed(s, slot, s.view, digest)
        return
    if not s.voter.free(VoteType.COMMIT, s.view, sequence, digest):
        return
    assert slot.prepared is not None
    persist_body(s, slot, digest)
    if s.voter.signed(VoteType.COMMIT, s.view, sequence) is None:
        content = encode(slot.prepared)
        s.out.persist.append(
            JournalEntry(JOURNAL_PREPARED, s.epoch, s.view, sequence, digest, content)
        )
    vote = s.voter.vote(Commit, s.view, sequence, digest, s.out)
    ballot.add(vote)
    s.send(vote)
    check_committed(s, slot, s.view, digest)


def persist_body(s: State, slot: Slot, digest: bytes) -> None:
    """Once, under sequence and digest."""
    if digest not in slot.persisted:
        slot.persisted.append(digest)
        s.out.persist.append(PersistBody(slot.sequence, digest))


def check_committed(s: State, slot: Slot, view: int, digest: bytes) -> None:
    """Rule S6: q COMMITs of one view."""
    if slot.commits[view].count(digest) < s.quorum or slot.committed == digest:
        return
    if slot.committed is not None:
        s.halt(f"two digests committed: views {slot.committed_view} and {view}", slot.sequence)
        return
    slot.committed, slot.committed_view = digest, view
    slot.fetches = 0
    if s.log.advance():
        s.progressed()


def execute(s: State) -> None:
    """Rule S6: strictly in order; rule B28: so far ahead of the certified height at most."""
    log = s.log
    while log.executing < min(log.committed, log.certified + s.parameters.execute_ahead_max):
        slot = log.slots[log.executing + 1]
        digest = slot.committed
        assert digest is not None
        if digest not in slot.bodies:
            if digest != null_digest(slot.sequence):
                return  # A tick fetches it; whoever committed it holds it.
            slot.hold(digest)
        persist_body(s, slot, digest)
        log.executing += 1
        s.deliver(Execute(slot.sequence, digest))
