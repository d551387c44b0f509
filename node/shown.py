"""What of one document version is shown, as places in the vault's file: lists and keys, no content.

A document that is cut by its meaning (a Bundle, lines) is read once, to find its parts and to
withhold what must be; of any other the parts follow from its size. Then each megabyte is read when it
is asked for. Law of the file: what leaves is what `salus.disclosure.write` would give.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Self

from node.record_version import PrivateVersion
from salus.codec import decode, encode
from salus.consent.derivative import derive
from salus.consent.redact import Wanted, withheld
from salus.disclosure import Disclosure, ShownPart, disclose, list_bytes, of_opening
from salus.document import (
    CHUNK_BYTES,
    SALT_BYTES,
    Structure,
    commitment,
    has_meaning,
    open_all,
    part_leaf,
    salts,
    split,
)
from salus.errors import BadMessage

# A finer cut is another document and is held in memory while its ticket lives: a patient's summary
# has some 100 kB. Of a larger one nothing is shown rather than everything.
DERIVED_BYTES_MAX = 2 * 2**20

Chunks = Callable[[int], Iterator[bytes]]  # the document from that megabyte on


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of the document in the vault."""

    start: int
    size: int


class Shown:
    """The shown bytes of one version."""

    def __init__(
        self,
        disclosure: Disclosure,
        proved_by: bytes,
        pieces: Iterable[bytes | Span],
        *,
        derived: bool = False,
    ) -> None:
        """`proved_by`: the commitment that the disclosure leads to; `pieces`: the contents of the
        shown parts, ascending."""
        self.digest, self.withheld = disclosure.digest(), disclosure.withheld
        self.proved_by, self.derived = proved_by, derived
        self._held = bytearray(list_bytes(disclosure))
        # Where each run of document bytes begins among the shown bytes, and in the document; what
        # stands before the first run is held.
        self._at, self._from = array("Q"), array("Q")
        self.size = len(self._held)
        for piece in pieces:
            self._append(piece)
        assert self.size == len(list_bytes(disclosure)) + disclosure.size

    def _append(self, piece: bytes | Span) -> None:
        if isinstance(piece, bytes):
            assert not self._at, "held bytes come first"
            self._held += piece
            self.size += len(piece)
            return
        runs_on = bool(self._at) and self._from[-1] + (self.size - self._at[-1]) == piece.start
        if piece.size and not runs_on:
            self._at.append(self.size)
            self._from.append(piece.start)
        self.size += piece.size

    @property
    def held_bytes(self) -> int:
        """Of memory, while the ticket lives."""
        return len(self._held) + 16 * len(self._at)

    def read(self, start: int, size: int, document: Chunks) -> bytes:
        """Shown bytes `start` … `start + size`. In a thread: reads the disk."""
        found = bytearray(self._held[start : start + size])
        with _Reader(document) as reader:
            while len(found) < size:
                at = start + len(found)
                run = bisect_right(self._at, at) - 1
                end = self._at[run + 1] if run + 1 < len(self._at) else self.size
                count = min(size - len(found), end - at)
                found += reader.read(self._from[run] + (at - self._at[run]), count)
        return bytes(found)


class _Reader:
    """Reads ascending places of a document, a megabyte in memory; what lies far between is not read."""

    def __init__(self, document: Chunks) -> None:
        self._document = document
        self._chunks: Iterator[bytes] = iter(())
        self._number, self._chunk = -1, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._chunks)

    def read(self, start: int, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            number, offset = divmod(start + len(found), CHUNK_BYTES)
            self._go(number)
            piece = self._chunk[offset : offset + size - len(found)]
            assert piece, "the document is shorter than its record says"
            found += piece
        return bytes(found)

    def _go(self, number: int) -> None:
        if number == self._number:
            return
        if number != self._number + 1 or self._number < 0:
            _close(self._chunks)
            self._chunks = self._document(number)
        self._chunk, self._number = next(self._chunks), number


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


# -- cutting ---------------------------------------------------------------------------------------


def cut(
    version: PrivateVersion, wanted: Wanted, document: Chunks, random: Callable[[int], bytes]
) -> Shown:
    """In a thread. Of a document that is cut by its meaning all is in memory meanwhile."""
    if not has_meaning(version.media_type):
        return _cut_unread(version, wanted, document)
    with closing_all(document) as chunks:
        content = b"".join(chunks)
    parts = split(content, version.media_type)
    hidden = withheld(parts, wanted)
    if len(hidden) == len(parts):
        derived = _derived(content, version.media_type, wanted, random)
        if derived is not None:
            return derived
    part_salts = salts(version.salt_seed, len(parts))
    disclosure = _list([len(part) for part in parts], part_salts, hidden, iter(parts))
    spans = _spans(parts)
    pieces = (parts[0] if part.index == 0 else spans[part.index - 1] for part in disclosure.shown)
    return Shown(disclosure, version.commitment, pieces)


def _cut_unread(version: PrivateVersion, wanted: Wanted, document: Chunks) -> Shown:
    """Of what nobody here can read all is shown, or nothing."""
    structure = encode(Structure(version.media_type, ()))
    sizes = [len(structure)]
    sizes += (min(CHUNK_BYTES, version.size - at) for at in range(0, version.size, CHUNK_BYTES))
    part_salts = salts(version.salt_seed, len(sizes))
    if wanted.everything:
        disclosure = _list(sizes, part_salts, (), iter(()))
        return Shown(disclosure, version.commitment, (structure, Span(0, version.size)))
    with closing_all(document) as chunks:
        parts = chain((structure,), chunks)
        disclosure = _list(sizes, part_salts, tuple(range(len(sizes))), parts)
    return Shown(disclosure, version.commitment, ())


def _list(
    sizes: Sequence[int],
    part_salts: Sequence[bytes],
    hidden: tuple[int, ...],
    parts: Iterator[bytes],
) -> Disclosure:
    """`parts`: hashed only where something is withheld."""
    gone = frozenset(hidden)
    shown = tuple(
        ShownPart(index, size, salt)
        for index, (size, salt) in enumerate(zip(sizes, part_salts, strict=True))
        if index not in gone
    )
    if not gone:
        return Disclosure(len(sizes), shown, ())
    leaves = [part_leaf(salt, next(parts)) for salt in part_salts]
    return disclose(leaves, shown)


def _spans(parts: Sequence[bytes]) -> list[Span]:
    """Where parts 1 … stand in the document."""
    gaps = decode(parts[0], Structure).gaps
    spans, at = [], 0
    for index, part in enumerate(parts[1:]):
        at += len(gaps[index]) if gaps else 0
        spans.append(Span(at, len(part)))
        at += len(part)
    return spans


def _derived(
    content: bytes, media_type: str, wanted: Wanted, random: Callable[[int], bytes]
) -> Shown | None:
    """What is left without the elements that must go; None if nothing is, or nobody can say."""
    if len(content) > DERIVED_BYTES_MAX:
        return None
    try:
        document = derive(content, wanted)
    except BadMessage:
        return None
    if document is None:
        return None
    parts = split(document, media_type)
    opening = open_all(parts, random(SALT_BYTES))
    disclosure = of_opening(opening)
    return Shown(disclosure, commitment(opening), (b"".join(parts),), derived=True)


@contextmanager
def closing_all(document: Chunks) -> Iterator[Iterator[bytes]]:
    """The whole document from its first chunk; its file is closed behind it."""
    chunks = document(0)
    try:
        yield chunks
    finally:
        _close(chunks)
