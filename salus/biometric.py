"""Commitments of biometrics: to a template that never leaves its device, and to when it was compared
(rule I-8 of decision 0010). Pure.

A template is what a matcher made of a finger, face or iris. Its salted commitment proves later that
the device compares with the very template that was enrolled, and says nothing of it to others.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.hashing import hasher
from salus.validators import MemberId

SALT_BYTES = 32
TEMPLATE_BYTES_MAX = 2**20  # the largest of ISO/IEC 19794: an iris image; finger and face are 2 kB
SESSIONS_MAX = 1_000  # the newest; a device that compares daily keeps three years

_hash_template = hasher("biometric-template")
_hash_session = hasher("biometric-session")


class Method(StrEnum):
    """What is compared."""

    FINGERPRINT = "fingerprint"
    FACE = "face"
    IRIS = "iris"
    OTHER = "other"


class Session(Wire, frozen=True):
    """One comparison, as the device remembers it."""

    salt: Bytes32
    template: Bytes32  # its commitment
    number: Uint
    time_ms: Uint


class Enrolment(Wire, frozen=True):
    """State under biometric/<org>/<template>: who, by which device, and how often compared."""

    handle: Bytes32
    method: Method
    device: Bytes32
    custodial: bool  # the hospital's key signed: that it is this person is the hospital's word
    enrolled_height: Uint
    ended_height: Uint | None
    compared: Uint
    matched: Uint
    last_height: Uint  # of a comparison; 0: none


class Enrolled(Wire, frozen=True):
    """What the device, or who runs it, remembers of an enrolment: it opens the commitments."""

    commitment: Bytes32
    salt: Bytes32
    org: MemberId
    handle: Bytes32
    method: Method
    device: Bytes32
    sessions: Annotated[tuple[Session, ...], msgspec.Meta(max_length=SESSIONS_MAX)]


def template_commitment(salt: bytes, template: bytes) -> bytes:
    """◆ H("biometric-template", salt32 ‖ template)."""
    assert len(salt) == SALT_BYTES
    return _hash_template(salt + template)


def session_commitment(session: Session) -> bytes:
    """◆ H("biometric-session", encode(Session)); the salt stands first in it."""
    return _hash_session(encode(session))
