"""The sealed field of a permit: what the grantee's node must know to ask, and nobody else may.

The chain shows the custodian, the relation there and the permit. That the patient is one whom the
grantee knows too joins two handles, so it stands under a seal: RFC 9180 as in salus/release.py, to
the organisation's box key. All fields have 512 bytes, so that their length tells nothing.

◆ opening = enc ‖ ct of SealBase(pkMember, info = "salus/v1/grant-notice" 00 ‖ encode([chain id,
            grantee]), no aad, uint16(length) ‖ encode(notice) ‖ zeroes up to 464 bytes)
  signed  = "salus/v1/grant-notice-here" 00 ‖ encode([chain id, grantee, handle here, custodian,
            handle there, permit])                 by the owner key of the relation at the grantee

Law of the file: whoever opens it compares it with the operation that it came in, and believes the
patient's handle here by its own owner's signature alone (rule G-16): base mode authenticates no
sender, and who grants something elsewhere could name anybody's handle.
Not pure: the library draws the ephemeral key of `seal`.
"""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from salus.codec import Bytes32, Bytes64, Wire, check, decode, encode
from salus.errors import BadMessage, SalusError, VerificationError
from salus.genesis import ChainId
from salus.hashing import domain
from salus.keys import Signer, verify
from salus.validators import MemberId

NOTICE_VERSION = 2
SEALED_NOTICE_BYTES = 512  # ◆ the contract takes this length or none
_PLAIN_BYTES = SEALED_NOTICE_BYTES - 32 - 16  # enc, tag
_LENGTH_BYTES = 2

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NOTICE = domain("grant-notice")
_HERE = domain("grant-notice-here")


class Here(Wire, frozen=True):
    """The patient's relation at the grantee; `signature`: by its owner key, over this permit."""

    handle: Bytes32
    signature: Bytes64


class GrantNotice(Wire, frozen=True):
    """Whom to ask, for whom. `here`: where the patient has a relation at the grantee and the purpose
    is his treatment."""

    version: Annotated[int, msgspec.Meta(ge=NOTICE_VERSION, le=NOTICE_VERSION)]
    custodian: MemberId
    handle: Bytes32
    permit: Bytes32
    here: Here | None

    def said_here(
        self, chain_id: ChainId, grantee: MemberId, handle: bytes, owner: Signer
    ) -> "GrantNotice":
        """With the patient's handle at the grantee, signed by its owner key."""
        payload = self._payload(chain_id, grantee, handle)
        return msgspec.structs.replace(self, here=Here(handle, owner.sign(payload)))

    def proves_here(self, chain_id: str, grantee: str, owner_key: bytes) -> bool:
        """Has this key, the owner's of the handle here, signed that this permit is of the same person?"""
        here = self.here
        if here is None:
            return False
        return verify(owner_key, self._payload(chain_id, grantee, here.handle), here.signature)

    def _payload(self, chain_id: str, grantee: str, handle: bytes) -> bytes:
        about = (chain_id, grantee, handle, self.custodian, self.handle, self.permit)
        return _HERE + encode(about)


def seal_notice(chain_id: ChainId, grantee: MemberId, notice: GrantNotice, box_key: bytes) -> bytes:
    """512 bytes. `box_key`: the grantee's. Raises `BadMessage` (BAD_BOX_KEY)."""
    encoded = encode(notice)
    check(encoded, GrantNotice)
    plain = len(encoded).to_bytes(_LENGTH_BYTES) + encoded
    assert len(plain) <= _PLAIN_BYTES
    try:
        key = X25519PublicKey.from_public_bytes(box_key)
        return _SUITE.encrypt(plain.ljust(_PLAIN_BYTES, b"\0"), key, _bound(chain_id, grantee))
    except ValueError:  # of another length, or of low order: a shared secret of zeroes
        raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None


def open_notice(chain_id: str, grantee: str, sealed: bytes, box_secret: bytes) -> GrantNotice:
    """Raises `VerificationError`: sealed to another, for another chain, or not what it says."""
    try:
        key = X25519PrivateKey.from_private_bytes(box_secret)
        plain = _SUITE.decrypt(sealed, key, _bound(chain_id, grantee))
    except (InvalidTag, ValueError):
        raise VerificationError("the notice is sealed to another key, or for another") from None
    end = _LENGTH_BYTES + int.from_bytes(plain[:_LENGTH_BYTES])
    if len(plain) != _PLAIN_BYTES or plain[end:].strip(b"\0"):
        raise VerificationError("the notice has not its length")
    try:
        return decode(plain[_LENGTH_BYTES:end], GrantNotice)
    except SalusError as error:
        raise VerificationError(f"the notice cannot be read: {error.message}") from None


def _bound(chain_id: str, grantee: str) -> bytes:
    return _NOTICE + encode((chain_id, grantee))
