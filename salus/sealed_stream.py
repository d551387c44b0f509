"""A document of up to 100 MB and more, sealed in chunks under a key of its own: STREAM.

The nonce of a chunk is prefix ‖ counter ‖ last flag (Hoang, Reyhanitabar, Rogaway, Vizár: «Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance», 2015, §7), the cipher AES-256-GCM,
which browsers have. So a chunk opens only in its place, and nothing can be cut off, added or
swapped; any chunk can be sealed or opened alone, so a transfer goes on where it stopped.

◆ key ‖ prefix = HKDF-SHA256(release key, no salt, "salus/v1/release-stream" 00 ‖ binding, 39 bytes)
  chunk n      = AES-256-GCM(key, prefix ‖ uint32(n) ‖ last, plain, no associated data)

Law of the file: `binding` fixes every byte of the plain text. One nonce with two plain texts would
give AES-GCM away; here another plain text has another key, also if a release key came back.
"""

from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from salus.errors import VerificationError
from salus.hashing import domain

RELEASE_KEY_BYTES = 32
CHUNK_BYTES = 2**20  # ◆ bounds the memory of both sides; the tags are a 65,536th of the whole
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES

_KEY_BYTES, _PREFIX_BYTES, _COUNTER_BYTES = 32, 7, 4  # a GCM nonce has 12 bytes, one is the flag
SIZE_BYTES_MAX = CHUNK_BYTES << 8 * _COUNTER_BYTES

_STREAM = domain("release-stream")


class SealedStream:
    """The chunks of one plain text of `size` bytes. Holds two keys and no data."""

    def __init__(self, release_key: bytes, binding: bytes, size: int) -> None:
        """`release_key`: 32 random bytes, drawn for this release alone."""
        assert len(release_key) == RELEASE_KEY_BYTES
        assert 0 <= size <= SIZE_BYTES_MAX
        info = _STREAM + binding
        made = HKDF(SHA256(), _KEY_BYTES + _PREFIX_BYTES, salt=None, info=info).derive(release_key)
        self._cipher, self._prefix = AESGCM(made[:_KEY_BYTES]), made[_KEY_BYTES:]
        self.size = size

    @property
    def chunks(self) -> int:
        """How many there are; of nothing there is one empty chunk."""
        return max(1, -(-self.size // CHUNK_BYTES))

    def chunk_size(self, index: int) -> int:
        """Bytes of plain text in chunk `index`: all are full but the last."""
        assert 0 <= index < self.chunks
        return min(CHUNK_BYTES, self.size - index * CHUNK_BYTES)

    def seal(self, index: int, plain: bytes) -> bytes:
        assert len(plain) == self.chunk_size(index)
        return self._cipher.encrypt(self._nonce(index), plain, None)

    def open(self, index: int, sealed: bytes) -> bytes:
        """Raises `VerificationError` (BAD_RELEASE) unless it is this chunk, whole and unchanged."""
        if not 0 <= index < self.chunks:
            raise bad_release("it has more chunks than it says")
        if len(sealed) != self.chunk_size(index) + TAG_BYTES:
            raise bad_release(f"chunk {index} has not its size")
        try:
            return self._cipher.decrypt(self._nonce(index), sealed, None)
        except InvalidTag:
            raise bad_release(f"chunk {index} does not open") from None

    def seal_all(self, plain: Iterable[bytes], *, first: int = 0) -> Iterator[bytes]:
        """Chunks `first` … last of plain text that comes in pieces of any size.

        `plain` begins where chunk `first` does and must have the rest, no more and no less."""
        pending = bytearray()
        index = first
        for piece in plain:
            for at in range(0, len(piece), CHUNK_BYTES):
                pending += piece[at : at + CHUNK_BYTES]
                # The last chunk waits for the end, so that too much is noticed before it leaves.
                while index + 1 < self.chunks and len(pending) >= CHUNK_BYTES:
                    yield self.seal(index, bytes(pending[:CHUNK_BYTES]))
                    del pending[:CHUNK_BYTES]
                    index += 1
                assert len(pending) <= CHUNK_BYTES, "more plain text than was announced"
        yield self.seal(index, bytes(pending))

    def open_all(self, sealed: Iterable[bytes], *, first: int = 0) -> Iterator[bytes]:
        """Plain text of chunks `first` … last. Raises as `open`, and if the last one is missing."""
        index = first
        for chunk in sealed:
            yield self.open(index, chunk)
            index += 1
        if index != self.chunks:
            raise bad_release(f"chunk {index} and what follows is missing")

    def _nonce(self, index: int) -> bytes:
        last = index == self.chunks - 1
        return self._prefix + index.to_bytes(_COUNTER_BYTES) + bytes([last])


def bad_release(why: str) -> VerificationError:
    """The one error of whatever is wrong with a release."""
    return VerificationError(f"the release cannot be opened: {why}", code="BAD_RELEASE")
