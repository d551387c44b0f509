"""Identity, when keys change hands or are lost: rotation, guardians, recovery, claim (rules I-3, I-4,
I-6 of decision 0010). Methods of the `identity` contract.

Waiting times count in block time, for an idle chain makes no heights. Nothing takes a turn: a
rotation that is due is in force for whoever asks, and stands in the state with the next write.
"""

from typing import Annotated

from contracts.context import Capacity, Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import public
from contracts.framework import ANYONE
from contracts.identity import (
    change,
    check_guardians,
    identity,
    known,
    owned,
    settled,
    use_box_key,
    use_guardian,
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
    possession: Annotated[Bytes64, public("by the new key")]


@identity.method(senders=ANYONE)
def rotate_key(ctx: Context, state: State, args: RotateArgs) -> list[Event]:
    """Name a new owner key; it is in force after `rotation_wait_ms` of block time (rule I-3)."""
    relation = owned(ctx, state, args.org, args.handle)
    if relation.rotation is not None:
        raise Refused("ROTATION_WAITS", effective_ms=relation.rotation.effective_ms)
    payload = forms.possession(ctx.chain_id, args.org, args.handle, "rotate")
    use_key(ctx, state, args.org, args.handle, args.new_key, payload, args.possession)
    at_ms = ctx.time_ms + ctx.parameters.rotation_wait_ms
    change(
        state, args.org, args.handle, relation, rotation=PendingRotation(args.new_key, at_ms, ())
    )
    return [ROTATING(org=args.org, handle=args.handle, at_ms=at_ms)]


class RelationArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]


@identity.method(senders=ANYONE)
def veto(ctx: Context, state: State, args: RelationArgs) -> list[Event]:
    """A guardian objects to a rotation that waits; `threshold` of them stop it (rule I-3)."""
    relation = settled(ctx, known(state, args.org, args.handle))
    if ctx.sender not in relation.guardians:
        raise Refused(NOT_AUTHORISED)
    rotation = relation.rotation
    if rotation is None:
        raise Refused("NO_ROTATION")
    if ctx.sender in rotation.vetoes:
        raise Refused("ALREADY_APPROVED")
    vetoes = (*rotation.vetoes, ctx.sender)
    if len(vetoes) < relation.threshold:
        waiting = PendingRotation(rotation.new_key, rotation.effective_ms, vetoes)
        change(state, args.org, args.handle, relation, rotation=waiting)
        return []
    change(state, args.org, args.handle, relation, rotation=None)
    return [VETOED(org=args.org, handle=args.handle)]


class GuardiansArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    guardians: Annotated[Guardians, public("keys of guardians, of this relation alone")]
    threshold: Annotated[Threshold, public("how many guardians decide together")]
    generation: Annotated[Uint, public("of the relation that this changes")]
    cosigner: Cosigner
    cosignature: Cosignature


@identity.method(senders=ANYONE)
def set_guardians(ctx: Context, state: State, args: GuardiansArgs) -> list[Event]:
    """Name other guardians. Where there are some, or the hospital holds the key, a second party
    co-signs: else a stolen key would first of all remove them (rule I-10)."""
    relation = owned(ctx, state, args.org, args.handle)
    if args.generation != relation.generation:
        raise Refused("STALE_GENERATION", generation=relation.generation)
    if relation.guardians or relation.custodial:
        check_cosignature(ctx, identity.name, "set_guardians", relation.guardians, args)
    check_guardians(args.guardians, args.threshold)
    for guardian in args.guardians:
        if guardian not in relation.guardians:
            use_guardian(ctx, state, args.org, args.handle, guardian)
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
    _replace(ctx, state, args, relation, "claim")
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
    payload = forms.possession(ctx.chain_id, args.org, args.handle, "recover")
    use_key(ctx, state, args.org, args.handle, args.new_key, payload, args.possession)
    use_box_key(ctx, state, args.org, args.handle, args.new_box_key)
    # After one cancellation it takes one approval more, and the old key has no say any more: else
    # a thief could hold his victim off for ever.
    needed = max(relation.threshold, 1) + relation.cancelled
    if relation.guardians:
        needed = min(needed, len(relation.guardians))
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
def recover_approve(ctx: Context, state: State, args: RelationArgs) -> list[Event]:
    """Approve: a guardian; where there are none, the operator of another organisation."""
    relation, recovery = _recovering(ctx, state, args)
    if relation.guardians:
        if ctx.sender not in relation.guardians:
            raise Refused(NOT_AUTHORISED)
        who = ctx.sender
    else:
        if ctx.capacity is not Capacity.OPERATOR or ctx.member in (None, args.org):
            raise Refused(NOT_AUTHORISED)
        assert ctx.member is not None, "an operator's key has its organisation"
        who = forms.approver(ctx.member)
    if who in recovery.approvals:
        raise Refused("ALREADY_APPROVED")
    if len(recovery.approvals) < recovery.needed:  # more change nothing
        recovery = _with(recovery, (*recovery.approvals, who))
        change(state, args.org, args.handle, relation, recovery=recovery)
    return [APPROVED(org=args.org, handle=args.handle, approvals=len(recovery.approvals))]


@identity.method(senders=ANYONE)
def recover_cancel(ctx: Context, state: State, args: RelationArgs) -> list[Event]:
    """The old key objects: once."""
    relation, recovery = _recovering(ctx, state, args)
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


def _recovering(ctx: Context, state: State, args: RelationArgs) -> tuple[RelationEntry, Recovery]:
    relation = known(state, args.org, args.handle)
    recovery = relation.recovery_at(ctx.time_ms)
    if recovery is None:
        raise Refused("NO_RECOVERY")
    return relation, recovery


def _with(recovery: Recovery, approvals: tuple[bytes, ...]) -> Recovery:
    return Recovery(
        recovery.new_key,
        recovery.new_box_key,
        approvals,
        recovery.needed,
        recovery.ready_ms,
        recovery.cancellable,
    )


def _replace(
    ctx: Context, state: State, args: ClaimArgs, relation: RelationEntry, purpose: str
) -> None:
    payload = forms.possession(ctx.chain_id, args.org, args.handle, purpose)
    use_key(ctx, state, args.org, args.handle, args.new_key, payload, args.possession)
    use_box_key(ctx, state, args.org, args.handle, args.new_box_key)
    _install(state, args.org, args.handle, relation, args.new_key, args.new_box_key)


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
