"""What may be published, and the JSON form of arguments (health.md §4.0)."""

import json
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import fields
from contracts.catalogue import registry
from contracts.errors import BadDeclaration
from contracts.fields import committed, public, sealed
from contracts.framework import Method
from salus import wire_json
from salus.codec import UINT_MAX, Bytes16, Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage
from tests.contracts.planted import EveryKind
from tests.contracts.planted import registry as planted_registry


class Nine(StrEnum):
    A = "a"
    B = "b"
    C = "c"
    D = "d"
    E = "e"
    F = "f"
    G = "g"
    H = "h"
    I = "i"


SixtyFive = Annotated[bytes, msgspec.Meta(min_length=65, max_length=65)]
UpTo = Annotated[bytes, msgspec.Meta(max_length=5000)]
Endless = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=5000)]
Note = Annotated[str, msgspec.Meta(max_length=20)]
Loose = Annotated[str, msgspec.Meta(pattern="^.*$")]
Signed = Annotated[int, msgspec.Meta(ge=-1, le=1)]

REFUSED: dict[str, Any] = {
    "undeclared": Uint,
    "text": Annotated[str, public("a name")],
    "short text": Annotated[Note, public("a note")],
    "text of any pattern": Annotated[Loose, public("a note")],
    "nine words": Annotated[Nine, public("a fine class")],
    "any integer": Annotated[int, public("a number")],
    "negative": Annotated[Signed, public("a number")],
    "float": Annotated[float, public("a number")],
    "bytes of any size": Annotated[bytes, public("bytes")],
    "bytes up to": Annotated[UpTo, public("bytes")],
    "large public bytes": Annotated[SixtyFive, public("bytes")],
    "list without end": Annotated[tuple[Bytes32, ...], public("hashes")],
    "too long a list": Annotated[Endless, public("hashes")],
    "short commitment": Annotated[Bytes16, committed("a hash")],
    "long commitment": Annotated[SixtyFive, committed("a hash")],
    "commitment of any size": Annotated[bytes, committed("a hash")],
    "committed text": Annotated[str, committed("a hash")],
    "committed number": Annotated[Uint, committed("a hash")],
    "sealed without a cap": Annotated[bytes, sealed("a letter")],
    "sealed too large": Annotated[UpTo, sealed("a letter")],
    "sealed text": Annotated[Note, sealed("a letter")],
    "map": Annotated[dict[str, int], public("anything")],
    "anything": Annotated[Any, public("anything")],
    "two kinds": Annotated[Bytes32, public("a"), committed("b")],
    "no words": Annotated[Bytes32, public("")],
    "either": Annotated[Uint | Bytes32, public("one of both")],
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_field_that_could_carry_a_person_is_refused_at_declaration(case: str) -> None:
    """health.md §4.0."""
    kind = msgspec.defstruct(
        "Bad", [("field", REFUSED[case])], bases=(Wire,), frozen=True, array_like=True
    )
    with pytest.raises(BadDeclaration):
        fields.declare(kind)  # type: ignore[arg-type]


def test_a_field_with_a_default_is_refused() -> None:
    """What is not signed cannot be proved."""

    class WithDefault(Wire, frozen=True):
        n: Annotated[Uint, public("a number")] = 1

    with pytest.raises(BadDeclaration, match="no defaults"):
        fields.declare(WithDefault)


def test_every_lawful_kind_of_field_is_accepted() -> None:
    declared = fields.declare(EveryKind)
    assert [field.publication.value for field in declared] == (
        ["public"] * 5 + ["committed"] * 2 + ["sealed"]
    )


FULL = {
    "flag": True,
    "count": 3,
    "colour": "red",
    "member": "hosp-a",
    "handle": "ab" * 32,
    "maybe": None,
    "many": ["cd" * 32],
    "page": "00ff",
}


def test_json_is_lowercase_hex_and_objects_both_ways() -> None:
    value = wire_json.from_json(EveryKind, FULL)
    assert value.handle == b"\xab" * 32
    assert value.many == (b"\xcd" * 32,)
    assert wire_json.to_json(value) == FULL
    assert json.loads(json.dumps(wire_json.to_json(value))) == FULL


BAD_JSON: dict[str, tuple[str, Any]] = {
    "flag": ("flag", 1),
    "number as text": ("count", "3"),
    "flag as number": ("count", True),
    "negative": ("count", -1),
    "beyond 2^53": ("count", UINT_MAX + 1),
    "fraction": ("count", 1.0),
    "unknown word": ("colour", "green"),
    "no id": ("member", "Hosp A"),
    "id with a line end": ("member", "hosp-a\n"),
    "short": ("handle", "ab"),
    "upper case": ("handle", "AB" * 32),
    "odd": ("handle", "a" * 63),
    "no hex": ("handle", "zz" * 32),
    "spaces": ("handle", "ab " * 32),
    "null where none may be": ("handle", None),
    "no list": ("many", "cd" * 32),
    "too many": ("many", ["cd" * 32] * 5),
    "bad item": ("many", ["cd"]),
    "too large": ("page", "00" * 101),
    "object": ("page", {}),
}


@pytest.mark.parametrize("case", BAD_JSON, ids=str)
def test_bad_json_is_refused_with_its_path_and_without_its_content(case: str) -> None:
    name, given_value = BAD_JSON[case]
    with pytest.raises(BadMessage) as caught:
        wire_json.from_json(EveryKind, FULL | {name: given_value})
    assert caught.value.code == "BAD_ARGUMENTS"
    assert name in caught.value.message
    if isinstance(given_value, str) and len(given_value) > 2:
        assert given_value not in caught.value.message


@pytest.mark.parametrize("document", [None, [], "x", 1, {}, FULL | {"Maria": 1}])
def test_json_that_is_not_the_object_is_refused(document: object) -> None:
    with pytest.raises(BadMessage) as caught:
        wire_json.from_json(EveryKind, document)
    assert caught.value.code == "BAD_ARGUMENTS"
    assert "Maria" not in caught.value.message


def test_deeply_nested_json_is_refused() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(BadMessage):
        wire_json.from_json(EveryKind, FULL | {"many": deep})


def _values(method: Method) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({f.name: _of(f.shape) for f in method.fields})


def _of(shape: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    inspect = msgspec.inspect
    match shape:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(low or 0, high or UINT_MAX)
        case inspect.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=high)
        case inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case inspect.StrType(pattern=pattern):
            return st.from_regex(pattern or "", fullmatch=True).filter(
                lambda text: not text.endswith("\n")
            )
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=most):
            return st.lists(_of(item), min_size=low or 0, max_size=most).map(tuple)
        case inspect.UnionType(types=(some, inspect.NoneType())):
            return st.none() | _of(some)
    raise AssertionError(shape)


METHODS = [m for c in planted_registry().contracts.values() for m in c.methods.values()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.contract}.{m.name}.{m.version}")
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_every_method_round_trips_through_bytes_and_json(
    method: Method, data: st.DataObject
) -> None:
    args = method.args(**data.draw(_values(method)))
    assert method.decode(encode(args)) == args
    document = json.loads(json.dumps(wire_json.to_json(args)))
    assert method.from_json(document) == args
    assert set(document) == set(method.schema()["properties"])


def test_schemas_say_what_decoding_enforces() -> None:
    method = registry().contracts["records", 1].methods["supersede"]
    schema = method.schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])
    assert schema["properties"]["root"]["pattern"] == "^[0-9a-f]{64}$"
    assert schema["properties"]["root"]["description"].startswith("committed: ")
    assert schema["properties"]["leaves"]["maximum"] == 4096
    assert schema["properties"]["path"]["maxItems"] == 12


@settings(deadline=None, max_examples=200)
@given(raw=st.binary(max_size=200))
def test_no_bytes_break_the_decoder(raw: bytes) -> None:
    try:
        value = decode(raw, EveryKind)
    except BadMessage:
        return
    assert encode(value) == raw
