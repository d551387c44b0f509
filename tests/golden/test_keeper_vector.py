"""A key that was sealed to a keeper once opens for ever (docs/formats-care.md).

Sealing draws an ephemeral key, so the vector is one that was drawn: it holds the suite, the domain
and the order of the owner's fields."""

import pytest

from salus.codec import encode
from salus.errors import VerificationError
from salus.permit import RecordClass
from salus.sealed_key import SEALED_KEY_BYTES, KeyOwner, open_key

OWNER = KeyOwner(
    "salus-golden",
    "hosp-a",
    b"\x01" * 32,
    (RecordClass.MEDICATIONS, RecordClass.RESULTS),
    b"\x02" * 32,
    b"\x03" * 32,
)
SEALED = bytes.fromhex(
    "b83aef1b63973617ba6e50e73bd26226bc1f3304783180b7ba1f4e6e26c43679be05d066defe5c70"
    "9430d8e644e3c9a857e6382ebc197878cd9840af3b9be1b90688c82f1835b9068b821b6a426e9663"
)


def test_what_was_sealed_once_opens() -> None:
    assert len(SEALED) == SEALED_KEY_BYTES
    assert open_key(OWNER, SEALED, b"\x05" * 32) == b"\x04" * 32


def test_by_rfc_9180_alone() -> None:
    """Without our code: suite and info as the page says."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"salus/v1/keeper-key\x00" + encode(OWNER)
    secret = X25519PrivateKey.from_private_bytes(b"\x05" * 32)
    assert suite.decrypt(SEALED, secret, info) == b"\x04" * 32


def test_every_byte_counts() -> None:
    for at in range(SEALED_KEY_BYTES):
        changed = SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :]
        with pytest.raises(VerificationError):
            open_key(OWNER, changed, b"\x05" * 32)
