"""Join files: whatever somebody sends, it is a card signed by its own keys or an error with a word."""

import json
from typing import Any

import pytest

from salus.errors import BadMessage
from salus.genesis import Member, Role
from salus.governance import possession
from salus.join import Card, read_admission, read_join, write_join
from tests import factories

NODE, OPERATOR = factories.key("node a"), factories.key("operator a")
CARD = Card(
    Member("a", "A", (Role.HOSPITAL,), True, NODE.public_key, OPERATOR.public_key, bytes(32)),
    "a.example:7400",
)
TEXT = write_join(CARD, NODE, OPERATOR)


def refused(text: str) -> str:
    with pytest.raises(BadMessage) as caught:
        read_join(text)
    assert caught.value.code == "BAD_JOIN"
    return caught.value.message


def test_what_was_written_is_read() -> None:
    assert read_join(TEXT) == CARD


@pytest.mark.parametrize("value", [5, None, [], {}, True, "x"])
@pytest.mark.parametrize("name", ["node_key", "operator_key", "box_key", "roles"])
def test_a_field_of_another_kind_is_a_bad_join_file(name: str, value: Any) -> None:
    document = json.loads(TEXT)
    document["member"][name] = value
    refused(json.dumps(document))


@pytest.mark.parametrize("member", [5, None, [], "x"])
def test_a_member_of_another_kind_is_a_bad_join_file(member: Any) -> None:
    refused(json.dumps({**json.loads(TEXT), "member": member}))


def test_a_field_that_stands_twice_is_refused() -> None:
    """People see the one and the program takes the other."""
    twice = TEXT.replace('"name": "A"', '"name": "B",\n    "name": "A"')
    assert "twice" in refused(twice)


# -- for a network that runs -----------------------------------------------------------------

ADMITTED = write_join(CARD, NODE, OPERATOR, "health-net")


def test_an_admission_is_what_both_keys_sign_for_one_chain() -> None:
    card, admission = read_admission(ADMITTED)
    assert card == CARD
    assert admission is not None
    assert admission.chain_id == "health-net"
    for capacity, key in (("node", NODE), ("operator", OPERATOR)):
        word = getattr(admission, f"{capacity}_possession")
        assert key.sign(possession("health-net", "a", capacity)) == word
    assert read_join(ADMITTED) == CARD, "whoever founds a network reads the card alone"
    assert read_admission(TEXT) == (CARD, None)


@pytest.mark.parametrize("field", ["chain_id", "node_possession", "operator_possession"])
def test_an_admission_that_was_changed_is_refused(field: str) -> None:
    other = json.loads(write_join(CARD, NODE, OPERATOR, "other-net"))["admission"]
    document = json.loads(ADMITTED)
    document["admission"][field] = other[field]
    assert "did not sign for the chain" in refused(json.dumps(document))


@pytest.mark.parametrize("value", [5, None, [], "x", {}, {"chain_id": "health-net"}])
def test_an_admission_of_another_kind_is_a_bad_join_file(value: Any) -> None:
    refused(json.dumps({**json.loads(TEXT), "admission": value}))


def test_the_possession_of_one_capacity_is_not_that_of_the_other() -> None:
    document = json.loads(ADMITTED)
    words = document["admission"]
    words["node_possession"], words["operator_possession"] = (
        words["operator_possession"],
        words["node_possession"],
    )
    refused(json.dumps(document))
