"""The founding document: JSON for people, one hash, and every fault named."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.codec import decode, encode
from salus.errors import BadMessage
from salus.genesis import Genesis, Role, check_genesis, from_json, to_json
from salus.keys import address
from salus.parameters import Parameters, check_parameters
from tests import factories

GENESIS = factories.genesis(4, observers=1)


def test_json_and_bytes_come_back() -> None:
    check_genesis(GENESIS)
    assert from_json(to_json(GENESIS)) == GENESIS
    assert from_json(to_json(GENESIS).encode()).hash() == GENESIS.hash()
    assert decode(encode(GENESIS), Genesis) == GENESIS


def test_layout_of_the_text_does_not_matter_but_every_value_does() -> None:
    document = json.loads(to_json(GENESIS))
    shuffled = json.dumps(dict(reversed(document.items())), ensure_ascii=True)
    assert from_json(shuffled).hash() == GENESIS.hash()
    document["time_ms"] += 1
    assert from_json(json.dumps(document)).hash() != GENESIS.hash()


def test_names_in_any_script_survive() -> None:
    members = (msgspec.structs.replace(GENESIS.members[0], name="北京协和医院 «A»"),)
    genesis = msgspec.structs.replace(GENESIS, members=members + GENESIS.members[1:])
    assert from_json(to_json(genesis)) == genesis


def test_only_voting_members_are_validators() -> None:
    assert [v.member for v in GENESIS.validators().validators] == factories.member_ids(4)
    assert GENESIS.validators().epoch == 0


def edit(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(to_json(GENESIS))
    change(document)
    return json.dumps(document)


def refused(text: str | bytes) -> str:
    with pytest.raises(BadMessage) as caught:
        from_json(text)
    assert caught.value.code in ("BAD_GENESIS", "BAD_PARAMETERS", "BAD_VALIDATORS")
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(extra=1), "unknown field 'extra'"),
        (lambda d: d["members"][0].update(extra=1), "unknown field 'extra'"),
        (lambda d: d["parameters"].update(tick=1), "unknown field 'tick'"),
        (lambda d: d.pop("chain_id"), "'chain_id' is missing"),
        (lambda d: d["members"][1].pop("roles"), "'roles' is missing"),
        (lambda d: d["parameters"].pop("tick_ms"), "'tick_ms' is missing"),
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.update(chain_id="Upper"), "chain_id|regex|pattern|\\$"),
        (lambda d: d.update(chain_id="abc\n"), "regex|pattern|\\$"),
        (lambda d: d.update(time_ms=-1), ">= 0"),
        (lambda d: d.update(time_ms=1.5), "int"),
        (lambda d: d["members"].reverse(), "ascending"),
        (lambda d: d["members"].append(d["members"][-1]), "distinct"),
        (lambda d: d["members"][0].update(roles=[]), "no role"),
        (lambda d: d["members"][0].update(roles=["king"]), "king|enum"),
        (lambda d: d["members"][0].update(roles=["regulator", "hospital"]), "sorted"),
        (lambda d: d["members"][0].update(name=""), "length"),
        (lambda d: d["members"][0].update(name="a\tb"), "control"),
        (lambda d: d["members"][0].update(name="\ud800"), "."),
        (lambda d: d["members"][0].update(node_key="sal1xx"), "address"),
        (lambda d: d["members"][0].update(node_key=address(bytes(32))), "Ed25519"),
        (lambda d: d["members"][0].update(box_key="00" * 31), "32"),
        (lambda d: d["members"][0].update(box_key="00" * 32), "empty"),
        (lambda d: d["members"][0].update(box_key="AA" * 32), "lowercase"),
        (lambda d: d["members"][0].update(box_key=5), "."),
        (
            lambda d: d["members"][0].update(node_key=d["members"][1]["node_key"]),
            "share a key",
        ),
        (
            lambda d: d["members"][0].update(operator_key=d["members"][0]["node_key"]),
            "share a key",
        ),
        (lambda d: [m.update(validator=False) for m in d["members"]], "validator"),
        (lambda d: d["parameters"].update(tick_ms=0), ">= 1"),
        (lambda d: d["parameters"].update(contracts=[]), "."),
        (lambda d: d["parameters"].update(watermark_window=8), "watermark"),
        (lambda d: d.update(members={}), "."),
        (lambda d: d.update(members=[5]), "."),
        (lambda d: d.update(parameters=None), "."),
    ],
)
def test_each_fault_is_named(change: Callable[[dict[str, Any]], object], words: str) -> None:
    import re

    message = refused(edit(change))
    assert re.search(words, message), message


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"a":1,"a":2}', b"\xff", "[" * 100_000])
def test_what_is_no_genesis_at_all(text: str | bytes) -> None:
    refused(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    """Else people read one value and machines hash the other."""
    text = to_json(GENESIS).replace('"time_ms"', '"time_ms": 1,\n  "time_ms"', 1)
    assert "twice" in refused(text)


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
    )
)
def test_any_value_in_any_place_is_refused_or_read(value: Any) -> None:
    """No exception but `BadMessage`, wherever the odd value stands."""
    for place in ("members", "parameters", "version", "chain_id"):
        document = json.loads(to_json(GENESIS))
        document[place] = value
        try:
            from_json(json.dumps(document))
        except BadMessage:
            continue
        # What was drawn may be right in its place: a version, or the id of a chain.
        assert place == "chain_id" or (place, value) == ("version", 1)
    document = json.loads(to_json(GENESIS))
    document["members"][0]["node_key"] = value
    refused(json.dumps(document))


def test_a_node_may_have_several_roles() -> None:
    roles = (Role.HOSPITAL, Role.LABORATORY)
    members = (msgspec.structs.replace(GENESIS.members[0], roles=roles), *GENESIS.members[1:])
    check_genesis(msgspec.structs.replace(GENESIS, members=members))


@pytest.mark.parametrize(
    ("n", "window", "fits"),
    [(4, 1024, True), (31, 1024, True), (32, 1024, False), (100, 64, True), (100, 1024, False)],
)
def test_a_window_whose_new_view_could_not_be_sent_is_refused(
    n: int, window: int, fits: bool
) -> None:
    """S9: certificates of all sequences of the window, q votes each, from q members."""
    parameters = msgspec.structs.replace(Parameters(), watermark_window=window)
    made = factories.genesis(n, parameters=parameters)
    if fits:
        check_genesis(made)
        return
    with pytest.raises(BadMessage, match=f"too large for {n} validators") as caught:
        check_genesis(made)
    assert caught.value.code == "BAD_PARAMETERS"
    assert check_parameters(parameters) is None, "nothing is wrong with it for fewer"


def test_the_number_of_buckets_never_changes() -> None:
    """Parameters of a later epoch: the state map cannot be cut anew."""
    old = Parameters()
    check_parameters(msgspec.structs.replace(old, tick_ms=30), old)
    with pytest.raises(BadMessage, match="genesis"):
        check_parameters(msgspec.structs.replace(old, state_bucket_bits=12), old)


def test_a_recovery_gives_longer_notice_than_a_rotation() -> None:
    """I-3, I-4: keys that others ask for wait longer than those that the owner names himself."""
    day_ms = 86_400_000
    check_parameters(Parameters(rotation_wait_ms=day_ms, recovery_wait_ms=day_ms + 1))
    with pytest.raises(BadMessage, match="rotation_wait_ms"):
        check_parameters(Parameters(rotation_wait_ms=day_ms, recovery_wait_ms=day_ms))
