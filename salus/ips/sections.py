"""Which resource stands in which section of an International Patient Summary.

Sections and their LOINC codes as of HL7's IPS implementation guide 2.0, *Composition (IPS)*.
Problems, allergies and medication are required: an empty one says that nothing is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LOINC = "http://loinc.org"

_PAST = frozenset({"inactive", "remission", "resolved"})
_PREGNANCY = frozenset(
    {
        "82810-3",
        "11636-8",
        "11637-6",
        "11638-4",
        "11639-2",
        "11640-0",
        "11612-9",
        "11613-7",
        "33065-4",
    }
    | {"11778-8", "11779-6", "11780-4"}
)


@dataclass(frozen=True, slots=True)
class Section:
    """`newest_only`: one value of each code, for a summary lists no curve."""

    code: str
    title: str
    kinds: tuple[str, ...]
    fits: Callable[[dict[str, Any]], bool] = lambda resource: True
    required: bool = False
    newest_only: bool = False


def codings(concept: Any) -> frozenset[tuple[str, str]]:
    """(system, code) of a CodeableConcept, or of a list of them; a coding may have no system."""
    found = set()
    for one in concept if isinstance(concept, list) else [concept]:
        given = one.get("coding", []) if isinstance(one, dict) else []
        for coding in given if isinstance(given, list) else []:
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                found.add((str(coding.get("system", "")), coding["code"]))
    return frozenset(found)


def codes(concept: Any) -> frozenset[str]:
    """The same without systems."""
    return frozenset(code for _, code in codings(concept))


def void(resource: dict[str, Any]) -> bool:
    """Was it withdrawn, or does it say that it never was so?"""
    verdicts = codes(resource.get("verificationStatus")) | {str(resource.get("status", ""))}
    return not verdicts.isdisjoint({"entered-in-error", "refuted", "not-done", "cancelled"})


def _past(resource: dict[str, Any]) -> bool:
    return not codes(resource.get("clinicalStatus")).isdisjoint(_PAST)


def _present(resource: dict[str, Any]) -> bool:
    return not _past(resource)


def _pregnancy(resource: dict[str, Any]) -> bool:
    return not codes(resource.get("code")).isdisjoint(_PREGNANCY)


def _category(*names: str) -> Callable[[dict[str, Any]], bool]:
    wanted = frozenset(names)

    def fits(resource: dict[str, Any]) -> bool:
        return not _pregnancy(resource) and not codes(resource.get("category")).isdisjoint(wanted)

    return fits


SECTIONS = (
    Section("11450-4", "Problem List", ("Condition",), _present, required=True),
    Section("48765-2", "Allergies and Intolerances", ("AllergyIntolerance",), required=True),
    Section(
        "10160-0", "Medication Summary", ("MedicationStatement", "MedicationRequest"), required=True
    ),
    Section("11369-6", "Immunizations", ("Immunization",)),
    Section("47519-4", "History of Procedures", ("Procedure",)),
    Section("46264-8", "Medical Device Use", ("DeviceUseStatement",)),
    Section(
        "30954-2", "Results", ("Observation",), _category("laboratory", "imaging"), newest_only=True
    ),
    Section("30954-2", "Results", ("DiagnosticReport",), newest_only=True),
    Section("8716-3", "Vital Signs", ("Observation",), _category("vital-signs"), newest_only=True),
    Section("11348-0", "History of Past Problems", ("Condition",), _past),
    Section("10162-6", "History of Pregnancy", ("Observation",), _pregnancy),
    Section(
        "29762-2", "Social History", ("Observation",), _category("social-history"), newest_only=True
    ),
    Section("47420-5", "Functional Status", ("ClinicalImpression",)),
    Section("18776-5", "Plan of Care", ("CarePlan",)),
    Section("42348-3", "Advance Directives", ("Consent",)),
    Section("104605-1", "Alerts", ("Flag",)),
)
