"""Valid values of any declared type, by its declaration: whatever is added is fuzzed at once."""

import re
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from msgspec import inspect as shapes

from salus.codec import UINT_MAX

EDGES = (0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, UINT_MAX)
ITEMS_MAX = 3  # per list: what a hundred would find, three do
TEXT_MAX, BYTES_MAX = 12, 40

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Valid values of a struct or of any annotated type."""
    return _values(shapes.type_info(kind))


def _values(shape: shapes.Type) -> st.SearchStrategy[Any]:
    match shape:
        case shapes.Metadata(type=inner):
            return _values(inner)
        case shapes.BoolType():
            return st.booleans()
        case shapes.NoneType():
            return st.none()
        case shapes.IntType(ge=low, gt=above, le=high, lt=below):
            least = int(low or 0) if above is None else int(above) + 1
            most = int(UINT_MAX if high is None else high) if below is None else int(below) - 1
            edges = [edge for edge in EDGES if least <= edge <= most]
            whole = st.integers(least, most)
            return whole | st.sampled_from(edges) if edges else whole
        case shapes.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case shapes.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=_most(low, high, BYTES_MAX))
        case shapes.StrType(pattern=str(pattern), min_length=low, max_length=high):
            texts = st.from_regex(re.compile(pattern), fullmatch=True)
            if low is None and high is None:
                return texts
            return texts.filter(lambda text: (low or 0) <= len(text) <= (high or len(text)))
        case shapes.StrType(min_length=low, max_length=high):
            return st.text(min_size=low or 0, max_size=_most(low, high, TEXT_MAX))
        case shapes.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case shapes.LiteralType(values=literals):
            return st.sampled_from(list(literals))
        case shapes.UnionType(types=types):
            return st.one_of([_values(inner) for inner in types])
        case shapes.VarTupleType(item_type=item, min_length=low, max_length=high):
            sizes = {"min_size": low or 0, "max_size": _most(low, high, ITEMS_MAX)}
            return st.lists(_values(item), **sizes).map(tuple)
        case shapes.ListType(item_type=item, min_length=low, max_length=high):
            sizes = {"min_size": low or 0, "max_size": _most(low, high, ITEMS_MAX)}
            return st.lists(_values(item), **sizes)
        case shapes.TupleType(item_types=items):
            return st.tuples(*(_values(item) for item in items))
        case shapes.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=ITEMS_MAX)
        case shapes.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: _values(field.type) for field in fields})
        case shapes.AnyType():
            return json_values
    raise AssertionError(f"no strategy for {shape}")


def _most(low: int | None, high: int | None, enough: int) -> int:
    return max(low or 0, min(enough if high is None else high, enough))


@cache
def simplest(kind: Any) -> Any:
    """A valid value, the same each time."""
    quiet = settings(
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        max_examples=10,
        phases=[Phase.generate],
    )
    return find(values_of(kind), lambda value: True, settings=quiet)
