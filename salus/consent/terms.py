"""The inner terms of a consent: what a patient commits to, and only the parties can read.

A consent is a root rule and exceptions to it, each with conditions; an exception may have
exceptions itself. Rules stand in one list and name the rule that they except, so that nothing here
recurses. Law of the file: terms hold codes and no prose, have one encoding, and are bounded in
bytes, rules, depth and codes.

◆ commitment = H("consent-terms", salt32 ‖ encode(terms))
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from salus.codec import UINT_MAX, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import hasher

RULES_MAX = 64  # the longest public example has 4; a page of switches stays below 40
DEPTH_MAX = 8  # a rule, its exceptions, theirs …: beyond, no patient knows what he signed
CODES_MAX = 64  # per condition
TERMS_BYTES_MAX = 16_384  # travels with every request that opens it
SALT_BYTES = 32  # Do not change: 256 bits, so that no dictionary meets a commitment.
TERMS_VERSION = 1
FOR_EVER_MS = UINT_MAX

# Printable ASCII without blanks: identifiers and codes fit, sentences and most names do not.
SystemText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,200}$(?!\n)")]
CodeText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$(?!\n)")]

_hash_terms = hasher("consent-terms")


class Effect(StrEnum):
    PERMIT = "permit"
    DENY = "deny"


class Code(Wire, frozen=True):
    """A code or identifier within its system (FHIR Coding, Identifier)."""

    system: SystemText
    code: CodeText


Codes = Annotated[tuple[Code, ...], msgspec.Meta(max_length=CODES_MAX)]
Purposes = Annotated[tuple[CodeText, ...], msgspec.Meta(max_length=CODES_MAX)]
RuleIndex = Annotated[int, msgspec.Meta(ge=0, le=RULES_MAX - 1)]


class Sets(Wire, frozen=True, kw_only=True, dict=True, gc=True):  # dict: the sets, once made, stay
    """What is looked up of who and what. Of a rule, and of a question; it has no field of its own."""

    if TYPE_CHECKING:
        actors: Codes
        classes: Codes

    @cached_property
    def actor_set(self) -> frozenset[Code]:
        return frozenset(self.actors)

    @cached_property
    def class_set(self) -> frozenset[Code]:
        return frozenset(self.classes)

    @cached_property
    def class_systems(self) -> frozenset[str]:
        return frozenset(code.system for code in self.classes)


class Rule(Sets, frozen=True, kw_only=True):
    """It holds where all its conditions hold; an empty condition holds always, a list where one
    of its codes does."""

    exception_to: RuleIndex = 0  # an earlier rule; the root names itself
    effect: Effect
    from_ms: Uint = 0
    until_ms: Uint = FOR_EVER_MS  # the first millisecond after
    actors: Codes = ()  # identities: staff, organisation, group
    roles: Codes = ()
    sites: Codes = ()  # from where it is asked
    purposes: Purposes = ()  # of v3-ActReason
    classes: Codes = ()  # of the data: resource types and the like
    labels: Codes = ()  # of the data: security labels
    codes: Codes = ()  # of the data: any coding found in it


class Terms(Wire, frozen=True, kw_only=True, dict=True, gc=True):
    """Rule 0 is the root; it also says whom and what the whole consent concerns."""

    version: Annotated[int, msgspec.Meta(ge=TERMS_VERSION, le=TERMS_VERSION)] = TERMS_VERSION
    categories: Codes
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)]

    @cached_property
    def root(self) -> Rule:
        return self.rules[0]

    @cached_property
    def category_set(self) -> frozenset[Code]:
        return frozenset(self.categories)


def ascending(codes: Iterable[Code]) -> tuple[Code, ...]:
    """Each once, by system and code: the one order of a condition."""
    return tuple(sorted(set(codes), key=lambda code: (code.system, code.code)))


def data_conditions(rule: Rule) -> tuple[tuple[Code, ...], ...]:
    """Those of its conditions that speak of the data and not of the request."""
    return tuple(condition for condition in (rule.classes, rule.labels, rule.codes) if condition)


def check_terms(terms: Terms) -> None:
    """Raises `BadMessage` (BAD_TERMS) unless the rules are in order and can be decided exactly.

    An exception names at most one kind of data condition, and none below another exception that
    names one: so a decision is always expressible as «redact what carries one of these codes» and
    «redact what carries none of these».
    """
    if not terms.categories:
        raise _bad("a consent has a category")
    depths = [0]
    limited = [False]  # a data condition stands here or above, the root's apart
    for index, rule in enumerate(terms.rules):
        if rule.from_ms >= rule.until_ms:
            raise _bad(f"rule {index} ends before it begins")
        for codes in (rule.actors, rule.roles, rule.sites, *data_conditions(rule)):
            if not _ascend([(code.system, code.code) for code in codes]):
                raise _bad(f"rule {index}: codes ascend, each once")
        if not _ascend(rule.purposes):
            raise _bad(f"rule {index}: purposes ascend, each once")
        if index == 0:
            if rule.exception_to != 0:
                raise _bad("the root is no exception")
            continue
        above = rule.exception_to
        if above >= index:
            raise _bad(f"rule {index} excepts a rule that does not stand before it")
        depths.append(depths[above] + 1)
        if depths[index] >= DEPTH_MAX:
            raise _bad(f"exceptions nest at most {DEPTH_MAX} deep, the root counted")
        own = len(data_conditions(rule))
        if own > 1:
            raise _bad(f"rule {index}: an exception has one of classes, labels, codes")
        if own and limited[above]:
            raise _bad(f"rule {index}: an exception within one by data names no data")
        limited.append(bool(own) or limited[above])
    if not _ascend([(code.system, code.code) for code in terms.categories]):
        raise _bad("categories ascend, each once")


def encode_terms(terms: Terms) -> bytes:
    """The bytes that are committed to; raises `BadMessage` if these are no terms."""
    data = encode(terms)
    decode_terms(data)
    return data


def decode_terms(data: bytes) -> Terms:
    """Raises `BadMessage` (NOT_CANONICAL, TOO_LARGE, BAD_TERMS)."""
    if len(data) > TERMS_BYTES_MAX:
        raise BadMessage(f"terms have at most {TERMS_BYTES_MAX} bytes", code="TOO_LARGE")
    terms = decode(data, Terms)
    check_terms(terms)
    return terms


def terms_commitment(salt: bytes, terms: Terms) -> bytes:
    """32 bytes; `salt`: 32 random bytes that travel with the terms."""
    assert len(salt) == SALT_BYTES
    return _hash_terms(salt + encode_terms(terms))


def _ascend(keys: Sequence[Any]) -> bool:
    return len(keys) < 2 or all(a < b for a, b in pairwise(keys))


def _bad(message: str) -> BadMessage:
    return BadMessage(message, code="BAD_TERMS")
