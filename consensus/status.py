"""STATUS, and everything that is said again: whoever is behind is answered (rules S13, S14, L20).

Nothing here decides anything. Messages may be lost at will; a replica that stands still says
where it stands, and those who are further answer with exactly what it lacks.
"""

from consensus import normal_case
from consensus.effects import CatchUp, SendBlocks
from consensus.log import Slot
from consensus.messages import NO_SIGNATURE, Status
from consensus.state import State
from salus.validators import VALIDATORS_MAX

# A body that did not come is asked for again after so many ticks, of the next peer.
FETCH_TICKS = 5

# While all is well, STATUS is sent on every fourth retry only (once per progress timeout).
QUIET_RETRIES_MAX = 4

# -- time ---------------------------------------------------------------------------------------


def tick(s: State) -> None:
    _fetch_bodies(s)
    _catch_up(s)
    s.retry_left -= 1
    if s.retry_left > 0:
        return
    s.retry_left = s.config.retry_ticks
    standstill = s.log.certified == s.retry_certified
    s.retry_certified = s.log.certified
    s.quiet_retries += 1
    if _unsettled(s) and standstill:
        _say_again(s)
    elif s.quiet_retries >= QUIET_RETRIES_MAX or s.tick == 1:
        _say_status(s)


def _unsettled(s: State) -> bool:
    """Something waits for an answer: a view, a commit, a certificate, a block."""
    log = s.log
    return (
        s.in_view_change
        or s.pending
        or log.proposed > log.certified
        or log.committed > log.certified
        or max(s.proved, s.weak_claim) > log.certified
        or log.epoch_end > log.certified
    )


def _say_status(s: State) -> None:
    s.quiet_retries = 0
    if s.me is not None:
        unsigned = Status(s.epoch, s.view, s.wish, s.log.certified, s.me, NO_SIGNATURE)
        s.send(s.voter.status(unsigned))


def _say_again(s: State) -> None:
    """STATUS draws the answers of others; these two they cannot know that I said (L19, L20)."""
    _say_status(s)
    if s.me is None or not s.voter.active:
        return
    if s.in_view_change:
        s.send(s.view_changes[s.me])
    for height in range(s.log.certified + 1, s.log.executed + 1):
        vote = s.checkpoints[height].votes.get(s.me)
        if vote is not None:
            s.send(vote)


def _fetch_bodies(s: State) -> None:
    """Rule S3: bodies of what is proposed in my view, of what I must choose for a new one, and of
    what is committed."""
    for sequence in sorted(s.log.slots):
        slot = s.log.slots[sequence]
        digest = slot.wanted
        if digest is None or digest in slot.bodies or sequence <= s.log.executing:
            continue
        if s.in_view_change and slot.committed is None and slot.sought is None:
            continue
        if slot.fetches == 0 or s.tick % FETCH_TICKS == 0:
            normal_case.fetch_missing(s, slot)


def _catch_up(s: State) -> None:
    """Others certified more, and I have stood still for a while: fetch blocks (S14).

    Not at once: a certificate often overtakes the votes that it sums up (S12). An observer gets
    no votes to speak of and does not wait.
    """
    s.catch_up_left -= 1
    if s.catch_up_left > 0:
        return
    s.catch_up_left = s.config.retry_ticks if s.me is not None else 1
    target = max(s.proved, s.weak_claim)
    if target > s.log.certified == s.catch_up_certified:
        s.deliver(CatchUp(target))
    s.catch_up_certified = s.log.certified


# -- STATUS -------------------------------------------------------------------------------------


def on_status(s: State, message: Status) -> None:
    """A signed STATUS counts for the views (L19) and claims a height; an unsigned one, of a
    quarantined member, is only a request (S4). Both are answered, once a tick."""
    sender = message.sender
    if sender >= s.n or sender == s.me or s.asked_tick[sender] == s.tick:
        return
    if message.wish < message.view:
        s.reject("STATUS: a wish below the view")
        return
    if message.signature != NO_SIGNATURE:
        if not s.verified(message):
            return
        s.learn_view(sender, message.wish)
        s.claimed[sender] = message.certified
    s.asked_tick[sender] = s.tick
    _answer(s, message)
    s.answered[sender] = message.certified


def on_other_epoch(s: State, message: Status) -> None:
    """Rule S13. Sets may differ, so neither signature nor sender can be checked: all that comes
    of it is an offer of blocks, or a look around for some."""
    if message.epoch < s.epoch:
        known = s.strangers.get(message.sender)
        if message.sender < VALIDATORS_MAX and known != s.tick:
            s.strangers[message.sender] = s.tick
            s.answer(SendBlocks(message.sender, message.certified, message.epoch))
    elif s.newer_tick < 0 or s.tick - s.newer_tick >= s.config.retry_ticks:
        s.newer_tick = s.tick
        s.deliver(CatchUp(message.certified))


def _answer(s: State, message: Status) -> None:
    """What the peer lacks: blocks, the view, votes (L20)."""
    peer, log = message.sender, s.log
    # In full flow everybody is a little behind all the time; then votes are under way already.
    stands_still = s.answered[peer] == message.certified or s.answered[peer] < 0
    lag = log.certified - message.certified
    if lag > 0 and (stands_still or lag > s.parameters.execute_ahead_max or not log.slots):
        s.answer(SendBlocks(peer, message.certified, s.epoch))
    if message.view < s.view and message.wish <= s.view:
        assert s.new_view is not None
        s.send(s.new_view, peer)
    if s.in_view_change and message.wish <= s.wish and s.me in s.view_changes and s.voter.active:
        s.send(s.view_changes[s.me], peer)
    if stands_still:
        for sequence in sorted(log.slots):
            if sequence > message.certified:
                _send_votes(s, peer, message.view, log.slots[sequence])


def _send_votes(s: State, peer: int, peer_view: int, slot: Slot) -> None:
    """The whole proof of what is committed here: those who committed it may have lost their disks
    since, and nobody has to vote again (S6, S10). Of the rest, my own votes of our view."""
    if slot.committed is not None:
        commits = slot.commits[slot.committed_view]
        for sender in commits.senders(slot.committed):
            if sender != peer:
                s.send(commits.votes[sender], peer)
        return
    if peer_view != s.view or s.me is None or slot.sequence <= s.voter.silent_to:
        return  # Below my floor nothing is said again: of a NEW-VIEW of mine all in its view know (S12).
    if slot.pre_prepare is not None and slot.pre_prepare.sender == s.me:
        s.send(slot.pre_prepare, peer)
    if s.me in slot.prepares.votes:
        s.send(slot.prepares.votes[s.me], peer)
    mine = slot.commits.get(s.view)
    if mine is not None and s.me in mine.votes:
        s.send(mine.votes[s.me], peer)
