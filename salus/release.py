"""A release: what a custodian hands to the requester of one ticket, and to nobody else.

The vault's keys never leave their owner. He seals what the ticket permits under a fresh *release
key* (salus/sealed_stream.py) and that key to the ephemeral key of the signed request by RFC 9180:
base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (health.md §4.3). Who steals the
requester's other keys later opens nothing: the ephemeral secret is gone by then.

◆ wrapped key = enc ‖ ct of SealBase(pkR, info = "salus/v1/release-key" 00 ‖ encode(terms),
                no aad, release key)      RFC 9180 §6.1; §8.1 for why terms stand in `info`

Base mode authenticates no sender. That it is the custodian says the connection (member keys), and
that the content is the record says its commitment: check both. Not pure: the library draws the
ephemeral key of `seal`.
"""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from salus.codec import Bytes16, Bytes32, Wire, check, decode, encode
from salus.disclosure import SHOWN_BYTES_MAX
from salus.errors import BadMessage, SalusError
from salus.genesis import ChainId
from salus.hashing import domain
from salus.sealed_stream import RELEASE_KEY_BYTES, SealedStream, bad_release
from salus.validators import MemberId

RELEASE_VERSION = 1
WRAPPED_KEY_BYTES = 32 + RELEASE_KEY_BYTES + 16  # enc, key, tag
RELEASE_BYTES_MAX = 512  # the envelope: terms of bounded fields and the wrapped key

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY = domain("release-key")

WrappedKey = Annotated[
    bytes, msgspec.Meta(min_length=WRAPPED_KEY_BYTES, max_length=WRAPPED_KEY_BYTES)
]


class Terms(Wire, frozen=True):
    """What a release is of. Under both seals: none of it can be exchanged."""

    version: Annotated[int, msgspec.Meta(ge=RELEASE_VERSION, le=RELEASE_VERSION)]
    chain_id: ChainId
    custodian: MemberId
    request_id: (
        Bytes16  # with the custodian: the certified ticket that permits it (salus/ticket.py)
    )
    commitment: Bytes32  # of the record version (salus/document.py)
    disclosure: Bytes32  # digest of the list of shown parts (salus/disclosure.py)
    size: Annotated[int, msgspec.Meta(ge=1, le=SHOWN_BYTES_MAX)]  # bytes of plain text


class Release(Wire, frozen=True):
    """The envelope that goes before the chunks."""

    terms: Terms
    wrapped_key: WrappedKey


def seal(terms: Terms, release_key: bytes, requester: bytes) -> tuple[Release, SealedStream]:
    """The envelope and the stream to seal chunks with.

    `release_key`: 32 fresh random bytes; `requester`: the ephemeral X25519 key of the request.
    Raises `BadMessage` (BAD_BOX_KEY) for a key to which nothing can be sealed."""
    assert len(release_key) == RELEASE_KEY_BYTES
    bound = encode(terms)
    check(bound, Terms)
    try:
        key = X25519PublicKey.from_public_bytes(requester)
        wrapped = _SUITE.encrypt(release_key, key, _KEY + bound)
    except ValueError:  # of another length, or of low order: a shared secret of zeroes
        raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None
    return Release(terms, wrapped), SealedStream(release_key, bound, terms.size)


def check_key(requester: bytes) -> None:
    """Raises `BadMessage` (BAD_BOX_KEY) for a key to which nothing can be sealed."""
    try:
        _SUITE.encrypt(b"", X25519PublicKey.from_public_bytes(requester), b"")
    except ValueError:
        raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None


def read(raw: bytes) -> Release:
    """The envelope in these bytes; raises `VerificationError` (BAD_RELEASE)."""
    if len(raw) > RELEASE_BYTES_MAX:
        raise bad_release(f"an envelope has at most {RELEASE_BYTES_MAX} bytes")
    try:
        return decode(raw, Release)
    except SalusError as error:
        raise bad_release(error.message) from None


def open_release(
    release: Release,
    box_secret: bytes,
    *,
    chain_id: str,
    custodian: str,
    request_id: bytes,
    commitment: bytes,
) -> SealedStream:
    """The stream to open the chunks with. Raises `VerificationError` (BAD_RELEASE).

    `box_secret`: the secret of the request's ephemeral key; the others: what was asked for."""
    terms = release.terms
    got = (terms.chain_id, terms.custodian, terms.request_id, terms.commitment)
    if got != (chain_id, custodian, request_id, commitment):
        raise bad_release("it is of another chain, ticket or record version")
    bound = encode(terms)
    try:
        key = X25519PrivateKey.from_private_bytes(box_secret)
        release_key = _SUITE.decrypt(release.wrapped_key, key, _KEY + bound)
    except InvalidTag:
        raise bad_release("its key is sealed to another key or for other terms") from None
    return SealedStream(release_key, bound, terms.size)
