"""Authenticated encryption for the vault: XChaCha20-Poly1305 (libsodium), small and chunked.

◆ sealed  = nonce (24) ‖ AEAD(key, nonce, associated data, plain)
  document = magic (8) ‖ version u32 ‖ tag (16) ‖ chunks; chunk n = AEAD(key, tag ‖ n u64,
             magic ‖ version ‖ tag ‖ n u64 ‖ last u8, ≤ 1 MiB of plain)

A document's key seals that one document, so a counter is a safe nonce. `last` is 1 in the last
chunk only: it binds the number of chunks, which a stream does not know before its end, so that
chunks cannot be cut off, added, swapped or moved to another document.
"""

from collections.abc import Iterable, Iterator

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from storage.errors import VaultDamaged
from storage.schema import VERSIONS, check_version

KEY_BYTES: int = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
NONCE_BYTES: int = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
TAG_BYTES: int = crypto_aead_xchacha20poly1305_ietf_ABYTES

CHUNK_BYTES = 2**20  # bounds the memory of a reader; 16 bytes of overhead each do not matter
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES

DOCUMENT_TAG_BYTES = 16
_DOCUMENT_MAGIC = b"SALUSDOC"  # Do not change.
DOCUMENT_HEADER_BYTES = len(_DOCUMENT_MAGIC) + 4 + DOCUMENT_TAG_BYTES


def seal(key: bytes, nonce: bytes, plain: bytes, context: bytes) -> bytes:
    """`nonce`: 24 random bytes; `context` must be given again to open it."""
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, nonce, key)


def unseal(key: bytes, sealed: bytes, context: bytes, what: str) -> bytes:
    """Raises `VaultDamaged` naming `what`."""
    return _decrypt(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context, what)


def document_header(tag: bytes) -> bytes:
    """`tag`: 16 random bytes, drawn for this document."""
    return _DOCUMENT_MAGIC + VERSIONS["vault"].to_bytes(4) + tag


class ChunkSealer:
    """Encrypts a document that comes in pieces of any size, chunk by chunk."""

    def __init__(self, key: bytes, header: bytes) -> None:
        self._key, self._header = key, header
        self._pending = bytearray()
        self._number = 0

    def push(self, piece: bytes) -> Iterator[bytes]:
        """The chunks that are full with this piece."""
        for at in range(0, len(piece), CHUNK_BYTES):
            self._pending += piece[at : at + CHUNK_BYTES]
            # One byte more than a chunk must be there to know that the chunk is not the last.
            while len(self._pending) > CHUNK_BYTES:
                plain = bytes(self._pending[:CHUNK_BYTES])
                yield _seal_chunk(self._key, self._header, self._number, plain, last=False)
                del self._pending[:CHUNK_BYTES]
                self._number += 1

    def last(self) -> bytes:
        """The last chunk; nothing comes after it."""
        plain = bytes(self._pending)
        return _seal_chunk(self._key, self._header, self._number, plain, last=True)


def sealed_chunks(key: bytes, header: bytes, plain: Iterable[bytes]) -> Iterator[bytes]:
    """The encrypted chunks of a document that comes in pieces of any size."""
    sealer = ChunkSealer(key, header)
    for piece in plain:
        yield from sealer.push(piece)
    yield sealer.last()


def opened_chunks(
    key: bytes, header: bytes, sealed: Iterable[bytes], what: str, first: int = 0
) -> Iterator[bytes]:
    """The reverse; `sealed` are the chunks of the file in order, from chunk `first` on. Raises
    `VaultDamaged`."""
    if len(header) != DOCUMENT_HEADER_BYTES or header[: len(_DOCUMENT_MAGIC)] != _DOCUMENT_MAGIC:
        raise VaultDamaged(f"{what} does not begin as a document")
    check_version("vault", int.from_bytes(header[len(_DOCUMENT_MAGIC) : -DOCUMENT_TAG_BYTES]))
    number, held = first, None
    for chunk in sealed:
        if held is not None:
            yield _open_chunk(key, header, number, held, what, last=False)
            number += 1
        held = chunk
    if held is None:
        raise VaultDamaged(f"{what} ends before chunk {first}")
    yield _open_chunk(key, header, number, held, what, last=True)


def _seal_chunk(key: bytes, header: bytes, number: int, plain: bytes, *, last: bool) -> bytes:
    nonce, context = _chunk_context(header, number, last)
    return crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, nonce, key)


def _open_chunk(
    key: bytes, header: bytes, number: int, sealed: bytes, what: str, *, last: bool
) -> bytes:
    nonce, context = _chunk_context(header, number, last)
    return _decrypt(key, nonce, sealed, context, f"{what}, chunk {number},")


def _chunk_context(header: bytes, number: int, last: bool) -> tuple[bytes, bytes]:
    place = number.to_bytes(8)
    return header[-DOCUMENT_TAG_BYTES:] + place, header + place + bytes([last])


def _decrypt(key: bytes, nonce: bytes, sealed: bytes, context: bytes, what: str) -> bytes:
    if len(nonce) != NONCE_BYTES or len(sealed) < TAG_BYTES:
        raise VaultDamaged(f"{what} is too short")
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, context, nonce, key)
    except CryptoError:
        raise VaultDamaged(f"{what} fails its authentication") from None
