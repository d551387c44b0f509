"""Identity, when keys change hands or are lost: rotation, guardians, recovery, claim (rules I-3, I-4,
I-6 of decision 0010). Methods of the `identity` contract.

Waiting times count in block time, for an idle chain makes no heights. Nothing takes a turn: a
rotation that is due is in force for whoever asks, and stands in the state with the next write.
"""

from typing import Annotated

from msgspec.structs import replace

from contracts.context import Capacity, Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import public
from contracts.framework import ANYONE
from contracts.identity import (
    Possessions,
    change,
    check_guardians,
    identity,
    known,
    owned,
    settled,
    use_guardians,
    use_key,
)
from contracts.state import State
from salus import relation as forms
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.relation import Guardians, PendingRotation, Recovery, RelationEntry, Threshold
from salus.validators import MemberId

ROTATING = identity.event(
    "rotating",
    "A new owner key waits.",
    org="the organisation",
    handle="the relation",
    at_ms="then",
)
VETOED = identity.event(
    "vetoed", "Guardians stopped a rotation.", org="the organisation", handle="the relation"
)
GUARDED = identity.event(
    "guarded", "The guardians are others now.", org="the organisation", handle="the relation"
)
CLAIMED = identity.event(
    "claimed",
    "The patient took the relation over from the hospital's key.",
    org="the organisation",
    handle="the relation",
)
RECOVERING = identity.event(
    "recovering",
    "Somebody proposes new keys; the old one may object.",
    org="the organisation",
    handle="the relation",
    ready_ms="not before",
    cancellable="the old key may cancel",
)
APPROVED = identity.event(
    "recovery_approved",
    "One more approval.",
    org="the organisation",
    handle="the relation",
    approvals="so many now",
)
CANCELLED = identity.event(
    "recovery_cancelled", "The old key objected.", org="the organisation", handle="the relation"
)
RECOVERED = identity.event(
    "recovered", "New keys are in force.", org="the organisation", handle="the relation"
)


class RotateArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("Ed25519 public key")]
    new_box_key: Annotated[Bytes32, public("X25519 public key")]
    possession: Annotated[Bytes64, public("by the new key")]


@identity.method(senders=ANYONE)
def rotate_key(ctx: Context, state: State, args: RotateArgs) -> list[Event]:
    """Name new owner and box keys; they are in force after `rotation_wait_ms` of block time (rule I-3)."""
    relation = owned(ctx, state, args.org, args.handle)
    if relation.rotation is not None:
        raise Refused("ROTATION_WAITS", effective_ms=relation.rotation.effective_ms)
    _use_new(ctx, state, args, "rotate")
    at_ms = ctx.time_ms + ctx.parameters.rotation_wait_ms
    rotation = PendingRotation(args.new_key, args.new_box_key, at_ms, ())
    change(state, args.org, args.handle, relation, rotation=rotation)
    return [ROTATING(org=args.org, handle=args.handle, at_ms=at_ms)]


class RelationArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]


class AboutKeyArgs(Wire, frozen=True):
    """A voice for or against one key: another one proposed meanwhile does not get it."""

    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("the new owner key that is meant")]


@identity.method(senders=ANYONE)
def veto(ctx: Context, state: State, args: AboutKeyArgs) -> list[Event]:
    """A guardian objects to a rotation that waits; `threshold` of them stop it (rule I-3)."""
    relation = settled(ctx, known(state, args.org, args.handle))
    if ctx.sender not in relation.guardians:
        raise Refused(NOT_AUTHORISED)
    rotation = relation.rotation
    if rotation is None or rotation.new_key != args.new_key:
        raise Refused("NO_ROTATION")
    if ctx.sender in rotation.vetoes:
        raise Refused("ALREADY_APPROVED")
    vetoes = (*rotation.vetoes, ctx.sender)
    if len(vetoes) < relation.threshold:
        waiting = replace(rotation, vetoes=vetoes)
        change(state, args.org, args.handle, relation, rotation=waiting)
        return []
    change(state, args.org, args.handle, relation, rotation=None)
    return [VETOED(org=args.org, handle=args.handle)]


class GuardiansArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    guardians: Annotated[Guardians, public("keys of guardians, of this relation alone")]
    threshold: Annotated[Threshold, public("how many guardians decide together")]
    possessions: Annotated[Possessions, public("by those who are new, in their order")]
    generation: Annotated[Uint, public("of the relation that this changes")]
    cosigner: Cosigner
    cosignature: Cosignature


@identity.method(senders=ANYONE)
def set_guardians(ctx: Context, state: State, args: GuardiansArgs) -> list[Event]:
    """Name other guardians, or the first. A second party co-signs: else a stolen key would first
    of all remove them, or name its thief's friends where there are none (rule I-10)."""
    relation = owned(ctx, state, args.org, args.handle)
    if args.generation != relation.generation:
        raise Refused("STALE_GENERATION", generation=relation.generation)
    check_cosignature(ctx, identity, "set_guardians", relation.guardians, args)
    check_guardians(args.guardians, args.threshold)
    new = tuple(one for one in args.guardians if one not in relation.guardians)
    use_guardians(ctx, state, args.org, args.handle, new, args.possessions)
    change(
        state,
        args.org,
        args.handle,
        relation,
        guardians=args.guardians,
        threshold=args.threshold,
        cancelled=False,
        generation=relation.generation + 1,
    )
    return [GUARDED(org=args.org, handle=args.handle)]


class ClaimArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("Ed25519 public key of the patient's device")]
    new_box_key: Annotated[Bytes32, public("X25519 public key of the patient's device")]
    possession: Annotated[Bytes64, public("by the new key")]


@identity.method(senders=ANYONE)
def claim(ctx: Context, state: State, args: ClaimArgs) -> list[Event]:
    """The patient's own key takes the place of the hospital's, at once; the hospital's key signs.
    Against a hospital that will not, there is recovery (rule I-6)."""
    relation = owned(ctx, state, args.org, args.handle)
    if not relation.custodial:
        raise Refused("NOT_CUSTODIAL")
    _use_new(ctx, state, args, "claim")
    _install(state, args.org, args.handle, relation, args.new_key, args.new_box_key)
    return [CLAIMED(org=args.org, handle=args.handle)]


# ── recovery ─────────────────────────────────────────────────────────────────


class RecoverArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("Ed25519 public key")]
    new_box_key: Annotated[Bytes32, public("X25519 public key")]
    possession: Annotated[Bytes64, public("by the new key")]


@identity.method(senders=ANYONE)
def recover_propose(ctx: Context, state: State, args: RecoverArgs) -> list[Event]:
    """Propose new keys for a relation whose owner lost his: by a guardian, or by the operator of
    its organisation (rule I-4)."""
    relation = settled(ctx, known(state, args.org, args.handle))
    mine = ctx.capacity is Capacity.OPERATOR and ctx.member == args.org
    if not mine and ctx.sender not in relation.guardians:
        raise Refused(NOT_AUTHORISED)
    before, wait_ms = relation.recovery, ctx.parameters.recovery_wait_ms
    if relation.recovery_at(ctx.time_ms) is not None:
        raise Refused("RECOVERY_OPEN")
    if before is not None and ctx.time_ms < before.ready_ms + wait_ms:
        raise Refused("TOO_EARLY", ready_ms=before.ready_ms + wait_ms)
    _use_new(ctx, state, args, "recover")
    # After one cancellation it takes one approval more, and the old key has no say any more: else
    # a thief could hold his victim off for ever. Where the guardians are too few for it, it is
    # another organisation's: else all guardians, who may be one, could take what they like.
    needed = max(relation.threshold, 1) + relation.cancelled
    ready_ms = ctx.time_ms + wait_ms
    first = (ctx.sender,) if ctx.sender in relation.guardians else ()
    recovery = Recovery(
        args.new_key, args.new_box_key, first, needed, ready_ms, not relation.cancelled
    )
    # The rotation that waits may be the thief's.
    change(state, args.org, args.handle, relation, recovery=recovery, rotation=None)
    return [
        RECOVERING(
            org=args.org,
            handle=args.handle,
            ready_ms=ready_ms,
            cancellable=recovery.cancellable,
        )
    ]


