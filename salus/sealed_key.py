"""A document's key, sealed to the custodian's keeper: who imports documents cannot open them later.

RFC 9180 as in salus/release.py: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

◆ sealed key = enc ‖ ct of SealBase(pkKeeper, info = "salus/v1/keeper-key" 00 ‖ encode(owner),
               no aad, document key)

Law of the file: the owner is under the seal. So a ticket for one patient, or for some classes,
opens nothing of another patient or class, whatever a node says. Not pure: sealing draws a key.
"""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from salus.codec import Bytes32, Wire, check, encode
from salus.errors import BadMessage, VerificationError
from salus.genesis import ChainId
from salus.hashing import domain
from salus.permit import Classes
from salus.validators import MemberId

DOCUMENT_KEY_BYTES = 32
SEALED_KEY_BYTES = 32 + DOCUMENT_KEY_BYTES + 16  # enc, key, tag

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY = domain("keeper-key")

SealedKey = Annotated[bytes, msgspec.Meta(min_length=SEALED_KEY_BYTES, max_length=SEALED_KEY_BYTES)]


class KeyOwner(Wire, frozen=True):
    """What the key opens, and whose it is: fixed when the document was imported."""

    chain_id: ChainId
    custodian: MemberId
    handle: Bytes32
    classes: Classes  # of what stands in this version of the record, ascending
    commitment: Bytes32  # of the record version
    document: Bytes32  # the SHA-256 of its ciphertext


def seal_key(owner: KeyOwner, key: bytes, keeper: bytes) -> bytes:
    """`key`: 32 bytes; `keeper`: its X25519 public key. Raises `BadMessage` (BAD_BOX_KEY)."""
    assert len(key) == DOCUMENT_KEY_BYTES
    bound = encode(owner)
    check(bound, KeyOwner)
    try:
        return _SUITE.encrypt(key, X25519PublicKey.from_public_bytes(keeper), _KEY + bound)
    except ValueError:  # of another length, or of low order: a shared secret of zeroes
        raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None


def open_key(owner: KeyOwner, sealed: bytes, secret: bytes) -> bytes:
    """`secret`: the keeper's 32 secret bytes. Raises `VerificationError` unless it was sealed to it
    for this very owner."""
    try:
        return _SUITE.decrypt(
            sealed, X25519PrivateKey.from_private_bytes(secret), _KEY + encode(owner)
        )
    except (InvalidTag, ValueError):
        raise VerificationError(
            "a key is sealed to another keeper or for another version, patient or class"
        ) from None
