"""What a patient's device remembers beside the seed: relations, and the openings of what was granted.

The openings say what the chain must not, so the file is sealed under a key from the seed. Losing it
loses no record: handles and keys come from the seed, permits from the chain; what is lost are
the inner terms in words, of which the custodian has a copy (`salus.regain` fetches and checks it).
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.consent.decision import ConsentName
from salus.errors import BadMessage
from salus.hashing import domain, hasher
from salus.importing import PERMITS_MAX
from salus.permit import Purpose
from salus.relation import Whose
from salus.validators import MemberId

WALLET_VERSION = 3  # 2: imported Consents; 3: what of them is pending
NONCE_BYTES = 24
RELATIONS_MAX = 256  # organisations that one person is known to
OPENINGS_MAX = 4_096
IMPORTS_MAX = 256  # Consents of one person: of each hospital one, and some
WALLET_BYTES_MAX = 32 * 2**20
PENDING_BYTES_MAX = 2**20  # what `transaction_bytes_max` may be set to

_CONTEXT = domain("patient-wallet-file")
_hash_key = hasher("patient-wallet")


class KnownRelation(Wire, frozen=True):
    """A relation as its patient knows it. The handle stands here too: after a recovery with a new
    seed it is still the one from the old."""

    org: MemberId
    handle: Bytes32
    custodial: bool
    generation: Uint  # the newest owner key that was ever named; the chain says which is in force

    @property
    def whose(self) -> Whose:
        return Whose(self.org, self.handle)


class GrantOpening(Wire, frozen=True):
    """The opening of a permit's inner terms (salus.consent.terms)."""

    org: MemberId
    handle: Bytes32
    permit: Bytes32
    grantee: MemberId
    purpose: Purpose
    salt: Bytes32
    terms: Annotated[bytes, msgspec.Meta(max_length=16_384)]


class ImportedConsent(Wire, frozen=True):
    """A FHIR Consent that was imported at a custodian, and the permits that stand for it: they end when
    it is revoked, or a newer version of it comes."""

    org: MemberId
    handle: Bytes32
    name: ConsentName
    # While a version takes the place of another, those of both.
    permits: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=2 * PERMITS_MAX)]
    # A signed transaction of these whose outcome nobody has heard. Before anything else is done with
    # the Consent it is sent again as it is: a chain takes the same bytes once.
    pending: Annotated[bytes, msgspec.Meta(max_length=PENDING_BYTES_MAX)] | None = None


class _AnyWallet(msgspec.Struct, array_like=True, frozen=True):
    """Of whatever format: what follows the version is not looked at."""

    version: Uint


class Wallet(Wire, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=WALLET_VERSION, le=WALLET_VERSION)] = WALLET_VERSION
    relations: Annotated[tuple[KnownRelation, ...], msgspec.Meta(max_length=RELATIONS_MAX)] = ()
    openings: Annotated[tuple[GrantOpening, ...], msgspec.Meta(max_length=OPENINGS_MAX)] = ()
    imports: Annotated[tuple[ImportedConsent, ...], msgspec.Meta(max_length=IMPORTS_MAX)] = ()

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

    def regained(self, openings: Sequence["GrantOpening"]) -> "Wallet":
        """With those that it does not have yet, before its own: they are older, or as old."""
        known = {one.permit for one in self.openings}
        new = tuple(one for one in openings if one.permit not in known)
        return msgspec.structs.replace(self, openings=(*new, *self.openings))

    def with_opening(self, opening: GrantOpening) -> "Wallet":
        return msgspec.structs.replace(self, openings=(*self.openings, opening))

    def imported(self, org: str, handle: bytes, name: str) -> ImportedConsent | None:
        """The Consent of that name at a relation."""
        for one in self.imports:
            if (one.org, one.handle, one.name) == (org, handle, name):
                return one
        return None

    def with_import(self, imported: ImportedConsent) -> "Wallet":
        """In the place of the one of that name; without permits it is none any more. Raises
        `BadMessage` (TOO_LARGE) for what could not be read again."""
        if len(imported.permits) > 2 * PERMITS_MAX:
            raise BadMessage("too many permits of one Consent", code="TOO_LARGE")
        before = self.imported(imported.org, imported.handle, imported.name)
        others = tuple(one for one in self.imports if one is not before)
        added = (imported,) if imported.permits else ()
        return msgspec.structs.replace(self, imports=(*others, *added))


def seal(wallet: Wallet, seed: bytes, nonce: bytes) -> bytes:
    """The file: nonce ‖ ciphertext. `nonce`: 24 random bytes, new each time. Raises `BadMessage`
    (TOO_LARGE) for what could not be opened again."""
    assert len(nonce) == NONCE_BYTES
    plain = encode(wallet)
    full = len(wallet.relations) > RELATIONS_MAX or len(wallet.openings) > OPENINGS_MAX
    full = full or len(wallet.imports) > IMPORTS_MAX
    if full or len(plain) > WALLET_BYTES_MAX - 64:
        raise BadMessage("the wallet is full", code="TOO_LARGE")
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(
        plain, _CONTEXT, nonce, _hash_key(seed)
    )


def unseal(raw: bytes, seed: bytes) -> Wallet:
    """Raises `BadMessage` (BAD_WALLET) for another seed's file, a damaged or a foreign one,
    (WALLET_VERSION) for one of this seed that an older or newer program has written."""
    nonce, ciphertext = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
    if len(raw) > WALLET_BYTES_MAX or len(nonce) < NONCE_BYTES:
        raise BadMessage("this is no wallet", code="BAD_WALLET")
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, _CONTEXT, nonce, _hash_key(seed)
        )
    except (CryptoError, ValueError, TypeError):
        raise BadMessage("the wallet is damaged, or of another seed", code="BAD_WALLET") from None
    version = _version(plain)
    if version != WALLET_VERSION:
        age = "an older" if version < WALLET_VERSION else "a newer"
        raise BadMessage(
            f"the wallet is of {age} format: version {version}; this program reads {WALLET_VERSION}",
            code="WALLET_VERSION",
            version=version,
        )
    try:
        return decode(plain, Wallet)
    except BadMessage:
        raise BadMessage("what the wallet holds is none", code="BAD_WALLET") from None


def _version(plain: bytes) -> int:
    """It is first in every format. Raises `BadMessage` (BAD_WALLET)."""
    try:
        version = msgspec.msgpack.decode(plain, type=_AnyWallet).version
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise BadMessage("what the wallet holds is none", code="BAD_WALLET") from None
    return version
