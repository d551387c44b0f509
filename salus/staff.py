"""What a staff key signs so that an organisation may register it: that it belongs there.

◆ "salus/v1/staff-possession" %x00 encode([chain id, organisation, handle])

Without it, whoever sees a registration waiting could register the same key as his own first,
and the person would sign in his name.
"""

from enum import StrEnum

from salus.codec import encode
from salus.hashing import domain, hasher

SALT_BYTES = 32

_POSSESSION = domain("staff-possession")
_hash_qualification = hasher("staff-qualification")


class StaffRole(StrEnum):
    """What a member of staff does; at most eight words may be public (health.md §4.0)."""

    ADMINISTRATION = "administration"
    CLINICIAN = "clinician"
    EMERGENCY = "emergency"
    GATEWAY = "gateway"
    LABORATORY = "laboratory"
    NURSE = "nurse"
    PHARMACIST = "pharmacist"
    RESEARCH = "research"


def possession(chain_id: str, org: str, handle: bytes) -> bytes:
    """The payload; the key itself needs no mention, since it is what verifies."""
    return _POSSESSION + encode((chain_id, org, handle))


def qualification_commitment(salt: bytes, qualification: str) -> bytes:
    """H("staff-qualification", salt32 ‖ UTF-8): licence and qualification, as a member enters them."""
    assert len(salt) == SALT_BYTES
    return _hash_qualification(salt + qualification.encode())
