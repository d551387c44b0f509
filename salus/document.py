"""Commitments to documents: salted leaves, a version's commitment, the leaf of an anchored batch.

A document is cut without loss into parts; each part is hashed with a salt of its own, so that
a shown part proves itself and a withheld one cannot be guessed (health.md §4.3, §4.5):

    part leaf           = H("document-leaf", salt32 ‖ part)
    version commitment  = H("document-version", encode((count, RFC 6962 root of the part leaves)))
    record leaf         = see salus/record.py
    anchored root       = RFC 6962 root of 2^k record leaves and random ones, ascending

Part 0 is always the structure: media type and the bytes *between* the parts. Joining the parts
gives back the file byte for byte. Pure: salts, tags and padding arrive as arguments.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Annotated, Any

import msgspec

from salus import merkle
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage, VerificationError
from salus.hashing import HASH_BYTES, domain, hasher
from salus.record import BATCH_LEAVES_MAX, record_leaf

SALT_BYTES = 32  # Do not change: 256 bits, so that no dictionary meets a commitment.
CHUNK_BYTES = 2**20  # Do not change: the parts of what cannot be cut by meaning.
DOCUMENT_BYTES_MAX = 128 * 2**20  # Half of a proof file; a longer study goes in as several records.
PARTS_MAX = 65_536  # A bundle of so many entries is a data export and no document.
MEDIA_TYPE_CHARS_MAX = 100

_SPACE = re.compile(r"[ \t\n\r]*")
_SPLIT_TYPES = ("application/fhir+json", "application/json")
_LINES_TYPE = "application/fhir+ndjson"

PART_DOMAIN = domain("document-leaf")  # before salt and part, for whoever hashes as bytes come

_hash_part = hasher("document-leaf")
_hash_salt = hasher("document-salt")
_hash_version = hasher("document-version")
_hash_author = hasher("record-author")
_hash_context = hasher("record-context")
_hash_reason = hasher("record-reason")


class Structure(Wire, frozen=True):
    """Part 0: how the other parts make the document.

    `gaps` is empty when they simply follow one another, else it holds one piece more than
    there are parts: document = gap 0 ‖ part 1 ‖ gap 1 ‖ … ‖ part n ‖ gap n.
    """

    media_type: Annotated[str, msgspec.Meta(min_length=1, max_length=MEDIA_TYPE_CHARS_MAX)]
    gaps: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=PARTS_MAX)]


class OpenPart(Wire, frozen=True):
    """A part that is shown, with the salt that its leaf was hashed with."""

    salt: Bytes32
    content: bytes


# A withheld part: its leaf; or the node of all of the largest subtree that shows nothing, in the
# place of its first part, and then nothing in the others'. Of a document of 60,000 entries of which
# one is shown, that is 16 hashes.
Withheld = Annotated[bytes, msgspec.Meta(max_length=HASH_BYTES)]


class Opening(Wire, frozen=True):
    """A document as it is shown to somebody: of withheld parts only hashes."""

    parts: Annotated[
        tuple[OpenPart | Withheld, ...], msgspec.Meta(min_length=1, max_length=PARTS_MAX)
    ]

    @property
    def withheld(self) -> tuple[int, ...]:
        """The indexes of the parts that are not shown."""
        return tuple(i for i, part in enumerate(self.parts) if not isinstance(part, OpenPart))


# -- cutting and joining ---------------------------------------------------------------------


def has_meaning(media_type: str) -> bool:
    """May `split` cut such a document otherwise than into chunks?"""
    return _kind(media_type) in (*_SPLIT_TYPES, _LINES_TYPE)


def _kind(media_type: str) -> str:
    return media_type.split(";")[0].strip().lower()


def split(document: bytes, media_type: str) -> tuple[bytes, ...]:
    """The parts of a document, structure first; raises `BadMessage` (code TOO_LARGE).

    A FHIR JSON Bundle is cut at its entries and NDJSON at its lines, each with its exact source
    bytes (decimals keep their precision); anything else, and JSON that cannot be read, into chunks.
    """
    if len(document) > DOCUMENT_BYTES_MAX:
        raise BadMessage(
            f"a document has at most {DOCUMENT_BYTES_MAX} bytes, not {len(document)}",
            code="TOO_LARGE",
        )
    if not 0 < len(media_type) <= MEDIA_TYPE_CHARS_MAX:
        raise BadMessage(f"a media type has 1 to {MEDIA_TYPE_CHARS_MAX} characters")
    cut = None
    kind = _kind(media_type)
    if kind in _SPLIT_TYPES:
        cut = _bundle_entries(document)
    elif kind == _LINES_TYPE:
        cut = _lines(document)
    if cut is None:
        chunks = [document[i : i + CHUNK_BYTES] for i in range(0, len(document), CHUNK_BYTES)]
        return (encode(Structure(media_type, ())), *chunks)
    gaps, entries = cut
    if len(entries) >= PARTS_MAX:
        raise BadMessage(f"at most {PARTS_MAX - 1} entries or lines", code="TOO_LARGE")
    return (encode(Structure(media_type, tuple(gaps))), *entries)


def cut_by_meaning(media_type: str) -> bool:
    """Whether `split` looks for entries or lines, and so needs the whole document."""
    return media_type.split(";")[0].strip().lower() in (*_SPLIT_TYPES, _LINES_TYPE)


def join(parts: Sequence[bytes]) -> tuple[str, bytes]:
    """Media type and document; raises `BadMessage` when the structure does not fit the parts."""
    if not parts:
        raise BadMessage("a document has at least its structure")
    structure = _structure(parts[0], len(parts))
    if not structure.gaps:
        return structure.media_type, b"".join(parts[1:])
    pieces = [structure.gaps[0]]
    for part, gap in zip(parts[1:], structure.gaps[1:], strict=True):
        pieces += (part, gap)
    return structure.media_type, b"".join(pieces)


def _structure(part: bytes, count: int) -> Structure:
    """Part 0 of a document of `count` parts."""
    structure = decode(part, Structure)
    if structure.gaps and len(structure.gaps) != count:
        raise BadMessage(f"{len(structure.gaps)} gaps do not fit {count - 1} parts")
    return structure


def _bundle_entries(document: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Gaps and entries of a Bundle; None when it is none or cannot be cut unambiguously."""
    try:
        text = document.decode("utf-8")  # strict, hence without loss: slices of it are slices
        spans = _Scanner(text).entries()
    except (ValueError, RecursionError):
        return None
    if not spans:
        return None
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    pieces = [text[a:b].encode() for a, b in pairwise(edges)]
    return pieces[::2], pieces[1::2]


