"""Requests and tickets: who asked to read, what was decided, and what of it the chain shows
(rules T-1 … T-6 and G-1 of decision 0010).

A request travels off the chain, signed by a staff key or by the patient. The ticket holds salted
commitments to it, to the set of records and to the inner decision; who has the openings, the
patient above all, can check all of it again.
"""

from salus.codec import Bytes16, Bytes32, Uint, Wire, encode
from salus.consent.terms import Code
from salus.hashing import domain, hasher
from salus.permit import Classes, Purpose, Reason
from salus.validators import MemberId

TICKET_EXPIRY_BLOCKS_MAX = 20  # a signed request that arrives later is asked again
RECORDS_PER_TICKET_MAX = 256  # versions under one ticket; a joined view takes several
SALT_BYTES = 32

_REQUEST = domain("access-request")
_hash_request = hasher("access-request-commitment")
_hash_records = hasher("access-records")
_hash_care = hasher("access-care")
_hash_arrival = hasher("access-digest")
_OWN_REQUEST = domain("access-own-request")


class Request(Wire, frozen=True):
    """What the reader signs (rule G-1); it leaves the reader's node for the custodian's alone."""

    chain_id: str
    custodian: MemberId
    handle: Bytes32
    records: Bytes32  # commitment to the set of versions asked for
    purpose: Purpose
    classes: Classes
    request_id: Bytes16
    expiry_height: Uint
    release_key: Bytes32  # ephemeral X25519 key that the release is sealed to
    permit: Bytes32 | None
    requester: MemberId
    key: Bytes32  # of the staff member, the owner or a delegate
    site: Code | None = None  # from where, as the reader says (rule G-19)

    def payload(self) -> bytes:
        """What is signed."""
        return _REQUEST + encode(self)


class Ticket(Wire, frozen=True):
    """State value under `ticket_key(custodian, request id)`: what was decided, for ever."""

    handle: Bytes32
    requester: MemberId
    purpose: Purpose
    classes: Classes
    permit: Bytes32 | None
    permitted: bool
    reason: Reason
    height: Uint
    time_ms: Uint
    records: Bytes32
    request: Bytes32
    decision: Bytes32
    care: Bytes32
    before: Bytes16 | None  # the ticket before it under the same handle (rule T-6)
    receipt: Bytes32 | None  # commitment to the digest of what arrived
    receipt_height: Uint | None


class TrailHead(Wire, frozen=True):
    """State value under `trail_key`: the newest ticket of a handle, and how many there are."""

    newest: Bytes16 | None
    tickets: Uint
    denials: Uint  # that were answered without a ticket of their own (rule G-4)


class Reader(Wire, frozen=True):
    """State value under `reader_key`: an organisation had a permitted ticket under a handle; the
    one that came before it (rule X-3 of decision 0015)."""

    first_height: Uint
    before: MemberId | None


class Readers(Wire, frozen=True):
    """State value under `readers_key`: the newest reader of a handle, and how many there are."""

    newest: MemberId
    count: Uint


def ticket_key(custodian: str, request_id: bytes) -> bytes:
    """The state key of a ticket."""
    return b"access/ticket/" + custodian.encode("ascii") + b"/" + request_id


def trail_key(custodian: str, handle: bytes) -> bytes:
    """The state key of the newest ticket of a handle."""
    return b"access/trail/" + custodian.encode("ascii") + b"/" + handle


def reader_key(custodian: str, handle: bytes, reader: str) -> bytes:
    """The state key of an organisation that may have read under a handle."""
    return readers_key(custodian, handle) + reader.encode("ascii")


def readers_key(custodian: str, handle: bytes) -> bytes:
    """The state key of the newest reader of a handle."""
    return b"access/readers/" + custodian.encode("ascii") + b"/" + handle


# -- commitments -----------------------------------------------------------------------------


def request_commitment(salt: bytes, request: Request, signature: bytes) -> bytes:
    """Binds the ticket to the very request that a person signed. `salt`: 32 random bytes."""
    return _hash_request(salt + encode((request, signature)))


def records_commitment(salt: bytes, versions: tuple[bytes, ...]) -> bytes:
    """Binds to the record versions (their commitments, ascending). `salt`: 32 random bytes."""
    return _hash_records(salt + encode(versions))


def care_commitment(salt: bytes, relation: bytes) -> bytes:
    """Binds to why the reader cares for the patient: check-in, referral, visit; canonical bytes."""
    return _hash_care(salt + relation)


def arrival_commitment(salt: bytes, arrived: bytes) -> bytes:
    """Binds to the digest of what arrived at the reader (`salus.reading.arrived`)."""
    return _hash_arrival(salt + arrived)


def own_request(
    chain_id: str,
    custodian: str,
    handle: bytes,
    request_id: bytes,
    requester: str,
    classes: Classes,
    expiry_height: int,
    records: bytes,
    commitment: bytes,
) -> bytes:
    """What the patient's key signs, shown on the chain, for the patient's own view (rule T-1): all
    that the ticket says of the request. Else the custodian could put one signature under tickets
    of its own making, for other records and other readers."""
    return _OWN_REQUEST + encode(
        (
            chain_id,
            custodian,
            handle,
            request_id,
            requester,
            classes,
            expiry_height,
            records,
            commitment,
        )
    )
