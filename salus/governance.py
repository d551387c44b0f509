"""What a new key of an organisation signs so that a vote may enter it: that it belongs there.

◆ "salus/v1/key-possession" %x00 encode([chain id, member, capacity])

Without it a proposal could enter a key that nobody holds, or somebody else's as one's own.
"""

from salus.codec import encode
from salus.hashing import domain, hasher

_POSSESSION = domain("key-possession")
_hash_reasons = hasher("governance-reasons")


def possession(chain_id: str, member: str, capacity: str) -> bytes:
    """The payload, signed by the new key itself; `capacity`: node or operator."""
    return _POSSESSION + encode((chain_id, member, capacity))


def reasons_commitment(salt: bytes, document: bytes) -> bytes:
    """◆ What a proposal names of the document with its reasons: it binds, and shows nothing to
    whoever has no salt (32 random bytes, given with the document)."""
    return _hash_reasons(encode((salt, document)))
