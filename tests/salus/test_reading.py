"""The words of a read: what is on the wire stays within one frame, and commitments fit requests."""

from hashlib import sha256

import pytest

from salus.codec import decode, encode
from salus.errors import BadMessage
from salus.permit import Purpose, Reason, RecordClass
from salus.reading import Ask, Asked, Decided, Derived, Part, Place, Range, arrived
from salus.record import BATCH_PATH_MAX
from salus.release import RELEASE_BYTES_MAX
from salus.ticket import (
    RECORDS_PER_TICKET_MAX,
    Request,
    records_commitment,
    request_commitment,
)
from tests import factories

ANSWER_BYTES_MAX = 2**20  # a frame between members


def part(number: int) -> Part:
    place = Place(
        "a" * 32, bytes(32), 0, 4096, (bytes(32),) * BATCH_PATH_MAX, bytes(32), bytes(32), 0
    )
    commitment = number.to_bytes(32)
    return Part(commitment, bytes(RELEASE_BYTES_MAX), 65_536, place, Derived(bytes(32), bytes(64)))


def test_the_largest_answer_fits_a_frame() -> None:
    parts = tuple(part(number) for number in range(RECORDS_PER_TICKET_MAX))
    answer = Decided(True, Reason.PERMIT, bytes(32), 2**53 - 1, parts)
    raw = encode(answer)
    assert len(raw) < ANSWER_BYTES_MAX
    assert decode(raw, Decided) == answer


def test_an_answer_is_redacted_when_one_of_its_versions_is() -> None:
    whole = Part(bytes(32), b"", 0, part(1).place, None)
    assert not Decided(True, Reason.PERMIT, bytes(32), 7, (whole,)).redacted
    assert Decided(True, Reason.PERMIT, bytes(32), 7, (whole, part(2))).redacted


def test_an_ask_opens_the_commitments_of_its_request() -> None:
    key = factories.keys(1)[0]
    versions = (Asked(bytes(16), 1, bytes(32)), Asked(bytes(16), 2, b"\1" * 32))
    records = records_commitment(b"r" * 32, (bytes(32), b"\1" * 32))
    request = Request(
        "demo-2026", "hosp-a", bytes(32), records, Purpose.TREATMENT, (RecordClass.RESULTS,),
        bytes(16), 9, bytes(32), None, "hosp-b", key.public_key,
    )  # fmt: skip
    signature = key.sign(request.payload())
    ask = Ask(request, signature, b"q" * 32, b"r" * 32, versions, b"c" * 32, b"", None)
    assert ask.records() == request.records
    assert ask.commitment() == request_commitment(b"q" * 32, request, signature)
    assert decode(encode(ask), Ask) == ask


def test_a_chunk_beyond_the_largest_document_cannot_be_asked_for() -> None:
    with pytest.raises(BadMessage):
        decode(encode(Range(bytes(16), bytes(32), 2**20)), Range)


def test_what_arrived_is_told_part_by_part() -> None:
    one, two = sha256(b"one").digest(), sha256(b"two").digest()
    assert arrived([one, two]) == sha256(one + two).digest() != arrived([two, one])
