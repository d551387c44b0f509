"""One value, one encoding (rule S2, health.md §4.14); the `msgpack` library is the oracle."""

from typing import Annotated, Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.codec import (
    KNOWN_BYTES_MAX,
    UINT_MAX,
    Bytes32,
    Uint,
    Wire,
    check,
    decode,
    decode_all,
    decode_known,
    encode,
    encode_row,
)
from salus.errors import BadMessage
from tests.salus import data

uints = st.integers(0, UINT_MAX)
facts = st.dictionaries(st.text(max_size=8), uints | st.booleans() | st.text(), max_size=4)


class Inner(Wire, frozen=True):
    number: Uint
    flag: bool


class Everything(Wire, frozen=True):
    number: Uint
    maybe: Uint | None
    text: str
    raw: bytes
    facts: dict[str, bool | Uint | str]
    inner: tuple[Inner, ...]


everything = st.builds(
    Everything,
    number=uints,
    maybe=st.none() | uints,
    text=st.text(),
    raw=st.binary(max_size=300),
    facts=facts,
    inner=st.lists(st.builds(Inner, uints, st.booleans()), max_size=20).map(tuple),
)


def plain(value: Everything) -> list[Any]:
    return [
        value.number,
        value.maybe,
        value.text,
        value.raw,
        {name: value.facts[name] for name in sorted(value.facts, key=lambda n: n.encode())},
        [[inner.number, inner.flag] for inner in value.inner],
    ]


@settings(deadline=None, max_examples=200)
@given(everything)
def test_encodes_as_the_oracle_and_comes_back(value: Everything) -> None:
    raw = encode(value)
    assert decode(raw, Everything) == value
    assert msgpack.unpackb(raw, strict_map_key=False) == plain(value)
    # msgpack keeps the order of a dict: `plain` sorts it, as the canonical form does.
    order = list(msgpack.unpackb(raw, strict_map_key=False)[4])
    assert order == sorted(order)
    assert encode(plain(value)) == raw


@settings(deadline=None, max_examples=300)
@given(everything, st.data())
def test_a_changed_encoding_is_another_value_or_refused(
    value: Everything, choose: st.DataObject
) -> None:
    """Law of codec.py: whatever decodes encodes to the same bytes."""
    raw = bytearray(encode(value))
    at = choose.draw(st.integers(0, len(raw) - 1))
    raw[at] = choose.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(raw), Everything)
    except BadMessage:
        return
    assert encode(decoded) == bytes(raw)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_bad_message(raw: bytes) -> None:
    for kind in (Everything, Inner):
        try:
            value = decode(raw, kind)
        except BadMessage:
            continue
        assert encode(value) == raw


_pieces = st.one_of(
    st.builds(Inner, uints, st.booleans()).map(encode),
    # Longer than they need be, cut off, two in one, and what is something else.
    st.sampled_from([b"\x92\xcc\x01\xc3", b"\x92\x01", b"\x92\x01\xc3\xc3", b"", b"\xc3"]),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(_pieces, max_size=20))
def test_several_are_decoded_as_each_alone(pieces: list[bytes]) -> None:
    kinds: list[type] = [Inner] * len(pieces)
    try:
        alone = [decode(piece, Inner) for piece in pieces]
    except BadMessage:
        with pytest.raises(BadMessage):
            decode_all(pieces, kinds)
    else:
        assert decode_all(pieces, kinds) == alone


@pytest.mark.parametrize("count", [1, 15, 16, 2**16 - 1, 2**16])
def test_one_that_is_not_canonical_is_found_among_any_number(count: int) -> None:
    pieces = [encode(Inner(1, True))] * count
    assert decode_all(pieces, [Inner] * count) == [Inner(1, True)] * count
    with pytest.raises(BadMessage):
        decode_all([*pieces[1:], b"\x92\xcc\x01\xc3"], [Inner] * count)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 2**16 - 1, 2**16])
def test_a_row_of_encodings_is_the_encoding_of_the_row(count: int) -> None:
    row = (Inner(1, True),) * count
    assert encode_row([*map(encode, row)]) == encode(row)


def test_several_of_a_kind_that_nobody_has_decoded_yet() -> None:
    class New(Wire, frozen=True):
        number: Uint

    assert decode_all([encode(New(1)), encode(Inner(2, True))], [New, Inner]) == [
        New(1),
        Inner(2, True),
    ]


def _suite() -> list[tuple[Any, list[bytes]]]:
    return [
        (case, [bytes.fromhex(text.replace("-", "")) for text in case["msgpack"]])
        for cases in data.load("msgpack-suite/msgpack-test-suite.json").values()
        for case in cases
    ]


