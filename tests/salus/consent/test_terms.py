"""Inner terms: bounded, in one order, of one encoding, committed with a salt."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from salus.codec import decode, encode
from salus.consent.terms import (
    CODES_MAX,
    DEPTH_MAX,
    RULES_MAX,
    TERMS_BYTES_MAX,
    Code,
    Effect,
    Rule,
    Terms,
    decode_terms,
    encode_terms,
    terms_commitment,
)
from salus.errors import BadMessage
from tests import factories
from tests.salus.consent.world import (
    ACTORS,
    CATEGORY,
    DENY_ALL,
    FINDINGS,
    LABELS,
    PERMIT_ALL,
    TYPES,
    terms,
    terms_of,
)

DENY = Effect.DENY


@given(terms)
def test_terms_have_one_encoding(given_terms: Terms) -> None:
    data = encode_terms(given_terms)
    assert decode_terms(data) == given_terms
    assert len(data) <= TERMS_BYTES_MAX


def refused(*rules: Rule, categories: tuple[Code, ...] = (CATEGORY,)) -> str:
    with pytest.raises(BadMessage) as caught:
        decode_terms(encode(Terms(categories=categories, rules=rules)))
    return caught.value.code


@pytest.mark.parametrize(
    "rules",
    [
        (Rule(effect=DENY, from_ms=5, until_ms=5),),
        (Rule(effect=DENY, actors=ACTORS[:1] * 2),),
        (Rule(effect=DENY, labels=LABELS[::-1]),),
        (Rule(effect=DENY, purposes=("TREAT", "ETREAT")),),
        (Rule(effect=DENY, exception_to=1), DENY_ALL),
        (PERMIT_ALL, Rule(effect=DENY, exception_to=1)),
        (PERMIT_ALL, Rule(effect=DENY, exception_to=2), DENY_ALL),
        (PERMIT_ALL, Rule(effect=DENY, labels=LABELS, classes=TYPES)),
        (
            PERMIT_ALL,
            Rule(effect=DENY, labels=LABELS),
            Rule(effect=DENY, exception_to=1),
            Rule(effect=DENY, exception_to=2, codes=FINDINGS),
        ),
        tuple(Rule(effect=DENY, exception_to=max(0, i - 1)) for i in range(DEPTH_MAX + 1)),
    ],
)
def test_rules_that_are_not_in_order_are_refused(rules: tuple[Rule, ...]) -> None:
    assert refused(*rules) == "BAD_TERMS"


def test_exceptions_nest_as_deep_as_they_may() -> None:
    deepest = [Rule(effect=DENY, exception_to=max(0, i - 1)) for i in range(DEPTH_MAX)]
    assert decode_terms(encode_terms(terms_of(*deepest)))


def test_a_consent_without_category_or_with_two_orders_of_them_is_refused() -> None:
    assert refused(PERMIT_ALL, categories=()) == "BAD_TERMS"
    assert refused(PERMIT_ALL, categories=(CATEGORY, CATEGORY)) == "BAD_TERMS"


@pytest.mark.parametrize(
    "text", ["", "two words", "a sentence of prose", "Zürich", "new\nline", "x" * 65, "tab\t"]
)
def test_a_code_holds_no_prose(text: str) -> None:
    rule = Rule(effect=DENY, labels=(Code("urn:x", text),))
    assert refused(rule) == "NOT_CANONICAL"


def test_every_list_has_a_cap() -> None:
    many = tuple(Code("urn:x", f"{number:03}") for number in range(CODES_MAX + 1))
    assert refused(Rule(effect=DENY, actors=many)) == "NOT_CANONICAL"
    assert decode_terms(encode_terms(terms_of(Rule(effect=DENY, actors=many[1:]))))
    assert refused(*[PERMIT_ALL] * (RULES_MAX + 1)) == "NOT_CANONICAL"
    big = Rule(
        effect=DENY, actors=tuple(msgspec.structs.replace(c, system="u" * 200) for c in many[1:])
    )
    assert refused(*[big] * 2) == "TOO_LARGE"


def test_what_is_no_terms_is_not_encoded() -> None:
    with pytest.raises(BadMessage):
        encode_terms(Terms(categories=(), rules=(PERMIT_ALL,)))


def test_another_version_is_refused() -> None:
    data: Any = decode(encode_terms(terms_of(PERMIT_ALL)), list)
    data[0] = 2
    with pytest.raises(BadMessage):
        decode_terms(encode(data))


def test_a_commitment_depends_on_salt_and_terms() -> None:
    salts = [factories.seed(name) for name in ("one", "two")]
    found = {
        terms_commitment(salt, terms_of(rule)) for salt in salts for rule in (PERMIT_ALL, DENY_ALL)
    }
    assert len(found) == 4
    assert all(len(each) == 32 for each in found)
