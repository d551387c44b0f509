"""Records: batches of record versions are anchored by their Merkle root; a version ends by
publishing its tag (health.md §4.5).

A leaf is H(version commitment ‖ H(tag)), the tag 32 random bytes. A new version spends the
predecessor's tag, with proof that it stands in a batch of the same organisation. So nobody can
see from the chain what a record is about, or that two anchors belong together, until a version
ends; and "current as of H" is provable: inclusion, and absence of the spent tag at H.
"""

from enum import StrEnum
from typing import Annotated

from contracts.context import Capacity, Context
from contracts.errors import Refused
from contracts.fields import committed, public
from contracts.framework import Contract
from contracts.state import ReadState, State
from salus import merkle
from salus.block import Event
from salus.codec import Bytes32, Uint, Wire
from salus.errors import VerificationError
from salus.genesis import Role
from salus.record import (
    Anchor,
    LeafCount,
    LeafIndex,
    LeafPath,
    Spent,
    anchor_key,
    record_leaf,
    spent_key,
    tag_hash,
)
from salus.validators import MemberId

records = Contract(
    "records",
    version=1,
    doc="Commitments to record versions: anchored in batches, superseded, retracted.",
    reads=("members",),
    refusals={
        "BAD_BATCH": "A batch has a power of two of leaves; pad it with random ones.",
        "DUPLICATE_ROOT": "This organisation anchored the root before; fact `height`.",
        "UNKNOWN_ANCHOR": "This organisation anchored no batch with this root.",
        "BAD_PROOF": "The path does not lead from this version to the anchored root.",
        "TAG_SPENT": "The version was ended before; facts `height` and `tx_id` say by whom.",
        "UNKNOWN_SUCCESSOR": "The successor's batch was not anchored by this organisation.",
        "SAME_SUCCESSOR": "A version cannot be superseded by its own batch.",
    },
)

ANCHORED = records.event(
    "anchored",
    "An organisation anchored a batch.",
    org="the organisation",
    root="the batch",
    leaves="its size, padding included",
)
SUPERSEDED = records.event(
    "superseded",
    "A version was replaced by one in a later batch.",
    org="the organisation",
    root="the batch of the old version",
    tag_hash="H(tag) of the old version",
    successor_root="the batch of the new version",
)
RETRACTED = records.event(
    "retracted",
    "A version was withdrawn without a successor.",
    org="the organisation",
    root="the batch of the version",
    tag_hash="H(tag) of the version",
)

# Operators only: a personal key on every record would publish who treated whom, and when. The
# author is committed instead.
_SENDERS = (Capacity.OPERATOR,)
_ROLES = (Role.HOSPITAL, Role.LABORATORY)

_ANCHOR_PREFIX = b"records/"


class AnchorArgs(Wire, frozen=True):
    root: Annotated[Bytes32, committed("RFC 6962 root over the leaves of the batch")]
    leaves: Annotated[LeafCount, public("how many leaves, padded to a power of two")]
    author: Annotated[Bytes32, committed("staff who wrote the records")]
    context: Annotated[Bytes32, committed("label, class and time of care")]


@records.method(senders=_SENDERS, roles=_ROLES)
def anchor(ctx: Context, state: State, args: AnchorArgs) -> list[Event]:
    """Anchor a batch of record versions by its root; a single one is a batch of one."""
    if args.leaves & (args.leaves - 1):
        raise Refused("BAD_BATCH")
    org = _org(ctx)
    key = _own(anchor_key(org, args.root))
    known = state.get(Anchor, key)
    if known is not None:
        raise Refused("DUPLICATE_ROOT", height=known.height)
    state.put(key, Anchor(org, ctx.height, args.leaves))
    return [ANCHORED(org=org, root=args.root, leaves=args.leaves)]


class SupersedeArgs(Wire, frozen=True):
    root: Annotated[Bytes32, committed("the batch of the old version")]
    leaves: Annotated[LeafCount, public("size of that batch")]
    index: Annotated[LeafIndex, public("position of the old version in it")]
    version_commitment: Annotated[Bytes32, committed("Merkle root over the version's salted parts")]
    tag: Annotated[Bytes32, public("random; now spent")]
    path: Annotated[LeafPath, committed("siblings from the leaf to the root")]
    successor_root: Annotated[Bytes32, committed("the batch of the new version")]


