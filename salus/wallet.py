"""What a patient's device remembers beside the seed: relations, and the openings of what was granted.

The openings say what the chain must not, so the file is sealed under a key from the seed. Losing it
loses no record: handles and keys come from the seed, permits from the chain; what is lost are
the inner terms in words, of which the custodian has a copy.
"""

from typing import Annotated

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import domain, hasher
from salus.permit import Purpose
from salus.validators import MemberId

WALLET_VERSION = 1
NONCE_BYTES = 24
RELATIONS_MAX = 256  # organisations that one person is known to
OPENINGS_MAX = 4_096
WALLET_BYTES_MAX = 32 * 2**20

_CONTEXT = domain("patient-wallet-file")
_hash_key = hasher("patient-wallet")


class KnownRelation(Wire, frozen=True):
    """A relation as its patient knows it. The handle stands here too: after a recovery with a new
    seed it is still the one from the old."""

    org: MemberId
    handle: Bytes32
    custodial: bool
    generation: Uint  # the newest owner key that was ever named; the chain says which is in force


class GrantOpening(Wire, frozen=True):
    """The opening of a permit's inner terms (salus.consent.terms)."""

    org: MemberId
    handle: Bytes32
    permit: Bytes32
    grantee: MemberId
    purpose: Purpose
    salt: Bytes32
    terms: Annotated[bytes, msgspec.Meta(max_length=16_384)]


class Wallet(Wire, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=WALLET_VERSION, le=WALLET_VERSION)] = WALLET_VERSION
    relations: Annotated[tuple[KnownRelation, ...], msgspec.Meta(max_length=RELATIONS_MAX)] = ()
    openings: Annotated[tuple[GrantOpening, ...], msgspec.Meta(max_length=OPENINGS_MAX)] = ()

    def at(self, org: str) -> KnownRelation | None:
        return next((one for one in self.relations if one.org == org), None)

    def with_relation(self, relation: KnownRelation) -> "Wallet":
        """In the place of the one at the same organisation, whose generation never falls."""
        before = self.at(relation.org)
        if before is not None and before.handle == relation.handle:
            newest = max(before.generation, relation.generation)
            relation = msgspec.structs.replace(relation, generation=newest)
        others = tuple(one for one in self.relations if one.org != relation.org)
        return msgspec.structs.replace(self, relations=(*others, relation))

    def with_opening(self, opening: GrantOpening) -> "Wallet":
        return msgspec.structs.replace(self, openings=(*self.openings, opening))


def seal(wallet: Wallet, seed: bytes, nonce: bytes) -> bytes:
    """The file: nonce ‖ ciphertext. `nonce`: 24 random bytes, new each time. Raises `BadMessage`
    (TOO_LARGE) for what could not be opened again."""
    assert len(nonce) == NONCE_BYTES
    plain = encode(wallet)
    full = len(wallet.relations) > RELATIONS_MAX or len(wallet.openings) > OPENINGS_MAX
    if full or len(plain) > WALLET_BYTES_MAX - 64:
        raise BadMessage("the wallet is full", code="TOO_LARGE")
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain, _CONTEXT, nonce, _hash_key(seed)
    )


def unseal(raw: bytes, seed: bytes) -> Wallet:
    """Raises `BadMessage` (BAD_WALLET) for another seed's file, a damaged or a foreign one."""
    nonce, ciphertext = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
    if len(raw) > WALLET_BYTES_MAX or len(nonce) < NONCE_BYTES:
        raise BadMessage("this is no wallet", code="BAD_WALLET")
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, _CONTEXT, nonce, _hash_key(seed)
        )
        return decode(plain, Wallet)
    except (CryptoError, BadMessage, ValueError, TypeError):
        raise BadMessage("the wallet is damaged, or of another seed", code="BAD_WALLET") from None
