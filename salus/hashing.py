"""SHA-256 with a domain prefix per kind of thing, so that no two kinds share a hash."""

from collections.abc import Callable
from hashlib import sha256

HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)


def domain(kind: str) -> bytes:
    """The prefix that stands before every hashed or signed thing of this kind."""
    return b"salus/v1/" + kind.encode("ascii") + b"\0"


def hasher(kind: str) -> Callable[[bytes], bytes]:
    """A function bytes → 32 bytes: SHA-256(domain ‖ data). Make one per kind, at import."""
    prefix = domain(kind)

    def hash_of(data: bytes) -> bytes:
        return sha256(prefix + data).digest()

    return hash_of
