"""Governance: the validators vote on who is a member, who votes, and by which limits (rule S13).

Proposing is approving, a ballot is final, more than two thirds of the epoch's validators decide.
What passes takes effect with an epoch and never within one (docs/decisions/0006-governance.md).
No text goes on chain: the reasons are a document, and its hash is what the proposal names.
"""

from typing import Annotated

import msgspec

from contracts import changes
from contracts.context import Capacity, Context
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import Contract
from contracts.members import organisation
from contracts.proposals import (
    HEIGHTS_AHEAD_MAX,
    PASSED_MAX,
    Action,
    Agenda,
    Ballot,
    CandidacyStage,
    Change,
    ParameterChange,
    Proposal,
    Stage,
    decide,
    duplicate_of,
    enter,
    put_agenda,
    put_candidacy,
    put_proposal,
    read_agenda,
    read_candidacy,
    read_proposal,
    seated_ballots,
    tally,
)
from contracts.state import State
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.genesis import Role
from salus.governance import possession
from salus.keys import verify
from salus.parameters import FIXED_PARAMETERS, Parameters
from salus.validators import VALIDATORS_MAX, MemberId
from salus.wire_json import ContractName

governance = Contract(
    "governance",
    version=1,
    doc="Members, validators, parameters and contract versions, changed by vote of the validators.",
    reads=("members",),
    acts=("members",),
    refusals={
        "UNKNOWN_PROPOSAL": "There is no proposal of this number.",
        "PROPOSAL_CLOSED": "The proposal is decided; fact `stage`.",
        "VOTED_BEFORE": "This organisation has voted on it; a ballot is final.",
        "TOO_MANY_PROPOSALS": "The organisation, or the agenda, has as many as it may; fact `open`.",
        "DUPLICATE_PROPOSAL": "An open or passed proposal says the same; fact `proposal`.",
        "BAD_HEIGHTS": "Expiry lies ahead, and neither height more than 1,000,000 blocks.",
        "NOTHING_CHANGES": "The proposal names nothing to change, or only what is so already.",
        "UNKNOWN_MEMBER": "No organisation has this id.",
        "DUPLICATE_MEMBER": "An organisation has or had this id.",
        "MEMBER_STATUS": "The organisation does not stand so that it could; fact `status`.",
        "BAD_ROLES": "Roles are listed once each, in ascending order, at least one.",
        "KEY_IN_USE": "The key belongs to somebody already; every key has one owner, for ever.",
        "BAD_KEY": "The 32 bytes are not a valid public key.",
        "NO_POSSESSION": "A key has not signed that it belongs to this organisation.",
        "ALREADY_VALIDATOR": "The organisation has a vote.",
        "NO_VALIDATOR": "The organisation has no vote.",
        "LAST_VALIDATOR": "Nobody else has a vote: without it the chain would end.",
        "TOO_MANY_VALIDATORS": "So many have a vote as can; fact `most`.",
        "CHANGED_MEANWHILE": "What it would replace is not there any more.",
        "NOT_NEWER": "The contract's active version is this or a newer one; fact `active`.",
        "UNFIT_PARAMETERS": "The limits do not fit each other, the validators, or what a vote may set.",
        "NO_CANDIDATE": "The organisation is no candidate for a vote, or has said `ready`.",
        "READY_STALE": "The height is not below this block, or more than two windows; fact `oldest`.",
        "WRONG_HEADER": "The chain's header at this height is another one.",
    },
)

PROPOSED = governance.event(
    "proposed",
    "A validator proposed a change, and so approved it.",
    proposal="its number",
    org="the proposer",
    action="what it would change",
)
VOTED = governance.event(
    "voted",
    "A validator voted.",
    proposal="the number",
    org="who voted",
    approve="how",
    approvals="of validators of the epoch, by now",
    needed="so many decide",
)
DECIDED = governance.event(
    "decided",
    "A proposal passed, or cannot pass any more.",
    proposal="the number",
    stage="passed or rejected",
)
READY = governance.event(
    "ready",
    "A candidate's node has caught up: from the next epoch on it counts.",
    org="the candidate",
    height="that it holds",
)


# ── proposals ────────────────────────────────────────────────────────────────


class ProposalArgs(Wire, frozen=True):
    """What every proposal says first."""

    activation_height: Annotated[Uint, public("in force not before this height; 0: at once")]
    expiry_height: Annotated[Uint, public("the last height with a vote on it")]
    reasons: Annotated[Bytes32, committed("the document that gives the reasons")]


