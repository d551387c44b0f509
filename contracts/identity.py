"""Identity: a patient's relations to organisations, and the keys that speak for them (decision 0010).

A relation is a handle at one organisation with an owner key of its own, so nothing here joins two
of one person. When keys change hands stands in contracts/rotation.py, when they are lost in
contracts/recovery.py;
terms, biometrics and cards in contracts/enrolment.py.
"""

from typing import Annotated

import msgspec

from contracts.context import Capacity, Context
from contracts.cosign import Cosignature, Cosigner, check_cosignature
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import ANYONE, Contract
from contracts.members import key_taken
from contracts.state import ReadState, State
from salus import relation as forms
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Wire
from salus.genesis import Role
from salus.keys import valid_public_key, verify
from salus.relation import (
    DAY_MS,
    DELEGATES_MAX,
    GUARDIANS_MAX,
    Day,
    Delegate,
    Guardians,
    RelationEntry,
    Rights,
    Threshold,
    relation_key,
)
from salus.staff import StaffRole
from salus.validators import MemberId

identity = Contract(
    "identity",
    version=1,
    doc="Patients' relations to organisations: handles, keys, guardians, delegates, recovery.",
    reads=("members",),
    refusals={
        "UNKNOWN_RELATION": "This organisation has no relation with this handle.",
        "DUPLICATE_HANDLE": "This organisation has a relation with this handle.",
        "KEY_IN_USE": "The key belongs to somebody already; every key has one owner, for ever.",
        "BAD_KEY": "The 32 bytes are not a valid Ed25519 public key.",
        "NO_POSSESSION": "The key has not signed what it is entered for.",
        "BAD_GUARDIANS": "Guardians ascend, each with a signature, the threshold 1 to their number.",
        "NEEDS_COSIGNATURE": "This needs co-signatures of guardians, or of other organisations.",
        "BAD_COSIGNATURE": "A co-signature is of a key that may not, or does not fit.",
        "STALE_GENERATION": "The relation's keys changed since; fact `generation`.",
        "ROTATION_WAITS": "A rotation waits already; fact `effective_ms`.",
        "NO_ROTATION": "No rotation to this key waits, or it is in force already.",
        "RECOVERY_OPEN": "A recovery was approved: no rotation, grant or change until it ends.",
        "NO_RECOVERY": "No recovery to this key is open.",
        "RECOVERIES_FULL": "16 recoveries are proposed; each is over after its waiting time.",
        "ALREADY_APPROVED": "This key, or this organisation, approved or vetoed before.",
        "NOT_CANCELLABLE": "The old key cancelled one not long ago, and has no second say.",
        "TOO_FEW_APPROVALS": "Not enough approvals; facts `approvals`, `needed`.",
        "TOO_EARLY": "The waiting time is not over; fact `ready_ms`.",
        "NOT_CUSTODIAL": "The patient holds the key of this relation.",
        "DUPLICATE_DELEGATE": "The key is a delegate of this relation.",
        "UNKNOWN_DELEGATE": "No delegate of this relation has this key.",
        "TOO_MANY_DELEGATES": "A relation has at most 8 delegates; remove one.",
        "BAD_RIGHTS": "Rights are listed once each, in ascending order, at least one.",
        "BAD_PERIOD": "The last day is over already.",
        "UNKNOWN_TERMS": "This organisation published no terms.",
        "OLD_TERMS": "A newer version of the terms is published; fact `version`.",
        "BAD_VERSION": "Versions of terms rise by one; fact `version` is the newest.",
        "DUPLICATE_TEMPLATE": "The template commitment is enrolled already.",
        "UNKNOWN_TEMPLATE": "No such template commitment is enrolled here.",
        "TEMPLATE_ENDED": "The enrolment was withdrawn; fact `height`.",
        "BAD_NUMBER": "Comparisons count up from 1; fact `number` is the newest.",
        "DUPLICATE_CARD": "A card with this id exists.",
        "UNKNOWN_CARD": "No card of this relation has this id.",
    },
)

REGISTERED = identity.event(
    "registered",
    "An organisation registered a relation.",
    org="the organisation",
    handle="it",
    custodial="the organisation says that it holds the owner key",
)
DELEGATED = identity.event(
    "delegated", "A relation has a new delegate.", org="the organisation", handle="the relation"
)
UNDELEGATED = identity.event(
    "undelegated", "A delegate was removed.", org="the organisation", handle="the relation"
)

# Who may register patients for an organisation, beside its operator (rule I-1).
_REGISTRARS = frozenset({StaffRole.ADMINISTRATION, StaffRole.GATEWAY})
CARE_ROLES = (Role.HOSPITAL, Role.LABORATORY, Role.PHARMACY)


class KeyUse(Wire, frozen=True):
    """State under key/<public key>: of which relation a key is, or was; for ever."""

    org: MemberId
    handle: Bytes32


class TagEntry(Wire, frozen=True):
    """State under tag/<org>/<tag>: the first relation with this identity tag."""

    handle: Bytes32


