"""Erasure on the chain: a case, its waiting time, who must answer, what was answered
(decision 0015, rules X-1 … X-5 and X-9).

What is to be erased stands there as a salted commitment to record leaves; its opening goes to the
custodian's node. An answer is a signed claim and proves no deletion.
"""

from collections.abc import Iterable
from enum import StrEnum

from salus.codec import Bytes32, Uint, Wire, encode
from salus.hashing import hasher
from salus.validators import MemberId

SALT_BYTES = 32
LEAVES_MAX = 4_096  # of one case; a patient with more has several

_CASE = b"erasure/case/"
_HEAD = b"erasure/head/"
_HOLDER = b"erasure/holder/"
_ASKED = b"erasure/asked/"
_hash_records = hasher("erasure-records")
_hash_basis = hasher("erasure-basis")


class Basis(StrEnum):
    """By whose word."""

    OWNER = "owner"
    REGULATOR = "regulator"


class Stage(StrEnum):
    """Rule X-9: who asks alone waits, and may be stopped meanwhile."""

    WAITING = "waiting"
    BEGUN = "begun"
    CANCELLED = "cancelled"


class Holding(StrEnum):
    """Why an organisation is asked."""

    CUSTODIAN = "custodian"
    READER = "reader"  # it had a permitted ticket under the handle
    SUMMARY = "summary"  # it holds, or opened, the emergency summary


class Reply(StrEnum):
    ERASED = "erased"
    NOTHING_HELD = "nothing_held"
    RETAINED = "retained"  # a law's period; `erased` may follow


class ErasureCase(Wire, frozen=True):
    """State value under `case_key(custodian, case)`."""

    handle: Bytes32
    basis: Basis
    asker: Bytes32  # the key that asked: the owner's of then, or the regulator's operator's
    stage: Stage
    due_ms: Uint  # by block time it may begin; of a co-signed one when it was asked for
    records: Bytes32  # commitment, see below
    reason: Bytes32  # commitment
    height: Uint
    time_ms: Uint
    before: Bytes32 | None  # the case before it under the same handle (rule X-5)
    newest: MemberId  # of the holders, which name each other
    holders: Uint
    answered: Uint  # `retained` counts
    closed: bool  # the custodian has erased: nobody reads any more, no holder is added


class AskedIn(Wire, frozen=True):
    """Which case, of which custodian."""

    org: MemberId
    case: Bytes32


class ErasureHolder(Wire, frozen=True):
    """State value under `holder_key(custodian, case, member)`."""

    holding: Holding
    reply: Reply | None
    reason: Bytes32 | None  # commitment, of `retained`
    height: Uint | None  # of the reply
    before: MemberId | None  # the holder before it in this case
    earlier: AskedIn | None  # the case before this one that asks the same member


class AskedHead(Wire, frozen=True):
    """State value under `asked_key`: the newest case that asks a member, and how many there are."""

    newest: AskedIn
    count: Uint


class ErasureHead(Wire, frozen=True):
    """State value under `head_key`: the newest case of a handle, and how many there are."""

    newest: Bytes32
    count: Uint


def case_key(custodian: str, case: bytes) -> bytes:
    """The state key of a case."""
    return _CASE + custodian.encode("ascii") + b"/" + case


def holder_key(custodian: str, case: bytes, member: str) -> bytes:
    """The state key of one holder's part in a case."""
    return _HOLDER + custodian.encode("ascii") + b"/" + case + member.encode("ascii")


def asked_key(member: str) -> bytes:
    """The state key of the newest case that asks a member."""
    return _ASKED + member.encode("ascii")


def head_key(custodian: str, handle: bytes) -> bytes:
    """The state key of the newest case of a handle."""
    return _HEAD + custodian.encode("ascii") + b"/" + handle


# -- commitments -----------------------------------------------------------------------------


def records_commitment(salt: bytes, leaves: Iterable[bytes]) -> bytes:
    """Binds to the record leaves, in whatever order they come. `salt`: 32 random bytes."""
    assert len(salt) == SALT_BYTES
    return _hash_records(salt + encode(tuple(sorted(set(leaves)))))


def reason_commitment(salt: bytes, reason: str) -> bytes:
    """Binds to why something is to be erased, or is kept. `salt`: 32 random bytes."""
    assert len(salt) == SALT_BYTES
    return _hash_basis(salt + reason.encode())