def test_the_public_suite_has_one_accepted_encoding_a_value() -> None:
    """All but the shortest encoding of each value are refused; floats and extensions always."""
    kind: Any = (
        None | bool | Uint | str | list[Any] | dict[str, Any]
    )  # bytes apart: a union with text is ambiguous
    accepted = refused = 0
    for case, encodings in _suite():
        target: Any = bytes if "binary" in case else kind
        value = case.get("number", case.get("bignum"))
        outside = (
            "ext" in case
            or "timestamp" in case
            or (value is not None and not (isinstance(value, int) and 0 <= value <= UINT_MAX))
        )
        for index, raw in enumerate(encodings):
            if index == 0 and not outside:
                decode(raw, target)
                accepted += 1
            else:
                with pytest.raises(BadMessage):
                    decode(raw, target)
                refused += 1
    assert accepted > 20
    assert refused > 100


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x92\x01", "short"),
        (b"\x92\x01\xc3\x00", "trailing byte"),
        (b"\x93\x01\xc3\x00", "one field more"),
        (b"\x92\xcc\x01\xc3", "long integer"),
        (b"\x92\xff\xc3", "negative"),
        (b"\x92\xcb" + bytes(8) + b"\xc3", "float"),
        (b"\x92\xcf\x00\x20" + bytes(6) + b"\xc3", "2^53"),
        (b"\x82\xa6number\x01\xa4flag\xc3", "a map"),
        (b"\xdc\x00\x02\x01\xc3", "long array head"),
        (b"", "nothing"),
    ],
)
def test_refused(raw: bytes, why: str) -> None:
    assert decode(b"\x92\x01\xc3", Inner) == Inner(1, True)
    with pytest.raises(BadMessage):
        decode(raw, Inner)


def test_map_keys_in_another_order_or_twice_are_refused() -> None:
    kind = dict[str, Uint]
    assert decode(b"\x82\xa1a\x01\xa1b\x02", kind) == {"a": 1, "b": 2}
    for raw in (b"\x82\xa1b\x02\xa1a\x01", b"\x82\xa1a\x01\xa1a\x01"):
        with pytest.raises(BadMessage):
            decode(raw, kind)


def test_text_must_be_utf8_and_depth_is_bounded() -> None:
    with pytest.raises(BadMessage):
        decode(b"\xa1\xff", str)
    nested: Any = Any
    with pytest.raises(BadMessage, match="nested"):
        decode(b"\x91" * 100_000 + b"\xc0", nested)


def test_errors_never_show_the_content() -> None:
    """No text of a patient reaches a log by way of an error."""

    class Named(Wire, frozen=True):
        word: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]
        key: Bytes32

    secret = "Maria 1980-01-01"
    for value in ([secret, bytes(32)], ["ok", secret.encode()], [5, secret], {secret: secret}):
        with pytest.raises(BadMessage) as caught:
            decode(msgpack.packb(value), Named)
        assert "Maria" not in str(caught.value)


def test_what_is_known_goes_by_its_bytes_and_its_kind() -> None:
    """Members, staff and permits are decoded once; what has changed must never be taken for it."""

    class Other(Wire, frozen=True):
        number: Uint
        flag: bool

    one, changed = encode(Inner(1, True)), encode(Inner(1, False))
    assert decode_known(one, Inner) is decode_known(bytes(bytearray(one)), Inner)
    assert decode_known(changed, Inner) == Inner(1, False)
    assert decode_known(one, Other) == Other(1, True)
    assert decode_known(one, Inner) == Inner(1, True)


def test_what_is_known_is_checked_as_anything_else_each_time() -> None:
    for _ in range(2):
        with pytest.raises(BadMessage):
            decode_known(encode(Inner(-1, True)), Inner)
        with pytest.raises(BadMessage):
            decode_known(b"\x92\xcc\x01\xc3", Inner)  # not canonical


def test_what_is_large_is_decoded_and_not_kept() -> None:
    large = encode("a" * KNOWN_BYTES_MAX)
    assert decode_known(large, str) == "a" * KNOWN_BYTES_MAX
    assert decode_known(large, str) is not decode_known(large, str)


def test_what_could_not_be_read_back_is_noticed_when_it_is_written() -> None:
    """The library checks ranges and lengths on decoding only."""
    check(encode(Inner(1, True)), Inner)
    with pytest.raises(BadMessage):
        check(encode(Inner(-1, True)), Inner)
    with pytest.raises(BadMessage):
        check(encode(Inner(2**53, True)), Inner)
