"""Ed25519 and X25519 keys, addresses, sign and verify (RFC 8032, RFC 7748, BIP-350).

An address *is* the public key: `sal1` + bech32m of its 32 bytes, 62 characters. Nothing has
to be looked up to check a signature against an address, and a typing error is caught by the
checksum. Random bytes arrive as arguments: a seed of 32 bytes makes a key.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

# PyNaCl's crypto_sign_open copies the message out of every signature: up to a tenth of the cost of
# checking it, which is half of what a node does (docs/decisions/0004-verify.md).
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]
from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_seed_keypair,
)

from salus.errors import BadMessage

SEED_BYTES = PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
ADDRESS_PREFIX = "sal"

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3


class Signer(Protocol):
    """Whoever can sign with one Ed25519 key: a keystore, an HSM, the simulator's fake."""

    @property
    def public_key(self) -> bytes:
        """32 bytes, Ed25519."""

    def sign(self, payload: bytes) -> bytes:
        """64 bytes; deterministic (RFC 8032), so the same payload gives the same signature."""


class Verifier(Protocol):
    """The one rule by which signatures are accepted; the simulator brings a cheap one."""

    def __call__(self, public_key: bytes, payload: bytes, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 key in memory. Its `repr` shows the address, never the seed."""

    public_key: bytes
    _secret: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """`seed`: 32 random bytes (RFC 8032 §5.1.5)."""
        assert len(seed) == SEED_BYTES
        public, secret = crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for the keystore and for TLS."""
        return self._secret[:SEED_BYTES]

    def sign(self, payload: bytes) -> bytes:
        return crypto_sign(payload, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey({address(self.public_key)})"


def verify(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """True iff libsodium accepts: it refuses S ≥ L, small-order and non-canonical keys.

    This function is the only rule by which Salus accepts a signature, at every node and in
    the offline verifier; a second rule anywhere would be a fork (consensus.md rule 2).
    """
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    signed = signature + payload
    no_copy = ffi.NULL
    accepted: bool = 0 == lib.crypto_sign_open(no_copy, no_copy, signed, len(signed), public_key)
    return accepted


@lru_cache(maxsize=4_096)  # 50 µs each, and every epoch of a chain names nearly the same ones
def valid_public_key(public_key: bytes) -> bool:
    """True iff the 32 bytes are a point of the main subgroup, canonically encoded."""
    return len(public_key) == PUBLIC_KEY_BYTES and crypto_core_ed25519_is_valid_point(public_key)


def box_public_key(seed: bytes) -> bytes:
    """The X25519 public key of a 32-byte secret."""
    return crypto_scalarmult_base(seed)


@lru_cache(maxsize=1024)  # 60 µs each, and an API shows the same few again and again
def address(public_key: bytes) -> str:
    """`sal1…`, 62 characters, bech32m (BIP-350) of the 32-byte public key."""
    assert len(public_key) == PUBLIC_KEY_BYTES
    bits = int.from_bytes(public_key) << 4  # 256 bits + 4 zero bits = 52 groups of five.
    data = [bits >> shift & 31 for shift in range(255, -1, -5)]
    check = _polymod([*_prefix_values(), *data, 0, 0, 0, 0, 0, 0]) ^ _BECH32M
    data += [check >> shift & 31 for shift in range(25, -1, -5)]
    return ADDRESS_PREFIX + "1" + "".join(_CHARSET[value] for value in data)


def parse_address(text: str) -> bytes:
    """The 32-byte public key of an address; raises `BadMessage` (code BAD_ADDRESS)."""
    lead = ADDRESS_PREFIX + "1"
    if not text.startswith(lead) or len(text) != len(lead) + 58:
        raise BadMessage("an address is «sal1» and 58 characters", code="BAD_ADDRESS")
    try:
        data = [_CHARSET.index(letter) for letter in text[len(lead) :]]
    except ValueError:
        raise BadMessage(
            "an address has lower-case bech32 letters only", code="BAD_ADDRESS"
        ) from None
    if _polymod([*_prefix_values(), *data]) != _BECH32M:
        raise BadMessage("the address has a typing error (checksum)", code="BAD_ADDRESS")
    bits = 0
    for value in data[:-6]:
        bits = bits << 5 | value
    if bits & 15:
        raise BadMessage("the address is not canonical (padding)", code="BAD_ADDRESS")
    return (bits >> 4).to_bytes(PUBLIC_KEY_BYTES)


def _prefix_values() -> list[int]:
    return [*(ord(c) >> 5 for c in ADDRESS_PREFIX), 0, *(ord(c) & 31 for c in ADDRESS_PREFIX)]


def _polymod(values: list[int]) -> int:
    """The BCH checksum of BIP-173, over groups of five bits."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            if top >> bit & 1:
                check ^= generator
    return check
