"""What is shown of a version is read from its places in the file, and is what a disclosure says."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import shown
from node.record_version import PrivateVersion
from node.shown import Chunks, cut
from salus.consent.decision import Obligation, Redact
from salus.consent.redact import Wanted, withheld
from salus.consent.terms import Code
from salus.consent.vocabulary import CONFIDENTIALITY
from salus.disclosure import Reader, of_opening, write
from salus.document import OpenPart, commitment, open_all, redact, split
from tests.fuzz.shapes import simplest

ANY_VERSION = simplest(PrivateVersion)
SEED = b"\x05" * 32
RESTRICTED = Wanted((Obligation(Redact.CARRYING, (Code(CONFIDENTIALITY, "R"),)),))
ALL = Wanted(())
PIECE = 64  # bytes of the document that are read at once, here


def version(content: bytes, media_type: str) -> PrivateVersion:
    opening = open_all(split(content, media_type), SEED)
    return msgspec.structs.replace(
        ANY_VERSION,
        size=len(content),
        media_type=media_type,
        salt_seed=SEED,
        commitment=commitment(opening),
    )


class File:
    """A document in pieces, which counts what was read of it."""

    def __init__(self, content: bytes, size: int = PIECE) -> None:
        self.content, self.size, self.read = content, size, 0

    def __call__(self, first: int) -> Iterator[bytes]:
        for at in range(first * self.size, len(self.content) or 1, self.size):
            self.read += 1
            yield self.content[at : at + self.size]


def as_disclosed(content: bytes, media_type: str, wanted: Wanted) -> bytes:
    """The same by the library, with all in memory."""
    parts = split(content, media_type)
    opening = redact(open_all(parts, SEED), withheld(parts, wanted))
    pieces = {i: p.content for i, p in enumerate(opening.parts) if isinstance(p, OpenPart)}
    return b"".join(write(of_opening(opening), lambda index: (pieces[index],)))


def random(count: int) -> bytes:
    return b"\x09" * count


def all_of(made: shown.Shown, document: Chunks, step: int) -> bytes:
    return b"".join(
        made.read(at, min(step, made.size - at), document) for at in range(0, made.size, step)
    )


RESOURCES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 300)).map(
        lambda told: {
            "resourceType": "Observation",
            "meta": {"security": [{"system": CONFIDENTIALITY, "code": "R"}]} if told[0] else {},
            "valueString": "x" * told[1],
        }
    ),
    min_size=1,
    max_size=12,
)


@given(RESOURCES, st.integers(1, 400), st.sampled_from((None, 1)), st.booleans())
def test_every_range_is_what_the_disclosure_says(
    resources: list[dict[str, object]], step: int, indent: int | None, lines: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shown, "CHUNK_BYTES", PIECE)
        if lines:
            media_type = "application/fhir+ndjson"
            content = "\n".join(json.dumps(one) for one in resources).encode()
        else:
            media_type = "application/fhir+json"
            bundle = {"resourceType": "Bundle", "entry": [{"resource": r} for r in resources]}
            content = json.dumps(bundle, indent=indent).encode()
        private, file = version(content, media_type), File(content)
        for wanted in (ALL, RESTRICTED):
            made = cut(private, wanted, file, random)
            assert all_of(made, file, step) == as_disclosed(content, media_type, wanted)
            reader = Reader(private.commitment, made.digest)
            for at in range(0, made.size, step):
                list(reader.feed(made.read(at, min(step, made.size - at), file)))
            assert reader.finish().withheld == made.withheld


@given(st.integers(0, 500), st.integers(1, 200))
def test_what_nobody_reads_is_cut_by_its_size_alone(size: int, step: int) -> None:
    content = bytes(range(256)) * 2
    content = content[:size]
    private, file = version(content, "application/dicom"), File(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shown, "CHUNK_BYTES", PIECE)
        patch.setattr("salus.document.CHUNK_BYTES", PIECE)
        private = version(content, "application/dicom")
        made = cut(private, ALL, file, random)
        assert file.read == 0
        assert all_of(made, file, step) == as_disclosed(content, "application/dicom", ALL)
        none = cut(private, RESTRICTED, file, random)
        assert none.withheld == 1 + -(-size // PIECE)
        assert all_of(none, file, step) == as_disclosed(content, "application/dicom", RESTRICTED)


def test_what_lies_between_shown_parts_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "CHUNK_BYTES", PIECE)
    label = {"security": [{"system": CONFIDENTIALITY, "code": "R"}]}
    small = {"resourceType": "Observation", "valueString": "small"}
    large = {"resourceType": "Observation", "meta": label, "valueString": "x" * 100_000}
    lines = [json.dumps(one) for one in (small, large, small)]
    content = "\n".join(lines).encode()
    file = File(content)
    made = cut(version(content, "application/fhir+ndjson"), RESTRICTED, file, random)
    assert made.withheld == 1
    file.read = 0
    made.read(0, made.size, file)
    assert file.read < 20


def test_a_finer_cut_of_a_large_document_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be held in memory; then nothing is shown rather than everything."""
    resource = {
        "resourceType": "Observation",
        "contained": [
            {
                "resourceType": "Observation",
                "meta": {"security": [{"system": CONFIDENTIALITY, "code": "R"}]},
            }
        ],
    }
    content = json.dumps(resource).encode()
    private, file = version(content, "application/fhir+json"), File(content, 2**20)
    made = cut(private, RESTRICTED, file, random)
    assert made.derived
    assert made.proved_by != private.commitment
    monkeypatch.setattr(shown, "DERIVED_BYTES_MAX", len(content) - 1)
    none = cut(private, RESTRICTED, file, random)
    assert not none.derived
    assert none.withheld == 2
