"""What a decision says: verdict, reason, what must be redacted, and which consents said so."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from salus.codec import Wire
from salus.consent.terms import Code

NAME_CHARS_MAX = 64  # a FHIR id, or 32 bytes as hex

ConsentName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{1,64}$(?!\n)")]

_REDACT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "REDACT"}


class Verdict(StrEnum):
    PERMIT = "CONSENT_PERMIT"
    DENY = "CONSENT_DENY"
    NONE = "NO_CONSENT"


class Reason(StrEnum):
    """In this order: of several near misses the last one is told."""

    NO_CONSENT = "no_consent"
    NOT_ACTIVE = "not_active"
    OTHER_CATEGORY = "other_category"
    OTHER_PURPOSE = "other_purpose"
    OTHER_ACTOR = "other_actor"
    OTHER_ROLE = "other_role"
    OTHER_SITE = "other_site"
    OTHER_CLASS = "other_class"
    NOT_BEGUN = "not_begun"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DENIED = "denied"
    EXCEPTED = "excepted"
    NOTHING_LEFT = "nothing_left"
    PERMITTED_IN_PART = "permitted_in_part"
    PERMITTED = "permitted"


class Redact(StrEnum):
    CARRYING = "carrying"  # redact what carries one of the codes
    LACKING = "lacking"  # redact what carries none of them


class Obligation(Wire, frozen=True):
    """What stays has passed every obligation."""

    redact: Redact
    codes: Annotated[tuple[Code, ...], msgspec.Meta(min_length=1)]  # ascending


class Decision(Wire, frozen=True):
    """Equal inputs give equal bytes, so that others can run it again."""

    verdict: Verdict
    reason: Reason
    obligations: tuple[Obligation, ...] = ()
    consents: tuple[ConsentName, ...] = ()  # those that decided, ascending


def to_json(decision: Decision) -> dict[str, Any]:
    """The form of `salus consent check`; FHIR has no obligations in R4, these are those of
    XACML's use in health: REDACT with codes, or with the codes that are excepted."""
    return {
        "decision": decision.verdict.value,
        "obligations": [_obligation(obligation) for obligation in decision.obligations],
        "reason": decision.reason.value,
        "consents": list(decision.consents),
    }


def _obligation(obligation: Obligation) -> dict[str, Any]:
    name = "codes" if obligation.redact is Redact.CARRYING else "exceptAnyOfCodes"
    codes = [{"system": code.system, "code": code.code} for code in obligation.codes]
    return {"id": dict(_REDACT), "parameters": {name: codes}}
