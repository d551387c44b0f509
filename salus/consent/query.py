"""A question as JSON → request: the form that public test cases of consent engines use.

    {"category": [{"system", "code"}], "purposeOfUse": "TREAT",
     "actor": [{"system", "value"}], "class": [{"system", "code"}],
     "role": [{"system", "code"}], "site": [{"system", "value"}]}

The last three may be missing. A name that is not known is refused: it may be a misspelt one.
"""

import msgspec
from msgspec import field

from salus.codec import decode, encode
from salus.consent import fhir_forms as forms
from salus.consent.request import Request
from salus.consent.terms import Code, ascending
from salus.errors import BadMessage


class _Coding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    system: str
    code: str
    display: str | None = None


class _Identifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    system: str
    value: str


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    category: tuple[_Coding, ...]
    purpose: str = field(name="purposeOfUse")
    actor: tuple[_Identifier, ...]
    class_: tuple[_Coding, ...] = field(name="class", default=())
    role: tuple[_Coding, ...] = ()
    site: tuple[_Identifier, ...] = ()


def read_query(data: bytes) -> Request:
    """Raises `BadMessage` (BAD_QUERY, TOO_LARGE)."""
    query = forms.read_form(forms.read_json(data, "BAD_QUERY"), _Query, "BAD_QUERY")
    request = Request(
        categories=_codes([(each.system, each.code) for each in query.category]),
        purpose=query.purpose,
        actors=_codes([(each.system, each.value) for each in query.actor]),
        roles=_codes([(each.system, each.code) for each in query.role]),
        sites=_codes([(each.system, each.value) for each in query.site]),
        classes=_codes([(each.system, each.code) for each in query.class_]),
    )
    try:
        return decode(encode(request), Request)  # lengths and letters are checked on decoding
    except BadMessage as error:
        raise BadMessage(error.message, code="BAD_QUERY") from None


def _codes(pairs: list[tuple[str, str]]) -> tuple[Code, ...]:
    return ascending(Code(system, code) for system, code in pairs)
