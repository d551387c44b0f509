"""RFC 9180 base mode once more, for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-GCM.

Written from the RFC on libsodium's X25519 and the HKDF of rfc5869.py, section by section: what
the code (another library) is compared with. Its ephemeral secret is an argument, so what it seals
is the same every time.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from tests.salus import rfc5869

KEM_ID, KDF_ID = 0x0020, 0x0001
AES_128_GCM, AES_256_GCM = 0x0001, 0x0002  # §7.3
KEY_BYTES = {AES_128_GCM: 16, AES_256_GCM: 32}

_KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2)  # §4.1


def labeled_extract(suite: bytes, salt: bytes, label: bytes, key_material: bytes) -> bytes:
    """§4."""
    return rfc5869.extract(salt, b"HPKE-v1" + suite + label + key_material)


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """§4."""
    return rfc5869.expand(key, size.to_bytes(2) + b"HPKE-v1" + suite + label + info, size)


def shared_secret(ours: bytes, theirs: bytes, enc: bytes, recipient: bytes) -> bytes:
    """§4.1: Encap with our ephemeral secret, or Decap with the recipient's."""
    extracted = labeled_extract(_KEM_SUITE, b"", b"eae_prk", crypto_scalarmult(ours, theirs))
    return labeled_expand(_KEM_SUITE, extracted, b"shared_secret", enc + recipient, 32)


def key_schedule(aead_id: int, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """§5.1, mode_base: key and base nonce."""
    suite = b"HPKE" + b"".join(i.to_bytes(2) for i in (KEM_ID, KDF_ID, aead_id))
    psk_id_hash = labeled_extract(suite, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(suite, b"", b"info_hash", info)
    context = b"\0" + psk_id_hash + info_hash
    secret = labeled_extract(suite, shared, b"secret", b"")
    return (
        labeled_expand(suite, secret, b"key", context, KEY_BYTES[aead_id]),
        labeled_expand(suite, secret, b"base_nonce", context, 12),
    )


def seal(
    recipient: bytes, ephemeral_secret: bytes, info: bytes, aad: bytes, plain: bytes, aead_id: int
) -> bytes:
    """§6.1: enc ‖ ct."""
    enc = crypto_scalarmult_base(ephemeral_secret)
    shared = shared_secret(ephemeral_secret, recipient, enc, recipient)
    key, nonce = key_schedule(aead_id, shared, info)
    return enc + AESGCM(key).encrypt(nonce, plain, aad)


def open_(secret: bytes, info: bytes, aad: bytes, sealed: bytes, aead_id: int) -> bytes:
    """§6.1 of enc ‖ ct."""
    enc, ciphertext = sealed[:32], sealed[32:]
    shared = shared_secret(secret, enc, enc, crypto_scalarmult_base(secret))
    key, nonce = key_schedule(aead_id, shared, info)
    return AESGCM(key).decrypt(nonce, ciphertext, aad)
