"""Identity, when the owner lost his keys: others propose new ones, approve, wait (rules I-4, I-6 of
decision 0010). Methods of the `identity` contract.

A proposal binds nobody. With its last approval it freezes the relation, and the old key has the
waiting time to object.
"""

from typing import Annotated

from msgspec.structs import replace

from contracts.context import Capacity, Context
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import public
from contracts.framework import ANYONE
from contracts.identity import change, identity, known, settled
from contracts.members import others
from contracts.rotation import AboutKeyArgs, install, use_new
from contracts.state import State
from salus import relation as forms
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Wire
from salus.relation import CANCELLED_WAITS, PROPOSALS_MAX, Recovery, RelationEntry
from salus.validators import MemberId

RECOVERING = identity.event(
    "recovering",
    "Somebody proposes new keys; the old one may object.",
    org="the organisation",
    handle="the relation",
    until_ms="over then, unless enough approve",
    cancellable="the old key may cancel",
)
APPROVED = identity.event(
    "recovery_approved",
    "One more approval.",
    org="the organisation",
    handle="the relation",
    approvals="so many now",
    needed="so many it takes",
)
FROZEN = identity.event(
    "recovery_waits",
    "Enough approved: nothing is granted, and the new keys can be in force then.",
    org="the organisation",
    handle="the relation",
    ready_ms="not before",
)
CANCELLED = identity.event(
    "recovery_cancelled", "The old key objected.", org="the organisation", handle="the relation"
)
RECOVERED = identity.event(
    "recovered", "New keys are in force.", org="the organisation", handle="the relation"
)


class RelationArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]


class RecoverArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("Ed25519 public key")]
    new_box_key: Annotated[Bytes32, public("X25519 public key")]
    possession: Annotated[Bytes64, public("by the new key")]


@identity.method(senders=ANYONE)
def recover_propose(ctx: Context, state: State, args: RecoverArgs) -> list[Event]:
    """Propose new keys for a relation whose owner lost his: by a guardian, or by the operator of
    its organisation, of a custodial relation by any organisation's (rule I-4)."""
    relation = settled(ctx, known(state, args.org, args.handle))
    proposer = _proposer(ctx, relation, args.org)
    if relation.frozen:
        raise Refused("RECOVERY_OPEN")
    # One of each proposer: nobody's proposal stands in another one's way.
    waiting = [one for one in relation.proposals_at(ctx.time_ms) if one.proposer != proposer]
    if len(waiting) >= PROPOSALS_MAX:
        raise Refused("RECOVERIES_FULL")
    use_new(ctx, state, args, "recover")
    cancelled = ctx.time_ms < relation.cancelled_until_ms
    until_ms = ctx.time_ms + ctx.parameters.recovery_wait_ms
    proposal = Recovery(
        args.new_key,
        args.new_box_key,
        proposer,
        (proposer,) if proposer in relation.guardians else (),
        _needed(ctx, relation, args.org, proposer, cancelled=cancelled),
        until_ms,
        not cancelled,
    )
    relation = replace(relation, proposals=tuple(waiting))
    event = RECOVERING(
        org=args.org, handle=args.handle, until_ms=until_ms, cancellable=proposal.cancellable
    )
    return [event, *_weigh(ctx, state, args.org, args.handle, relation, proposal)]


def _proposer(ctx: Context, relation: RelationEntry, org: str) -> bytes:
    """As whom the sender proposes. A hospital that keeps a patient's key against his will proposes
    nothing: so another one may."""
    if ctx.sender in relation.guardians:
        return ctx.sender
    if ctx.capacity is not Capacity.OPERATOR or not (ctx.member == org or relation.custodial):
        raise Refused(NOT_AUTHORISED)
    assert ctx.member is not None, "an operator's key has its organisation"
    return forms.approver(ctx.member)


def _needed(
    ctx: Context, relation: RelationEntry, org: str, proposer: bytes, *, cancelled: bool
) -> int:
    """How many must approve. After a cancellation one more, and the old key has no say any more:
    else a thief could hold his victim off for ever. Where the guardians are too few for it, it is
    another organisation's: else all guardians, who may be one, could take what they like. Where
    there are no guardians and only one other organisation, its word is enough."""
    needed = max(relation.threshold, 1) + cancelled
    spare = ctx.ask(others, org)
    if proposer not in relation.guardians and proposer != forms.approver(org):
        spare -= 1  # another organisation, which does not approve what it proposes
    # Without any spare one it takes more than there are, until the cancellation is forgotten.
    return min(needed, len(relation.guardians) + spare) if spare else needed


