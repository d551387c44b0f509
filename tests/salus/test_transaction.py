"""Each way in which a transaction can be wrong, and its code (rules S1, S2, S15)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import merkle
from salus.codec import encode
from salus.errors import BadMessage, BadSignature
from salus.parameters import Parameters
from salus.transaction import (
    ParsedTransaction,
    Transaction,
    check_heights,
    check_signature,
    check_size,
    operation_leaves,
    parse,
    signed_payload,
)
from tests import factories

GENESIS = factories.genesis()
HASH = GENESIS.hash()
PARAMETERS = GENESIS.parameters


def read(raw: bytes, parameters: Parameters = PARAMETERS) -> ParsedTransaction:
    return parse(raw, GENESIS.chain_id, HASH, parameters)


def code_of(raw: bytes, parameters: Parameters = PARAMETERS) -> str:
    with pytest.raises(BadMessage) as caught:
        read(raw, parameters)
    return caught.value.code


def changed(tx: ParsedTransaction, **fields: Any) -> bytes:
    return encode(msgspec.structs.replace(tx.body, **fields))


@pytest.fixture
def tx() -> ParsedTransaction:
    return factories.transaction(GENESIS, factories.operation(), number=1)


def test_parsing_gives_back_what_was_built(tx: ParsedTransaction) -> None:
    parsed = read(tx.raw)
    assert parsed == tx
    check_signature(parsed)


def test_every_field_is_signed(tx: ParsedTransaction) -> None:
    """No part of the envelope and no operation can be changed by a relay."""
    other = factories.operation(method="retract")
    changes: list[dict[str, Any]] = [
        {"sender": factories.key("other").public_key},
        {"nonce": bytes(16)},
        {"first_height": 1},
        {"expiry_height": 99},
        {"independent": True},
        {"operations": (encode(other),)},
        {"operations": tx.body.operations * 2},
        {"signature": bytes(64)},
    ]
    ids = {tx.id}
    for fields in changes:
        parsed = read(changed(tx, **fields))
        ids.add(parsed.id)
        with pytest.raises(BadSignature):
            check_signature(parsed)
    assert len(ids) == len(changes) + 1


def test_a_signature_of_another_chain_or_genesis_is_none_here(tx: ParsedTransaction) -> None:
    """Rule S1: chain id and genesis hash are under the signature."""
    assert code_of(changed(tx, chain_id="other-chain")) == "WRONG_CHAIN"
    elsewhere = parse(tx.raw, GENESIS.chain_id, bytes(32), PARAMETERS)
    assert elsewhere.id != tx.id
    assert not elsewhere.signature_valid()


def test_a_transaction_signature_is_no_vote(tx: ParsedTransaction) -> None:
    from salus.vote import VoteType

    vote = GENESIS.vote_domain().payload(VoteType.COMMIT, 0, 0, 1, tx.id)
    assert vote[:20] != tx.signed[:20]


def test_the_id_names_the_bytes_signature_included(tx: ParsedTransaction) -> None:
    assert read(changed(tx, signature=bytes(64))).id != tx.id


def test_operations_are_signed_by_count_and_root(tx: ParsedTransaction) -> None:
    """The payload is the same for whoever knows the root and not the operations."""
    bare = msgspec.structs.replace(tx.body, operations=(b"?",), signature=bytes(64))
    root = merkle.root(operation_leaves(tx.body.operations))
    assert signed_payload(HASH, bare, 1, root) == tx.signed
    assert signed_payload(HASH, bare, 2, root) != tx.signed


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version": 2}, "UNSUPPORTED_VERSION"),
        ({"version": 0}, "UNSUPPORTED_VERSION"),
        ({"chain_id": ""}, "WRONG_CHAIN"),
        ({"first_height": 101}, "EXPIRY_RANGE"),
        ({"operations": ()}, "NOT_CANONICAL"),
        ({"operations": (b"",) * 1001}, "TOO_LARGE"),
        ({"operations": (bytes(65_000), bytes(1000))}, "TOO_LARGE"),
        ({"sender": bytes(31)}, "NOT_CANONICAL"),
        ({"sender": bytes(33)}, "NOT_CANONICAL"),
        ({"nonce": bytes(15)}, "NOT_CANONICAL"),
        ({"signature": bytes(63)}, "NOT_CANONICAL"),
        ({"expiry_height": -1}, "NOT_CANONICAL"),
        ({"expiry_height": 2**53}, "NOT_CANONICAL"),
        ({"expiry_height": None}, "NOT_CANONICAL"),
        ({"expiry_height": 1.5}, "NOT_CANONICAL"),
        ({"independent": 1}, "NOT_CANONICAL"),
        ({"sender": "x" * 32}, "NOT_CANONICAL"),
    ],
)
def test_malformed(tx: ParsedTransaction, fields: dict[str, Any], code: str) -> None:
    assert code_of(changed(tx, **fields)) == code


def test_other_encodings_of_the_same_content_are_refused(tx: ParsedTransaction) -> None:
    """Rule S2: they would have other ids under one signature."""
    raw = tx.raw
    for other in (raw + b"\0", raw[:-1], b"\xdc\x00\x09" + raw[1:], b"\x99\xcc\x01" + raw[2:], b""):
        assert code_of(other) == "NOT_CANONICAL"
    named = msgspec.msgpack.encode(
        {name: getattr(tx.body, name) for name in Transaction.__struct_fields__}
    )
    assert code_of(named) == "NOT_CANONICAL"


def test_the_size_limit_is_the_epochs_own(tx: ParsedTransaction) -> None:
    exact = msgspec.structs.replace(PARAMETERS, transaction_bytes_max=len(tx.raw))
    assert read(tx.raw, exact) == tx
    small = msgspec.structs.replace(PARAMETERS, transaction_bytes_max=len(tx.raw) - 1)
    assert code_of(tx.raw, small) == "TOO_LARGE"
    with pytest.raises(BadMessage):
        check_size(tx, small)


@pytest.mark.parametrize(
    ("sequence", "code"),
    [
        (9, "NOT_YET_VALID"),
        (10, None),
        (100, None),
        (101, "EXPIRED"),
    ],
)
def test_heights(sequence: int, code: str | None) -> None:
    """Rule S15: first_height ≤ sequence ≤ expiry_height."""
    body = factories.transaction(GENESIS, first_height=10, expiry_height=100).body
    if code is None:
        check_heights(body, sequence, PARAMETERS)
        return
    with pytest.raises(BadMessage) as caught:
        check_heights(body, sequence, PARAMETERS)
    assert caught.value.code == code


def test_the_expiry_window_bounds_the_replay_index() -> None:
    window = PARAMETERS.expiry_window_blocks
    body = factories.transaction(GENESIS, expiry_height=window + 5).body
    check_heights(body, 5, PARAMETERS)
    with pytest.raises(BadMessage) as caught:
        check_heights(body, 4, PARAMETERS)
    assert caught.value.code == "EXPIRY_RANGE"


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_changed_byte_is_refused_or_unsigned(choose: st.DataObject) -> None:
    tx = factories.transaction(GENESIS, factories.operation(args=b"abc"), number=1)
    raw = bytearray(tx.raw)
    at = choose.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= choose.draw(st.integers(1, 255))
    try:
        parsed = read(bytes(raw))
    except BadMessage:
        return
    assert parsed.id != tx.id
    assert not parsed.signature_valid()
