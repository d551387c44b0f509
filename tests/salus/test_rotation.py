"""Rotation files: a new key's word that it belongs to an organisation, or an error with a word."""

import json
from typing import Any

import pytest

from salus.errors import BadMessage
from salus.rotation import make_rotation, read_rotation, write_rotation
from tests import factories

NEW = factories.key("node hosp-a, second")
ROTATION = make_rotation("health-net", "hosp-a", "node", NEW)
TEXT = write_rotation(ROTATION)


def refused(text: str | bytes) -> str:
    with pytest.raises(BadMessage) as caught:
        read_rotation(text)
    assert caught.value.code == "BAD_ROTATION"
    return caught.value.message


def test_what_was_written_is_read() -> None:
    assert read_rotation(TEXT) == ROTATION
    assert read_rotation(TEXT.encode()) == ROTATION
    assert ROTATION.new_key == NEW.public_key


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", "other-net"),
        ("member", "hosp-b"),
        ("capacity", "operator"),
        ("new_key", json.loads(write_rotation(
            make_rotation("health-net", "hosp-a", "node", factories.key("thief"))
        ))["new_key"]),
        ("possession", "00" * 64),
    ],
)  # fmt: skip
def test_a_rotation_that_was_changed_is_refused(field: str, value: str) -> None:
    assert "did not sign" in refused(json.dumps({**json.loads(TEXT), field: value}))


@pytest.mark.parametrize("value", [5, None, [], {}, True, "x"])
@pytest.mark.parametrize("field", ["chain_id", "member", "capacity", "new_key", "possession"])
def test_a_field_of_another_kind_is_refused(field: str, value: Any) -> None:
    refused(json.dumps({**json.loads(TEXT), field: value}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", b"\xff", "[" * 5000, "{}" + " " * 5000])
def test_what_is_no_rotation_file_at_all(text: str | bytes) -> None:
    refused(text)


def test_a_field_that_stands_twice_is_refused() -> None:
    twice = TEXT.replace('"member": "hosp-a"', '"member": "hosp-b",\n  "member": "hosp-a"')
    assert "twice" in refused(twice)


def test_the_fingerprint_tells_two_keys_apart() -> None:
    other = make_rotation("health-net", "hosp-a", "node", factories.key("other"))
    assert len({ROTATION.fingerprint(), other.fingerprint()}) == 2
    assert len(ROTATION.fingerprint()) == 19
