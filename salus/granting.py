"""A grant as a patient says it, and what becomes of it: outer permit and inner terms.

    to hosp-b, Observation and MedicationRequest, for treatment, until a time

becomes coarse classes and days for the chain, and terms with the rest. Pure.
"""

from dataclasses import dataclass

from salus.codec import UINT_MAX
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
CATEGORY = Code("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")

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
) -> Said:
    """Raises `BadMessage` (BAD_SCOPE, BAD_PURPOSE, BAD_PERIOD)."""
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
        purposes=(_REASON[purpose],),
        classes=ascending(Code(RESOURCE_TYPES, name) for name in types),
    )
    # A denial of some types of a class is no denial of the class: the inner terms weigh it.
    whole = grantee.staff is None and not (deny and narrowed(scopes))
    return Said(
        Reach.ORGANISATION if whole else Reach.PART,
        classes_of(scopes),
        from_ms // DAY_MS,
        (until_ms - 1) // DAY_MS,
        Terms(categories=(CATEGORY,), rules=(rule,)),
    )


def question(grantee: Grantee, scopes: tuple[str, ...], purpose: Purpose) -> Request:
    """What the inner decision is asked. Raises `BadMessage` (BAD_SCOPE, BAD_PURPOSE)."""
    if purpose not in _REASON:
        raise BadMessage("this purpose cannot be asked for", code="BAD_PURPOSE")
    classes_of(scopes)
    return Request(
        categories=(CATEGORY,),
        purpose=_REASON[purpose],
        actors=grantee.codes(),
        classes=ascending(Code(RESOURCE_TYPES, name) for name in types_of(scopes)),
    )
