"""FHIR R4 at the edge: is this document what it says? Never inside consensus (health.md §5).

Law of the file: an error names a path and a rule and never what stood there, for what stood
there is a patient's. Nothing is repaired and nothing is re-encoded: the bytes that came are the
bytes that are kept.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from salus.errors import SalusError

FHIR_BYTES_MAX = 16 * 2**20  # The models take about 20 times the text in memory.
DEPTH_MAX = 64  # FHIR nests extensions and questionnaires; real ones stay below 20.
NUMBER_CHARS_MAX = 64  # FHIR asks for 18 digits; a number of a megabyte is an attack.
FAULTS_MAX = 20  # so many name the cause; more is noise

JSON_TYPES = ("application/json", "application/fhir+json")

# Resource types of R4 that R4B, whose models we have, dropped or made anew: their shape is
# known to be JSON and no more is checked.
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

# What the model library calls a rule, in plain words; others keep its name.
_RULES = {
    "missing": "required, and not there",
    "extra_forbidden": "no field of R4 has this name",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "json_invalid": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_type": "must be text",
    "string_pattern_mismatch": "has a form that R4 does not allow here",
    "decimal_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
    "date_from_datetime_parsing": "must be a date",
    "datetime_from_date_parsing": "must be a date and time",
    "value_error": "has a value that R4 does not allow here",
}


@dataclass(frozen=True, slots=True)
class FhirFault:
    path: str  # like entry[3].resource.code
    rule: str


@dataclass(frozen=True, slots=True)
class FhirChecked:
    """A document that passed; `notices` say what was not checked, and why."""

    resource_type: str
    notices: tuple[str, ...] = ()


class BadFhir(SalusError):
    """Not valid FHIR R4; `faults` names at most 20 places."""

    code = "BAD_FHIR"

    def __init__(self, faults: list[FhirFault], count: int | None = None) -> None:
        self.faults = tuple(faults[:FAULTS_MAX])
        total = len(faults) if count is None else count
        lines = "; ".join(f"{fault.path}: {fault.rule}" for fault in self.faults)
        more = f"; and {total - len(self.faults)} more" if total > len(self.faults) else ""
        super().__init__(f"not valid FHIR R4: {lines}{more}", faults=total)


def is_json(media_type: str) -> bool:
    """Is the document declared to be JSON? Then it must be, and FHIR if it has a resourceType."""
    return media_type.split(";")[0].strip().lower() in JSON_TYPES


def check_fhir(document: bytes, media_type: str) -> FhirChecked | None:
    """Raises `BadFhir`; None for JSON that does not claim to be FHIR.

    Takes 0.3 s a megabyte, and at its first call 0.4 s to load the models: call it in a thread.
    """
    content = _parse(document)
    claims = isinstance(content, dict) and "resourceType" in content
    if not claims:
        if media_type.split(";")[0].strip().lower() == "application/fhir+json":
            raise _bad("(document)", "an object with a resourceType")
        return None
    kind = content["resourceType"]
    if not isinstance(kind, str):
        raise _bad("resourceType", "must be text")
    notices: list[str] = []
    if kind in DROPPED_TYPES:
        return FhirChecked(kind, (_notice("(document)", kind),))
    if kind == "Bundle":
        content = _without_dropped(content, notices)
    _validate(kind, content)
    return FhirChecked(kind, tuple(notices))


def _bad(path: str, rule: str) -> BadFhir:
    return BadFhir([FhirFault(path, rule)])


def _notice(path: str, kind: str) -> str:
    return f"{path}: {kind} is of R4 but not of R4B; kept as it is, its fields unchecked"


def _parse(document: bytes) -> Any:
    """Strict JSON: UTF-8, each key once, no NaN, bounded size, depth and numbers."""
    if len(document) > FHIR_BYTES_MAX:
        raise _bad("(document)", f"more than {FHIR_BYTES_MAX} bytes; store it as another type")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("(document)", "must be UTF-8") from None
    try:
        content = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_decimal,
        )
    except RecursionError:
        raise _bad("(document)", f"nested more than {DEPTH_MAX} deep") from None
    except json.JSONDecodeError as error:
        raise _bad(f"line {error.lineno}, column {error.colno}", "not JSON") from None
    level = [content]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return content
    raise _bad("(document)", f"nested more than {DEPTH_MAX} deep")


def _children(value: Any) -> list[Any]:
    """The objects and lists directly inside of one."""
    if not isinstance(value, (dict, list)):
        return []
    inside = value.values() if isinstance(value, dict) else value
    return [inner for inner in inside if isinstance(inner, (dict, list))]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Readers disagree on which of the two counts.
        raise _bad("(document)", "a key stands twice in one object")
    return found


def _no_constant(_: str) -> Any:
    raise _bad("(document)", "NaN and Infinity are no JSON")


def _whole(text: str) -> int:
    if len(text) > NUMBER_CHARS_MAX:
        raise _bad("(document)", f"a number of more than {NUMBER_CHARS_MAX} characters")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > NUMBER_CHARS_MAX:
        raise _bad("(document)", f"a number of more than {NUMBER_CHARS_MAX} characters")
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of more digits than decimals have
        raise _bad("(document)", "a number beyond all measure") from None
    if not -400 < number.adjusted() < 400:
        raise _bad("(document)", "a number beyond all measure")
    return number


def _without_dropped(bundle: dict[str, Any], notices: list[str]) -> dict[str, Any]:
    """The bundle without the resources that the models do not know; each gives a notice."""
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return bundle
    kept = []
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(kind, str) and kind in DROPPED_TYPES:
            notices.append(_notice(f"entry[{index}].resource", kind))
            entry = {name: value for name, value in entry.items() if name != "resource"}
        kept.append(entry)
    return {**bundle, "entry": kept}


def _validate(kind: str, content: dict[str, Any]) -> None:
    # Here and not above: loading the models takes longer than starting the rest of a node.
    from fhir.resources.R4B import get_fhir_model_class
    from fhir.resources.R4B.resource import Resource
    from pydantic import ValidationError

    try:
        model = get_fhir_model_class(kind)
    except (ValueError, LookupError, ImportError, AttributeError):
        raise _bad("resourceType", "no resource type of R4") from None
    if not issubclass(model, Resource) or kind in ("Resource", "DomainResource"):
        raise _bad("resourceType", "no resource type of R4")
    try:
        checked = model.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        faults = [_fault(detail["loc"], detail["type"]) for detail in details]
        raise BadFhir(faults, len(faults)) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        # The model library stumbles over some inputs; they are not valid either.
        raise _bad("(document)", "the resource is not of the shape that R4 gives it") from None
    faults = list(_liberties(checked, content, ""))
    if faults:
        raise BadFhir(faults, len(faults))


def _liberties(read: Any, given: Any, path: str) -> Iterator[FhirFault]:
    """Where the models took one kind of JSON for another: a text of JSON for the object in it,
    «"true"» for true. We keep the bytes as they came, and other readers would refuse them."""
    from pydantic import BaseModel

    if read is None or given is None:
        return
    if isinstance(read, BaseModel):
        if not isinstance(given, dict):
            yield FhirFault(path, "must be an object")
            return
        for name, field in type(read).model_fields.items():
            key = field.alias or name
            if key in given:
                inside = f"{path}.{key}" if path else key
                yield from _liberties(getattr(read, name), given[key], inside)
    elif isinstance(read, list):
        if not isinstance(given, list):
            yield FhirFault(path, "must be a list")
            return
        for index, (one, other) in enumerate(zip(read, given, strict=False)):
            yield from _liberties(one, other, f"{path}[{index}]")
    else:
        wanted, rule = _kind(read)
        if not isinstance(given, wanted) or isinstance(given, bool) != isinstance(read, bool):
            yield FhirFault(path, rule)


def _kind(read: Any) -> tuple[type | tuple[type, ...], str]:
    """What of JSON a primitive value is written as."""
    match read:
        case bool():
            return bool, "must be true or false"
        case int():
            return int, "must be a whole number"
        case Decimal() | float():
            return (int, Decimal), "must be a number"
        case _:
            return str, "must be text"


def _fault(location: tuple[int | str, ...], rule: str) -> FhirFault:
    if rule == "extra_forbidden":
        # The last step is a name that the sender chose: it may be anything, a person's too.
        location = (*location[:-1], "(unknown)")
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return FhirFault(path.lstrip(".") or "(document)", _RULES.get(rule.split(".")[-1], rule))