class MemberArgs(ProposalArgs, frozen=True):
    member: Annotated[MemberId, public("the organisation")]


Roles = Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=8)]


class AddMemberArgs(MemberArgs, frozen=True):
    roles: Annotated[Roles, public("what kind of organisation it is")]
    node_key: Annotated[Bytes32, public("Ed25519, of its node")]
    operator_key: Annotated[Bytes32, public("Ed25519, of its operator")]
    box_key: Annotated[Bytes32, public("X25519, for what is sealed to it")]
    node_possession: Annotated[Bytes64, public("by the node key: that it belongs there")]
    operator_possession: Annotated[Bytes64, public("by the operator key: that it belongs there")]
    candidate: Annotated[bool, public("it stands for a vote as soon as it is a member")]


@governance.method(senders=(Capacity.OPERATOR,))
def propose_add_member(ctx: Context, state: State, args: AddMemberArgs) -> list[Event]:
    """Propose a new organisation; its public name is its id."""
    _require_possession(ctx, args.member, Capacity.NODE, args.node_key, args.node_possession)
    _require_possession(
        ctx, args.member, Capacity.OPERATOR, args.operator_key, args.operator_possession
    )
    change = Change(
        Action.ADD_MEMBER,
        args.member,
        roles=args.roles,
        node_key=args.node_key,
        operator_key=args.operator_key,
        box_key=args.box_key,
        candidate=args.candidate,
    )
    return _propose(ctx, state, args, change)


@governance.method(senders=(Capacity.OPERATOR,))
def propose_add_validator(ctx: Context, state: State, args: MemberArgs) -> list[Event]:
    """Propose that a member gets a vote, once its node has caught up."""
    return _propose(ctx, state, args, Change(Action.ADD_VALIDATOR, args.member))


@governance.method(senders=(Capacity.OPERATOR,))
def propose_remove_validator(ctx: Context, state: State, args: MemberArgs) -> list[Event]:
    """Propose that a member loses its vote; it stays a member."""
    return _propose(ctx, state, args, Change(Action.REMOVE_VALIDATOR, args.member))


@governance.method(senders=(Capacity.OPERATOR,))
def propose_remove_member(ctx: Context, state: State, args: MemberArgs) -> list[Event]:
    """Propose that an organisation leaves, for ever; its id and keys are never given again."""
    return _propose(ctx, state, args, Change(Action.REMOVE_MEMBER, args.member))


@governance.method(senders=(Capacity.OPERATOR,))
def propose_suspend_member(ctx: Context, state: State, args: MemberArgs) -> list[Event]:
    """Propose that an organisation's keys open nothing until it is reinstated."""
    return _propose(ctx, state, args, Change(Action.SUSPEND_MEMBER, args.member))


@governance.method(senders=(Capacity.OPERATOR,))
def propose_reinstate_member(ctx: Context, state: State, args: MemberArgs) -> list[Event]:
    """Propose the end of a suspension; who had a vote before stands for one again."""
    return _propose(ctx, state, args, Change(Action.REINSTATE_MEMBER, args.member))


class RotateKeyArgs(MemberArgs, frozen=True):
    new_key: Annotated[Bytes32, public("Ed25519, in place of the one in force")]
    possession: Annotated[Bytes64, public("by the new key: that it belongs there")]


@governance.method(senders=(Capacity.OPERATOR,))
def propose_rotate_node_key(ctx: Context, state: State, args: RotateKeyArgs) -> list[Event]:
    """Propose another key for an organisation's node."""
    return _propose_rotation(ctx, state, args, Capacity.NODE)


@governance.method(senders=(Capacity.OPERATOR,))
def propose_rotate_operator_key(ctx: Context, state: State, args: RotateKeyArgs) -> list[Event]:
    """Propose another key for an organisation's operator."""
    return _propose_rotation(ctx, state, args, Capacity.OPERATOR)


