"""FHIR R4 at the edge: is this document what it says? Never inside consensus (health.md §5).

Law of the file: an error names a path and a rule and never what stood there, for what stood
there is a patient's. Nothing is repaired and nothing is re-encoded: the bytes that came are the
bytes that are kept. Not checked: the value sets behind Codings, references, invariants beyond
cardinality, and the XHTML of narratives (docs/fhir.md).
"""

from dataclasses import dataclass
from typing import Any

from node.fhir_faults import FAULTS_MAX, BadFhir, FhirFault, Place, bad, written
from node.fhir_json import DEPTH_MAX, FHIR_BYTES_MAX, read_json
from node.fhir_shapes import DROPPED_TYPES, Field, Shape, resource_shape
from salus.document import PARTS_MAX, line_spans

__all__ = [
    "DEPTH_MAX",
    "DROPPED_TYPES",
    "FAULTS_MAX",
    "FHIR_BYTES_MAX",
    "RESOURCES_MAX",
    "BadFhir",
    "FhirChecked",
    "FhirFault",
    "check_fhir",
    "is_checked",
]

RESOURCES_MAX = PARTS_MAX - 1  # in one document: each entry and each line becomes a part of it
NOTICES_MAX = 20  # so many name the cause; the rest is counted

FHIR_JSON = "application/fhir+json"
FHIR_NDJSON = "application/fhir+ndjson"
FHIR_XML = "application/fhir+xml"
JSON_TYPES = ("application/json", FHIR_JSON)


@dataclass(frozen=True, slots=True)
class FhirChecked:
    """A document that passed; `notices` say what was not checked, and why."""

    resource_type: str  # of NDJSON that of its first line
    notices: tuple[str, ...] = ()
    resources: int = 1  # with all that are inside
    schemaless: int = 0  # of them of a type that cannot be checked


def is_checked(media_type: str) -> bool:
    """Does `check_fhir` look into a document of this type?"""
    return _kind(media_type) in (*JSON_TYPES, FHIR_NDJSON, FHIR_XML)


def _kind(media_type: str) -> str:
    return media_type.split(";")[0].strip().lower()


def check_fhir(document: bytes, media_type: str) -> FhirChecked | None:
    """Raises `BadFhir`; None for what does not claim to be FHIR.

    Takes 40 ms a megabyte, and for each type that is new 10 ms to read its model: a node asks
    `node/fhir_workers.py`.
    """
    kind = _kind(media_type)
    if kind == FHIR_XML:
        raise bad("FHIR in XML is not read", "FHIR_XML")
    if kind == FHIR_NDJSON:
        return _check_lines(document)
    if kind not in JSON_TYPES:
        return None
    content = read_json(document)
    if kind != FHIR_JSON and not (type(content) is dict and "resourceType" in content):
        return None
    check = _Check()
    check.resource(content, None)
    return check.verdict()


def _check_lines(document: bytes) -> FhirChecked:
    """NDJSON as of FHIR Bulk Data: a resource in each line."""
    check = _Check()
    for number, start, end in line_spans(document):
        try:
            content = read_json(document[start:end])
        except BadFhir as error:
            (fault,) = error.faults
            raise bad(fault.rule, error.code, f"line {number}") from None
        check.resource(content, (None, f"line {number}"))
        if len(check.faults) >= FAULTS_MAX:
            break  # The rest of a gigabyte tells nothing more.
    if not check.kind:
        raise bad("not one resource in it")
    return check.verdict()


class _Check:
    """One walk over a document; faults are collected, for whoever repairs wants all of them."""

    def __init__(self) -> None:
        self.faults: list[FhirFault] = []
        self.faulty = 0  # of which `faults` holds the first
        self.notices: list[str] = []
        self.resources = self.schemaless = 0
        self.kind = ""

    def verdict(self) -> FhirChecked:
        if self.faults:
            raise BadFhir(self.faults, self.faulty)
        return FhirChecked(self.kind, tuple(self.notices), self.resources, self.schemaless)

    def fault(self, place: Place, rule: str) -> None:
        self.faulty += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(FhirFault(written(place), rule))

    def resource(self, given: Any, place: Place) -> None:
        if type(given) is not dict:
            return self.fault(place, "must be an object with a resourceType")
        kind = given.get("resourceType")
        if type(kind) is not str:
            rule = "must be text" if "resourceType" in given else "required, and not there"
            return self.fault((place, "resourceType"), rule)
        self.resources += 1
        if self.resources > RESOURCES_MAX:
            raise bad(f"more than {RESOURCES_MAX} resources", "FHIR_TOO_MANY")
        if kind in DROPPED_TYPES:
            self.kind = self.kind or kind
            self.schemaless += 1
            if len(self.notices) < NOTICES_MAX:
                self.notices.append(
                    f"{written(place)}: {kind} is of R4 but not of R4B; kept as it is,"
                    " its fields unchecked"
                )
        else:
            shape = resource_shape(kind)
            if shape is None:
                return self.fault((place, "resourceType"), "no resource type of R4")
            self.kind = self.kind or kind
            self.element(given, shape, place, of_resource=True)

    def element(
        self, given: dict[str, Any], shape: Shape, place: Place, of_resource: bool = False
    ) -> None:
        fields = shape.fields
        chosen: dict[str, str] = {}
        for name, value in given.items():
            field = fields.get(name)
            if field is None:
                if not (of_resource and name == "resourceType"):
                    # A name that the sender chose may be anything, a person's too.
                    self.fault((place, "(unknown)"), "no field of R4 has this name")
                continue
            if field.choice is not None:
                choice, form = field.choice
                if chosen.setdefault(choice, form) != form:
                    self.fault((place, name), "only one form of this field may stand there")
            if value is None:
                self.fault((place, name), "must not be null; leave it out")
            elif not field.many:
                self.value(value, field, (place, name))
            elif type(value) is not list:
                self.fault((place, name), "must be a list")
            elif not value:
                self.fault((place, name), "must not be empty")
            else:
                self.many(value, field, (place, name), given.get(f"_{name}"))
        for name in shape.required:
            if name not in given and not _extended(given, name):
                self.fault((place, name), "required, and not there")
        for choice in shape.choices:
            if choice not in chosen:
                self.fault((place, f"{choice}[x]"), "required, and not there")

    def many(self, values: list[Any], field: Field, place: Place, beside: Any) -> None:
        """`beside`: the extensions of a list of primitives, which hold the places of nulls."""
        check = field.check
        for index, value in enumerate(values):
            if value is None:
                if not field.holes or (check is not None and not _held(beside, index)):
                    self.fault((place, index), "must not be null")
            elif check is None:
                self.value(value, field, (place, index))
            elif rule := check(value):
                self.fault((place, index), rule)

    def value(self, value: Any, field: Field, place: Place) -> None:
        if field.check is not None:
            if rule := field.check(value):
                self.fault(place, rule)
        elif field.resource:
            self.resource(value, place)
        elif type(value) is not dict:
            self.fault(place, "must be an object")
        elif not value:
            self.fault(place, "must not be empty")
        else:
            self.element(value, field.shape, place)


def _extended(given: dict[str, Any], name: str) -> bool:
    """Does an extension stand for a value that is not known? R4 allows it for primitives."""
    beside = given.get(f"_{name}")
    return type(beside) is list or (type(beside) is dict and "extension" in beside)


def _held(beside: Any, index: int) -> bool:
    return type(beside) is list and index < len(beside) and beside[index] is not None
