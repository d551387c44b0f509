"""What an emergency signs and what it commits to, off the chain (decision 0014).

◆ emergency request  = "salus/v1/emergency-request" 00 ‖ encode(EmergencyRequest)   by the clinician
◆ details            = H("emergency-details", salt32 ‖ encode(Details))
◆ note               = H("emergency-note", salt32 ‖ encode(Note))    justification, grounds, dispute
◆ summary            = H("emergency-summary", salt32 ‖ SHA-256 of the sealed summary)
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Wire, encode
from salus.emergency import case_id
from salus.genesis import ChainId
from salus.hashing import domain, hasher
from salus.validators import MemberId

_REQUEST = domain("emergency-request")
_hash_details = hasher("emergency-details")
_hash_note = hasher("emergency-note")
_hash_summary = hasher("emergency-summary")

PLACE_CHARS_MAX = 120
NOTE_CHARS_MAX = 4_000  # a page


class EmergencyReason(StrEnum):
    """Why somebody who cannot be asked must be read of; committed, never public."""

    UNCONSCIOUS = "unconscious"
    LIFE_THREATENING = "life_threatening"
    INCAPACITATED = "incapacitated"  # confused, intoxicated, an infant alone
    UNIDENTIFIED = "unidentified"
    DISASTER = "disaster"
    OTHER = "other"


class Details(Wire, frozen=True):
    """What the chain has a commitment of."""

    reason: EmergencyReason
    place: Annotated[str, msgspec.Meta(max_length=PLACE_CHARS_MAX)]
    clinician: Annotated[str, msgspec.Meta(max_length=PLACE_CHARS_MAX)]  # name or badge


class Note(Wire, frozen=True):
    """A justification, a reviewer's grounds, a patient's dispute."""

    text: Annotated[str, msgspec.Meta(max_length=NOTE_CHARS_MAX)]


class EmergencyRequest(Wire, frozen=True):
    """What the clinician signs, beside the transaction: it binds the key that shares are sealed to,
    and stands for the transaction while none can be certified."""

    chain_id: ChainId
    org: MemberId  # the custodian
    handle: Bytes32
    opener: MemberId
    staff: Bytes32  # the clinician's handle
    nonce: Bytes32
    details: Bytes32
    release_key: Bytes32  # ephemeral X25519

    @property
    def case(self) -> bytes:
        return case_id((self.org, self.handle), self.opener, self.staff, self.nonce)

    def payload(self) -> bytes:
        """What is signed."""
        return _REQUEST + encode(self)


def details_commitment(salt: bytes, details: Details) -> bytes:
    """`salt`: 32 random bytes."""
    return _hash_details(salt + encode(details))


def note_commitment(salt: bytes, note: Note) -> bytes:
    """`salt`: 32 random bytes."""
    return _hash_note(salt + encode(note))


def summary_commitment(salt: bytes, digest: bytes) -> bytes:
    """`salt`: 32 random bytes; `digest`: SHA-256 of the sealed summary."""
    return _hash_summary(salt + digest)
