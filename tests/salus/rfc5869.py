"""HKDF-SHA256 once more, from RFC 5869 §2 and `hmac` alone: what the code is compared with."""

import hmac
from hashlib import sha256


def extract(salt: bytes, key_material: bytes) -> bytes:
    return hmac.digest(salt or bytes(sha256().digest_size), key_material, "sha256")


def expand(pseudorandom_key: bytes, info: bytes, size_bytes: int) -> bytes:
    made, block = b"", b""
    for number in range(1, -(-size_bytes // 32) + 1):
        block = hmac.digest(pseudorandom_key, block + info + bytes([number]), "sha256")
        made += block
    return made[:size_bytes]


def hkdf(key_material: bytes, salt: bytes, info: bytes, size_bytes: int) -> bytes:
    return expand(extract(salt, key_material), info, size_bytes)
