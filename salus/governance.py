"""What a new key of an organisation signs so that a vote may enter it: that it belongs there.

◆ "salus/v1/key-possession" %x00 encode([chain id, member, capacity])

Without it a proposal could enter a key that nobody holds, or somebody else's as one's own.
"""

from salus.codec import encode
from salus.hashing import domain

_POSSESSION = domain("key-possession")


def possession(chain_id: str, member: str, capacity: str) -> bytes:
    """The payload, signed by the new key itself; `capacity`: node or operator."""
    return _POSSESSION + encode((chain_id, member, capacity))
