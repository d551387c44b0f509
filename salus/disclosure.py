"""What of a document version is shown to somebody, and the proof that it is of that version.

A version's commitment is a Merkle root over salted part leaves (salus/document.py). Whoever may
see some parts gets those, their salts, and of the rest one node for each largest subtree that
holds nothing shown; so he checks all that he sees, and what he does not see costs him little.

◆ shown bytes = uint32(length) ‖ encode(Disclosure) ‖ the contents of the shown parts, ascending

Law of the file: contents flow through. Writer and reader hold the list of parts (at most some
MiB), never a document. Nothing read is proved before `Reader.finish` has returned.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Annotated

import msgspec

from salus import merkle
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.document import (
    DOCUMENT_BYTES_MAX,
    PART_DOMAIN,
    PARTS_MAX,
    Opening,
    OpenPart,
    leaves_of,
    version_commitment,
)
from salus.errors import VerificationError
from salus.hashing import hasher

_LENGTH_BYTES = 4
_PART_BYTES_MAX = 48  # a shown part in the list: array, index, size, salt; a hidden node has 34
_LIST_BYTES_MAX = 64 + PARTS_MAX * _PART_BYTES_MAX
_STRUCTURE_BYTES_MAX = DOCUMENT_BYTES_MAX + 8 * PARTS_MAX  # the gaps, and their lengths
SHOWN_BYTES_MAX = _LENGTH_BYTES + _LIST_BYTES_MAX + _STRUCTURE_BYTES_MAX

PartSize = Annotated[int, msgspec.Meta(ge=0, le=_STRUCTURE_BYTES_MAX)]

_hash_disclosure = hasher("disclosure")


class ShownPart(Wire, frozen=True):
    """Where a shown part stands, how long it is, and what its leaf was salted with."""

    index: Uint
    size: PartSize
    salt: Bytes32


class Disclosure(Wire, frozen=True):
    """`count` parts, of which some are shown; `hidden` from left to right."""

    count: Annotated[int, msgspec.Meta(ge=1, le=PARTS_MAX)]
    shown: Annotated[tuple[ShownPart, ...], msgspec.Meta(max_length=PARTS_MAX)]
    hidden: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=PARTS_MAX)]

    @property
    def withheld(self) -> int:
        """How many parts are not shown."""
        return self.count - len(self.shown)

    @property
    def size(self) -> int:
        """How many bytes the shown parts have together."""
        return sum(part.size for part in self.shown)

    def digest(self) -> bytes:
        """32 bytes that, with the commitment, fix every byte that is shown."""
        return _hash_disclosure(encode(self))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of part `index`; the pieces of a part follow one another."""

    index: int
    content: bytes


# -- making --------------------------------------------------------------------------------------


def disclose(leaves: Sequence[bytes], shown: Iterable[ShownPart]) -> Disclosure:
    """The proof for these parts of a version with these part leaves (32 bytes each)."""
    parts = tuple(sorted(shown, key=lambda part: part.index))
    places = [part.index for part in parts]
    assert len(set(places)) == len(places)
    assert 0 < len(leaves) <= PARTS_MAX
    assert not places or places[-1] < len(leaves)
    hidden = [
        merkle.root(leaves[start:end])
        for start, end, is_shown in merkle.subtrees(len(leaves), places)
        if not is_shown
    ]
    return Disclosure(len(leaves), parts, tuple(hidden))


def of_opening(opening: Opening) -> Disclosure:
    """The same as an `Opening` says, without its contents and with fewer hashes."""
    return disclose(
        leaves_of(opening),
        [
            ShownPart(index, len(part.content), part.salt)
            for index, part in enumerate(opening.parts)
            if isinstance(part, OpenPart)
        ],
    )


def opening_of(disclosure: Disclosure, contents: Mapping[int, bytes]) -> Opening:
    """What is shown as an `Opening`, for a proof file: each hidden node in the place of the first
    part that it covers. `contents`: of every shown part."""
    parts: list[OpenPart | bytes] = [b""] * disclosure.count
    places = [part.index for part in disclosure.shown]
    hidden = iter(disclosure.hidden)
    for start, _, is_shown in merkle.subtrees(disclosure.count, places):
        if not is_shown:
            parts[start] = next(hidden)
    for part in disclosure.shown:
        parts[part.index] = OpenPart(part.salt, contents[part.index])
    return Opening(tuple(parts))


