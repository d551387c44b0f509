"""What governance does at the end of a block: deadlines, and the handing over to an epoch.

It runs in every block from the height on that the agenda names, and in the last block of each
epoch, after the transactions. Law of the file: what is in force changes in `hand_over` alone, and
`hand_over` runs in the last block of an epoch alone (rule S13).
"""

import msgspec

from contracts import changes
from contracts.context import Turn
from contracts.errors import Refused
from contracts.governance import governance
from contracts.members import organisation, voters
from contracts.proposals import (
    CANDIDATES_MAX,
    PASSED_MAX,
    Action,
    Agenda,
    Candidacy,
    CandidacyStage,
    Change,
    Proposal,
    Stage,
    decide,
    finish,
    listed,
    put_agenda,
    put_candidacy,
    read_agenda,
    read_candidacy,
    tally,
)
from contracts.state import ReadState, State
from salus.codec import UINT_MAX


def due(state: ReadState) -> int:
    return read_agenda(state).due


@governance.takes_turn(due)
def take_turn(turn: Turn, state: State) -> None:
    """Deadlines first; then, at an end, what is in force; then what may be started."""
    before = read_agenda(state)
    agenda = _expire(turn, state, before)
    agenda = _lapse(turn, state, agenda)
    if turn.last:
        agenda = hand_over(turn, state, agenda)
        agenda = _recount(turn, state, agenda)
    agenda = _start(turn, state, agenda)
    agenda = msgspec.structs.replace(agenda, due=_deadline(turn, state, agenda))
    if agenda != before:
        put_agenda(state, agenda)


# ── deadlines ────────────────────────────────────────────────────────────────


def _expire(turn: Turn, state: State, agenda: Agenda) -> Agenda:
    for entry in agenda.open:
        if entry.expiry_height <= turn.height:
            proposal = listed(state, entry.number)
            agenda, _ = decide(state, agenda, proposal, Stage.EXPIRED, turn.height)
    return agenda


def _lapse(turn: Turn, state: State, agenda: Agenda) -> Agenda:
    """Candidates that did not catch up in time."""
    for member in agenda.candidates:
        candidacy = _candidacy(state, member)
        overdue = candidacy.until_height <= turn.height
        if candidacy.stage is CandidacyStage.WAITING and overdue:
            agenda = _close(turn, state, agenda, candidacy, "READY_STALE")
    return agenda


def _deadline(turn: Turn, state: State, agenda: Agenda) -> int:
    """The next height at which somebody must look."""
    window = turn.next_parameters.watermark_window
    heights = [entry.expiry_height for entry in agenda.open]
    for number in agenda.passed:
        proposal = listed(state, number)
        if not _startable(proposal, turn.height, window):
            heights.append(proposal.activation_height - 1 - window)
    heights += [_candidacy(state, member).until_height for member in agenda.candidates]
    return min(heights, default=UINT_MAX)


# ── starting what has passed ─────────────────────────────────────────────────


def _start(turn: Turn, state: State, agenda: Agenda) -> Agenda:
    """Ask for the end of the epoch, or let the candidate catch up."""
    for number in agenda.passed:
        proposal = listed(state, number)
        if not _startable(proposal, turn.height, turn.next_parameters.watermark_window):
            continue
        if proposal.change.action is not Action.ADD_VALIDATOR:
            turn.request_epoch_end()
            continue
        member = proposal.change.member
        assert member is not None
        if member in agenda.candidates:
            continue
        lapse = _refusal(turn, proposal.change)
        if lapse is not None:
            agenda = finish(state, agenda, proposal, lapse=lapse)
        else:
            agenda = _stand(turn, state, agenda, member, number)
    if any(_candidacy(state, m).stage is CandidacyStage.READY for m in agenda.candidates):
        turn.request_epoch_end()
    return agenda


def _startable(proposal: Proposal, height: int, window: int) -> bool:
    """Would an epoch that ends one window from here be followed by one that may bring it?"""
    return proposal.activation_height <= height + window + 1


def _stand(turn: Turn, state: State, agenda: Agenda, member: str, number: int) -> Agenda:
    """A full list leaves the member without a candidacy, or its proposal waiting."""
    if member in agenda.candidates or len(agenda.candidates) >= CANDIDATES_MAX:
        return agenda
    until = turn.height + turn.next_parameters.epoch_blocks_max
    put_candidacy(state, Candidacy(member, number, turn.height, min(until, UINT_MAX)))
    return msgspec.structs.replace(agenda, candidates=(*agenda.candidates, member))