def _weigh(
    ctx: Context,
    state: State,
    org: str,
    handle: bytes,
    relation: RelationEntry,
    proposal: Recovery,
) -> list[Event]:
    """Enter a proposal; with its last approval it freezes the relation, and the owner has the
    waiting time to object."""
    if len(proposal.approvals) < proposal.needed:
        change(state, org, handle, relation, proposals=(*relation.proposals, proposal))
        return []
    ready_ms = ctx.time_ms + ctx.parameters.recovery_wait_ms
    # The rotation that waits may be the thief's.
    change(
        state,
        org,
        handle,
        relation,
        recovery=replace(proposal, ready_ms=ready_ms),
        proposals=(),
        rotation=None,
    )
    return [FROZEN(org=org, handle=handle, ready_ms=ready_ms)]


@identity.method(senders=ANYONE)
def recover_approve(ctx: Context, state: State, args: AboutKeyArgs) -> list[Event]:
    """Approve this key: a guardian; where they are too few, the operator of another organisation."""
    relation = settled(ctx, known(state, args.org, args.handle))
    proposal = _proposal(ctx, relation, args.new_key)
    who = _approver(ctx, relation, proposal, args.org)
    if relation.frozen:  # more approvals change nothing
        raise Refused("ALREADY_APPROVED")
    proposal = replace(proposal, approvals=(*proposal.approvals, who))
    rest = tuple(
        one for one in relation.proposals_at(ctx.time_ms) if one.new_key != proposal.new_key
    )
    event = APPROVED(
        org=args.org,
        handle=args.handle,
        approvals=len(proposal.approvals),
        needed=proposal.needed,
    )
    relation = replace(relation, proposals=rest)
    return [event, *_weigh(ctx, state, args.org, args.handle, relation, proposal)]


def _approver(ctx: Context, relation: RelationEntry, proposal: Recovery, org: str) -> bytes:
    """As whom the sender approves. Organisations have as many seats as guardians leave open."""
    if ctx.sender in relation.guardians:
        who = ctx.sender
    elif ctx.capacity is Capacity.OPERATOR and ctx.member not in (None, org):
        assert ctx.member is not None, "an operator's key has its organisation"
        who = forms.approver(ctx.member)
    else:
        raise Refused(NOT_AUTHORISED)
    if who in proposal.approvals:
        raise Refused("ALREADY_APPROVED")
    if who not in relation.guardians:
        taken = [one for one in proposal.approvals if one not in relation.guardians]
        full = len(taken) >= proposal.needed - len(relation.guardians)
        if full or who == proposal.proposer:
            raise Refused(NOT_AUTHORISED)
    return who


@identity.method(senders=ANYONE)
def recover_cancel(ctx: Context, state: State, args: AboutKeyArgs) -> list[Event]:
    """The old key objects to this one, and with it to all that is proposed: once in so long as it
    takes to propose and approve anew. What he needs not fear, he need not cancel."""
    relation = settled(ctx, known(state, args.org, args.handle))
    proposal = _proposal(ctx, relation, args.new_key)
    if ctx.sender != relation.owner_key:
        raise Refused(NOT_AUTHORISED)
    if not proposal.cancellable or ctx.time_ms < relation.cancelled_until_ms:
        raise Refused("NOT_CANCELLABLE")
    # Not forgotten with a rotation: a thief would rotate, and cancel again.
    until_ms = ctx.time_ms + CANCELLED_WAITS * ctx.parameters.recovery_wait_ms
    change(
        state,
        args.org,
        args.handle,
        relation,
        recovery=None,
        proposals=(),
        cancelled_until_ms=until_ms,
    )
    return [CANCELLED(org=args.org, handle=args.handle)]


@identity.method(senders=ANYONE)
def recover_finish(ctx: Context, state: State, args: RelationArgs) -> list[Event]:
    """Put the new keys in force: approved, and the waiting time over. Anybody may."""
    relation = settled(ctx, known(state, args.org, args.handle))
    recovery = relation.recovery
    if recovery is None:
        waiting = relation.proposals_at(ctx.time_ms)
        if not waiting:
            raise Refused("NO_RECOVERY")
        nearest = min(waiting, key=lambda one: one.needed - len(one.approvals))
        raise Refused("TOO_FEW_APPROVALS", approvals=len(nearest.approvals), needed=nearest.needed)
    if ctx.time_ms < recovery.ready_ms:
        raise Refused("TOO_EARLY", ready_ms=recovery.ready_ms)
    install(state, args.org, args.handle, relation, recovery.new_key, recovery.new_box_key)
    return [RECOVERED(org=args.org, handle=args.handle)]


def _proposal(ctx: Context, relation: RelationEntry, new_key: bytes) -> Recovery:
    """The recovery to this key, approved or not."""
    recovery = relation.recovery
    open_now = relation.proposals_at(ctx.time_ms) if recovery is None else (recovery,)
    for one in open_now:
        if one.new_key == new_key:
            return one
    raise Refused("NO_RECOVERY")
