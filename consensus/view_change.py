"""Changing the primary: complaints, the view synchroniser, VIEW-CHANGE, NEW-VIEW (S7–S11, L17–L19).

A replica that sent a VIEW-CHANGE for a view takes no part in lower ones any more: it has said
what it had prepared, and a later vote would belie it.
"""

from consensus import checkpoint, normal_case
from consensus.effects import ViewEntered, ViewLeft
from consensus.log import Slot
from consensus.messages import (
    NO_SIGNATURE,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    ViewChange,
    Vote,
)
from consensus.proofs import Choice, choose, null_digest
from consensus.signing import new_view_entry
from consensus.state import State
from salus.errors import VerificationError
from salus.vote import VoteType

# Views whose NEW-VIEW was false and is remembered as such. A member leads one view in n.
FALSE_VIEWS_PER_MEMBER_MAX = 4

# -- time (L17, L18) ----------------------------------------------------------------------------


def work_pending(s: State) -> bool:
    """Rule L17: only then does the progress timer run, so an idle chain changes no view.

    A scheduled end is work (S13). Nothing is the primary's fault while I am behind what others
    have certified (L20) or my own journal has (S12), while the log is full for want of certificates,
    or while a height cannot reach q equal headers (L24).
    """
    log = s.log
    if s.split_height > log.certified or log.settled >= log.high:
        return False
    if log.epoch_end and log.settled >= log.epoch_end:
        return False
    if max(s.proved, s.weak_claim) > log.committed or s.below_floor:
        return False
    return s.pending or log.proposed > log.settled or log.epoch_end > 0


def tick(s: State) -> None:
    if not s.voter.active:
        return
    if s.in_view_change:
        _tick_view_change(s)
    elif work_pending(s):
        s.progress_left -= 1
        if s.progress_left <= 0:
            s.complain("pending work waits for a commit")
            if not s.committed_in_view:
                _double(s)  # A whole view gave nothing: the next one gets more time.
    else:
        s.progress_left = s.config.progress_ticks << s.doublings


def _tick_view_change(s: State) -> None:
    """Rule L18: the timer runs once q members are at my wish or above (L19)."""
    if s.view_change_left is None or s.below_floor:
        return
    s.view_change_left -= 1
    if s.view_change_left <= 0:
        _double(s)
        _ask_for(s, s.wish + 1, "no NEW-VIEW came in time")


def _double(s: State) -> None:
    s.doublings = min(s.doublings + 1, s.parameters.timeout_doublings_max)


# -- leaving a view -----------------------------------------------------------------------------


def leave_if_complaining(s: State) -> None:
    """Once per step, after everything else was said in the old view."""
    reason, s.complaint = s.complaint, None
    assert reason is not None
    if not s.voter.active:
        return
    # L18: my wish is at most one above the view that q members have reached.
    if not s.in_view_change and s.view < 1 + s.quorum_view:
        _ask_for(s, s.view + 1, reason)


def synchronise(s: State) -> None:
    """Rule L19: count the highest wish of each member; some view has moved."""
    if s.voter.active:
        wishes = sorted((s.reached[index] for index in s.others), reverse=True)
        # f+1 others ask for this view or a higher one, so an honest one does: join.
        joined = wishes[s.weak - 1] if len(wishes) >= s.weak else 0
        if joined > s.wish:
            _ask_for(s, joined, "others ask for it")
    if s.in_view_change and s.view_change_left is None and s.quorum_view >= s.wish:
        s.view_change_left = s.config.view_change_ticks << s.doublings
    _try_new_view(s)
    s.views_moved = s.below_floor  # What I may not join now, I join once I have caught up.


def _ask_for(s: State, view: int, reason: str) -> None:
    """Send my VIEW-CHANGE: what I have prepared above a low watermark that I can prove (S7)."""
    assert view > s.wish
    assert s.me is not None
    log = s.log
    if s.below_floor:
        return
    prepared = tuple(
        slot.prepared
        for sequence, slot in sorted(log.slots.items())
        if sequence > log.low and slot.prepared is not None
    )
    unsigned = ViewChange(s.epoch, view, log.low_certificate, prepared, s.me, NO_SIGNATURE)
    message = s.voter.view_message(unsigned, s.out)
    s.wish = view
    s.view_change_left = None
    s.building = None
    s.view_changes[s.me], s.checked[s.me] = message, True
    s.learn_view(s.me, view)
    s.views_moved = True
    s.send(message)
    s.deliver(ViewLeft(view, reason))


# -- VIEW-CHANGE --------------------------------------------------------------------------------