# ── the last block of an epoch ───────────────────────────────────────────────


def hand_over(turn: Turn, state: State, agenda: Agenda) -> Agenda:
    """What the next epoch brings, in the order of passing; what has become impossible lapses."""
    first = turn.height + 1
    for number in agenda.passed:
        proposal = listed(state, number)
        change = proposal.change
        if proposal.activation_height > first or change.action is Action.ADD_VALIDATOR:
            continue
        former = _returns(turn, change)
        lapse = _done(turn, change)
        if lapse is not None:
            agenda = finish(state, agenda, proposal, lapse=lapse)
            continue
        agenda = finish(state, agenda, proposal, effective_height=first)
        if former or (change.action is Action.ADD_MEMBER and change.candidate):
            assert change.member is not None
            agenda = _stand(turn, state, agenda, change.member, number)
        if change.action is Action.ROTATE_NODE_KEY and change.member in agenda.candidates:
            _wait_for_the_new_key(state, change.member)
    for member in agenda.candidates:
        candidacy = _candidacy(state, member)
        waits = listed(state, candidacy.proposal).activation_height > first
        seat = Change(Action.ADD_VALIDATOR, member)
        if candidacy.stage is CandidacyStage.READY and not waits:
            agenda = _close(turn, state, agenda, candidacy, _done(turn, seat))
        elif (lapse := _refusal(turn, seat)) is not None:
            agenda = _close(turn, state, agenda, candidacy, lapse)
    return agenda


def _wait_for_the_new_key(state: State, member: str) -> None:
    """A `ready` is the word of the node that will vote, and that is another one now (S13)."""
    candidacy = _candidacy(state, member)
    if candidacy.stage is CandidacyStage.READY:
        waiting = CandidacyStage.WAITING
        put_candidacy(state, msgspec.structs.replace(candidacy, stage=waiting, ready_height=None))


def _done(turn: Turn, change: Change) -> str | None:
    """None: it took effect; else the code that says why it could not."""
    lapse = _refusal(turn, change)
    if lapse is None:
        changes.apply(turn, change)
    return lapse


def _refusal(turn: Turn, change: Change) -> str | None:
    """The code that says why the change is impossible by now."""
    try:
        changes.require(turn, change, turn.next_parameters)
    except Refused as refusal:
        return refusal.code
    return None


def _returns(turn: Turn, change: Change) -> bool:
    """Does the change bring back one that had a vote?"""
    if change.action is not Action.REINSTATE_MEMBER or change.member is None:
        return False
    entry = turn.ask(organisation, change.member)
    return entry is not None and entry.returns


def _close(
    turn: Turn, state: State, agenda: Agenda, candidacy: Candidacy, lapse: str | None
) -> Agenda:
    """The candidate counts from the next height on, or its candidacy lapses; and with it the
    proposal, if that was all it asked for."""
    stage = CandidacyStage.COUNTED if lapse is None else CandidacyStage.LAPSED
    put_candidacy(state, msgspec.structs.replace(candidacy, stage=stage, lapse=lapse))
    proposal = listed(state, candidacy.proposal)
    if proposal.stage is Stage.PASSED:
        effective = turn.height + 1 if lapse is None else None
        agenda = finish(state, agenda, proposal, effective_height=effective, lapse=lapse)
    left = tuple(member for member in agenda.candidates if member != candidacy.member)
    return msgspec.structs.replace(agenda, candidates=left)


def _recount(turn: Turn, state: State, agenda: Agenda) -> Agenda:
    """Open proposals, under the set of the next epoch: a smaller one may have decided already; and
    what was proposed by somebody without a vote there is open no more, or sets that follow each
    other would fill the agenda, which nobody could empty then."""
    validators = turn.ask(voters, turn.epoch + 1)
    seated = frozenset(validator.member for validator in validators.validators)
    for entry in agenda.open:
        proposal = listed(state, entry.number)
        count = tally(proposal.ballots, validators)
        if count.passes and len(agenda.passed) < PASSED_MAX:
            agenda, _ = decide(state, agenda, proposal, Stage.PASSED, turn.height)
        elif count.fails or proposal.proposer not in seated:
            agenda, _ = decide(state, agenda, proposal, Stage.REJECTED, turn.height)
    return agenda


def _candidacy(state: State, member: str) -> Candidacy:
    candidacy = read_candidacy(state, member)
    assert candidacy is not None, "the agenda names what there is"
    return candidacy
