"""Logging in to one node with one key: what the key signs, so that the signature serves nowhere else.

A login names the node, the chain, the web origin that the browser shows and a moment; a page of
another host that relays it gets nothing. As a patient one logs in at the custodian, by a relation's
owner key or a delegate's; without a handle, as an organisation's operator or staff.
"""

from typing import Annotated

import msgspec

from salus.codec import Bytes16, Bytes32, Uint, Wire, encode
from salus.genesis import ChainId
from salus.hashing import domain
from salus.validators import MemberId

LOGIN_AHEAD_MS_MAX = 300_000  # a telephone's clock may be some minutes off; a stolen one is stale

_LOGIN = domain("session-login")

# As browsers write it (RFC 6454): scheme, host, port unless it is the default one.
Origin = Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]{1,255}$(?!\n)")]


class Login(Wire, frozen=True):
    """◆ signed as "salus/v1/session-login" 00 ‖ encode(Login)."""

    chain_id: ChainId
    node: MemberId
    origin: Origin
    handle: Bytes32 | None  # of the relation at this node, for a patient's session
    key: Bytes32
    nonce: Bytes16  # random; each opens one session
    expires_ms: Uint  # by the node's clock

    def payload(self) -> bytes:
        """What is signed."""
        return _LOGIN + encode(self)