def on_view_change(s: State, message: ViewChange) -> None:
    """Its own signature is checked here; what it carries only when a NEW-VIEW is built of it, so
    that a flood of wishes costs its receivers one signature each (B25)."""
    if message.sender >= s.n or message.view < 1 or not _fits(s, message) or s.is_mine(message):
        return
    known = s.view_changes.get(message.sender)
    if known is not None and known.view >= message.view:
        twice = known.view == message.view and known != message
        if twice and s.exposed_wish[message.sender] != message.view and s.verified(message):
            s.exposed_wish[message.sender] = message.view
            s.expose(known, message)
        return
    if message.view <= s.view or not s.verified(message):
        return
    s.view_changes[message.sender] = message
    s.checked.pop(message.sender, None)
    s.learn_view(message.sender, message.view)
    s.views_moved = True


def _fits(s: State, message: ViewChange | NewView) -> bool:
    if s.proofs.fits(message):
        return True
    s.reject(f"{type(message).__name__}: larger than a true one can be")
    return False


# -- NEW-VIEW as its primary --------------------------------------------------------------------


def _try_new_view(s: State) -> None:
    """q valid VIEW-CHANGEs for the view that I would lead: choose and announce (S9)."""
    if not s.in_view_change or s.primary != s.me or not s.voter.active:
        return
    candidates = [i for i in sorted(s.view_changes) if s.view_changes[i].view == s.wish]
    if len(candidates) < s.quorum or s.me not in candidates:
        return
    # Mine first: I know it best, and hold every body that it names. Then those that make me hold
    # no other body: a liar's certificate may name one that the honest lost in a power cut (S3).
    candidates.sort(key=lambda index: (index != s.me, _bodies_lacked(s, s.view_changes[index])))
    chosen: list[int] = []
    for index in candidates:
        if len(chosen) < s.quorum and _passes(s, index):
            chosen.append(index)
    if len(chosen) < s.quorum:
        return
    view_changes = tuple(s.view_changes[index] for index in sorted(chosen))
    choice = choose(view_changes, s.base)
    if s.voter.signed(VoteType.NEW_VIEW, s.wish, 0) is not None or not all(
        s.voter.free(VoteType.PRE_PREPARE, s.wish, sequence, digest)
        for sequence, digest in choice.digests
        if sequence > s.voter.floor
    ):
        # A crash tore an earlier NEW-VIEW of this view: never a second one (S4). Or my votes are withheld
        # as yet (S12).
        return
    if not _seek_bodies(s, choice):
        _announce(s, view_changes, choice)


def _bodies_lacked(s: State, view_change: ViewChange) -> int:
    return sum(
        not _held(s, prepared.pre_prepare.sequence, prepared.pre_prepare.digest)
        for prepared in view_change.prepared
    )


def _held(s: State, sequence: int, digest: bytes) -> bool:
    """I hold this body; outside the windows nothing is kept and the question is moot."""
    if not s.log.near(sequence) or digest == null_digest(sequence):
        return True
    slot = s.log.slots.get(sequence)
    return slot is not None and digest in slot.bodies


def _seek_bodies(s: State, choice: Choice) -> bool:
    """Rule S3: my PRE-PREPARE is a vote, and whoever lacks a body fetches it before voting."""
    lacking = False
    for sequence, digest in choice.digests:
        if _held(s, sequence, digest):
            continue
        lacking = True
        slot = s.log.slot(sequence)
        if slot.sought != digest:
            # Also where the view that I left proposed it: only what is sought is fetched now.
            slot.sought, slot.fetches = digest, 0
            normal_case.fetch_missing(s, slot)
    return lacking


def _passes(s: State, index: int) -> bool:
    """Rule S8, checked once for each VIEW-CHANGE."""
    if index not in s.checked:
        try:
            s.proofs.check_view_change(s.view_changes[index])
            s.checked[index] = True
            learn_from(s, s.view_changes[index])
        except VerificationError:
            s.checked[index] = False  # A liar's; its wish was counted, its content is not.
    return s.checked[index]


def learn_from(s: State, view_change: ViewChange) -> None:
    """What a checked VIEW-CHANGE proves: a certified height, and perhaps votes of mine (S4)."""
    if view_change.low is not None:
        checkpoint.learn_certificate(s, view_change.low)
    if s.is_mine(view_change) or s.me is None or not s.voter.active:
        return
    for prepared in view_change.prepared:
        vote = prepared.pre_prepare
        if vote.view < s.view:
            continue
        if vote.sender == s.me:
            kind = VoteType.PRE_PREPARE
        elif any(signature.index == s.me for signature in prepared.prepares):
            kind = VoteType.PREPARE
        else:
            continue
        if s.voter.denies(kind, vote.view, vote.sequence, vote.digest):
            s.quarantine(f"{kind.name} of view {vote.view}, sequence {vote.sequence}")


def _announce(s: State, view_changes: tuple[ViewChange, ...], choice: Choice) -> None:
    assert s.me is not None
    if s.halted is not None or not s.voter.active:
        return
    pre_prepares = tuple(
        s.voter.chosen(s.wish, sequence, digest) for sequence, digest in choice.digests
    )
    unsigned = NewView(s.epoch, s.wish, view_changes, pre_prepares, s.me, NO_SIGNATURE)
    message = s.voter.view_message(unsigned, s.out)
    s.voter.journal_chosen(pre_prepares, s.out)
    s.send(message)
    _enter(s, message, choice)


