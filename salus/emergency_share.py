"""An emergency summary under seal, and its key in shares (rule E-2 of decision 0014).

The summary is one document under one fresh key; how the key is split stands in salus/key_shares.py. A share is sealed twice in its life, by RFC 9180 as in
salus/release.py: by the patient's device to the member who holds it, and by that member to the
ephemeral key of a clinician.

◆ sealed summary = nonce24 ‖ XChaCha20-Poly1305(key, nonce, "salus/v1/emergency-seal" 00 ‖
                   encode(SummaryOwner), document)
◆ held share     = enc ‖ ct of SealBase(pkHolder, "salus/v1/emergency-share" 00 ‖
                   encode([SummaryOwner, holder]), no aad, words)
◆ given share    = enc ‖ ct of SealBase(release key, "salus/v1/emergency-given" 00 ‖
                   encode([SummaryOwner, case, holder]), no aad, words)

Law of the file: whose summary, which generation and who gives stand under every seal. Not pure: keys
are drawn here.
"""

import os
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from salus.codec import Bytes32, Uint, Wire, encode
from salus.errors import BadMessage, VerificationError
from salus.genesis import ChainId
from salus.hashing import domain
from salus.validators import MemberId

SUMMARY_BYTES_MAX = 1_000_000  # with a share it goes in one frame; an IPS has some 50 kB
NONCE_BYTES, KEY_BYTES, TAG_BYTES = 24, 32, 16
SEALED_SUMMARY_BYTES_MAX = NONCE_BYTES + SUMMARY_BYTES_MAX + TAG_BYTES
SHARE_BYTES_MAX = 512  # 33 words of at most 8 letters, and the seal

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SEAL, _SHARE, _GIVEN = (domain(f"emergency-{word}") for word in ("seal", "share", "given"))

Share = Annotated[bytes, msgspec.Meta(max_length=SHARE_BYTES_MAX)]


class SummaryOwner(Wire, frozen=True):
    """Whose summary, and the how-manieth of his."""

    chain_id: ChainId
    org: MemberId
    handle: Bytes32
    generation: Uint


def seal_summary(owner: SummaryOwner, document: bytes) -> tuple[bytes, bytes]:
    """A fresh key, and the document under it. Raises `BadMessage` (TOO_LARGE, BAD_DOCUMENT)."""
    if not document:
        raise BadMessage("the summary is empty", code="BAD_DOCUMENT")
    if len(document) > SUMMARY_BYTES_MAX:
        raise BadMessage(f"a summary has at most {SUMMARY_BYTES_MAX} bytes", code="TOO_LARGE")
    key, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
    bound = _SEAL + encode(owner)
    return key, nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(document, bound, nonce, key)


def open_summary(owner: SummaryOwner, sealed: bytes, key: bytes) -> bytes:
    """Raises `VerificationError`: another key, patient or generation, or changed bytes."""
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(rest, _SEAL + encode(owner), nonce, key)
    except (CryptoError, ValueError, TypeError):
        raise VerificationError("the summary is not what these shares open") from None


# -- seals of a share ------------------------------------------------------------------------


def seal_share(owner: SummaryOwner, holder: str, share: bytes, box_key: bytes) -> bytes:
    """For its holder's box key. Raises `BadMessage` (BAD_BOX_KEY)."""
    return _sealed(box_key, _SHARE + encode((owner, holder)), share)


def open_share(owner: SummaryOwner, holder: str, sealed: bytes, box_secret: bytes) -> bytes:
    """By its holder. Raises `VerificationError`."""
    return _opened(box_secret, _SHARE + encode((owner, holder)), sealed)


def give_share(
    owner: SummaryOwner, case: bytes, holder: str, share: bytes, release_key: bytes
) -> bytes:
    """For the clinician of a case. Raises `BadMessage` (BAD_BOX_KEY)."""
    return _sealed(release_key, _GIVEN + encode((owner, case, holder)), share)


def take_share(owner: SummaryOwner, case: bytes, holder: str, given: bytes, secret: bytes) -> bytes:
    """By the clinician, with the ephemeral secret. Raises `VerificationError`."""
    return _opened(secret, _GIVEN + encode((owner, case, holder)), given)


def _sealed(box_key: bytes, info: bytes, share: bytes) -> bytes:
    try:
        return _SUITE.encrypt(share, X25519PublicKey.from_public_bytes(box_key), info)
    except ValueError:  # of another length, or of low order: a shared secret of zeroes
        raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None


def _opened(secret: bytes, info: bytes, sealed: bytes) -> bytes:
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(secret), info)
    except (InvalidTag, ValueError):
        raise VerificationError("a share is sealed to another key, or for another case") from None