def line_spans(document: bytes) -> Iterator[tuple[int, int, int]]:
    """(number from 1, start, end) of each line that is not blank, without its end."""
    start = number = 0
    while start < len(document):
        end = document.find(b"\n", start)
        end = len(document) if end < 0 else end
        number += 1
        line = document[start:end]
        if line.strip(b" \t\r"):
            yield number, start, start + len(line.rstrip(b"\r"))
        start = end + 1


def _lines(document: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Gaps and lines of NDJSON; None when there is none."""
    spans = [span[1:] for span in islice(line_spans(document), PARTS_MAX)]
    if not spans:
        return None
    edges = [0, *(edge for span in spans for edge in span), len(document)]
    pieces = [document[a:b] for a, b in pairwise(edges)]
    return pieces[::2], pieces[1::2]


class _Scanner:
    """Finds where the elements of the one top-level `entry` array of a Bundle begin and end."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        # Numbers are not converted: nobody needs them here, and they may have many digits.
        self.decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

    def entries(self) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] | None = None
        kind = None
        self._expect("{")
        while True:
            name = self._value()
            self._expect(":")
            if name == "entry":
                if spans is not None:
                    raise ValueError("entry stands twice")
                spans = self._array()
            elif name == "resourceType":
                kind = self._value()
            else:
                self._value()
            if self._expect(",", "}") == "}":
                break
        self._space()
        if self.at != len(self.text) or kind != "Bundle":
            raise ValueError("not a Bundle")
        return spans or []

    def _array(self) -> list[tuple[int, int]]:
        spans = []
        self._expect("[")
        while True:
            self._space()
            start = self.at
            self._value()
            spans.append((start, self.at))
            if self._expect(",", "]") == "]":
                return spans

    def _value(self) -> Any:
        self._space()
        value, self.at = self.decoder.raw_decode(self.text, self.at)
        return value

    def _expect(self, *letters: str) -> str:
        self._space()
        letter = self.text[self.at : self.at + 1]
        if letter not in letters or not letter:
            raise ValueError("not JSON of the expected shape")
        self.at += 1
        return letter

    def _space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()


