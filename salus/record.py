"""What the records contract writes to the state map, for whoever proves or verifies it.

A record version is one leaf of an anchored batch. Its tag, 32 random bytes, is published only
when the version is superseded or retracted; then it is *spent*. So "current as of H" is: the
leaf is under an anchored root, and the state at H has no spent entry for its tag (health.md
§4.5). Entries go by the tag's hash, so a proof of absence does not show the tag; and all keys go
by the organisation too: whoever sees a root or a tag in a pending transaction of another gains
nothing by sending it first.
"""

from hashlib import sha256
from typing import Annotated

import msgspec

from salus.block import Receipt
from salus.codec import Bytes32, Uint, Wire, encode
from salus.errors import VerificationError
from salus.hashing import domain, hasher
from salus.validators import MemberId

BATCH_LEAVES_MAX = 4096  # ◆ a path has at most 12 hashes; a day of a large hospital is one batch
BATCH_PATH_MAX = BATCH_LEAVES_MAX.bit_length() - 1

LeafCount = Annotated[int, msgspec.Meta(ge=1, le=BATCH_LEAVES_MAX)]
LeafIndex = Annotated[int, msgspec.Meta(ge=0, le=BATCH_LEAVES_MAX - 1)]
LeafPath = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=BATCH_PATH_MAX)]

_ANCHOR = b"records/anchor/"  # ◆ state keys: what a proof speaks of
_SPENT = b"records/spent/"

_hash_tag = hasher("record-tag")
_hash_leaf = hasher("record-leaf")
_ANCHOR_HASH = domain("record-anchor")  # written out below: for each record
_hash_spent = hasher("record-spent")


class Anchor(Wire, frozen=True):
    """State value under `anchor_key(org, root)`: who anchored the batch, when, and its size."""

    org: MemberId
    height: Uint
    leaves: LeafCount


class Spent(Wire, frozen=True):
    """State value under `spent_key(org, tag_hash)`: since when a version is no longer current."""

    height: Uint
    successor_root: Bytes32 | None  # None: retracted without a successor
    tx_id: Bytes32


def tag_hash(tag: bytes) -> bytes:
    """`tag`: 32 random bytes, secret until the version is spent."""
    return _hash_tag(tag)


def record_leaf(version_commitment: bytes, hash_of_tag: bytes) -> bytes:
    """◆ The leaf of a version in its batch; it stands in the RFC 6962 tree as a leaf hash."""
    return _hash_leaf(version_commitment + hash_of_tag)


def anchor_key(org: str, root: bytes) -> bytes:
    """The state key of a batch that this organisation anchored."""
    return _ANCHOR + sha256(_ANCHOR_HASH + encode((org, root))).digest()


def anchoring_org(receipt: Receipt) -> str:
    """Whose batch an executed `records.anchor` has anchored, by its certified receipt.

    Raises `VerificationError` if the receipt is of something else."""
    for event in receipt.events:
        if event.kind == "records.anchored" and isinstance(org := event.data.get("org"), str):
            return org
    raise VerificationError("the receipt does not say who anchored the batch")


def spent_key(org: str, hash_of_tag: bytes) -> bytes:
    """The state key whose absence says that the version is current."""
    return _SPENT + _hash_spent(encode((org, hash_of_tag)))