class ChangeParametersArgs(ProposalArgs, frozen=True):
    """All numbers of salus.parameters but what is chosen once; null: it stays."""

    watermark_window: Annotated[Uint | None, public("blocks")]
    in_flight_proposals_max: Annotated[Uint | None, public("proposals")]
    execute_ahead_max: Annotated[Uint | None, public("blocks")]
    epoch_blocks_max: Annotated[Uint | None, public("blocks")]
    tick_ms: Annotated[Uint | None, public("milliseconds")]
    progress_timeout_ms: Annotated[Uint | None, public("milliseconds")]
    view_change_timeout_ms: Annotated[Uint | None, public("milliseconds")]
    timeout_doublings_max: Annotated[Uint | None, public("doublings")]
    clock_drift_max_ms: Annotated[Uint | None, public("milliseconds")]
    block_transactions_max: Annotated[Uint | None, public("transactions")]
    block_bytes_max: Annotated[Uint | None, public("bytes")]
    transaction_bytes_max: Annotated[Uint | None, public("bytes")]
    transaction_operations_max: Annotated[Uint | None, public("operations")]
    expiry_window_blocks: Annotated[Uint | None, public("blocks")]
    keys_touched_max: Annotated[Uint | None, public("keys, by one transaction")]
    state_value_bytes_max: Annotated[Uint | None, public("bytes")]
    state_bytes_written_max: Annotated[Uint | None, public("bytes, by one transaction")]
    pool_transactions_max: Annotated[Uint | None, public("transactions")]
    rotation_wait_ms: Annotated[Uint | None, public("milliseconds of block time")]
    recovery_wait_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_cosign_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_open_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_justify_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_review_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_sanction_ms: Annotated[Uint | None, public("milliseconds of block time")]
    emergency_silence_ms: Annotated[Uint | None, public("milliseconds of a holder's clock")]
    erasure_wait_ms: Annotated[Uint | None, public("milliseconds of block time")]


# By name, so that a parameter that is added without a field here fails at import.
PARAMETER_NAMES = tuple(n for n in Parameters.__struct_fields__ if n not in FIXED_PARAMETERS)
assert PARAMETER_NAMES == ChangeParametersArgs.__struct_fields__[3:]


@governance.method(senders=(Capacity.OPERATOR,))
def propose_change_parameters(
    ctx: Context, state: State, args: ChangeParametersArgs
) -> list[Event]:
    """Propose other limits; several at once, for some fit only together."""
    changed = []
    for name in PARAMETER_NAMES:
        old, new = getattr(ctx.parameters, name), getattr(args, name)
        if new is not None and new != old:
            changed.append(ParameterChange(name, old, new))
    if not changed:
        raise Refused("NOTHING_CHANGES")
    change = Change(Action.CHANGE_PARAMETERS, parameters=tuple(changed))
    return _propose(ctx, state, args, change)


class ActivateContractArgs(ProposalArgs, frozen=True):
    contract: Annotated[ContractName, public("the contract")]
    version: Annotated[Uint, public("newer than the active one; approve what your software has")]


@governance.method(senders=(Capacity.OPERATOR,))
def propose_activate_contract(
    ctx: Context, state: State, args: ActivateContractArgs
) -> list[Event]:
    """Propose another version of a contract, or a contract that was not active."""
    change = Change(Action.ACTIVATE_CONTRACT, contract=args.contract, version=args.version)
    return _propose(ctx, state, args, change)


# ── votes and candidates ─────────────────────────────────────────────────────


class VoteArgs(Wire, frozen=True):
    proposal: Annotated[Uint, public("the number")]
    approve: Annotated[bool, public("for or against; final")]


@governance.method(senders=(Capacity.OPERATOR,))
def vote(ctx: Context, state: State, args: VoteArgs) -> list[Event]:
    """Vote on an open proposal, as a validator of the epoch."""
    voter = _validator(ctx)
    proposal = read_proposal(state, args.proposal)
    if proposal is None:
        raise Refused("UNKNOWN_PROPOSAL")
    if proposal.stage is not Stage.OPEN or ctx.height > proposal.expiry_height:
        raise Refused("PROPOSAL_CLOSED", stage=proposal.stage)
    if any(ballot.member == voter for ballot in proposal.ballots):
        raise Refused("VOTED_BEFORE")
    # Ballots of those who have left the set since stay, for the record, as long as there is room:
    # sets follow each other, and each may bring its hundred.
    ballots = proposal.ballots
    if len(ballots) >= VALIDATORS_MAX:
        ballots = seated_ballots(ballots, ctx.validators)
    ballot = Ballot(voter, args.approve, ctx.height)
    proposal = msgspec.structs.replace(proposal, ballots=(*ballots, ballot))
    put_proposal(state, proposal)
    return _count(ctx, state, read_agenda(state), proposal, ballot)


class ReadyArgs(Wire, frozen=True):
    height: Annotated[Uint, public("a certified one that the node holds")]
    header_hash: Annotated[Bytes32, public("of the header there")]


