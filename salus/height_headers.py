"""Heights in HTTP headers: what an answer speaks of, and what a client has seen already.

Nodes certify the same block milliseconds apart. A client that speaks to several names the newest
height that any of them told it; a node that is behind waits a moment for it (read your writes).
"""

from salus.codec import UINT_MAX

HEIGHT = "X-Height"  # of an answer: the node's newest certified height
SEEN_HEIGHT = "Salus-Seen-Height"  # of a request


def named_height(header: str) -> int:
    """The height that a header of either name says; 0 for what is no height."""
    said = int(header) if header.isascii() and header.isdigit() and len(header) <= 16 else 0
    return said if said <= UINT_MAX else 0