# -- NEW-VIEW as a backup -----------------------------------------------------------------------


def on_new_view(s: State, message: NewView) -> None:
    """Rule S9: recompute the choice and compare exactly."""
    if message.sender >= s.n or message.sender != s.validators.primary(message.view):
        return
    if message.view <= s.view or not _fits(s, message) or s.is_mine(message):
        return
    if message.view < s.wish and s.voter.active:
        return  # My VIEW-CHANGE for a higher view said that I take no part in this one.
    # Every view has q members that asked for it; what liars could make up beyond is not read, and
    # what was false once is not read again (B25).
    if message.view > s.weak_view + s.n or message.view in s.false_views:
        return
    if s.new_view_tick[message.sender] == s.tick or not s.verified(message):
        return
    s.new_view_tick[message.sender] = s.tick  # The dearest message: one a member and tick (B25).
    known = {i: vc for i, vc in s.view_changes.items() if s.checked.get(i)}
    try:
        choice = s.proofs.check_new_view(message, known)
    except VerificationError as error:
        # Evidence, and a reason for the next view (as far as L18 allows one).
        s.false_views = sorted({*s.false_views, message.view})[-FALSE_VIEWS_PER_MEMBER_MAX * s.n :]
        s.expose(message, message)
        if message.view == s.wish and s.voter.active and s.wish <= s.quorum_view:
            _ask_for(s, s.wish + 1, f"its NEW-VIEW is false: {error.message}")
        return
    for view_change in message.view_changes:
        s.learn_view(view_change.sender, view_change.view)
        learn_from(s, view_change)
    s.learn_view(message.sender, message.view)
    if s.halted is None:
        if s.voter.active:  # Who signs nothing has no journal to remember its view in (S4).
            s.out.persist.append(new_view_entry(message))
        _enter(s, message, choice)


def _enter(s: State, message: NewView, choice: Choice) -> None:
    """Install the view: its low watermark (S10), its proposals, and nothing of the old one."""
    s.view = s.wish = message.view
    if s.me is not None:
        s.learn_view(s.me, s.view)
    s.new_view = message
    s.building, s.view_change_left = None, None
    s.committed_in_view = False
    s.progress_left = s.config.progress_ticks << s.doublings
    log = s.log
    log.adopt(choice.low, choice.certificate)
    checkpoint.forget_between(s)
    for slot in log.slots.values():
        slot.enter_view()
    log.proposed = log.low
    s.voter.forget_views(s.view)
    for sender in sorted(s.view_changes):
        if s.view_changes[sender].view <= s.view:
            del s.view_changes[sender]
            s.checked.pop(sender, None)
    s.false_views = [view for view in s.false_views if view > s.view]
    s.deliver(ViewEntered(s.view, s.validators.primary(s.view)))
    for vote in message.pre_prepares:
        _accept_chosen(s, message, vote)
    for later in s.future.take(s.view):
        _replay(s, later)


def _accept_chosen(s: State, message: NewView, vote: PrePrepare) -> None:
    """Rules S6, S11, L21: voted on again, never executed again, never refused for its time."""
    known = s.log.slots.get(vote.sequence)
    if known is not None and known.committed not in (None, vote.digest):
        for view_change in message.view_changes:
            _expose_perjury(s, known, view_change)
        s.halt(f"view {s.view} re-proposes another digest than was committed", vote.sequence)
        return
    if not s.log.votable(vote.sequence):
        return  # At or below my certified height: whoever lacks it gets the block (L20).
    slot = s.log.slot(vote.sequence)
    normal_case.accept(s, vote, first=False)
    if slot.wanted not in slot.bodies:
        normal_case.fetch_missing(s, slot)


def _expose_perjury(s: State, slot: Slot, view_change: ViewChange) -> None:
    """Whose COMMIT says that he had prepared what his VIEW-CHANGE keeps silent about (S3, S7). The
    primary of the NEW-VIEW is not to blame: what he chose follows from what they said (S9)."""
    view, sequence = slot.committed_view, slot.sequence
    commit = slot.commits[view].votes.get(view_change.sender)
    if commit is None or commit.digest != slot.committed:
        return
    # Nobody's low watermark covers the sequence: then nothing would have been chosen there.
    for prepared in view_change.prepared:
        vote = prepared.pre_prepare
        if vote.sequence == sequence and (
            vote.view > view or (vote.view == view and vote.digest == commit.digest)
        ):
            return
    s.expose(commit, view_change)


def _replay(s: State, vote: Vote) -> None:
    """Votes that overtook their NEW-VIEW, through the same door as all others."""
    if isinstance(vote, PrePrepare):
        normal_case.on_pre_prepare(s, vote)
    elif isinstance(vote, Prepare):
        normal_case.on_prepare(s, vote)
    elif isinstance(vote, Commit):
        normal_case.on_commit(s, vote)
