"""Has this been examined already? What a view holds of a code, so that nothing is done twice
(health.md §4.15).

Law of the file: it says what was measured and when, never whether that is still good enough: a
doctor decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from salus.consent.instant import parse_instant
from salus.errors import BadMessage
from salus.ips.joined import Held, JoinedView, Source
from salus.ips.sections import codings, void
from salus.ips.when import when

CODE_CHARS_MAX = 256  # the longest of SNOMED CT's expressions that anybody orders by

_FINAL = frozenset({"final", "amended", "corrected"})


@dataclass(frozen=True, slots=True)
class ResultCode:
    """What is examined, as FHIR searches for it: `http://loinc.org|4548-4`. `system` None: of any."""

    system: str | None
    code: str

    @classmethod
    def parse(cls, text: str) -> "ResultCode":
        """SYSTEM|CODE or CODE. Raises `BadMessage` (BAD_ARGUMENT)."""
        system, bar, code = text.rpartition("|")
        if not code.strip() or len(text) > CODE_CHARS_MAX or (bar and not system):
            raise BadMessage("a code is SYSTEM|CODE, or CODE of any system", code="BAD_ARGUMENT")
        return cls(system or None, code)

    def among(self, found: frozenset[tuple[str, str]]) -> bool:
        return any(code == self.code and self.system in (None, system) for system, code in found)


@dataclass(frozen=True, slots=True)
class Result:
    """A result that stands; `at` as FHIR writes it."""

    kind: str
    url: str
    at: str
    status: str
    content: dict[str, Any]
    sources: tuple[Source, ...]


def results(view: JoinedView, code: ResultCode, since_ms: int) -> list[Result]:
    """Observations and reports of a code (LOINC and the like) since a moment, newest first."""
    found = list(_of_code(view, code, since_ms))
    return sorted(found, key=lambda result: _ms(result.at) or 0, reverse=True)


def _of_code(view: JoinedView, code: ResultCode, since_ms: int) -> Iterator[Result]:
    for held in view.of_kinds("Observation", "DiagnosticReport"):
        if void(held.content) or held.content.get("status") not in _FINAL:
            continue
        if not code.among(_all_codes(held)):
            continue
        at = when(held.content)
        moment = _ms(at)
        if moment is not None and moment >= since_ms:
            yield Result(
                held.kind, held.url, at, held.content["status"], held.content, tuple(held.sources)
            )


def _all_codes(held: Held) -> frozenset[tuple[str, str]]:
    components = held.content.get("component", [])
    inner = [
        codings(one.get("code"))
        for one in (components if isinstance(components, list) else [])
        if isinstance(one, dict)
    ]
    return codings(held.content.get("code")).union(*inner)


def _ms(at: str) -> int | None:
    """Of a dateTime the first moment that it may mean; a year is its first day."""
    if len(at) in (4, 7):
        at += "-01" if len(at) == 7 else "-01-01"
    try:
        return parse_instant(at if "T" in at else f"{at[:10]}T00:00:00Z")
    except BadMessage:
        return None