# -- the commitment of a version -------------------------------------------------------------


def salts(seed: bytes, count: int) -> tuple[bytes, ...]:
    """One salt per part from 32 random bytes; a shown salt tells nothing about the others."""
    assert len(seed) == SALT_BYTES
    return tuple(_hash_salt(seed + index.to_bytes(4)) for index in range(count))


def open_all(parts: Sequence[bytes], seed: bytes) -> Opening:
    """The opening that withholds nothing."""
    return Opening(
        tuple(
            OpenPart(salt, part) for salt, part in zip(salts(seed, len(parts)), parts, strict=True)
        )
    )


def redact(opening: Opening, withhold: Sequence[int]) -> Opening:
    """The same version without the named parts: its commitment does not change."""
    hidden = set(withhold)
    assert all(0 <= index < len(opening.parts) for index in hidden)
    return Opening(
        tuple(_leaf(part) if i in hidden else part for i, part in enumerate(opening.parts))
    )


def commitment(opening: Opening) -> bytes:
    """The version commitment that shown parts and withheld hashes lead to. Raises `BadMessage` if
    the hashes are not as many, and where, the document's tree has them."""
    count = len(opening.parts)
    if all(opening.parts):
        return version_commitment(count, merkle.root(leaves_of(opening)))
    shown = [i for i, part in enumerate(opening.parts) if isinstance(part, OpenPart)]
    nodes = []
    for start, end, _ in merkle.subtrees(count, shown):
        first, *others = opening.parts[start:end]
        if any(others):
            raise BadMessage("withheld parts stand one by one, or each subtree as one node")
        nodes.append((end - start, _leaf(first)))
    return version_commitment(count, merkle.root_of_subtrees(nodes))


def version_commitment(count: int, root: bytes) -> bytes:
    """The commitment of a version with so many parts, from the root over their leaves."""
    # The count stands beside the root, which does not fix the number of its leaves.
    return _hash_version(encode((count, root)))


class ChunkedCommitment:
    """The commitment of a document that is cut into chunks only, as its bytes come. It equals
    `commitment(open_all(split(document, media_type), seed))`, and holds 32 bytes for each chunk."""

    def __init__(self, media_type: str, seed: bytes) -> None:
        assert not cut_by_meaning(media_type)
        assert len(seed) == SALT_BYTES
        self._seed, self.size = seed, 0  # bytes so far
        self._leaves: list[bytes] = []
        self._add(split(b"", media_type)[0])

    def add(self, chunk: bytes) -> None:
        """The next chunk: all have `CHUNK_BYTES` but the last. Raises `BadMessage` (TOO_LARGE)."""
        assert 0 < len(chunk) <= CHUNK_BYTES
        assert self.size % CHUNK_BYTES == 0, "only the last chunk is shorter"
        self.size += len(chunk)
        if self.size > DOCUMENT_BYTES_MAX:
            raise BadMessage(f"a document has at most {DOCUMENT_BYTES_MAX} bytes", code="TOO_LARGE")
        self._add(chunk)

    def finish(self) -> bytes:
        return version_commitment(len(self._leaves), merkle.root(self._leaves))

    def _add(self, part: bytes) -> None:
        salt = _hash_salt(self._seed + len(self._leaves).to_bytes(4))
        self._leaves.append(_hash_part(salt + part))


def leaves_of(opening: Opening) -> list[bytes]:
    """The leaf of each part, shown or withheld. Raises `BadMessage` where only nodes are."""
    return [_leaf(part) for part in opening.parts]