Possessions = Annotated[tuple[Bytes64, ...], msgspec.Meta(max_length=GUARDIANS_MAX)]

# ── methods ──────────────────────────────────────────────────────────────────


class RegisterArgs(Wire, frozen=True):
    handle: Annotated[Bytes32, public("names the patient here and nowhere else")]
    owner_key: Annotated[Bytes32, public("Ed25519 public key that decides for the patient")]
    box_key: Annotated[Bytes32, public("X25519 public key that messages are sealed to")]
    custodial: Annotated[bool, public("the organisation holds the owner key")]
    guardians: Annotated[Guardians, public("keys of guardians, of this relation alone")]
    threshold: Annotated[Threshold, public("how many guardians decide together")]
    possessions: Annotated[Possessions, public("by the guardians, in their order")]
    tag: Annotated[
        Bytes32, committed("identity tag of organisation and identifier, or random bytes")
    ]
    owner_signature: Annotated[Bytes64, public("by the owner key, over all of this")]


@identity.method(senders=(Capacity.OPERATOR, Capacity.STAFF), roles=CARE_ROLES)
def register(ctx: Context, state: State, args: RegisterArgs) -> list[Event]:
    """Register a patient's relation to the sender's organisation."""
    org = registrar(ctx)
    if state.get(RelationEntry, _place(org, args.handle)) is not None:
        raise Refused("DUPLICATE_HANDLE")
    check_guardians(args.guardians, args.threshold)
    if args.custodial and args.guardians:
        # They would be the hospital's own, and co-sign what it may not do alone (rule I-6).
        raise Refused("NEEDS_COSIGNATURE")
    payload = forms.registration(
        ctx.chain_id,
        org,
        args.handle,
        args.owner_key,
        args.box_key,
        args.custodial,
        args.guardians,
        args.threshold,
        args.tag,
    )
    use_key(ctx, state, org, args.handle, args.owner_key, payload, args.owner_signature)
    use_guardians(ctx, state, org, args.handle, args.guardians, args.possessions)
    # A tag in use is no refusal: nobody is refused care for a double entry (rule I-2).
    if state.get(TagEntry, _tag(org, args.tag)) is None:
        state.put(_tag(org, args.tag), TagEntry(args.handle))
    put(
        state,
        org,
        args.handle,
        RelationEntry(
            owner_key=args.owner_key,
            box_key=args.box_key,
            custodial=args.custodial,
            guardians=args.guardians,
            threshold=args.threshold,
            delegates=(),
            rotation=None,
            recovery=None,
            proposals=(),
            cancelled_until_ms=0,
            generation=0,
            terms_version=0,
            since_height=ctx.height,
        ),
    )
    return [REGISTERED(org=org, handle=args.handle, custodial=args.custodial)]


class DelegateAddArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    key: Annotated[Bytes32, public("Ed25519 public key of the delegate, of this relation alone")]
    rights: Annotated[Rights, public("what it may do")]
    until_day: Annotated[Day, public("its last day: UTC days since 1970")]
    possession: Annotated[Bytes64, public("by the key: that it belongs to this relation")]
    cosigner: Cosigner
    cosignature: Cosignature


