"""What people name, as the chain has it: scopes to coarse classes, purposes to words (decision 0010).

A scope is a FHIR R4 resource type or one of the six coarse classes. The class stands on the chain,
the type in the inner terms.
"""

from salus.errors import BadMessage
from salus.permit import Purpose, RecordClass

# Resource types by coarse class; what is not named here is `other`.
_TYPES = {
    RecordClass.SUMMARY: "Patient Composition RelatedPerson Flag",
    RecordClass.CONDITIONS: "Condition AllergyIntolerance FamilyMemberHistory ClinicalImpression"
    " DetectedIssue RiskAssessment AdverseEvent",
    RecordClass.MEDICATIONS: "Medication MedicationAdministration MedicationDispense"
    " MedicationRequest MedicationStatement Immunization ImmunizationEvaluation"
    " ImmunizationRecommendation NutritionOrder",
    RecordClass.RESULTS: "Observation DiagnosticReport Specimen ImagingStudy Media BodyStructure"
    " MolecularSequence VisionPrescription",
    RecordClass.DOCUMENTS: "DocumentReference DocumentManifest Encounter EpisodeOfCare CarePlan"
    " CareTeam Goal Procedure ServiceRequest Questionnaire QuestionnaireResponse Communication"
    " Consent",
}
CLASS_OF = {name: kind for kind, names in _TYPES.items() for name in names.split()}

# HL7 v3-ActReason, the roots that a permit can name.
PURPOSES = {
    "TREAT": Purpose.TREATMENT,
    "HPAYMT": Purpose.PAYMENT,
    "HRESCH": Purpose.RESEARCH,
    "HOPERAT": Purpose.OPERATIONS,
    "PUBHLTH": Purpose.PUBLIC_HEALTH,
    "PATRQT": Purpose.PATIENT_REQUEST,
}


def classes_of(scopes: tuple[str, ...]) -> tuple[RecordClass, ...]:
    """The coarse classes of some scopes, ascending. Raises `BadMessage` (BAD_SCOPE)."""
    return tuple(sorted({_class(scope) for scope in scopes}))


def types_of(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The resource types that the scopes mean, ascending, a coarse class as all of its types; empty
    for all six classes, for then nothing is narrowed. Raises `BadMessage` (BAD_SCOPE): `other` has
    no list of its types, and terms without one would speak of every class."""
    named = {_CLASSES[scope] for scope in scopes if scope in _CLASSES}
    if named == set(RecordClass):
        return ()
    if RecordClass.OTHER in named:
        raise BadMessage("name resource types instead of «other», or all six", code="BAD_SCOPE")
    types = {name for name, kind in CLASS_OF.items() if kind in named}
    return tuple(sorted(types | {scope for scope in scopes if scope not in _CLASSES}))


def narrowed(scopes: tuple[str, ...]) -> bool:
    """Do they leave out types of a class that the chain names?"""
    return any(_class(scope).value not in scopes for scope in scopes)


def purpose_of(word: str) -> Purpose:
    """An HL7 code or our own word. Raises `BadMessage` (BAD_PURPOSE)."""
    found = PURPOSES.get(word.upper())
    if found is None and word in {purpose.value for purpose in Purpose}:
        found = Purpose(word)
    if found is None:
        raise BadMessage(f"a purpose is one of {', '.join(PURPOSES)}", code="BAD_PURPOSE")
    return found


_CLASSES = {kind.value: kind for kind in RecordClass}


def _class(scope: str) -> RecordClass:
    if scope in _CLASSES:
        return _CLASSES[scope]
    if scope in CLASS_OF:
        return CLASS_OF[scope]
    # A resource type that nobody has classed is still a type; anything else is a slip.
    if scope.isascii() and scope.isalpha() and scope[:1].isupper():
        return RecordClass.OTHER
    raise BadMessage(
        f"a scope is a FHIR resource type or one of {', '.join(_CLASSES)}", code="BAD_SCOPE"
    )
