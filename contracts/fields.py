"""The fields of a contract's structs: what may be published, their JSON form, their schema.

Everything in a transaction is published to all present and future members, refused and pending
ones included. So each field of a method says `public`, `committed` or `sealed`, and a
declaration that could carry a person's data is refused at import (health.md §4.0):

    public     booleans, bounded integers, bytes of one fixed size, enums of at most 8 words,
               ids of a known pattern — never free text
    committed  exactly 32 bytes: a salted hash, or a Merkle node over such
    sealed     ciphertext for somebody, with a cap on its size

In JSON, bytes are lowercase hex and a struct is an object that names every field.
"""

from enum import StrEnum
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import inspect as shapes

from contracts.errors import BadDeclaration
from salus.codec import UINT_MAX, Wire
from salus.wire_json import ID_PATTERNS, ITEMS_MAX

ENUM_WORDS_MAX = 8  # health.md §4.0: finer classes are committed
PUBLIC_BYTES_MAX = 64  # a signature; what is longer is content
SEALED_BYTES_MAX = 4096  # a wrapped key and a page for it; documents stay off chain
TUPLE_ITEMS_MAX = ITEMS_MAX


class Publication(StrEnum):
    PUBLIC = "public"
    COMMITTED = "committed"
    SEALED = "sealed"


class Published(NamedTuple):
    """Metadata of a field: `root: Annotated[Bytes32, committed("root of the batch")]`."""

    publication: Publication
    doc: str


def public(doc: str) -> Published:
    """Readable by every member, for ever."""
    return Published(Publication.PUBLIC, doc)


def committed(doc: str) -> Published:
    """A salted hash; its opening travels off chain."""
    return Published(Publication.COMMITTED, doc)


def sealed(doc: str) -> Published:
    """Ciphertext; every member holds it, those with the key can read it."""
    return Published(Publication.SEALED, doc)


class Field(NamedTuple):
    name: str
    shape: shapes.Type
    publication: Publication
    doc: str


def declare(kind: type[Wire]) -> tuple[Field, ...]:
    """The fields of a method's struct; raises `BadDeclaration` on the first that may not be."""
    if not (isinstance(kind, type) and issubclass(kind, Wire)):
        raise BadDeclaration("arguments are a Wire struct")
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    hints = get_type_hints(kind, include_extras=True)
    fields = []
    for field in shape.fields:
        path = f"{kind.__name__}.{field.name}"
        said = _published(hints[field.name])
        if said is None:
            raise BadDeclaration(f"{path}: say public(…), committed(…) or sealed(…)")
        if not said.doc:
            raise BadDeclaration(f"{path}: a field says what it is")
        if not field.required:
            raise BadDeclaration(f"{path}: no defaults; every field is always signed")
        _RULES[said.publication](field.type, path)
        fields.append(Field(field.name, field.type, said.publication, said.doc))
    return tuple(fields)


def _published(hint: Any) -> Published | None:
    if get_origin(hint) is not Annotated:
        return None
    found = [extra for extra in get_args(hint)[1:] if isinstance(extra, Published)]
    return found[0] if len(found) == 1 else None


def _check_public(shape: shapes.Type, path: str) -> None:
    match shape:
        case shapes.BoolType():
            pass
        case shapes.IntType(ge=int(low), le=int(high)) if 0 <= low <= high <= UINT_MAX:
            pass
        case shapes.IntType():
            raise BadDeclaration(f"{path}: a public integer has bounds within 0…2^53−1")
        case shapes.BytesType(min_length=int(low), max_length=high) if low == high:
            if low > PUBLIC_BYTES_MAX:
                raise BadDeclaration(f"{path}: at most {PUBLIC_BYTES_MAX} public bytes")
        case shapes.BytesType():
            raise BadDeclaration(f"{path}: public bytes have one fixed size")
        case shapes.EnumType(cls=cls):
            if not all(isinstance(member.value, str) for member in cls):
                raise BadDeclaration(f"{path}: an enum is made of words")
            if len(cls) > ENUM_WORDS_MAX:
                raise BadDeclaration(f"{path}: a public enum has at most {ENUM_WORDS_MAX} words")
        case shapes.StrType(pattern=pattern) if pattern in ID_PATTERNS:
            pass
        case shapes.StrType():
            raise BadDeclaration(f"{path}: free text is never public; use an enum or an id")
        case _:
            _inside(shape, path, _check_public)


def _check_committed(shape: shapes.Type, path: str) -> None:
    match shape:
        case shapes.BytesType(min_length=32, max_length=32):
            pass
        case shapes.BytesType():
            raise BadDeclaration(f"{path}: a commitment is exactly 32 bytes")
        case _:
            _inside(shape, path, _check_committed)


def _check_sealed(shape: shapes.Type, path: str) -> None:
    match shape:
        case shapes.BytesType(max_length=int(most)) if most <= SEALED_BYTES_MAX:
            pass
        case shapes.BytesType():
            raise BadDeclaration(f"{path}: sealed bytes have a cap of at most {SEALED_BYTES_MAX}")
        case _:
            _inside(shape, path, _check_sealed)


_RULES = {
    Publication.PUBLIC: _check_public,
    Publication.COMMITTED: _check_committed,
    Publication.SEALED: _check_sealed,
}


def _inside(shape: shapes.Type, path: str, rule: Any) -> None:
    """Lists with a cap and optional values follow the rule of what they hold."""
    match shape:
        case shapes.VarTupleType(item_type=item, max_length=int(most)) if most <= TUPLE_ITEMS_MAX:
            rule(item, f"{path}[]")
        case shapes.VarTupleType():
            raise BadDeclaration(f"{path}: a list has a cap of at most {TUPLE_ITEMS_MAX} items")
        case shapes.UnionType(types=(some, shapes.NoneType())):
            rule(some, path)
        case _:
            raise BadDeclaration(f"{path}: a field cannot be of this type")


def struct_fields(kind: type[Wire]) -> tuple[shapes.Field, ...]:
    """The fields of any Wire struct, published or not."""
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    return shape.fields


# ── descriptions ─────────────────────────────────────────────────────────────


def schema(shape: shapes.Type) -> dict[str, Any]:
    """JSON Schema (2020-12), as OpenAPI 3.1 takes it."""
    match shape:
        case shapes.BoolType():
            return {"type": "boolean"}
        case shapes.IntType(ge=low, le=high):
            return {"type": "integer", "minimum": low or 0, "maximum": high or UINT_MAX}
        case shapes.BytesType(min_length=low, max_length=high):
            if low == high:
                return {"type": "string", "pattern": f"^[0-9a-f]{{{2 * (low or 0)}}}$"}
            text = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
            return text if high is None else text | {"maxLength": 2 * high}
        case shapes.EnumType(cls=cls):
            return {"type": "string", "enum": [member.value for member in cls]}
        case shapes.StrType(pattern=pattern):
            return {"type": "string"} | ({"pattern": pattern} if pattern else {})
        case shapes.VarTupleType(item_type=item, max_length=most):
            array: dict[str, Any] = {"type": "array", "items": schema(item)}
            return array if most is None else array | {"maxItems": most}
        case shapes.UnionType(types=(some, shapes.NoneType())):
            return {"anyOf": [schema(some), {"type": "null"}]}
        case shapes.StructType(fields=fields):
            return {
                "type": "object",
                "properties": {field.name: schema(field.type) for field in fields},
                "required": [field.name for field in fields],
                "additionalProperties": False,
            }
        case _:
            raise AssertionError("declare() let a type pass that has no schema")