@identity.method(senders=ANYONE)
def recover_approve(ctx: Context, state: State, args: AboutKeyArgs) -> list[Event]:
    """Approve this key: a guardian; where they are too few, the operator of another organisation."""
    relation, recovery = _recovering(ctx, state, args)
    if recovery.new_key != args.new_key:
        raise Refused("NO_RECOVERY")
    who = _approver(ctx, relation, recovery, args.org)
    if who in recovery.approvals:
        raise Refused("ALREADY_APPROVED")
    if len(recovery.approvals) < recovery.needed:  # more change nothing
        recovery = replace(recovery, approvals=(*recovery.approvals, who))
        change(state, args.org, args.handle, relation, recovery=recovery)
    return [APPROVED(org=args.org, handle=args.handle, approvals=len(recovery.approvals))]


def _approver(ctx: Context, relation: RelationEntry, recovery: Recovery, org: str) -> bytes:
    """As whom the sender approves. Organisations have as many seats as guardians leave open."""
    if ctx.sender in relation.guardians:
        return ctx.sender
    if ctx.capacity is not Capacity.OPERATOR or ctx.member in (None, org):
        raise Refused(NOT_AUTHORISED)
    assert ctx.member is not None, "an operator's key has its organisation"
    who = forms.approver(ctx.member)
    taken = [one for one in recovery.approvals if one not in relation.guardians]
    if who not in taken and len(taken) >= recovery.needed - len(relation.guardians):
        raise Refused(NOT_AUTHORISED)
    return who


@identity.method(senders=ANYONE)
def recover_cancel(ctx: Context, state: State, args: AboutKeyArgs) -> list[Event]:
    """The old key objects to this one: once."""
    relation, recovery = _recovering(ctx, state, args)
    if recovery.new_key != args.new_key:
        raise Refused("NO_RECOVERY")
    if ctx.sender != relation.owner_key:
        raise Refused(NOT_AUTHORISED)
    if not recovery.cancellable:
        raise Refused("NOT_CANCELLABLE")
    change(state, args.org, args.handle, relation, recovery=None, cancelled=True)
    return [CANCELLED(org=args.org, handle=args.handle)]


@identity.method(senders=ANYONE)
def recover_finish(ctx: Context, state: State, args: RelationArgs) -> list[Event]:
    """Put the new keys in force: approved, and the waiting time over. Anybody may."""
    relation, recovery = _recovering(ctx, state, args)
    if len(recovery.approvals) < recovery.needed:
        raise Refused(
            "TOO_FEW_APPROVALS", approvals=len(recovery.approvals), needed=recovery.needed
        )
    if ctx.time_ms < recovery.ready_ms:
        raise Refused("TOO_EARLY", ready_ms=recovery.ready_ms)
    _install(state, args.org, args.handle, relation, recovery.new_key, recovery.new_box_key)
    return [RECOVERED(org=args.org, handle=args.handle)]


def _recovering(
    ctx: Context, state: State, args: RelationArgs | AboutKeyArgs
) -> tuple[RelationEntry, Recovery]:
    relation = known(state, args.org, args.handle)
    recovery = relation.recovery_at(ctx.time_ms)
    if recovery is None:
        raise Refused("NO_RECOVERY")
    return relation, recovery


def _use_new(
    ctx: Context, state: State, args: RotateArgs | ClaimArgs | RecoverArgs, purpose: str
) -> None:
    """The new owner key has signed for itself and for the box key that comes with it."""
    payload = forms.possession(ctx.chain_id, args.org, args.handle, purpose, args.new_box_key)
    use_key(ctx, state, args.org, args.handle, args.new_key, payload, args.possession)


def _install(
    state: State, org: str, handle: bytes, relation: RelationEntry, key: bytes, box_key: bytes
) -> None:
    """New keys; what the old one had given away goes with it."""
    change(
        state,
        org,
        handle,
        relation,
        owner_key=key,
        box_key=box_key,
        custodial=False,
        delegates=(),
        rotation=None,
        recovery=None,
        cancelled=False,
        generation=relation.generation + 1,
    )
