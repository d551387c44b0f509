"""A grant as a patient says it, and what becomes of it: outer permit and inner terms.

    to hosp-b, Observation and MedicationRequest, for treatment, until a time

becomes coarse classes and days for the chain, and terms with the rest. Pure.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from salus.codec import UINT_MAX
from salus.consent.decision import Obligation, Redact
from salus.consent.request import Request
from salus.consent.terms import Code, Effect, Rule, Terms, ascending
from salus.consent.vocabulary import RESOURCE_TYPES
from salus.errors import BadMessage
from salus.permit import Purpose, Reach, RecordClass
from salus.relation import DAY_MS
from salus.scope import PURPOSES, classes_of, narrowed, types_of

# Who acts, in terms: an organisation by its member id, one of its staff by organisation and handle.
ORGANISATION = "urn:salus:organisation"
STAFF = "urn:salus:staff"
ROLE = "urn:salus:role"  # of staff, by the words of the members contract
CATEGORY = Code("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")

QUESTIONS_KNOWN_MAX = 1_024  # people and what they ask for, of some 3 kB; each chunk asks again

_REASON = {purpose: word for word, purpose in PURPOSES.items()}


@dataclass(frozen=True, slots=True)
class Grantee:
    """`hosp-b`, or `hosp-b/<staff handle as hex>`."""

    org: str
    staff: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Grantee":
        """Raises `BadMessage` (BAD_GRANTEE)."""
        org, slash, staff = text.partition("/")
        hexadecimal = len(staff) == 64 and all(letter in "0123456789abcdef" for letter in staff)
        if not org or (slash and not hexadecimal):
            raise BadMessage("a grantee is ORG or ORG/STAFF-HANDLE", code="BAD_GRANTEE")
        return cls(org, staff or None)

    def codes(self) -> tuple[Code, ...]:
        """All identities of this one."""
        return ascending((Code(ORGANISATION, self.org), self.named()))

    def named(self) -> Code:
        """The identity that is meant."""
        return Code(STAFF, self.staff) if self.staff else Code(ORGANISATION, self.org)


@dataclass(frozen=True, slots=True)
class Said:
    """Both halves of a grant."""

    reach: Reach
    classes: tuple[RecordClass, ...]
    from_day: int
    until_day: int
    terms: Terms


def say(
    grantee: Grantee,
    scopes: tuple[str, ...],
    purpose: Purpose,
    from_ms: int,
    until_ms: int,
    *,
    deny: bool = False,
    sites: tuple[Code, ...] = (),
) -> Said:
    """`sites`: from where alone, ascending; empty: from anywhere. Raises `BadMessage` (BAD_SCOPE,
    BAD_PURPOSE, BAD_PERIOD)."""
    if purpose not in _REASON:
        raise BadMessage("this purpose cannot be granted", code="BAD_PURPOSE")
    if not from_ms < until_ms <= UINT_MAX:
        raise BadMessage("a permit ends after it begins", code="BAD_PERIOD")
    types = types_of(scopes)
    rule = Rule(
        effect=Effect.DENY if deny else Effect.PERMIT,
        from_ms=from_ms,
        until_ms=until_ms,
        actors=(grantee.named(),),
        sites=sites,
        purposes=(_REASON[purpose],),
        classes=ascending(Code(RESOURCE_TYPES, name) for name in types),
    )
    # A denial of some types of a class is no denial of the class: the inner terms weigh it.
    whole = grantee.staff is None and not sites and not (deny and narrowed(scopes))
    return Said(
        Reach.ORGANISATION if whole else Reach.PART,
        classes_of(scopes),
        from_ms // DAY_MS,
        (until_ms - 1) // DAY_MS,
        Terms(categories=(CATEGORY,), rules=(rule,)),
    )


def question(
    grantee: Grantee, scopes: tuple[str, ...], purpose: Purpose, site: Code | None = None
) -> Request:
    """What the inner decision is asked. Raises `BadMessage` (BAD_SCOPE, BAD_PURPOSE)."""
    if purpose not in _REASON:
        raise BadMessage("this purpose cannot be asked for", code="BAD_PURPOSE")
    classes_of(scopes)
    return Request(
        categories=(CATEGORY,),
        purpose=_REASON[purpose],
        actors=grantee.codes(),
        sites=() if site is None else (site,),
        classes=ascending(Code(RESOURCE_TYPES, name) for name in types_of(scopes)),
    )


def question_of(
    grantee: Grantee,
    classes: Collection[RecordClass],
    purpose: Purpose,
    roles: Iterable[str] = (),
    site: Code | None = None,
) -> Request:
    """The same for all that stands in some classes, as a gate asks: what of it may be shown.

    `other` has no list of its types; then all is asked for, and every denial of a type is heard.
    Raises `BadMessage` (BAD_PURPOSE)."""
    return _question(grantee.org, grantee.staff, frozenset(classes), purpose, tuple(roles), site)


@lru_cache(maxsize=QUESTIONS_KNOWN_MAX)
def _question(
    org: str,
    staff: str | None,
    classes: frozenset[RecordClass],
    purpose: Purpose,
    roles: tuple[str, ...],
    site: Code | None,
) -> Request:
    if purpose not in _REASON:
        raise BadMessage("this purpose cannot be asked for", code="BAD_PURPOSE")
    return Request(
        categories=(CATEGORY,),
        purpose=_REASON[purpose],
        actors=Grantee(org, staff).codes(),
        roles=ascending(Code(ROLE, str(role)) for role in roles),
        sites=() if site is None else (site,),
        classes=_types_in(classes),
    )


def beyond(asked: Collection[RecordClass], held: Collection[RecordClass]) -> tuple[Obligation, ...]:
    """What of a document that holds these classes must be withheld, since it was not asked for and so
    not decided about (rule G-17). Strict: what a resource contains counts too."""
    rest = frozenset(held).difference(asked)
    if not rest:
        return ()
    if RecordClass.OTHER in rest:  # which has no list of its types
        return (Obligation(Redact.LACKING, _types_in(frozenset(asked))),)
    return (Obligation(Redact.CARRYING, _types_in(rest)),)


@cache
def _types_in(classes: frozenset[RecordClass]) -> tuple[Code, ...]:
    # Of at most 64 sets; a gate asks it for every request and every chunk.
    named = () if RecordClass.OTHER in classes else types_of(tuple(one.value for one in classes))
    return ascending(Code(RESOURCE_TYPES, name) for name in named)