@records.method(senders=_SENDERS, roles=_ROLES)
def supersede(ctx: Context, state: State, args: SupersedeArgs) -> list[Event]:
    """End a version: a newer one, in a batch that is anchored already, takes its place."""
    org = _org(ctx)
    hash_of_tag = _check_version(org, state, args)
    if args.successor_root == args.root:
        raise Refused("SAME_SUCCESSOR")
    if state.get(Anchor, _own(anchor_key(org, args.successor_root))) is None:
        raise Refused("UNKNOWN_SUCCESSOR")
    _spend(ctx, state, org, hash_of_tag, args.successor_root)
    return [
        SUPERSEDED(
            org=org, root=args.root, tag_hash=hash_of_tag, successor_root=args.successor_root
        )
    ]


class RetractArgs(Wire, frozen=True):
    root: Annotated[Bytes32, committed("the batch of the version")]
    leaves: Annotated[LeafCount, public("size of that batch")]
    index: Annotated[LeafIndex, public("position of the version in it")]
    version_commitment: Annotated[Bytes32, committed("Merkle root over the version's salted parts")]
    tag: Annotated[Bytes32, public("random; now spent")]
    path: Annotated[LeafPath, committed("siblings from the leaf to the root")]
    reason: Annotated[Bytes32, committed("why it is withdrawn")]


@records.method(senders=_SENDERS, roles=_ROLES)
def retract(ctx: Context, state: State, args: RetractArgs) -> list[Event]:
    """End a version without a successor."""
    org = _org(ctx)
    hash_of_tag = _check_version(org, state, args)
    _spend(ctx, state, org, hash_of_tag, None)
    return [RETRACTED(org=org, root=args.root, tag_hash=hash_of_tag)]


def _check_version(org: str, state: State, args: SupersedeArgs | RetractArgs) -> bytes:
    """The version stands in a batch of this organisation; returns H(tag)."""
    batch = state.get(Anchor, _own(anchor_key(org, args.root)))
    if batch is None:
        raise Refused("UNKNOWN_ANCHOR")
    hash_of_tag = tag_hash(args.tag)
    leaf = record_leaf(args.version_commitment, hash_of_tag)
    try:
        merkle.verify_inclusion(leaf, args.index, batch.leaves, args.path, args.root)
    except VerificationError:
        raise Refused("BAD_PROOF") from None
    if args.leaves != batch.leaves:
        raise Refused("BAD_PROOF")
    return hash_of_tag


def _spend(
    ctx: Context, state: State, org: str, hash_of_tag: bytes, successor_root: bytes | None
) -> None:
    key = _own(spent_key(org, hash_of_tag))
    before = state.get(Spent, key)
    if before is not None:
        raise Refused("TAG_SPENT", height=before.height, tx_id=before.tx_id)
    state.put(key, Spent(ctx.height, successor_root, ctx.tx_id))


def _org(ctx: Context) -> str:
    org = ctx.member
    assert org is not None, "the framework admits operators of organisations only"
    return org


def _own(state_key: bytes) -> bytes:
    """salus/record.py names whole state keys; contracts speak within their prefix."""
    return state_key.removeprefix(_ANCHOR_PREFIX)


# ── queries ──────────────────────────────────────────────────────────────────


class RootArgs(Wire, frozen=True):
    org: MemberId
    root: Bytes32


@records.query
def batch(state: ReadState, args: RootArgs) -> Anchor | None:
    """When an organisation anchored a root, and how many leaves it has."""
    return state.get(Anchor, _own(anchor_key(args.org, args.root)))


class VersionArgs(Wire, frozen=True):
    org: MemberId
    root: Bytes32
    tag_hash: Bytes32


class Standing(StrEnum):
    UNKNOWN = "unknown"
    CURRENT = "current"
    SUPERSEDED = "superseded"
    RETRACTED = "retracted"


class VersionAnswer(Wire, frozen=True):
    """`current` speaks of a leaf with this tag, if the batch holds one: the inclusion path, which
    only its owner has, proves that."""

    standing: Standing
    org: MemberId | None
    anchored_height: Uint | None
    ended_height: Uint | None
    successor_root: Bytes32 | None
    ended_by: Bytes32 | None  # transaction id


@records.query
def version(state: ReadState, args: VersionArgs) -> VersionAnswer:
    """Is the version with this tag hash, in this batch, current at the certified height?"""
    found = state.get(Anchor, _own(anchor_key(args.org, args.root)))
    if found is None:
        return VersionAnswer(Standing.UNKNOWN, None, None, None, None, None)
    spent = state.get(Spent, _own(spent_key(found.org, args.tag_hash)))
    if spent is None:
        return VersionAnswer(Standing.CURRENT, found.org, found.height, None, None, None)
    standing = Standing.RETRACTED if spent.successor_root is None else Standing.SUPERSEDED
    return VersionAnswer(
        standing, found.org, found.height, spent.height, spent.successor_root, spent.tx_id
    )