def write(
    disclosure: Disclosure, contents: Callable[[int], Iterable[bytes]], *, start: int = 0
) -> Iterator[bytes]:
    """The shown bytes from offset `start` on; `contents(index)` gives a part in pieces.

    Parts that end before `start` are not asked for: a transfer that broke off goes on."""
    head = list_bytes(disclosure)
    if start < len(head):
        yield head[start:]
    at = len(head)
    for part in disclosure.shown:
        end = at + part.size
        if end > start:
            for piece in contents(part.index):
                if at + len(piece) > start:
                    yield piece[max(0, start - at) :]
                at += len(piece)
            assert at == end, "a part has not the size that it was announced with"
        at = end


def shown_size(disclosure: Disclosure) -> int:
    """How many bytes `write` gives from offset 0."""
    return len(list_bytes(disclosure)) + disclosure.size


def list_bytes(disclosure: Disclosure) -> bytes:
    """The list of parts, with which the shown bytes begin."""
    encoded = encode(disclosure)
    return len(encoded).to_bytes(_LENGTH_BYTES) + encoded


# -- reading -------------------------------------------------------------------------------------


def commitment_of(disclosure: Disclosure, leaves: Sequence[bytes]) -> bytes:
    """The version commitment that hidden nodes and the leaves of the shown parts lead to.

    Raises `VerificationError` when the list of parts is not well formed."""
    places = [part.index for part in disclosure.shown]
    if len(leaves) != len(places):
        raise VerificationError("a shown part has no leaf, or a leaf no part")
    ascending = all(a < b for a, b in pairwise(places))
    if not ascending or (places and places[-1] >= disclosure.count):
        raise VerificationError("the shown parts are not in ascending places of the document")
    shown, hidden = iter(leaves), iter(disclosure.hidden)
    try:
        nodes = [
            (end - start, next(shown) if is_shown else next(hidden))
            for start, end, is_shown in merkle.subtrees(disclosure.count, places)
        ]
    except StopIteration:
        raise VerificationError("a node of a withheld part is missing") from None
    if next(hidden, None) is not None:
        raise VerificationError("there are more nodes than withheld parts")
    return version_commitment(disclosure.count, merkle.root_of_subtrees(nodes))


class Reader:
    """Takes the shown bytes as they come and gives the pieces of the parts; then the proof.

    All methods raise `VerificationError` (NOT_PROVED) or `BadMessage` (NOT_CANONICAL)."""

    def __init__(self, commitment: bytes, digest: bytes) -> None:
        """`commitment` of the version that was asked for; `digest` of the disclosure announced."""
        self._commitment, self._digest = commitment, digest
        self._head = bytearray()
        self.disclosure: Disclosure | None = None
        self._leaves: list[bytes] = []
        self._left = 0  # bytes of the current part that have not come
        self._hash = sha256()

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces in the next bytes. To be used up before the next call."""
        if self.disclosure is None:
            data = self._read_head(data)
            if self.disclosure is None:
                return
        view = memoryview(data)
        while view:
            part = self._current()
            if part is None:
                raise VerificationError("there are more bytes than parts")
            content = bytes(view[: self._left])
            view = view[len(content) :]
            self._hash.update(content)
            self._left -= len(content)
            yield Piece(part.index, content)
            self._close_parts()

    def finish(self) -> Disclosure:
        """To be called after the last byte: all came, and it is what the commitment says."""
        if self.disclosure is None or self._current() is not None:
            raise VerificationError("the shown bytes end too early")
        if commitment_of(self.disclosure, self._leaves) != self._commitment:
            raise VerificationError("the shown parts are not of this version")
        return self.disclosure

    def _read_head(self, data: bytes) -> bytes:
        """What is left of `data` after the list of parts; the list, once it is whole."""
        self._head += data
        if len(self._head) < _LENGTH_BYTES:
            return b""
        length = int.from_bytes(self._head[:_LENGTH_BYTES])
        if length > _LIST_BYTES_MAX:
            raise VerificationError(f"a list of parts has at most {_LIST_BYTES_MAX} bytes")
        end = _LENGTH_BYTES + length
        if len(self._head) < end:
            return b""
        disclosure = decode(bytes(self._head[_LENGTH_BYTES:end]), Disclosure)
        if disclosure.digest() != self._digest:
            raise VerificationError("the list of parts is not the one that was announced")
        rest = bytes(self._head[end:])
        self._head.clear()
        self.disclosure = disclosure
        self._open_part()
        self._close_parts()
        return rest

    def _current(self) -> ShownPart | None:
        assert self.disclosure is not None
        done = len(self._leaves)
        return self.disclosure.shown[done] if done < len(self.disclosure.shown) else None

    def _open_part(self) -> None:
        if (part := self._current()) is not None:
            self._hash = sha256(PART_DOMAIN + part.salt)
            self._left = part.size

    def _close_parts(self) -> None:
        """The current part if it is complete, and empty ones behind it."""
        while self._left == 0 and self._current() is not None:
            self._leaves.append(self._hash.digest())
            self._open_part()
