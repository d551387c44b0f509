"""What stands on a look-up card: one line of capitals and digits, as text and as a QR code (rule I-9
of decision 0010).

    SALUS:CARD:1:<BASE32(secret32 ‖ check3)>       ◆ 69 letters of QR's alphanumeric mode

Whoever has the line finds the relation; so it is shown to nobody who may not.
"""

from base64 import b32decode, b32encode
from binascii import Error

from salus.errors import BadMessage
from salus.hashing import hasher

CARD_CHARS = 69
SECRET_BYTES = 32

_PREFIX = "SALUS:CARD:1:"
_CHECK_BYTES = 3  # 35 bytes are 56 letters without padding; a typing error passes one in 16 million
_hash_check = hasher("look-up-card-check")


def payload(secret: bytes) -> str:
    """The line for a card with this secret (32 bytes)."""
    assert len(secret) == SECRET_BYTES
    return _PREFIX + b32encode(secret + _hash_check(secret)[:_CHECK_BYTES]).decode()


def parse(text: str) -> bytes:
    """The secret. Spaces and small letters are forgiven. Raises `BadMessage` (BAD_CARD)."""
    line = "".join(text[: 4 * CARD_CHARS].split()).upper()
    try:
        raw = b32decode(line.removeprefix(_PREFIX)) if line.startswith(_PREFIX) else b""
    except (Error, ValueError):
        raw = b""
    secret, check = raw[:SECRET_BYTES], raw[SECRET_BYTES:]
    if len(raw) != SECRET_BYTES + _CHECK_BYTES or check != _hash_check(secret)[:_CHECK_BYTES]:
        raise BadMessage("this is not what stands on a card", code="BAD_CARD")
    return secret
