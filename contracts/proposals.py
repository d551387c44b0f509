"""Proposals of the consortium: what stands in state, who may still vote, when they are decided.

Law of the file: counting only. What a change means stands in contracts/changes.py.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from contracts.errors import Refused
from contracts.state import ReadState, State
from salus.codec import UINT_MAX, Bytes32, Uint, Wire, encode
from salus.genesis import Role
from salus.hashing import hasher
from salus.validators import MemberId, ValidatorSet

# Open proposals of one validator: so that nobody, a third of liars included, can fill the agenda.
# Whoever has no vote any more keeps none open, so there are 400 of 19 bytes at the most; with the
# lists below the agenda has 11 kB, and a vote may not make state values smaller than 16.
OPEN_PER_MEMBER_MAX = 4
PASSED_MAX = 64  # each has had two thirds of the votes; an epoch ends within a window, so they go
CANDIDATES_MAX = 64  # likewise
HEIGHTS_AHEAD_MAX = 1_000_000  # for expiry and activation: about ten days of full load
PROPOSALS_PER_PAGE = 32  # of the list: with 100 ballots each some 200 kB

_hash_change = hasher("governance-change")


class Action(StrEnum):
    ADD_MEMBER = "add_member"
    ADD_VALIDATOR = "add_validator"
    REMOVE_VALIDATOR = "remove_validator"
    REMOVE_MEMBER = "remove_member"
    SUSPEND_MEMBER = "suspend_member"
    REINSTATE_MEMBER = "reinstate_member"
    ROTATE_NODE_KEY = "rotate_node_key"
    ROTATE_OPERATOR_KEY = "rotate_operator_key"
    CHANGE_PARAMETERS = "change_parameters"
    ACTIVATE_CONTRACT = "activate_contract"


class Stage(StrEnum):
    OPEN = "open"  # votes are counted
    PASSED = "passed"  # waits for its epoch, its height, or the candidate's `ready`
    EFFECTIVE = "effective"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LAPSED = "lapsed"  # passed, but impossible when its time came


class ParameterChange(Wire, frozen=True):
    name: str
    old: Uint
    new: Uint


class Change(Wire, frozen=True):
    """What a proposal would change; the fields that its action has no use for are null."""

    action: Action
    member: MemberId | None = None
    roles: tuple[Role, ...] = ()
    node_key: Bytes32 | None = None
    operator_key: Bytes32 | None = None
    box_key: Bytes32 | None = None
    candidate: bool = False
    old_key: Bytes32 | None = None  # of a rotation: the one that is replaced
    new_key: Bytes32 | None = None
    parameters: tuple[ParameterChange, ...] = ()
    contract: str | None = None
    version: Uint | None = None


class Ballot(Wire, frozen=True):
    member: MemberId
    approve: bool
    height: Uint


class Proposal(Wire, frozen=True):
    """State under proposal/<number>."""

    number: Uint
    change: Change
    proposer: MemberId
    height: Uint
    activation_height: Uint  # the epoch that brings it begins here or later; 0: as soon as may be
    expiry_height: Uint  # the last one with a vote
    reasons: Bytes32
    ballots: tuple[Ballot, ...]  # in the order in which they came
    stage: Stage = Stage.OPEN
    decided_height: Uint | None = None  # when it stopped being open
    effective_height: Uint | None = None  # the first height at which it is in force
    lapse: str | None = None  # the code that says why it had become impossible


class CandidacyStage(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    COUNTED = "counted"
    LAPSED = "lapsed"


class Candidacy(Wire, frozen=True):
    """State under candidate/<member>: the newest one of a member that is to get a vote."""

    member: MemberId
    proposal: Uint
    from_height: Uint
    until_height: Uint  # the last one at which `ready` counts
    stage: CandidacyStage = CandidacyStage.WAITING
    ready_height: Uint | None = None  # where `ready` was executed
    lapse: str | None = None


class Open(Wire, frozen=True):
    number: Uint
    expiry_height: Uint


class Agenda(Wire, frozen=True):
    """State under agenda: what is under way, and when somebody must look at it."""

    next_number: Uint = 1
    open: tuple[Open, ...] = ()
    passed: tuple[Uint, ...] = ()  # in the order of passing, in which they take effect
    candidates: tuple[MemberId, ...] = ()
    due: Uint = UINT_MAX  # no deadline lies below; too early is harmless


class Quota(Wire, frozen=True):
    """State under quota/<member>: how many of its proposals are open."""

    open: Uint


class Number(Wire, frozen=True):
    """State under content/<hash of change and activation height>: the open or passed proposal
    that says so."""

    number: Uint


class Tally(NamedTuple):
    approvals: int
    rejections: int
    validators: int

    @property
    def passes(self) -> bool:
        return 3 * self.approvals > 2 * self.validators

    @property
    def fails(self) -> bool:
        return 3 * (self.validators - self.rejections) <= 2 * self.validators

    @property
    def needed(self) -> int:
        """So many approvals decide."""
        return 2 * self.validators // 3 + 1


def seated_ballots(ballots: Sequence[Ballot], validators: ValidatorSet) -> tuple[Ballot, ...]:
    seated = frozenset(v.member for v in validators.validators)
    return tuple(ballot for ballot in ballots if ballot.member in seated)


def tally(ballots: Sequence[Ballot], validators: ValidatorSet) -> Tally:
    """Only members of the set count; each has one ballot, for ballots are final."""
    counted = [ballot.approve for ballot in seated_ballots(ballots, validators)]
    return Tally(counted.count(True), counted.count(False), validators.n)


# ── state ────────────────────────────────────────────────────────────────────


def read_agenda(state: ReadState) -> Agenda:
    return state.get(Agenda, b"agenda") or Agenda()


def put_agenda(state: State, agenda: Agenda) -> None:
    state.put(b"agenda", agenda)


def read_proposal(state: ReadState, number: int) -> Proposal | None:
    return state.get(Proposal, _proposal(number))


def listed(state: ReadState, number: int) -> Proposal:
    """One that the agenda names."""
    proposal = read_proposal(state, number)
    assert proposal is not None, "the agenda names what there is"
    return proposal


def put_proposal(state: State, proposal: Proposal) -> None:
    state.put(_proposal(proposal.number), proposal)


def read_candidacy(state: ReadState, member: str) -> Candidacy | None:
    return state.get(Candidacy, _candidate(member))


def put_candidacy(state: State, candidacy: Candidacy) -> None:
    state.put(_candidate(candidacy.member), candidacy)


def duplicate_of(state: ReadState, change: Change, activation_height: int) -> int | None:
    """The open or passed proposal of the same change for the same height. Of another height it is
    another proposal: else one member could hold off what it dislikes by proposing it for later."""
    found = state.get(Number, _content(change, activation_height))
    return None if found is None else found.number


def open_of(state: ReadState, member: str) -> int:
    found = state.get(Quota, _quota(member))
    return 0 if found is None else found.open


def enter(state: State, agenda: Agenda, proposal: Proposal) -> Agenda:
    """A new proposal; raises `Refused` if its proposer has too many."""
    held = open_of(state, proposal.proposer)
    if held >= OPEN_PER_MEMBER_MAX:
        raise Refused("TOO_MANY_PROPOSALS", open=held)
    state.put(_quota(proposal.proposer), Quota(held + 1))
    state.put(_content_of(proposal), Number(proposal.number))
    put_proposal(state, proposal)
    return msgspec.structs.replace(
        agenda,
        next_number=agenda.next_number + 1,
        open=(*agenda.open, Open(proposal.number, proposal.expiry_height)),
        due=min(agenda.due, proposal.expiry_height),
    )


def decide(
    state: State, agenda: Agenda, proposal: Proposal, stage: Stage, height: int
) -> tuple[Agenda, Proposal]:
    """It is open no more: passed, rejected or expired."""
    assert proposal.stage is Stage.OPEN
    state.put(_quota(proposal.proposer), Quota(open_of(state, proposal.proposer) - 1))
    decided = msgspec.structs.replace(proposal, stage=stage, decided_height=height)
    put_proposal(state, decided)
    left = tuple(entry for entry in agenda.open if entry.number != proposal.number)
    passed = agenda.passed
    if stage is Stage.PASSED:
        passed = (*passed, proposal.number)
    else:
        state.delete(_content_of(proposal))
    return msgspec.structs.replace(agenda, open=left, passed=passed), decided


def finish(
    state: State,
    agenda: Agenda,
    proposal: Proposal,
    *,
    effective_height: int | None = None,
    lapse: str | None = None,
) -> Agenda:
    """A passed one took effect, or lapsed."""
    assert proposal.stage is Stage.PASSED
    assert (effective_height is None) != (lapse is None)
    stage = Stage.EFFECTIVE if lapse is None else Stage.LAPSED
    put_proposal(
        state,
        msgspec.structs.replace(
            proposal, stage=stage, effective_height=effective_height, lapse=lapse
        ),
    )
    state.delete(_content_of(proposal))
    left = tuple(number for number in agenda.passed if number != proposal.number)
    return msgspec.structs.replace(agenda, passed=left)


def _proposal(number: int) -> bytes:
    return b"proposal/" + number.to_bytes(8)


def _candidate(member: str) -> bytes:
    return b"candidate/" + member.encode("ascii")


def _content_of(proposal: Proposal) -> bytes:
    return _content(proposal.change, proposal.activation_height)


def _content(change: Change, activation_height: int) -> bytes:
    return b"content/" + _hash_change(encode((change, activation_height)))


def _quota(member: str) -> bytes:
    return b"quota/" + member.encode("ascii")
