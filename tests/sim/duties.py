"""What an honest replica owes to others the moment that it knows something: duties of one step.

It judges first proposals by its clock and re-proposals by nothing (L21), leaves a primary that said
two things (L23), halts where f+1 contradict it (L24), and falls silent when somebody shows a vote
of its own that its journal lacks (S4). Counted by the simulator's own numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus.effects import Effects, ViewLeft
from consensus.events import CaughtUp, Executed, ProposalChecked, Received, Verdict
from consensus.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
    content_digest,
    payload,
    vote_type,
)
from salus.vote import JournalEntry, VoteDomain, VoteType

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.disk import Place
    from tests.sim.machine import Machine
    from tests.sim.work import Worker


def judged(node: Worker, s: State, event: ProposalChecked, effects: Effects) -> None:
    """A verdict has come in (S15, L21)."""
    slot, verdict = s.log.slots.get(event.sequence), event.verdict
    if verdict is Verdict.OFF_CLOCK:
        assert not any(type(action) is ViewLeft for action in effects.deliver), (
            f"n{node.member} leaves its view for a clock (L21)"
        )
    if slot is None or slot.pre_prepare is None or event.view != s.view:
        return
    if slot.pre_prepare.digest != event.digest:
        return
    if not slot.first:
        assert verdict is Verdict.VALID, (
            f"n{node.member} finds {event.sequence} {verdict.name}, which view {s.view} carries on "
            "(L21)"
        )
    elif verdict is Verdict.VALID:
        proposal = node.bodies.parsed(event.digest)
        if proposal is not None:
            body = proposal.body
            drift = abs(body.time_ms - node.clock_ms())
            whose = (body.proposer, body.origin_view)
            assert whose == (slot.pre_prepare.sender, s.view), (
                f"n{node.member} takes a first proposal of {whose} (L21)"
            )
            assert drift <= s.parameters.clock_drift_max_ms, (
                f"n{node.member} takes a first proposal {drift} ms off its clock (L21)"
            )


def met_two_proposals(node: Machine, s: State, first: PrePrepare, mute: int) -> None:
    """Its primary has signed two digests for one sequence of this view (L23). From below `mute` it
    leaves no view."""
    if first.view != s.view or s.me is None or not s.voter.active or mute > s.log.low:
        return
    n = s.n
    near = sorted(s.reached, reverse=True)[(n + (n - 1) // 3) // 2]
    assert s.wish > first.view or near < first.view, (
        f"n{node.member} stays with a primary that it has caught (L23)"
    )


def diverged(node: Worker, event: Any) -> None:
    """A machine that computes wrongly notices as soon as it can (S12, L24)."""
    assert node.replica is not None
    s = node.replica.state
    if s.halted is not None or not s.voter.active:
        return
    if type(event) is Executed:
        entry = node.disks.votes.get((int(VoteType.CHECKPOINT), s.epoch, 0, event.sequence))
        same = entry is None or entry.digest == event.header_hash
        assert same or s.log.executed != event.sequence, (
            f"n{node.member} gives height {event.sequence} another header than before its restart "
            "and goes on (S12)"
        )
    if type(event) is Executed or type(event) is Received:
        for height, mine in s.headers.items():
            ballot = s.checkpoints.get(height)
            others = [] if ballot is None else [v.digest for v in ballot.votes.values()]
            most = max((others.count(digest) for digest in others if digest != mine), default=0)
            assert most <= (s.n - 1) // 3, (
                f"{most} members contradict n{node.member} at {height}, and it goes on (L24)"
            )


def lost_votes(node: Worker, event: Any, floor: int, view: int) -> None:
    """It has lost its newest votes and does not know: the first one that it is shown tells it (S4).
    `floor`, `view`: before the step."""
    assert node.replica is not None
    s = node.replica.state
    if not s.voter.active or s.me is None or s.halted is not None:
        return
    if type(event) is Received:
        shown = _is_news(s, event.message, floor, view)
    elif type(event) is CaughtUp and event.height > floor:
        certificate = event.certificate
        mine = any(one.index == s.me for one in certificate.signatures)
        place = (int(VoteType.CHECKPOINT), s.epoch, 0, event.height)
        shown = mine and not _accounts_for(node, place, certificate.header_hash)
    else:
        return
    assert not shown, f"n{node.member} is shown a vote of its own that it lost, and votes on (S4)"


def _accounts_for(node: Worker, place: Place, digest: bytes) -> bool:
    """Its journal knows this vote, on disk or on the way there: whoever lost it and has signed the
    same again before it was shown is told nothing by it. Nothing of this step is on the way yet."""
    entry = node.disks.votes.get(place)
    if entry is not None:
        return entry.digest == digest
    waiting = (item for step in node.steps for item in step.effects.persist)
    return any(
        (item.kind, item.epoch, item.view, item.sequence, item.digest) == (*place, digest)
        for item in waiting
        if isinstance(item, JournalEntry)
    )


def _is_news(s: State, message: Any, floor: int, view: int) -> bool:
    kind = type(message)
    if kind not in _MINE or message.sender != s.me or message.epoch != s.epoch:
        return False
    if kind is ViewChange or kind is NewView:
        place, digest = (message.view, 0), content_digest(message)
        read = message.view > view
    else:
        place, digest = (message.view, message.sequence), message.digest
        near = s.log.near(message.sequence) and message.sequence > floor
        read = near and (kind is Checkpoint or message.view >= view)
    if not read or s.voter.signed(vote_type(message), *place) == digest:
        return False
    return _signed(s, message, s.config.vote_domain)


def _signed(s: State, message: SignedMessage, domain: VoteDomain) -> bool:
    key = s.validators.key(message.sender)
    return s.config.verifier(key, payload(domain, message), message.signature)


_MINE = frozenset((PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView))
