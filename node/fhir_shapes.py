"""The shapes of FHIR's types: which fields, of what type, how many; read from the R4B models.

`fhir.resources` knows them from HL7's own definitions. Its models also *validate*, but they build
an object for each element (0.9 ms a resource) and take one kind of JSON for another, so here they
are read once and a document is checked against what they say (docs/performance.md). What R4 has
and R4B has not is in the table below, found by comparing the library's models of both releases.
"""

from collections.abc import Callable, Iterator
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from node.fhir_primitives import PRIMITIVES, Check, one_of

# Resource types of R4 that R4B dropped or made anew under another name: their shape is known to
# be JSON and no more is checked.
DROPPED_TYPES = frozenset(
    (
        "EffectEvidenceSynthesis",
        "MedicinalProduct",
        "MedicinalProductAuthorization",
        "MedicinalProductContraindication",
        "MedicinalProductIndication",
        "MedicinalProductIngredient",
        "MedicinalProductInteraction",
        "MedicinalProductManufactured",
        "MedicinalProductPackaged",
        "MedicinalProductPharmaceutical",
        "MedicinalProductUndesirableEffect",
        "RiskEvidenceSynthesis",
        "SubstanceNucleicAcid",
        "SubstancePolymer",
        "SubstanceProtein",
        "SubstanceReferenceInformation",
        "SubstanceSourceMaterial",
        "SubstanceSpecification",
    )
)

# Fields of R4 that R4B dropped: type, name, «many» by a star, choice in front of a colon.
_R4_FIELDS = {
    "ElementDefinition": "defaultValue:Meta fixed:Meta pattern:Meta",
    "ElementDefinitionExample": "value:Meta",
    "Extension": "value:Meta",
    "Evidence": (
        "copyright=markdown effectivePeriod=Period exposureBackground=Reference"
        " exposureVariant=Reference* jurisdiction=CodeableConcept* name=string"
        " outcome=Reference* shortTitle=string subtitle=string topic=CodeableConcept*"
    ),
    "EvidenceVariable": (
        "approvalDate=date copyright=markdown effectivePeriod=Period"
        " jurisdiction=CodeableConcept* lastReviewDate=date topic=CodeableConcept* type=code"
    ),
    "EvidenceVariableCharacteristic": (
        "definition:DataRequirement definition:TriggerDefinition participantEffective:dateTime"
        " participantEffective:Duration participantEffective:Period participantEffective:Timing"
        " timeFromStart=Duration usageContext=UsageContext*"
    ),
}
# Required by R4B, unknown to R4.
_R4_FREE = {("Evidence", "variableDefinition")}


# The library has the short form of a list of codes; with one of these in it there are more.
_MORE = frozenset(("+", "etc."))
_OBSERVED = "registered preliminary final amended corrected cancelled entered-in-error unknown"
_ENCOUNTER = (
    "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
)
# The whole lists of R4 (hl7.org/fhir/R4/valueset-….html) for those that records have most.
_R4_CODES = {
    "DetectedIssue.status": _OBSERVED,
    "DeviceUseStatement.status": "active completed entered-in-error intended stopped on-hold",
    "DiagnosticReport.status": f"{_OBSERVED} partial appended",
    "Encounter.status": _ENCOUNTER,
    "EncounterStatusHistory.status": _ENCOUNTER,
    "Observation.status": _OBSERVED,
    "RiskAssessment.status": _OBSERVED,
    "SupplyRequest.status": ("draft active suspended cancelled completed entered-in-error unknown"),
    "Task.status": (
        "draft requested received accepted rejected ready cancelled in-progress on-hold failed"
        " completed entered-in-error"
    ),
}


class Field:
    """One field of a type: a primitive, an element, or any resource."""

    __slots__ = ("_model", "check", "choice", "holes", "many", "resource")

    def __init__(
        self,
        *,
        many: bool,
        check: Check | None = None,
        model: Callable[[], Any] | None = None,
        resource: bool = False,
        choice: tuple[str, str] | None = None,
        holes: bool = False,
    ) -> None:
        self.many, self.check, self.resource = many, check, resource
        self.choice = choice  # (name of the choice, this form of it): one form at most
        self.holes = holes  # null may stand in the list, for a value that has only extensions
        self._model = model

    @property
    def shape(self) -> "Shape":
        """Of an element; read when it is first met, for types hold one another."""
        assert self._model is not None
        return _shape(self._model())


