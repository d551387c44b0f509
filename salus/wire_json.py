"""The JSON form of a `Wire` struct: an object that names every field, bytes as lowercase hex.

Contracts declare with it what API and commands take; whoever asks a node reads its answers with it.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import inspect as shapes

from salus.codec import UINT_MAX, Wire, decode, encode
from salus.errors import BadMessage
from salus.validators import MemberId

W = TypeVar("W", bound=Wire)

BAD_ARGUMENTS = "BAD_ARGUMENTS"
ITEMS_MAX = 4096  # of a list whose type says no less


def _pattern(kind: Any) -> str:
    (meta,) = get_args(kind)[1:]
    assert isinstance(meta.pattern, str)
    return meta.pattern


ContractName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]

# The texts that may be public are ids; each new pattern is a decision of its own.
ID_PATTERNS = {_pattern(MemberId): "member id", _pattern(ContractName): "contract name"}


def to_json(value: Any) -> Any:
    """Plain data for `json.dumps`: structs as objects, bytes as lowercase hex."""
    match value:
        case bytes():
            return value.hex()
        case msgspec.Struct():
            return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
        case StrEnum():
            return value.value
        case tuple() | list():
            return [to_json(item) for item in value]
        case dict():
            return {key: to_json(item) for key, item in value.items()}
        case _:
            return value


def from_json(kind: type[W], document: Any) -> W:
    """The struct that a JSON object says; raises `BadMessage` (BAD_ARGUMENTS) with the path."""
    shape = shapes.type_info(kind)
    try:
        value = _read(shape, document, "")
        return decode(encode(value), kind)
    except RecursionError:
        raise BadMessage("arguments are nested too deeply", code=BAD_ARGUMENTS) from None
    except BadMessage as error:
        raise BadMessage(error.message, code=BAD_ARGUMENTS) from None


def _read(shape: shapes.Type, given: Any, path: str) -> Any:
    match shape:
        case shapes.StructType(cls=cls, fields=fields):
            _require(isinstance(given, dict), path, shape)
            unknown = [name for name in given if name not in cls.__struct_fields__]
            if unknown:
                known = ", ".join(cls.__struct_fields__) or "none"
                raise BadMessage(f"{path or 'arguments'}: unknown field; known are: {known}")
            missing = [field.name for field in fields if field.name not in given]
            if missing:
                raise BadMessage(
                    f"{_join(path, missing[0])}: missing, expected {words(_of(fields, missing[0]))}"
                )
            return cls(
                **{f.name: _read(f.type, given[f.name], _join(path, f.name)) for f in fields}
            )
        case shapes.VarTupleType(item_type=item, min_length=low, max_length=high):
            _require(isinstance(given, list), path, shape)
            _require((low or 0) <= len(given) <= (high or ITEMS_MAX), path, shape)
            return tuple(_read(item, entry, f"{path}[{n}]") for n, entry in enumerate(given))
        case shapes.UnionType(types=(some, shapes.NoneType())):
            return None if given is None else _read(some, given, path)
        case shapes.BytesType(min_length=low, max_length=high):
            _require(isinstance(given, str) and _HEX.fullmatch(given) is not None, path, shape)
            size = len(given) // 2
            _require((low or 0) <= size <= (size if high is None else high), path, shape)
            return bytes.fromhex(given)
        case shapes.IntType(ge=low, le=high):
            _require(type(given) is int and (low or 0) <= given <= (high or UINT_MAX), path, shape)
            return given
        case shapes.BoolType():
            _require(type(given) is bool, path, shape)
            return given
        case shapes.EnumType(cls=cls):
            by_word = {member.value: member for member in cls}
            _require(isinstance(given, str) and given in by_word, path, shape)
            return by_word[given]
        case shapes.StrType(pattern=pattern):
            fits = isinstance(given, str) and re.fullmatch(pattern or "", given) is not None
            _require(fits, path, shape)
            return given
        case _:
            raise AssertionError("declare() let a type pass that has no JSON form")


_HEX = re.compile("(?:[0-9a-f]{2})*")


def _require(fits: bool, path: str, shape: shapes.Type) -> None:
    if not fits:  # The content is never echoed: it may be what must not be shown.
        raise BadMessage(f"{path or 'arguments'}: expected {words(shape)}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _of(fields: tuple[shapes.Field, ...], name: str) -> shapes.Type:
    return next(field.type for field in fields if field.name == name)


def words(shape: shapes.Type) -> str:
    """The type in words, for people: errors, reference pages, `--help`."""
    match shape:
        case shapes.BoolType():
            return "true or false"
        case shapes.IntType(ge=low, le=high):
            return f"an integer {low or 0}…{'2^53−1' if high in (None, UINT_MAX) else high}"
        case shapes.BytesType(min_length=low, max_length=high):
            return f"{low} bytes as hex" if low == high else f"at most {high} bytes as hex"
        case shapes.EnumType(cls=cls):
            return "one of " + ", ".join(member.value for member in cls)
        case shapes.StrType(pattern=pattern):
            return ID_PATTERNS.get(pattern or "", "text")
        case shapes.VarTupleType(item_type=item, max_length=most):
            size = "" if most is None else f" of at most {most}"
            return f"a list{size}, each {words(item)}"
        case shapes.UnionType(types=(some, shapes.NoneType())):
            return f"{words(some)}, or null"
        case _:
            return "an object"
