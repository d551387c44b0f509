"""A patient's keys and handles, all from one seed of 32 random bytes (health.md §4.1).

◆ secret of a kind = HKDF-SHA256(seed, no salt, "salus/v1/patient-KIND" 00 encode(context), 32 bytes)

On chain a patient is one handle and one key per (patient, organisation). HKDF is a PRF, so who
does not know the seed cannot tell two handles of one patient from those of two patients: no
public value of one relation says anything about another. The chain id stands in the context, so
that a patient of two consortia is two strangers there too (RFC 5869 §3.2: context in `info`).

Law of the file: `handle`, `card_tag` and the `public` side of a pair may be published; all else
stays with the patient, on paper or on his devices.
"""

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from salus.codec import Bytes32, Uint, Wire, check, encode
from salus.genesis import ChainId
from salus.hashing import domain, hasher
from salus.keys import SigningKey, box_public_key
from salus.validators import MemberId

PATIENT_SEED_BYTES = 32  # ◆ 256 bits: what SLIP-39 shares carry and HKDF-SHA256 keeps
FINGERPRINT_BYTES = 8  # enough to tell a wrong passphrase; it is compared, never trusted

_HANDLE = domain("patient-handle")
_SIGNING = domain("patient-signing")
_BOX = domain("patient-box")
_BROWSER_SIGNING = domain("patient-browser-signing")
_BROWSER_BOX = domain("patient-browser-box")
_CARD = domain("patient-card")
_GUARDIAN = domain("patient-guardian")
_DELEGATE = domain("patient-delegate")

_hash_card = hasher("look-up-card")
_hash_fingerprint = hasher("patient-seed")


class Relation(Wire, frozen=True):
    """Between whom a handle exists: one patient (by his seed) and one organisation of a chain."""

    chain_id: ChainId
    organisation: MemberId


_ALONE: Any = tuple[Relation]
_NUMBERED: Any = tuple[Relation, Uint]
_OTHERS: Any = tuple[Relation, Bytes32, Uint]


class PublicKeys(Wire, frozen=True):
    """What a relation shows of a key pair: the key that signs and the key that is sealed to."""

    signing: Bytes32  # Ed25519
    box: Bytes32  # X25519


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """An Ed25519 key and the X25519 secret beside it. Its `repr` shows neither."""

    signing: SigningKey
    box_secret: bytes

    @property
    def public(self) -> PublicKeys:
        return PublicKeys(self.signing.public_key, box_public_key(self.box_secret))

    def __repr__(self) -> str:
        return f"KeyPair({self.public.signing.hex()})"


def handle(seed: bytes, relation: Relation) -> bytes:
    """The 32 bytes that are the patient for this organisation. They outlive every key."""
    return _derive(seed, _HANDLE, relation)


def owner_keys(seed: bytes, relation: Relation, generation: Uint = 0) -> KeyPair:
    """The keys that own the relation; `generation` goes up by one with each rotation.

    Rotation helps against a key that leaked, not against a seed that leaked: then the patient
    takes a new seed, and the relation keeps its handle as a stored value."""
    return KeyPair(
        SigningKey.from_seed(_derive(seed, _SIGNING, relation, generation)),
        _derive(seed, _BOX, relation, generation),
    )


def browser_keys(seed: bytes, relation: Relation, device: Uint) -> KeyPair:
    """The limited keys of one browser (view, revoke, deny), enrolled on chain as a delegate.

    They are derived on the patient's own device and imported once, non-extractable; the page
    never sees the seed. A lost browser is removed by its number, and the next one is `device` + 1.
    """
    return KeyPair(
        SigningKey.from_seed(_derive(seed, _BROWSER_SIGNING, relation, device)),
        _derive(seed, _BROWSER_BOX, relation, device),
    )


def guardian_key(seed: bytes, relation: Relation, of: bytes, number: Uint = 0) -> SigningKey:
    """What the person with this seed signs with as a guardian of the relation whose handle is `of`.

    One for each relation: a key that stood under two would join them. `number` goes up by one when
    somebody who was no guardian any more becomes one again: keys are entered once."""
    return SigningKey.from_seed(_derive(seed, _GUARDIAN, relation, of, number))


def delegate_key(seed: bytes, relation: Relation, of: bytes, number: Uint = 0) -> SigningKey:
    """As `guardian_key`, for who acts as a delegate of the relation whose handle is `of`."""
    return SigningKey.from_seed(_derive(seed, _DELEGATE, relation, of, number))


def card_secret(seed: bytes, relation: Relation, card: Uint) -> bytes:
    """The look-up handle on an emergency card or QR: 32 bytes, for one organisation.

    `card` goes up by one when a card is lost, so that the old one finds nobody."""
    return _derive(seed, _CARD, relation, card)


def card_key(secret: bytes) -> SigningKey:
    """◆ What a card signs with when it is entered, so that nobody enters it for himself."""
    return SigningKey.from_seed(_hash_card(secret))


def card_tag(secret: bytes) -> bytes:
    """What may stand in public for a card: who reads the chain can make no card of it."""
    return card_key(secret).public_key


def fingerprint(seed: bytes) -> bytes:
    """8 bytes by which a restored seed is recognised.

    Keep it as private as the list of one's relations: with a threshold of shares it confirms a
    guessed passphrase (so does any public key on chain, at the same price)."""
    return _hash_fingerprint(seed)[:FINGERPRINT_BYTES]


def _derive(seed: bytes, kind: bytes, relation: Relation, *more: int | bytes) -> bytes:
    assert len(seed) == PATIENT_SEED_BYTES
    context = encode((relation, *more))
    shape = _ALONE if not more else _OTHERS if isinstance(more[0], bytes) else _NUMBERED
    check(context, shape)  # a mistyped organisation makes no stranger
    return HKDF(SHA256(), 32, salt=None, info=kind + context).derive(seed)
