"""Questions and moments as people write them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.consent.instant import Span, parse_instant, parse_span
from salus.consent.query import read_query
from salus.consent.terms import CODES_MAX, Code
from salus.errors import BadMessage

QUERY: dict[str, Any] = {
    "category": [{"system": "urn:c", "code": "privacy"}],
    "purposeOfUse": "TREAT",
    "actor": [{"system": "urn:a", "value": "2"}, {"system": "urn:a", "value": "1"}],
}


def test_a_question_is_read_in_the_order_that_terms_have() -> None:
    request = read_query(json.dumps(QUERY).encode())
    assert request.actors == (Code("urn:a", "1"), Code("urn:a", "2"))
    assert (request.purpose, request.classes, request.roles, request.sites) == ("TREAT", (), (), ())
    more = QUERY | {
        "class": [{"system": "urn:t", "code": "Observation", "display": "a finding"}],
        "role": [{"system": "urn:r", "code": "nurse"}],
        "site": [{"system": "urn:s", "value": "north"}],
    }
    request = read_query(json.dumps(more).encode())
    assert request.classes == (Code("urn:t", "Observation"),)
    assert (request.roles, request.sites) == ((Code("urn:r", "nurse"),), (Code("urn:s", "north"),))


@pytest.mark.parametrize(
    "changed",
    [
        {"category": []},
        {"actor": []},
        {"actor": None},
        {"purposeOfUse": ""},
        {"purposeOfUse": "two words"},
        {"purposeOfUse": "\ud800"},
        {"purposeOfUse": ["TREAT"]},
        {"clas": []},
        {"class": [{"code": "Observation"}]},
        {"class": [{"system": "urn:t", "code": f"{n}"} for n in range(CODES_MAX + 1)]},
        {"category": "privacy"},
    ],
)
def test_a_question_of_another_form_is_refused(changed: dict[str, Any]) -> None:
    """A name that is not known may be a misspelt restriction."""
    with pytest.raises(BadMessage) as caught:
        read_query(json.dumps(QUERY | changed).encode())
    assert caught.value.code == "BAD_QUERY"


@pytest.mark.parametrize("name", QUERY)
def test_category_purpose_and_actor_must_be_said(name: str) -> None:
    short = {key: value for key, value in QUERY.items() if key != name}
    with pytest.raises(BadMessage):
        read_query(json.dumps(short).encode())


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_a_moment_is_read_as_the_library_reads_it(naive: datetime, offset_min: int) -> None:
    sign = "-" if offset_min < 0 else "+"
    zone = f"{sign}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"
    text = f"{naive.isoformat(timespec='milliseconds')}{zone}"
    moment = naive.replace(tzinfo=UTC) - timedelta(minutes=offset_min)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_instant(text) == expected


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-12", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-02-29T23:59:59-01:00", "2024-03-01T00:59:59Z", "2024-03-01T01:00:00Z"),
    ],
)
def test_a_vague_time_is_all_moments_that_it_may_mean(text: str, first: str, after: str) -> None:
    assert parse_span(text) == Span(parse_instant(first), parse_instant(after))


@pytest.mark.parametrize(
    "text",
    [
        "", "24", "2024-13", "2024-00", "0000", "2023-02-29", "1900-02-29", "2024-04-31", "2024-01-00",
        "2024-01-01T00:00:00", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z",
        "2024-01-01T00:00Z", "2024-01-01T00:00:00+15:00", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00Z\n",
        "٢٠٢٤",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_span(text)


@pytest.mark.parametrize("text", ["2024", "2024-01-01"])
def test_an_instant_has_a_time_of_day(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_instant(text)
