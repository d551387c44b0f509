"""Documents are cut without loss, committed with salt, redacted without breaking (health.md §4.3, 4.5)."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import merkle
from salus.codec import decode, encode
from salus.document import (
    CHUNK_BYTES,
    DOCUMENT_BYTES_MAX,
    BatchPlace,
    ChunkedCommitment,
    Opening,
    OpenPart,
    Structure,
    batch,
    batch_size,
    check_record,
    commitment,
    contents,
    cut_by_meaning,
    join,
    open_all,
    redact,
    salts,
    split,
)
from salus.errors import BadMessage, VerificationError
from salus.record import BATCH_LEAVES_MAX, record_leaf, tag_hash
from tests import factories
from tests.salus import data

FHIR = "application/fhir+json"
SEED = factories.seed("salts")

BUNDLE = """{ "resourceType" : "Bundle",
  "type": "collection", "note": {"entry": [1, 2]}, "entry" : [ {"resource": {"v": 1.50}} ,
    {"fullUrl":"urn:\\u00e9", "resource":{"entry":[3]}},
  "odd but JSON" ] , "total": 2 }
"""


def test_a_bundle_is_cut_at_its_entries_with_their_exact_bytes() -> None:
    parts = split(BUNDLE.encode(), FHIR)
    assert [part.decode() for part in parts[1:]] == [
        '{"resource": {"v": 1.50}}',
        '{"fullUrl":"urn:\\u00e9", "resource":{"entry":[3]}}',
        '"odd but JSON"',
    ]
    structure = decode(parts[0], Structure)
    assert structure.media_type == FHIR
    assert len(structure.gaps) == 4
    assert join(parts) == (FHIR, BUNDLE.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"resourceType": "Patient", "entry": [1]}',
        '{"entry": [1]}',
        '{"resourceType": "Bundle"}',
        '{"resourceType": "Bundle", "entry": []}',
        '{"resourceType": "Bundle", "entry": {}}',
        '{"resourceType": "Bundle", "entry": [1], "entry": [2]}',
        '{"resourceType": "Bundle", "entry": [1]} x',
        '{"resourceType": "Bundle", "entry": [1,]}',
        '\ufeff{"resourceType": "Bundle", "entry": [1]}',
        "[" * 200_000,
        '{"a":' * 200_000,
    ],
)
def test_what_cannot_be_cut_by_meaning_is_one_chunk(text: str) -> None:
    raw = text.encode()
    assert split(raw, FHIR)[1:] == ((raw,) if raw else ())
    assert join(split(raw, FHIR)) == (FHIR, raw)


def test_bytes_that_are_no_text_are_chunks_too() -> None:
    raw = b'{"resourceType": "Bundle", "entry": ["\xff"]}'
    assert join(split(raw, FHIR)) == (FHIR, raw)


def test_other_files_are_cut_into_chunks() -> None:
    raw = bytes(range(256)) * 4096 * 2 + b"end"
    parts = split(raw, "application/dicom")
    assert [len(part) for part in parts[1:]] == [CHUNK_BYTES, CHUNK_BYTES, 3]
    assert join(parts) == ("application/dicom", raw)
    bundle = split(BUNDLE.encode(), "text/plain")
    assert len(bundle) == 2, "only what is declared JSON is read as JSON"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(json_values, min_size=1, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_any_bundle_comes_back_byte_for_byte(
    entries: list[object], ascii_only: bool, indent: int | None
) -> None:
    bundle = {"id": "x", "entry": entries, "resourceType": "Bundle", "last": {"entry": [0]}}
    raw = json.dumps(bundle, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    parts = split(raw, FHIR)
    assert join(parts) == (FHIR, raw)
    assert len(parts) == len(entries) + 1


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2000))
def test_any_bytes_come_back(raw: bytes) -> None:
    assert join(split(raw, FHIR)) == (FHIR, raw)


def test_ndjson_is_cut_at_its_lines_with_their_exact_bytes() -> None:
    raw = b'{"a": 1.10}\r\n\n  \t\n {"b": 2}\n{"c": 3}'
    parts = split(raw, "application/fhir+ndjson")
    assert parts[1:] == (b'{"a": 1.10}', b' {"b": 2}', b'{"c": 3}')
    assert join(parts) == ("application/fhir+ndjson", raw)


@given(st.lists(st.sampled_from([b"{}", b"\n", b"\r", b" ", b"\t", b"x"]), max_size=30))
def test_any_lines_come_back_byte_for_byte(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    assert join(split(raw, "application/fhir+ndjson")) == ("application/fhir+ndjson", raw)


def test_more_lines_than_parts_are_refused_and_cost_no_memory() -> None:
    with pytest.raises(BadMessage) as caught:
        split(b"1\n" * 200_000, "application/fhir+ndjson")
    assert caught.value.code == "TOO_LARGE"


def test_synthetic_patients_come_back_and_are_cut_by_resource() -> None:
    for path in sorted(data.path("synthea-bundles").glob("*.gz"))[:4]:
        raw = gzip.decompress(path.read_bytes())
        parts = split(raw, FHIR)
        assert len(parts) == len(json.loads(raw)["entry"]) + 1
        assert join(parts) == (FHIR, raw)


def test_limits() -> None:
    with pytest.raises(BadMessage) as caught:
        split(bytes(DOCUMENT_BYTES_MAX + 1), "x")
    assert caught.value.code == "TOO_LARGE"
    many = '{"resourceType":"Bundle","entry":[' + ",".join("1" * 65_536) + "]}"
    with pytest.raises(BadMessage, match="entries"):
        split(many.encode(), FHIR)
    for media_type in ("", "x" * 101):
        with pytest.raises(BadMessage):
            split(b"", media_type)


def test_a_structure_that_does_not_fit_is_refused() -> None:
    parts = split(BUNDLE.encode(), FHIR)
    for bad in (parts[:-1], (*parts, b"1"), (b"\x00", *parts[1:]), ()):
        with pytest.raises(BadMessage):
            join(bad)


# -- commitments -----------------------------------------------------------------------------


def opening() -> Opening:
    return open_all(split(BUNDLE.encode(), FHIR), SEED)


def test_redaction_keeps_the_commitment_and_withholds_what_it_says() -> None:
    whole = opening()
    for hidden in ([1], [2, 3], [0], [0, 1, 2, 3], []):
        shown = redact(whole, hidden)
        assert commitment(shown) == commitment(whole)
        assert shown.withheld == tuple(hidden)
        assert decode(encode(shown), Opening) == shown
        if hidden:
            with pytest.raises(VerificationError, match="withheld"):
                contents(shown)
    assert contents(redact(whole, [])) == (FHIR, BUNDLE.encode())
    assert b"urn:" not in encode(redact(whole, [2]))


def test_the_commitment_covers_parts_salts_order_and_number() -> None:
    parts = opening().parts
    first, second = parts[1], parts[2]
    assert isinstance(first, OpenPart)
    assert isinstance(second, OpenPart)
    known = {commitment(opening())}
    for other in (
        parts[:-1],
        (*parts, parts[-1]),
        (parts[0], second, first, parts[3]),
        (parts[0], OpenPart(first.salt, first.content + b" "), *parts[2:]),
        (parts[0], OpenPart(bytes(32), first.content), *parts[2:]),
        (parts[0], first.salt, *parts[2:]),
    ):
        known.add(commitment(Opening(other)))
    assert len(known) == 7


def test_the_root_alone_would_not_fix_the_number_of_parts() -> None:
    """Why the count stands under the commitment: a node can pose as a withheld leaf."""
    leaves = redact(opening(), [0, 1, 2, 3]).parts
    assert all(isinstance(leaf, bytes) for leaf in leaves)
    a, b, c, d = (bytes(leaf) for leaf in leaves if isinstance(leaf, bytes))
    posed = Opening((merkle.node_hash(a, b), merkle.node_hash(c, d)))
    assert merkle.root([a, b, c, d]) == merkle.root(
        [leaf for leaf in posed.parts if isinstance(leaf, bytes)]
    )
    assert commitment(posed) != commitment(opening())


def test_a_salt_tells_nothing_about_its_neighbours() -> None:
    made = salts(SEED, 100)
    assert len(set(made)) == 100
    assert SEED not in made
    assert made[:5] == salts(SEED, 5)


# -- batches ---------------------------------------------------------------------------------


def records(count: int) -> list[bytes]:
    return [
        record_leaf(factories.seed(f"version {i}"), tag_hash(factories.seed(f"tag {i}")))
        for i in range(count)
    ]


def padding(count: int) -> list[bytes]:
    return [factories.seed(f"padding {i}") for i in range(batch_size(count) - count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 100])
def test_every_record_of_a_padded_batch_is_provable(count: int) -> None:
    root, places = batch(records(count), padding(count))
    assert len(places) == count
    assert len({place.index for place in places}) == count
    for i, place in enumerate(places):
        assert place.leaves == batch_size(count)
        check_record(
            root,
            place.leaves,
            place.index,
            factories.seed(f"version {i}"),
            tag_hash(factories.seed(f"tag {i}")),
            place.path,
        )


def test_an_index_tells_neither_order_nor_number() -> None:
    """Real and random leaves are sorted together."""
    found = records(3)
    same = batch(found, padding(3)), batch(found[::-1], padding(3))
    assert same[0][0] == same[1][0]
    assert same[0][1] == same[1][1][::-1]
    _, places = batch(found, padding(3))
    assert sorted(place.index for place in places) != [0, 1, 2]


def test_batch_sizes() -> None:
    assert [batch_size(n) for n in (1, 2, 3, 4, 5, 4095, 4096)] == [1, 2, 4, 4, 8, 4096, 4096]
    for count in (0, BATCH_LEAVES_MAX + 1):
        with pytest.raises(BadMessage):
            batch_size(count)


def test_the_largest_batch_has_paths_of_twelve() -> None:
    root, places = batch(records(4096), [])
    place = places[4000]
    version, tag = factories.seed("version 4000"), tag_hash(factories.seed("tag 4000"))
    check_record(root, 4096, place.index, version, tag, place.path)
    assert len(place.path) == 12


def test_check_record_refuses_everything_else() -> None:
    version, tag = factories.seed("version 0"), tag_hash(factories.seed("tag 0"))
    root, places = batch(records(3), padding(3))
    place: BatchPlace = places[0]
    good = (root, place.leaves, place.index, version, tag, place.path)
    check_record(*good)
    bad: list[tuple[int, object]] = [
        (0, bytes(32)),
        (0, root[:-1]),
        (1, 8),
        (1, 3),
        (1, 0),
        (1, 8192),
        (2, place.index ^ 1),
        (2, 4),
        (2, -1),
        (3, bytes(32)),
        (3, version[:-1]),
        (4, bytes(32)),
        (4, tag + b"\0"),
        (5, place.path[:-1]),
        (5, (*place.path, bytes(32))),
        (5, (place.path[0][:-1], *place.path[1:])),
    ]
    for at, value in bad:
        arguments: list[Any] = [*good[:at], value, *good[at + 1 :]]
        with pytest.raises(VerificationError):
            check_record(*arguments)


@pytest.mark.parametrize(
    "size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_a_commitment_made_as_the_bytes_come_is_the_same(size: int) -> None:
    document = bytes(range(251)) * (size // 251 + 1)
    document = document[:size]
    for kind in ("application/pdf", "text/plain; charset=utf-8"):
        made = ChunkedCommitment(kind, SEED)
        for at in range(0, size, CHUNK_BYTES):
            made.add(document[at : at + CHUNK_BYTES])
        assert made.size == size
        assert made.finish() == commitment(open_all(split(document, kind), SEED))


def test_only_what_is_cut_into_chunks_can_come_in_pieces() -> None:
    for kind, by_meaning in (
        (FHIR, True),
        ("Application/FHIR+JSON; charset=utf-8", True),
        ("application/json", True),
        ("application/fhir+ndjson", True),
        ("application/dicom", False),
        ("text/plain", False),
    ):
        assert cut_by_meaning(kind) is by_meaning
    with pytest.raises(AssertionError):
        ChunkedCommitment(FHIR, SEED)


def test_a_document_that_comes_in_pieces_has_the_same_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("salus.document.DOCUMENT_BYTES_MAX", CHUNK_BYTES + 5)
    made = ChunkedCommitment("text/plain", SEED)
    made.add(bytes(CHUNK_BYTES))
    with pytest.raises(BadMessage) as refused:
        made.add(bytes(6))
    assert refused.value.code == "TOO_LARGE"
    short = ChunkedCommitment("text/plain", SEED)
    short.add(b"short")
    with pytest.raises(AssertionError):
        short.add(b"and more")
