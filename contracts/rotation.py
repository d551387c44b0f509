"""Identity, when keys change hands as their owner likes: rotation, guardians, claim (rules I-3, I-6,
I-10 of decision 0010). Methods of the `identity` contract; without the owner: contracts/recovery.py.

Waiting times count in block time, for an idle chain makes no heights. Nothing takes a turn: a
rotation that is due is in force for whoever asks, and stands in the state with the next write.
"""

from typing import Annotated, Protocol

from msgspec.structs import replace

from contracts.context import Context
from contracts.cosign import (
    Cosignature,
    Cosignatures,
    Cosigner,
    Cosigners,
    check_cosignature,
    check_cosignatures,
)
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
from salus.relation import Guardians, PendingRotation, RelationEntry, Threshold
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
    use_new(ctx, state, args, "rotate")
    at_ms = ctx.time_ms + ctx.parameters.rotation_wait_ms
    rotation = PendingRotation(args.new_key, args.new_box_key, at_ms, ())
    change(state, args.org, args.handle, relation, rotation=rotation)
    return [ROTATING(org=args.org, handle=args.handle, at_ms=at_ms)]


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
    cosigners: Cosigners
    cosignatures: Cosignatures


@identity.method(senders=ANYONE)
def set_guardians(ctx: Context, state: State, args: GuardiansArgs) -> list[Event]:
    """Name other guardians, or the first. Others co-sign, as many as could take the relation over:
    else a stolen key would first of all remove them, or name its thief's friends (rule I-10)."""
    relation = owned(ctx, state, args.org, args.handle)
    if args.generation != relation.generation:
        raise Refused("STALE_GENERATION", generation=relation.generation)
    check_cosignatures(ctx, identity, "set_guardians", relation, args)
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
        proposals=(),  # approved by those who are guardians no more
        cancelled_until_ms=0,
        generation=relation.generation + 1,
    )
    return [GUARDED(org=args.org, handle=args.handle)]


class ClaimArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    new_key: Annotated[Bytes32, public("Ed25519 public key of the patient's device")]
    new_box_key: Annotated[Bytes32, public("X25519 public key of the patient's device")]
    possession: Annotated[Bytes64, public("by the new key")]
    cosigner: Cosigner
    cosignature: Cosignature


@identity.method(senders=ANYONE)
def claim(ctx: Context, state: State, args: ClaimArgs) -> list[Event]:
    """The patient's own key takes the place of the hospital's, at once; the hospital's key signs, and
    who saw the patient with his device co-signs: else a hospital could shed the bounds of its key by
    claiming for itself. Against a hospital that will not, there is recovery (rule I-6)."""
    relation = owned(ctx, state, args.org, args.handle)
    if not relation.custodial:
        raise Refused("NOT_CUSTODIAL")
    check_cosignature(ctx, identity, "claim", relation.guardians, args)
    use_new(ctx, state, args, "claim")
    install(state, args.org, args.handle, relation, args.new_key, args.new_box_key)
    return [CLAIMED(org=args.org, handle=args.handle)]


# ── for contracts/recovery.py too ──────────────────────────────────────────────────────────────


class NewKeys(Protocol):
    """Arguments that name new owner and box keys."""

    @property
    def org(self) -> str: ...
    @property
    def handle(self) -> bytes: ...
    @property
    def new_key(self) -> bytes: ...
    @property
    def new_box_key(self) -> bytes: ...
    @property
    def possession(self) -> bytes: ...


def use_new(ctx: Context, state: State, args: NewKeys, purpose: str) -> None:
    """The new owner key has signed for itself and for the box key that comes with it."""
    payload = forms.possession(ctx.chain_id, args.org, args.handle, purpose, args.new_box_key)
    use_key(ctx, state, args.org, args.handle, args.new_key, payload, args.possession)


def install(
    state: State, org: str, handle: bytes, relation: RelationEntry, key: bytes, box_key: bytes
) -> None:
    """New keys; what the old one had given away goes with it, and what the hospital's key
    accepted in the patient's name."""
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
        proposals=(),
        cancelled_until_ms=0,
        generation=relation.generation + 1,
        terms_version=0 if relation.custodial else relation.terms_version,
    )
