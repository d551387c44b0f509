"""What a staff key signs so that an organisation may register it: that it belongs there.

◆ "salus/v1/staff-possession" %x00 encode([chain id, organisation, handle])

Without it, whoever sees a registration waiting could register the same key as his own first,
and the person would sign in his name.
"""

from salus.codec import encode
from salus.hashing import domain

_POSSESSION = domain("staff-possession")


def possession(chain_id: str, org: str, handle: bytes) -> bytes:
    """The payload; the key itself needs no mention, since it is what verifies."""
    return _POSSESSION + encode((chain_id, org, handle))