@identity.method(senders=ANYONE)
def delegate_add(ctx: Context, state: State, args: DelegateAddArgs) -> list[Event]:
    """Give a device or a person some of the owner's rights (rule I-5)."""
    relation = owned(ctx, state, args.org, args.handle)
    if relation.custodial:
        check_cosignature(ctx, identity, "delegate_add", relation.guardians, args)
    if list(args.rights) != sorted(set(args.rights)):
        raise Refused("BAD_RIGHTS")
    if args.until_day < ctx.time_ms // DAY_MS:
        raise Refused("BAD_PERIOD")
    kept = tuple(one for one in relation.delegates if one.until_day >= ctx.time_ms // DAY_MS)
    if any(one.key == args.key for one in kept):
        raise Refused("DUPLICATE_DELEGATE")
    if len(kept) >= DELEGATES_MAX:
        raise Refused("TOO_MANY_DELEGATES")
    payload = forms.possession(ctx.chain_id, args.org, args.handle, "delegate")
    use_key(ctx, state, args.org, args.handle, args.key, payload, args.possession)
    delegate = Delegate(args.key, args.rights, args.until_day)
    change(state, args.org, args.handle, relation, delegates=(*kept, delegate))
    return [DELEGATED(org=args.org, handle=args.handle)]


class DelegateRemoveArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    key: Annotated[Bytes32, public("of the delegate")]
    cosigner: Cosigner
    cosignature: Cosignature


@identity.method(senders=ANYONE)
def delegate_remove(ctx: Context, state: State, args: DelegateRemoveArgs) -> list[Event]:
    """Take a delegate's rights, at once; the delegate itself may also give them back. Where the
    hospital holds the key, with a co-signature: the patient's phone may be all he has (rule I-6)."""
    relation = known(state, args.org, args.handle)
    if ctx.sender not in (relation.owner_at(ctx.time_ms), args.key):
        raise Refused(NOT_AUTHORISED)
    if relation.custodial and ctx.sender != args.key:
        check_cosignature(ctx, identity, "delegate_remove", relation.guardians, args)
    kept = tuple(one for one in relation.delegates if one.key != args.key)
    if len(kept) == len(relation.delegates):
        raise Refused("UNKNOWN_DELEGATE")
    change(state, args.org, args.handle, relation, delegates=kept)
    return [UNDELEGATED(org=args.org, handle=args.handle)]


# ── for the other files of this contract ─────────────────────────────────────


def registrar(ctx: Context) -> str:
    """The organisation for which the sender registers patients."""
    identity = ctx.identity
    assert identity is not None, "the framework admits members only"
    staff = identity.capacity is Capacity.STAFF
    if staff and _REGISTRARS.isdisjoint(identity.staff_roles):
        raise Refused(NOT_AUTHORISED)
    return identity.member


def known(state: ReadState, org: str, handle: bytes) -> RelationEntry:
    relation = state.get(RelationEntry, _place(org, handle))
    if relation is None:
        raise Refused("UNKNOWN_RELATION")
    return relation


def owned(ctx: Context, state: State, org: str, handle: bytes) -> RelationEntry:
    """The relation, if the sender is its owner and no recovery freezes it (rule I-4)."""
    relation = known(state, org, handle)
    if ctx.sender != relation.owner_at(ctx.time_ms):
        raise Refused(NOT_AUTHORISED)
    if relation.frozen:
        raise Refused("RECOVERY_OPEN")
    return settled(ctx, relation)


def settled(ctx: Context, relation: RelationEntry) -> RelationEntry:
    """With a rotation that is in force by now entered: the next write brings it to the state."""
    return relation.settled_at(ctx.time_ms)


def put(state: State, org: str, handle: bytes, relation: RelationEntry) -> None:
    state.put(_place(org, handle), relation)


def change(
    state: State, org: str, handle: bytes, relation: RelationEntry, **fields: object
) -> None:
    put(state, org, handle, msgspec.structs.replace(relation, **fields))


def check_guardians(guardians: tuple[bytes, ...], threshold: int) -> None:
    if list(guardians) != sorted(set(guardians)):
        raise Refused("BAD_GUARDIANS")
    if threshold > len(guardians) or (threshold == 0) != (not guardians):
        raise Refused("BAD_GUARDIANS")


def use_key(
    ctx: Context,
    state: State,
    org: str,
    handle: bytes,
    key: bytes,
    payload: bytes,
    signature: bytes,
) -> None:
    """Enter a signing key that has signed `payload`; each belongs to one relation for ever."""
    if not valid_public_key(key):
        raise Refused("BAD_KEY")
    if not verify(key, payload, signature):
        raise Refused("NO_POSSESSION")
    if state.get(KeyUse, _key(key)) is not None or ctx.ask(key_taken, key):
        raise Refused("KEY_IN_USE")
    state.put(_key(key), KeyUse(org, handle))


def use_guardians(
    ctx: Context,
    state: State,
    org: str,
    handle: bytes,
    keys: tuple[bytes, ...],
    possessions: tuple[bytes, ...],
) -> None:
    """Enter guardians' keys, each with its signature: else anybody could name a key that he saw
    in a waiting transaction as his guardian's, and its owner could never use it."""
    if len(keys) != len(possessions):
        raise Refused("BAD_GUARDIANS")
    payload = forms.possession(ctx.chain_id, org, handle, "guardian")
    for key, signature in zip(keys, possessions, strict=True):
        use_key(ctx, state, org, handle, key, payload, signature)


# ── views and queries ────────────────────────────────────────────────────────


@identity.view
def relation(state: ReadState, org: str, handle: bytes) -> RelationEntry | None:
    """For other contracts: a relation by organisation and handle."""
    return state.get(RelationEntry, _place(org, handle))


class RelationArgs(Wire, frozen=True):
    org: MemberId
    handle: Bytes32


@identity.query
def relation_of(state: ReadState, args: RelationArgs) -> RelationEntry | None:
    """A relation by organisation and handle, as it stands; a rotation that waits is shown."""
    return state.get(RelationEntry, _place(args.org, args.handle))


class TagArgs(Wire, frozen=True):
    org: MemberId
    tag: Bytes32


@identity.query
def by_tag(state: ReadState, args: TagArgs) -> TagEntry | None:
    """The first relation with an identity tag at an organisation."""
    return state.get(TagEntry, _tag(args.org, args.tag))


class KeyArgs(Wire, frozen=True):
    public_key: Bytes32


@identity.query
def by_key(state: ReadState, args: KeyArgs) -> KeyUse | None:
    """The relation that a key belongs or belonged to."""
    return state.get(KeyUse, _key(args.public_key))


def _tag(org: str, tag: bytes) -> bytes:
    return b"tag/" + org.encode("ascii") + b"/" + tag


def _key(key: bytes) -> bytes:
    return b"key/" + key


def _place(org: str, handle: bytes) -> bytes:
    return relation_key(org, handle).removeprefix(b"identity/")