def contents(opening: Opening) -> tuple[str, bytes]:
    """Media type and document; raises `VerificationError` when something is withheld."""
    parts = [part.content for part in opening.parts if isinstance(part, OpenPart)]
    if len(parts) != len(opening.parts):
        raise VerificationError("parts of the document are withheld")
    return join(parts)


def check_structure(opening: Opening) -> None:
    """Raises `BadMessage` when a shown structure is none, or is that of another number of parts."""
    first = opening.parts[0]
    if isinstance(first, OpenPart):
        _structure(first.content, len(opening.parts))


def part_leaf(salt: bytes, content: bytes) -> bytes:
    """The leaf of one part."""
    return _hash_part(salt + content)


def _leaf(part: OpenPart | bytes) -> bytes:
    if isinstance(part, OpenPart):
        return part_leaf(part.salt, part.content)
    if len(part) != HASH_BYTES:
        raise BadMessage(f"a withheld part is a hash of {HASH_BYTES} bytes")
    return part


# -- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """Where a record stands in an anchored batch of `leaves` leaves, and its inclusion path."""

    index: int
    leaves: int
    path: tuple[bytes, ...]


def batch_size(records: int) -> int:
    """The least power of two that holds so many records; raises `BadMessage` above 4096."""
    if not 0 < records <= BATCH_LEAVES_MAX:
        raise BadMessage(f"a batch has 1 to {BATCH_LEAVES_MAX} records", code="TOO_LARGE")
    return 1 << (records - 1).bit_length()


def batch(records: Sequence[bytes], padding: Sequence[bytes]) -> tuple[bytes, list[BatchPlace]]:
    """The root over record leaves and random padding, and the place of each record in it.

    All leaves are sorted, so that an index tells neither the order nor the number of records.
    """
    leaves = sorted((*records, *padding))
    assert len(leaves) == batch_size(len(records)), "padding up to a power of two"
    assert len(set(leaves)) == len(leaves), "two equal leaves: the random bytes are not random"
    assert all(len(leaf) == HASH_BYTES for leaf in leaves)
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([merkle.node_hash(*below[i : i + 2]) for i in range(0, len(below), 2)])
    places = []
    for record in records:
        index = bisect_left(leaves, record)
        path = tuple(level[index >> depth ^ 1] for depth, level in enumerate(levels[:-1]))
        places.append(BatchPlace(index, len(leaves), path))
    return levels[-1][0], places


def check_record(
    root: bytes,
    leaves: int,
    index: int,
    version_commitment: bytes,
    hash_of_tag: bytes,
    path: Sequence[bytes],
) -> None:
    """Raises `VerificationError` unless the version stands under the anchored root."""
    if len(version_commitment) != HASH_BYTES or len(hash_of_tag) != HASH_BYTES:
        raise VerificationError("a version commitment and a tag's hash have 32 bytes each")
    if not 0 < leaves <= BATCH_LEAVES_MAX or leaves & (leaves - 1):
        raise VerificationError(f"a batch has 2^k leaves, at most {BATCH_LEAVES_MAX}")
    leaf = record_leaf(version_commitment, hash_of_tag)
    merkle.verify_inclusion(leaf, index, leaves, path, root)


# -- what else an anchor commits to ----------------------------------------------------------


class Context(Wire, frozen=True):
    """What a batch is about; on chain stands only its salted hash (health.md §4.0)."""

    label: str = ""  # as the organisation calls it
    record_class: str = ""  # the fine class, in the organisation's own code
    care_time_ms: Uint = 0  # when the care took place; 0 = not said


def author_commitment(salt: bytes, author: str) -> bytes:
    """H("record-author", salt32 ‖ UTF-8): who wrote it, as the organisation names its staff."""
    assert len(salt) == SALT_BYTES
    return _hash_author(salt + author.encode())


def context_commitment(salt: bytes, context: Context) -> bytes:
    """H("record-context", salt32 ‖ encode(context))."""
    assert len(salt) == SALT_BYTES
    return _hash_context(salt + encode(context))


def reason_commitment(salt: bytes, reason: str) -> bytes:
    """H("record-reason", salt32 ‖ UTF-8): why a version is withdrawn."""
    assert len(salt) == SALT_BYTES
    return _hash_reason(salt + reason.encode())
