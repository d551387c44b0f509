"""Shown parts become a document again: the very file, or the file without some entries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.disclosure import Disclosure, Reader, ShownPart, disclose, opening_of, write
from salus.document import (
    Opening,
    OpenPart,
    commitment,
    leaves_of,
    open_all,
    split,
)
from salus.errors import BadMessage, VerificationError
from salus.shown_document import Assembler
from tests.contracts.lab import h

SEED = h("salts")
FHIR, LINES = "application/fhir+json", "application/fhir+ndjson"


def bundle(count: int) -> bytes:
    entries = [{"resource": {"resourceType": "Observation", "id": str(n)}} for n in range(count)]
    return json.dumps({"resourceType": "Bundle", "entry": entries}, indent=1).encode()


def shown(document: bytes, media_type: str, places: set[int]) -> tuple[Disclosure, Opening]:
    """What a custodian discloses of these parts (0 is the structure)."""
    opening = open_all(split(document, media_type), SEED)
    parts = [part for part in opening.parts if isinstance(part, OpenPart)]
    listed = [
        ShownPart(place, len(parts[place].content), parts[place].salt) for place in sorted(places)
    ]
    return disclose(leaves_of(opening), listed), opening


def assembled(disclosure: Disclosure, opening: Opening) -> tuple[str | None, bytes]:
    """As the reader does it."""
    parts = opening.parts
    found, reader = bytearray(), Reader(commitment(opening), disclosure.digest())
    assembler = Assembler(found.extend)
    contents = {
        place: part.content for place, part in enumerate(parts) if isinstance(part, OpenPart)
    }
    for data in write(disclosure, lambda place: [contents[place]]):
        for piece in reader.feed(data):
            assembler.take(piece)
    reader.finish()
    assembler.finish()
    return assembler.media_type, bytes(found)


@given(st.sets(st.integers(1, 9)))
def test_of_a_bundle_any_entries_are_a_bundle(entries: set[int]) -> None:
    disclosure, opening = shown(bundle(9), FHIR, {0, *entries})
    media_type, found = assembled(disclosure, opening)
    assert media_type == FHIR
    ids = [int(one["resource"]["id"]) + 1 for one in json.loads(found)["entry"]]
    assert ids == sorted(entries)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (bundle(9), FHIR),
        (b'{"resourceType":"Patient"}\n\n  {"resourceType":"Flag"}\r\n', LINES),
        (b"a letter", "text/plain"),
        (b"", "text/plain"),
    ],
)
def test_all_parts_are_the_very_file(document: bytes, media_type: str) -> None:
    count = len(split(document, media_type))
    disclosure, opening = shown(document, media_type, set(range(count)))
    assert assembled(disclosure, opening) == (media_type, document)


def test_of_lines_some_are_lines() -> None:
    disclosure, opening = shown(b'{"n":1}\n{"n":2}\n{"n":3}\n', LINES, {0, 1, 3})
    assert assembled(disclosure, opening)[1] == b'{"n":1}\n{"n":3}\n'


def test_where_all_is_withheld_there_is_no_document() -> None:
    disclosure, opening = shown(bundle(3), FHIR, set())
    assert assembled(disclosure, opening) == (None, b"")


def test_parts_without_the_structure_are_no_document() -> None:
    disclosure, opening = shown(bundle(3), FHIR, {1, 2})
    with pytest.raises(VerificationError):
        assembled(disclosure, opening)


# -- for a proof file ----------------------------------------------------------------------------


@given(st.integers(1, 40), st.data())
def test_an_opening_with_nodes_has_the_same_commitment(count: int, data: st.DataObject) -> None:
    document = b"\n".join(b'{"n":%d}' % number for number in range(count))
    places = data.draw(st.sets(st.integers(0, count)))
    disclosure, opening = shown(document, LINES, places)
    parts = opening.parts
    contents = {n: part.content for n, part in enumerate(parts) if isinstance(part, OpenPart)}
    small = opening_of(disclosure, contents)
    assert commitment(small) == commitment(opening)
    assert set(range(len(parts))) - set(small.withheld) == places


def test_of_a_large_document_a_shown_part_costs_few_hashes() -> None:
    document = b"\n".join(b'{"n":%d}' % number for number in range(4_000))
    disclosure, _ = shown(document, LINES, {7})
    small = opening_of(disclosure, {7: b'{"n":6}'})
    assert sum(part == b"" for part in small.parts) > 3_950


@pytest.mark.parametrize("at", [1, 2, 4])
def test_hashes_that_stand_elsewhere_are_refused(at: int) -> None:
    disclosure, opening = shown(bundle(8), FHIR, {0})
    small = list(opening_of(disclosure, {0: split(bundle(8), FHIR)[0]}).parts)
    small[at] = small[at] + b"x" if len(small[at]) else h("another")  # type: ignore[arg-type, operator]
    moved = Opening(tuple(small))
    try:
        assert commitment(moved) != commitment(opening)
    except BadMessage:
        pass


def test_a_node_in_place_of_a_leaf_proves_nothing() -> None:
    """Were one node taken for several leaves, another document would have the same commitment."""
    disclosure, opening = shown(bundle(8), FHIR, {0})
    small = opening_of(disclosure, {0: split(bundle(8), FHIR)[0]})
    shorter = Opening(tuple(part for part in small.parts if part))
    assert commitment(shorter) != commitment(opening)
