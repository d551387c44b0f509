"""What is wrong with a FHIR document: places and rules, never what stood there.

Law of the file: what stood there is a patient's, and so may be the name of a field that somebody
made up. A place is made of names that R4 knows and of numbers.
"""

from dataclasses import dataclass

from salus.errors import SalusError

FAULTS_MAX = 20  # so many name the cause; more is noise

FHIR_CODES = (
    "BAD_FHIR",
    "BAD_JSON",
    "JSON_ENCODING",
    "JSON_KEY_TWICE",
    "JSON_NUMBER",
    "FHIR_TOO_LARGE",
    "FHIR_TOO_DEEP",
    "FHIR_TOO_MANY",
    "FHIR_XML",
)

# Where something is: the place around it, then a name of R4 or a number; None is the document.
# Linked, because a text would be made for every element and read for hardly any.
Place = tuple["Place", str | int] | None


@dataclass(frozen=True, slots=True)
class FhirFault:
    path: str  # like entry[3].resource.code
    rule: str


class BadFhir(SalusError):
    """Not valid FHIR R4, or beyond a limit (`FHIR_CODES`); `faults` names at most 20 places."""

    code = "BAD_FHIR"

    def __init__(
        self, faults: list[FhirFault], count: int | None = None, *, code: str = "BAD_FHIR"
    ) -> None:
        self.faults = tuple(faults[:FAULTS_MAX])
        total = len(faults) if count is None else count
        lines = "; ".join(f"{fault.path}: {fault.rule}" for fault in self.faults)
        more = f"; and {total - len(self.faults)} more" if total > len(self.faults) else ""
        super().__init__(f"not valid FHIR R4: {lines}{more}", code=code, faults=total)


def bad(rule: str, code: str = "BAD_FHIR", path: str = "(document)") -> BadFhir:
    """One fault."""
    return BadFhir([FhirFault(path, rule)], code=code)


def written(place: Place) -> str:
    """A place as people write it; the document itself is «(document)»."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "".join(reversed(steps)).lstrip(".") or "(document)"
