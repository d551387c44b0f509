"""Strict JSON, as two readers cannot disagree on it: UTF-8, each key once, bounded (RFC 8259 §4–8).

Numbers stay the text that came: FHIR's decimals keep their precision («1.10» is not «1.1»), and
nothing here counts with them.
"""

import json
import re
from functools import lru_cache
from typing import Any

from node.fhir_faults import BadFhir, bad

FHIR_BYTES_MAX = 16 * 2**20  # Read, it takes about ten times its text in memory.
DEPTH_MAX = 64  # FHIR nests extensions and questionnaires; real ones stay below 20.
NUMBER_CHARS_MAX = 64  # FHIR asks for 18 digits; a number of a megabyte is an attack.
EXPONENT_MAX = 400  # Beyond what a double holds: the next reader would take it for infinite.

NUMBERS_KEPT_MAX = 4_096

_BOM = b"\xef\xbb\xbf"
# Escapes one after the other, so that a backslash that is itself escaped begins none.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F]..)|.)",
    re.DOTALL,
)


class Whole(str):
    """A JSON number without fraction and exponent, as it was written."""

    __slots__ = ()


class Fraction(str):
    """Any other JSON number, as it was written."""

    __slots__ = ()


def read_json(document: bytes) -> Any:
    """What `json.loads` gives, with numbers as `Whole` and `Fraction`. Raises `BadFhir`."""
    if len(document) > FHIR_BYTES_MAX:
        raise bad(f"more than {FHIR_BYTES_MAX} bytes in one resource or Bundle", "FHIR_TOO_LARGE")
    if document.startswith(_BOM):
        raise bad("begins with a byte order mark", "JSON_ENCODING")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise bad("must be UTF-8", "JSON_ENCODING") from None
    if "\\u" in text and any(escape[1] for escape in _ESCAPES.finditer(text)):
        raise bad("half of a character stands escaped (a lone surrogate)", "JSON_ENCODING")
    try:
        content = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_fraction,
        )
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise bad("not JSON", "BAD_JSON", place) from None
    level = [content]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return content
    raise _too_deep()


def _too_deep() -> BadFhir:
    return bad(f"nested more than {DEPTH_MAX} deep", "FHIR_TOO_DEEP")


def _children(value: Any) -> list[Any]:
    """The objects and lists directly inside of one."""
    inside = value.values() if type(value) is dict else value if type(value) is list else ()
    return [inner for inner in inside if type(inner) is dict or type(inner) is list]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Readers disagree on which of the two counts.
        raise bad("a key stands twice in one object", "JSON_KEY_TWICE")
    return found


def _no_constant(_: str) -> Any:
    raise bad("NaN and Infinity are no JSON", "JSON_NUMBER")


# The same few numbers stand in a document again and again: sequence numbers, counts, ranks.
@lru_cache(maxsize=NUMBERS_KEPT_MAX)
def _whole(text: str) -> Whole:
    if len(text) > NUMBER_CHARS_MAX:
        raise _too_long()
    return Whole(text)


@lru_cache(maxsize=NUMBERS_KEPT_MAX)
def _fraction(text: str) -> Fraction:
    if len(text) > NUMBER_CHARS_MAX:
        raise _too_long()
    _, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > EXPONENT_MAX:
        raise bad(f"a number with an exponent above {EXPONENT_MAX}", "JSON_NUMBER")
    return Fraction(text)


def _too_long() -> BadFhir:
    return bad(f"a number of more than {NUMBER_CHARS_MAX} characters", "JSON_NUMBER")
