"""What reader and custodian say to each other about one read (decision 0013): find, ask, fetch.

    Locate → Located     which version, of which relation and classes; only who knows the record's id
    Ask    → Decided     the signed request with its openings; the ticket's outcome and the envelopes
    Range  → bytes       one sealed chunk (salus/sealed_stream.py)

Law of the file: off the chain, between two members. No answer says why more than the chain does:
an obligation names what the patient hides, so obligations stay with the custodian, who fulfils them.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated

import msgspec

from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, encode
from salus.disclosure import SHOWN_BYTES_MAX
from salus.genesis import ChainId
from salus.hashing import domain, hasher
from salus.permit import Classes, Reason
from salus.record import LeafCount, LeafIndex, LeafPath
from salus.release import RELEASE_BYTES_MAX
from salus.sealed_stream import CHUNK_BYTES
from salus.ticket import RECORDS_PER_TICKET_MAX, Request, records_commitment, request_commitment
from salus.validators import MemberId

CARE_BYTES_MAX = 1_000  # a check-in, a referral or a visit by its id; no letter

_DERIVED = domain("derived-document")
_hash_list = hasher("record-list")

VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=2**32)]
CHUNKS_MAX = SHOWN_BYTES_MAX // CHUNK_BYTES + 1


# -- find ------------------------------------------------------------------------------------


class Locate(Wire, frozen=True):
    """`version`: None is the current one; `handle`: the relation that it must be of, if known."""

    record_id: Bytes16
    version: VersionNumber | None
    handle: Bytes32 | None


class Located(Wire, frozen=True):
    handle: Bytes32
    version: VersionNumber
    commitment: Bytes32
    classes: Classes  # of all that stands in the record: a request for it names them


class Found(Wire, frozen=True):
    """What the reader's node tells its reader: who keeps the record."""

    custodian: MemberId
    located: Located


# -- ask -------------------------------------------------------------------------------------


class Asked(Wire, frozen=True):
    """One version that is asked for."""

    record_id: Bytes16
    version: VersionNumber
    commitment: Bytes32


class Ask(Wire, frozen=True):
    """A signed request, and what opens its commitments to the custodian."""

    request: Request
    signature: Bytes64  # by `request.key` over `request.payload()`
    request_salt: Bytes32
    records_salt: Bytes32
    versions: Annotated[  # ascending by commitment, each once
        tuple[Asked, ...], msgspec.Meta(min_length=1, max_length=RECORDS_PER_TICKET_MAX)
    ]
    care_salt: Bytes32
    care: Annotated[bytes, msgspec.Meta(max_length=CARE_BYTES_MAX)]  # why the reader cares for him
    owner_signature: Bytes64 | None  # over `salus.ticket.own_request`: the patient's own view

    @property
    def commitments(self) -> tuple[bytes, ...]:
        return tuple(one.commitment for one in self.versions)

    def records(self) -> bytes:
        """The commitment that the request must name."""
        return records_commitment(self.records_salt, self.commitments)

    def commitment(self) -> bytes:
        """To the request as it was signed: what the ticket shows of it."""
        return request_commitment(self.request_salt, self.request, self.signature)


class Place(Wire, frozen=True):
    """Where a version stands in its anchored batch: with what is shown, enough for a proof file."""

    org: MemberId
    root: Bytes32
    index: LeafIndex
    leaves: LeafCount
    path: LeafPath
    tag_hash: Bytes32
    tx_id: Bytes32  # of the transaction that anchored the batch
    operation: Uint


class Derived(Wire, frozen=True):
    """A document that the custodian made of the version by taking elements out; only his signature
    says that it is."""

    commitment: Bytes32  # of the derived document; the shown bytes prove themselves against it
    signature: Bytes64  # by the custodian's node key over `derived_payload`


class Part(Wire, frozen=True):
    """One version of the answer."""

    commitment: Bytes32
    envelope: Annotated[bytes, msgspec.Meta(max_length=RELEASE_BYTES_MAX)]  # salus.release.Release
    withheld: Uint  # parts of the version that are not shown
    place: Place | None  # None: it was made for this answer, as a list of records is
    derived: Derived | None


class Decided(Wire, frozen=True):
    """`tx_id`, `height`: of the ticket; None where denials were too many for tickets (rule G-4)."""

    permitted: bool
    reason: Reason
    tx_id: Bytes32 | None
    height: Uint | None
    parts: Annotated[tuple[Part, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)]

    @property
    def redacted(self) -> bool:
        return any(part.withheld or part.derived for part in self.parts)


# -- a list of records ------------------------------------------------------------------------


RECORD_LIST = bytes(16)  # ◆ in the place of a record's id, which is random


def record_list(custodian: MemberId, handle: bytes, classes: Classes) -> Asked:
    """What is asked for to learn which records of these classes there are: a read like any other,
    with a ticket. ◆ commitment = H("record-list", encode([custodian, handle, classes]))"""
    return Asked(RECORD_LIST, 1, _hash_list(encode((custodian, handle, classes))))


# What a list may leave out, in its `left_out`: said of the question alone, in the same words whether
# there is any such record or not, for that is the patient's secret.
OTHER_CLASSES = "OTHER_CLASSES"  # records that carry a class besides those asked for
FINER_TERMS = "FINER_TERMS"  # all: the terms withhold more than whole classes
TOO_MANY = "TOO_MANY"  # the oldest: only so many fit
UNSAID = "UNSAID"  # the custodian does not say what


# -- fetch -----------------------------------------------------------------------------------


class Range(Wire, frozen=True):
    """Chunk `chunk` of a version under a ticket that was permitted."""

    request_id: Bytes16
    commitment: Bytes32
    chunk: Annotated[int, msgspec.Meta(ge=0, le=CHUNKS_MAX)]


# -- what is signed and hashed besides -------------------------------------------------------


def derived_payload(
    chain_id: ChainId, custodian: MemberId, request_id: bytes, version: bytes, derived: bytes
) -> bytes:
    """What a custodian signs of a derived document. `version`: the commitment it was made from."""
    return _DERIVED + encode((chain_id, custodian, request_id, version, derived))


def arrived(shown: Sequence[bytes]) -> bytes:
    """The digest of what arrived, for the receipt: SHA-256 over the SHA-256 of each part's shown
    bytes (salus/disclosure.py), in the order of the answer."""
    assert all(len(one) == 32 for one in shown)
    return sha256(b"".join(shown)).digest()
