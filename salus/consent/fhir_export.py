"""A consent as a FHIR R4 Consent, for other systems to read: the way back of salus/consent/fhir.py.

Law of the file: it never says more than the terms do. What R4 has no field for stands in a
`modifierExtension`, which a reader must understand or refuse (R4, *extensibility.html*).
"""

from typing import Any

from salus.consent.decide import Standing
from salus.consent.terms import FOR_EVER_MS, Code, Effect, Rule, Terms
from salus.consent.vocabulary import ACT_REASON, CONDITION_URL
from salus.errors import BadMessage
from salus.report import utc

_STATUS = {
    Standing.ACTIVE: "active",
    Standing.ENDED: "inactive",
    Standing.VOID: "entered-in-error",
}
_RECIPIENT = Code("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
_ACCESS = Code("http://terminology.hl7.org/CodeSystem/consentaction", "access")
_SCOPE = Code("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_POLICY = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_RULES = {Effect.PERMIT: "OPTIN", Effect.DENY: "OPTOUT"}
_LAST_MS = 253_402_300_799_999  # of the year 9999, the last one that a dateTime can name


def to_fhir(
    name: str, terms: Terms, standing: Standing, given_ms: int, patient: str = "Patient/me"
) -> dict[str, Any]:
    """`name`: its id, at most 64 letters, digits, dots, dashes; `given_ms`: when it was committed.

    Raises `BadMessage` (CONSENT_UNSUPPORTED) for what begins after the year 9999."""
    return {
        "resourceType": "Consent",
        "id": name,
        "status": _STATUS[standing],
        "scope": {"coding": [_coding(_SCOPE)]},
        "category": [{"coding": [_coding(code)]} for code in terms.categories],
        "patient": {"reference": patient},
        "dateTime": _written(given_ms),
        "policyRule": {"coding": [_coding(Code(_POLICY, _RULES[terms.root.effect]))]},
        "provision": _provision(terms, 0),
    }


def _provision(terms: Terms, index: int) -> dict[str, Any]:
    rule = terms.rules[index]
    said: dict[str, Any] = {"type": rule.effect.value, "action": [{"coding": [_coding(_ACCESS)]}]}
    # R4 writes the extension first.
    if conditions := [*_condition("roles", rule.roles), *_condition("sites", rule.sites)]:
        said = {"modifierExtension": conditions, **said}
    if period := _period(rule):
        said["period"] = period
    if rule.actors:
        said["actor"] = [
            {
                "role": {"coding": [_coding(_RECIPIENT)]},
                "reference": {"identifier": {"system": code.system, "value": code.code}},
            }
            for code in rule.actors
        ]
    if rule.labels:
        said["securityLabel"] = [_coding(code) for code in rule.labels]
    if rule.purposes:
        said["purpose"] = [{"system": ACT_REASON, "code": code} for code in rule.purposes]
    if rule.classes:
        said["class"] = [_coding(code) for code in rule.classes]
    if rule.codes:
        said["code"] = [{"coding": [_coding(code)]} for code in rule.codes]
    inner = [
        _provision(terms, later)
        for later in range(index + 1, len(terms.rules))
        if terms.rules[later].exception_to == index
    ]
    if inner:
        said["provision"] = inner
    return said


def _period(rule: Rule) -> dict[str, str]:
    """R4's end is the last moment that counts, ours the first that does not."""
    period = {}
    if rule.from_ms > 0:
        period["start"] = _written(rule.from_ms)
    if rule.until_ms < FOR_EVER_MS:
        period["end"] = _written(min(rule.until_ms - 1, _LAST_MS))
    return period


def _written(time_ms: int) -> str:
    if time_ms > _LAST_MS:
        raise BadMessage("R4 has no time after the year 9999", code="CONSENT_UNSUPPORTED")
    return f"{utc(time_ms)[:-1]}.{time_ms % 1000:03}Z"


def _condition(kind: str, codes: tuple[Code, ...]) -> list[dict[str, Any]]:
    return [{"url": f"{CONDITION_URL}{kind}", "valueCoding": _coding(code)} for code in codes]


def _coding(code: Code) -> dict[str, str]:
    return {"system": code.system, "code": code.code}
