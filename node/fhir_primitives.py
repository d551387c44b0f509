"""The primitive types of R4 (hl7.org/fhir/R4/datatypes.html#primitive): is this value one?

A check takes a value of `fhir_json.read_json` and returns the rule that it breaks, or None.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from node.fhir_json import Fraction, Whole

Check = Callable[[Any], str | None]

STRING_CHARS_MAX = 2**20  # R4's own limit

_DATE = r"([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_FORM = "has a form that R4 does not allow here"
_TEXT, _NUMBER, _WHOLE = "must be text", "must be a number", "must be a whole number"


def _boolean(value: Any) -> str | None:
    return None if value is True or value is False else "must be true or false"


def _text(value: Any) -> str | None:
    if type(value) is not str:
        return _TEXT
    if not value:
        return "must not be empty"
    return None if len(value) <= STRING_CHARS_MAX else "longer than R4 allows"


def _long_text(value: Any) -> str | None:
    """For what R4 sets no length to."""
    if type(value) is not str:
        return _TEXT
    return None if value else "must not be empty"


def _formed(pattern: str) -> Check:
    fits = re.compile(pattern).fullmatch

    def check(value: Any) -> str | None:
        if type(value) is not str:
            return _TEXT
        return None if fits(value) else _FORM

    return check


def one_of(codes: frozenset[str]) -> Check:
    """For a code whose list R4 fixes (a required binding)."""

    def check(value: Any) -> str | None:
        if type(value) is not str:
            return _TEXT
        return None if value in codes else "is no code of the list that R4 sets"

    return check


def _base64(value: Any) -> str | None:
    if type(value) is not str:
        return _TEXT
    packed = "".join(value.split())
    good = packed and len(packed) % 4 == 0 and re.fullmatch("[0-9A-Za-z+/]*={0,2}", packed)
    return None if good else _FORM


def _dated(pattern: str) -> Check:
    """`pattern`, and a day that the calendar has."""
    fits = re.compile(pattern).fullmatch

    def check(value: Any) -> str | None:
        if type(value) is not str:
            return _TEXT
        if not fits(value):
            return _FORM
        if value[8:10] > "28":
            try:
                date.fromisoformat(value[:10])
            except ValueError:
                return "is no day of the calendar"
        return None

    return check


def _integer(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is not Whole:
            return _WHOLE
        return None if least <= int(value) <= most else "is out of the range that R4 sets"

    return check


def _decimal(value: Any) -> str | None:
    return None if type(value) is Whole or type(value) is Fraction else _NUMBER


# Whitespace of a uri is what RFC 3986 has no place for; which schemes there are is not asked.
_uri = _formed(r"\S+")

PRIMITIVES: dict[str, Check] = {
    "boolean": _boolean,
    "string": _text,
    "markdown": _text,
    "xhtml": _long_text,  # It is kept and never shown by us, so it is not read.
    "base64Binary": _base64,
    "code": _formed(r"\S+(\s\S+)*"),
    "id": _formed(r"[A-Za-z0-9.-]{1,64}"),
    "uri": _uri,
    "url": _uri,
    "canonical": _uri,
    "oid": _formed(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+"),
    "uuid": _formed(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "integer": _integer(-(2**31), 2**31 - 1),
    "unsignedInt": _integer(0, 2**31 - 1),
    "positiveInt": _integer(1, 2**31 - 1),
    "decimal": _decimal,
    "date": _dated(_DATE + ")?)?"),
    "dateTime": _dated(f"{_DATE}(T{_CLOCK}{_ZONE})?)?)?"),
    "instant": _dated(f"{_DATE}T{_CLOCK}{_ZONE}))"),
    "time": _formed(_CLOCK),
}
