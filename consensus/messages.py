"""The eight messages of the protocol and what each signature covers (rule S1).

PRE-PREPARE, PREPARE, COMMIT and CHECKPOINT are plain votes: their signature covers their own
fields. VIEW-CHANGE, NEW-VIEW and STATUS sign the hash of their content in place of a digest.
FETCH asks for the body of a proposal; the answer (BODY) carries bytes and no signature: its
digest is its proof. `sender` is an index in the validator set of `epoch`.
"""

from typing import Annotated, cast

import msgspec

from salus.certificate import Certificate, IndexedSignature
from salus.codec import Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.hashing import hasher
from salus.validators import VALIDATORS_MAX
from salus.vote import VoteDomain, VoteType

_hash_content = hasher("message-content")

NO_SIGNATURE = bytes(64)

# A VIEW-CHANGE can name at most a watermark window of sequences (parameters.py: ≤ 1024).
_Prepared = Annotated[tuple["PreparedCertificate", ...], msgspec.Meta(max_length=1024)]


class PrePrepare(Wire, frozen=True, tag=1):
    epoch: Uint
    view: Uint
    sequence: Uint
    digest: Bytes32
    sender: Uint
    signature: Bytes64


class Prepare(Wire, frozen=True, tag=2):
    epoch: Uint
    view: Uint
    sequence: Uint
    digest: Bytes32
    sender: Uint
    signature: Bytes64


class Commit(Wire, frozen=True, tag=3):
    epoch: Uint
    view: Uint
    sequence: Uint
    digest: Bytes32
    sender: Uint
    signature: Bytes64


class Checkpoint(Wire, frozen=True, tag=4):
    """Signs the header that execution gave (rule S12); `digest` is the header hash, `view` 0."""

    epoch: Uint
    view: Uint
    sequence: Uint
    digest: Bytes32
    sender: Uint
    signature: Bytes64


class PreparedCertificate(Wire, frozen=True):
    """A PRE-PREPARE of a view's primary and q−1 matching PREPAREs of others (rule S6)."""

    pre_prepare: PrePrepare
    prepares: Annotated[tuple[IndexedSignature, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


class ViewChange(Wire, frozen=True, tag=5):
    """I give up the views below `view`; here is what I have prepared (rules S7, S8).

    `low` proves the low watermark by a block certificate; None means the epoch's base, which
    every member of the epoch holds. `prepared` ascends by sequence, each above `low`.
    """

    epoch: Uint
    view: Uint
    low: Certificate | None
    prepared: _Prepared
    sender: Uint
    signature: Bytes64


class NewView(Wire, frozen=True, tag=6):
    """q VIEW-CHANGEs and the choice they force, as full signed PRE-PREPAREs (rule S9)."""

    epoch: Uint
    view: Uint
    view_changes: Annotated[tuple[ViewChange, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]
    pre_prepares: Annotated[tuple[PrePrepare, ...], msgspec.Meta(max_length=1024)]
    sender: Uint
    signature: Bytes64


class Status(Wire, frozen=True, tag=7):
    """Where I stand; whoever is ahead answers with what I lack (rules L19, L20).

    `view`: the view I work in or, inside a view change, the one I left; `wish`: the highest
    view I sent a VIEW-CHANGE for (= `view` when content); `certified`: my certified height.
    """

    epoch: Uint
    view: Uint
    wish: Uint
    certified: Uint
    sender: Uint
    signature: Bytes64


class Fetch(Wire, frozen=True, tag=8):
    """Send me the body with this digest; served for every prepared entry (rule S3)."""

    epoch: Uint
    sequence: Uint
    digest: Bytes32
    sender: Uint


Vote = PrePrepare | Prepare | Commit | Checkpoint
Message = PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView | Status | Fetch
SignedMessage = PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView | Status

_TYPES: dict[type, VoteType] = {
    PrePrepare: VoteType.PRE_PREPARE,
    Prepare: VoteType.PREPARE,
    Commit: VoteType.COMMIT,
    Checkpoint: VoteType.CHECKPOINT,
    ViewChange: VoteType.VIEW_CHANGE,
    NewView: VoteType.NEW_VIEW,
    Status: VoteType.STATUS,
}


_VOTES = frozenset((Commit, Checkpoint, Prepare, PrePrepare))


def vote_type(message: SignedMessage) -> VoteType:
    return _TYPES[type(message)]


def content_digest(message: ViewChange | NewView | Status) -> bytes:
    """What stands for the digest under the signature: the hash of all fields but the signature."""
    return _hash_content(encode(msgspec.structs.replace(message, signature=NO_SIGNATURE)))


def payload(domain: VoteDomain, message: SignedMessage) -> bytes:
    """The bytes that the sender signs."""
    about = type(message)
    kind = _TYPES[about]
    if about in _VOTES:  # nearly all; asked in every step
        vote: Vote = message  # type: ignore[assignment]
        return domain.payload(kind, vote.epoch, vote.view, vote.sequence, vote.digest)
    digest = content_digest(cast("ViewChange | NewView | Status", message))
    sequence = message.certified if isinstance(message, Status) else 0
    return domain.payload(kind, message.epoch, message.view, sequence, digest)


def encode_message(message: Message) -> bytes:
    return encode(message)


def decode_message(data: bytes) -> Message:
    """Raises `BadMessage`."""
    return decode(data, Message)  # type: ignore[arg-type]