@governance.method(senders=(Capacity.NODE,))
def ready(ctx: Context, state: State, args: ReadyArgs) -> list[Event]:
    """A candidate's node has caught up, and asks for the epoch in which it counts (rule S13)."""
    assert ctx.member is not None, "a node's key has its organisation"
    candidacy = read_candidacy(state, ctx.member)
    if candidacy is None or candidacy.stage is not CandidacyStage.WAITING:
        raise Refused("NO_CANDIDATE")
    oldest = max(ctx.height - 2 * ctx.parameters.watermark_window, 0)
    if not oldest <= args.height < ctx.height:
        raise Refused("READY_STALE", oldest=oldest)
    if ctx.block.header_hash(args.height) != args.header_hash:
        raise Refused("WRONG_HEADER")
    entry = ctx.ask(organisation, ctx.member)
    assert entry is not None
    if ctx.sender != entry.node_key:
        raise Refused(NOT_AUTHORISED)
    changes.require_candidate(ctx, Change(Action.ADD_VALIDATOR, ctx.member), ctx.parameters)
    candidacy = msgspec.structs.replace(
        candidacy, stage=CandidacyStage.READY, ready_height=ctx.height
    )
    put_candidacy(state, candidacy)
    ctx.request_epoch_end()
    return [READY(org=ctx.member, height=args.height)]


# ── the pieces ───────────────────────────────────────────────────────────────


def _validator(ctx: Context) -> str:
    """The organisation that votes: a member of the epoch's set, whichever key it then had."""
    seated = (validator.member for validator in ctx.validators.validators)
    if ctx.member is None or ctx.member not in seated:
        raise Refused(NOT_AUTHORISED)
    return ctx.member


def _propose_rotation(
    ctx: Context, state: State, args: RotateKeyArgs, capacity: Capacity
) -> list[Event]:
    _require_possession(ctx, args.member, capacity, args.new_key, args.possession)
    entry = ctx.ask(organisation, args.member)
    if entry is None:
        raise Refused("UNKNOWN_MEMBER")
    node = capacity is Capacity.NODE
    change = Change(
        Action.ROTATE_NODE_KEY if node else Action.ROTATE_OPERATOR_KEY,
        args.member,
        old_key=entry.node_key if node else entry.operator_key,
        new_key=args.new_key,
    )
    return _propose(ctx, state, args, change)


def _require_possession(
    ctx: Context, member: str, capacity: Capacity, key: bytes, signature: bytes
) -> None:
    if not verify(key, possession(ctx.chain_id, member, capacity), signature):
        raise Refused("NO_POSSESSION")


def _propose(ctx: Context, state: State, args: ProposalArgs, change: Change) -> list[Event]:
    proposer = _validator(ctx)
    farthest = ctx.height + HEIGHTS_AHEAD_MAX
    if not ctx.height < args.expiry_height <= farthest or args.activation_height > farthest:
        raise Refused("BAD_HEIGHTS")
    changes.require(ctx, change, ctx.parameters)
    same = duplicate_of(state, change, args.activation_height)
    if same is not None:
        raise Refused("DUPLICATE_PROPOSAL", proposal=same)
    agenda = read_agenda(state)
    ballot = Ballot(proposer, True, ctx.height)
    made = Proposal(
        agenda.next_number,
        change,
        proposer,
        ctx.height,
        args.activation_height,
        args.expiry_height,
        args.reasons,
        (ballot,),
    )
    agenda = enter(state, agenda, made)
    event = PROPOSED(proposal=made.number, org=proposer, action=change.action)
    return [event, *_count(ctx, state, agenda, made, ballot)]


def _count(
    ctx: Context, state: State, agenda: Agenda, proposal: Proposal, ballot: Ballot
) -> list[Event]:
    """What a ballot brings about. A full list of what has passed only puts off the passing, to
    the end of the epoch."""
    count = tally(proposal.ballots, ctx.validators)
    events = [
        VOTED(
            proposal=proposal.number,
            org=ballot.member,
            approve=ballot.approve,
            approvals=count.approvals,
            needed=count.needed,
        )
    ]
    if count.passes and len(agenda.passed) < PASSED_MAX:
        agenda, proposal = decide(state, agenda, proposal, Stage.PASSED, ctx.height)
        # The turn at the end of this very block takes it from here.
        agenda = msgspec.structs.replace(agenda, due=ctx.height)
    elif count.fails:
        agenda, proposal = decide(state, agenda, proposal, Stage.REJECTED, ctx.height)
    put_agenda(state, agenda)
    if proposal.stage is not Stage.OPEN:
        events.append(DECIDED(proposal=proposal.number, stage=proposal.stage))
    return events
