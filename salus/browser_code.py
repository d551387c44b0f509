"""The code that a browser shows for its enrolment: a key of its own, and that it has it.

The browser makes the key and keeps it, non-extractable; the patient carries the code to his own
device, where the owner's key enters it with some of his rights (rule I-5). So the code is worth
nothing to whoever reads it on the way: it enters this key, at this relation, or nothing.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Bytes64, Wire, decode, encode
from salus.errors import BadMessage
from salus.genesis import ChainId
from salus.keys import verify
from salus.relation import possession
from salus.validators import MemberId

CODE_VERSION = 1
CODE_CHARS_MAX = 512


class BrowserCode(Wire, frozen=True):
    """◆ shown as base64url of its encoding, without padding."""

    version: Annotated[int, msgspec.Meta(ge=CODE_VERSION, le=CODE_VERSION)]
    chain_id: ChainId
    org: MemberId
    handle: Bytes32
    key: Bytes32  # Ed25519
    possession: Bytes64  # by that key: salus.relation.possession, purpose «delegate»

    def text(self) -> str:
        return urlsafe_b64encode(encode(self)).decode().rstrip("=")


def read(text: str) -> BrowserCode:
    """Raises `BadMessage` (BAD_CODE) for anything but a code whose key has signed."""
    try:
        if len(text) > CODE_CHARS_MAX or "=" in text or not text.isascii():
            raise ValueError
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        code = decode(raw, BrowserCode)
        if code.text() != text:
            raise ValueError
    except (ValueError, Error, BadMessage):
        raise BadMessage("this is not a code of a patient's page", code="BAD_CODE") from None
    payload = possession(code.chain_id, code.org, code.handle, "delegate")
    if not verify(code.key, payload, code.possession):
        raise BadMessage("the code's key has not signed it: copy it again", code="BAD_CODE")
    return code