class Shape:
    """The fields of a type by their names in JSON, and which must be there."""

    __slots__ = ("choices", "fields", "required")

    def __init__(
        self, fields: dict[str, Field], required: tuple[str, ...], choices: tuple[str, ...]
    ) -> None:
        self.fields, self.required, self.choices = fields, required, choices


@cache
def resource_shape(kind: str) -> Shape | None:
    """Of a resource type; None when R4B has no such one. At the first call 0.4 s."""
    # Here and not above: loading the models takes longer than starting the rest of a node.
    from fhir.resources.R4B import get_fhir_model_class
    from fhir.resources.R4B.resource import Resource

    try:
        model = get_fhir_model_class(kind)
    except (ValueError, LookupError, ImportError, AttributeError):
        return None
    if not issubclass(model, Resource) or kind in ("Resource", "DomainResource"):
        return None
    return _shape(model)


@cache
def _shape(model: Any) -> Shape:
    kind = model.get_resource_type()
    fields: dict[str, Field] = {}
    required: list[str] = []
    choices: set[str] = set()
    for name, info in model.model_fields.items():
        key = info.alias or name
        if key == "fhir_comments":  # The library's own; R4 has no comments in JSON.
            continue
        extra = info.json_schema_extra or {}
        choice = extra.get("one_of_many")
        field = _field(info.annotation, info.metadata, (choice, key) if choice else None)
        codes = frozenset(
            _R4_CODES.get(f"{kind}.{key}", "").split() or extra.get("enum_values", ())
        )
        if field.check is not None and codes and not codes & _MORE:
            field.check = one_of(codes)
        fields[key] = field
        if info.is_required() or extra.get("element_required"):
            required.append(key)
        if choice and extra.get("one_of_many_required"):
            choices.add(choice)
    fields |= _fields_of_r4(kind)
    for key, field in list(fields.items()):
        if key.startswith("_") and field.choice is None:
            field.choice = fields[key[1:]].choice
    required = [key for key in required if (kind, key) not in _R4_FREE]
    return Shape(fields, tuple(required), tuple(sorted(choices)))


def _field(annotation: Any, metadata: list[Any], choice: tuple[str, str] | None) -> Field:
    """From a type like `list[Annotated[str, Code()]] | None`."""
    many = holes = False
    while True:
        origin = get_origin(annotation)
        inside = get_args(annotation)
        if origin is Union or origin is UnionType:
            holes = many and type(None) in inside
            annotation = next(one for one in inside if one is not type(None))
        elif origin is list:
            many, annotation = True, inside[0]
        else:
            break
    metadata = [*getattr(annotation, "__metadata__", ()), *metadata]
    annotation = getattr(annotation, "__origin__", annotation)
    named = (getattr(one, "__visit_name__", None) for one in metadata)
    primitive = next((name for name in named if name), None)
    if annotation is bool or annotation is UUID:
        primitive = "boolean" if annotation is bool else "uuid"
    if primitive is not None:
        return Field(many=many, check=PRIMITIVES[primitive], choice=choice, holes=holes)
    if annotation.__name__ == "ResourceType":
        return Field(many=many, resource=True)
    return Field(many=many, model=annotation.get_model_klass, choice=choice, holes=holes)


def _fields_of_r4(kind: str) -> Iterator[tuple[str, Field]]:
    from fhir.resources.R4B import get_fhir_model_class

    def model(name: str) -> Callable[[], Any]:
        return lambda: get_fhir_model_class(name)

    for word in _R4_FIELDS.get(kind, "").split():
        label, form, sort = word.partition(":")
        if form:
            key, choice = label + sort[0].upper() + sort[1:], (label, label + sort)
        else:
            (key, _, sort), choice = word.partition("="), None
        many, sort = sort.endswith("*"), sort.rstrip("*")
        if sort in PRIMITIVES:
            yield key, Field(many=many, check=PRIMITIVES[sort], choice=choice)
            yield f"_{key}", Field(many=many, model=model("FHIRPrimitiveExtension"), holes=many)
        else:
            yield key, Field(many=many, model=model(sort), choice=choice)
