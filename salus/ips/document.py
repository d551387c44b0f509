"""The joined view as a document Bundle: Composition, Patient, sections, and what they refer to.

Law of the file: equal views give equal bytes, `made_at` included. What a summary leaves out is
named by nothing in it. Where each resource comes from stands in Provenance entries: custodian,
record and commitment, which lead to the proof on the chain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from uuid import UUID

import msgspec

from salus.codec import encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.ips.joined import Held, JoinedView, Source, references
from salus.ips.sections import LOINC, SECTIONS, Section, codes, void
from salus.ips.when import when

_PROFILE = "http://hl7.org/fhir/uv/ips/StructureDefinition/"
# Of these, what an entry refers to comes along; an Encounter would bring half of a history.
_COME_ALONG = frozenset(
    [
        "Device",
        "Location",
        "Medication",
        "Observation",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Specimen",
        "Substance",
    ]
)
_LABEL_CHARS_MAX = 200  # of one line of a narrative

_hash_name = hasher("ips-entry")


@dataclass(frozen=True, slots=True)
class Summary:
    """A document, and how much stands in it and in the view."""

    document: bytes
    entries: int
    sources: tuple[Source, ...]


def summary(view: JoinedView, made_at: str) -> Summary:
    """`made_at`: FHIR instant. Raises `BadMessage` (BAD_DOCUMENT) without a Patient in the view."""
    return _Document(view, made_at).build()


class _Document:
    def __init__(self, view: JoinedView, made_at: str) -> None:
        self._view, self._made_at = view, made_at
        self._taken: dict[str, Held] = {}
        patients = list(view.of_kinds("Patient"))
        if not patients:
            raise BadMessage("no document of the view says who the patient is", code="BAD_DOCUMENT")
        self._patients = {held.url for held in patients}
        self._subject = patients[-1]

    def build(self) -> Summary:
        sections = self._sections()
        self._take(self._subject)
        queue = list(self._taken.values())
        while queue:
            held = queue.pop()
            for reference in references(held.content):
                found = self._target(held, reference["reference"])
                if found is not None and found.kind in _COME_ALONG and found.url not in self._taken:
                    queue.append(self._take(found))
        device = _name(self._made_at, "device")
        composition = self._composition(sections, device)
        entries = [
            _entry(_name(self._made_at, "composition"), composition),
            *(_entry(held.url, self._written(held)) for held in self._in_order()),
            _entry(device, _DEVICE),
            *self._provenance(device),
        ]
        bundle = {
            "resourceType": "Bundle",
            "meta": {"profile": [f"{_PROFILE}Bundle-uv-ips"]},
            "identifier": {"system": "urn:ietf:rfc:3986", "value": self._identifier(entries)},
            "type": "document",
            "timestamp": self._made_at,
            "entry": entries,
        }
        return Summary(msgspec.json.encode(bundle), len(entries), self._sources())

    # -- what stands in it -----------------------------------------------------------------------

    def _sections(self) -> list[dict[str, Any]]:
        made: dict[str, tuple[Section, list[Held]]] = {}
        for section in SECTIONS:
            chosen = [
                held
                for held in self._view.of_kinds(*section.kinds)
                if not void(held.content) and section.fits(held.content)
            ]
            if section.newest_only:
                chosen = _newest(chosen)
            made.setdefault(section.code, (section, []))[1].extend(chosen)
        return [
            self._section(section, chosen)
            for section, chosen in made.values()
            if chosen or section.required
        ]

    def _section(self, section: Section, chosen: Sequence[Held]) -> dict[str, Any]:
        said: dict[str, Any] = {
            "title": section.title,
            "code": {"coding": [{"system": LOINC, "code": section.code}]},
            "text": _narrative([self._label(held) for held in chosen]),
        }
        if not chosen:
            said["emptyReason"] = {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
                        "code": "unavailable",
                    }
                ]
            }
            return said
        for held in chosen:
            self._take(held)
        return said | {"entry": [{"reference": held.url} for held in chosen]}

    def _composition(self, sections: list[dict[str, Any]], device: str) -> dict[str, Any]:
        return {
            "resourceType": "Composition",
            "meta": {"profile": [f"{_PROFILE}Composition-uv-ips"]},
            "status": "final",
            "type": {"coding": [{"system": LOINC, "code": "60591-5"}]},
            "subject": {"reference": self._subject.url},
            "date": self._made_at,
            "author": [{"reference": device}],
            "title": "International Patient Summary",
            "section": sections,
        }

    def _provenance(self, device: str) -> Iterable[dict[str, Any]]:
        by_source: dict[Source, list[str]] = {}
        for held in self._in_order():
            for source in held.sources:
                by_source.setdefault(source, []).append(held.url)
        for source, urls in by_source.items():
            name = _name(self._made_at, f"{source.custodian}/{source.record_id}@{source.version}")
            yield _entry(name, _provenance(source, urls, self._made_at, device))

    def _sources(self) -> tuple[Source, ...]:
        return tuple({source: None for held in self._in_order() for source in held.sources})

    def _in_order(self) -> list[Held]:
        """The patient first."""
        others = [held for held in self._taken.values() if held is not self._subject]
        return [self._subject, *others]

    def _label(self, held: Held) -> str:
        """What a person would call it, and when it was."""
        content = held.content
        said = _label(content)
        for name in ("medicationReference", "device"):
            reference = content.get(name)
            if said is None and isinstance(reference, dict):
                found = self._target(held, str(reference.get("reference", "")))
                said = reference.get("display") if found is None else _label(found.content)
        day = when(content)[:10]
        text = str(said or content["resourceType"])[:_LABEL_CHARS_MAX]
        return f"{text} ({day})" if day else text

    def _take(self, held: Held) -> Held:
        return self._taken.setdefault(held.url, held)

    # -- references ------------------------------------------------------------------------------

    def _target(self, held: Held, reference: str) -> Held | None:
        found = self._view.target(held, reference)
        # One patient: how each hospital numbers him does not matter here.
        return self._subject if found is not None and found.url in self._patients else found

    def _written(self, held: Held) -> dict[str, Any]:
        written: dict[str, Any] = self._rewritten(held, held.content)
        return written

    def _rewritten(self, held: Held, value: Any) -> Any:
        if isinstance(value, list):
            return [self._rewritten(held, inner) for inner in value]
        if not isinstance(value, dict):
            return value
        copy = {name: self._rewritten(held, inner) for name, inner in value.items()}
        reference = copy.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            found = self._target(held, reference)
            if found is not None and found.url in self._taken:
                copy["reference"] = found.url
            elif not reference.startswith(("http:", "https:")):
                # It would lead nowhere, or in another hospital to somebody else.
                del copy["reference"]
                copy.setdefault("display", "not in this summary")
        return copy

    def _identifier(self, entries: list[dict[str, Any]]) -> str:
        return _urn(_hash_name(encode((self._made_at, tuple(str(e["fullUrl"]) for e in entries)))))


_DEVICE = {
    "resourceType": "Device",
    "deviceName": [{"name": "Salus joined view", "type": "user-friendly-name"}],
}


def _provenance(source: Source, urls: list[str], made_at: str, device: str) -> dict[str, Any]:
    number = f"{source.record_id}@{source.version}"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": url} for url in urls],
        "recorded": made_at,
        "agent": [
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                            "code": "assembler",
                        }
                    ]
                },
                "who": {"reference": device},
            }
        ],
        "entity": [
            {
                "role": "source",
                "what": {
                    "identifier": {"system": "urn:salus:record", "value": number},
                    "display": f"kept by {source.custodian}, commitment {source.commitment}"
                    + ("" if source.height is None else f", anchored at height {source.height}"),
                },
            }
        ],
    }


def _entry(url: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": url, "resource": resource}


def _newest(found: list[Held]) -> list[Held]:
    """Of each code the latest; of equal times the one that came last. What has no code stays."""
    latest: dict[frozenset[str], Held] = {}
    uncoded = []
    for held in found:
        code = codes(held.content.get("code"))
        if not code:
            uncoded.append(held)
        elif code not in latest or when(held.content) >= when(latest[code].content):
            latest[code] = held
    return [*latest.values(), *uncoded]


def _label(content: dict[str, Any]) -> str | None:
    for name in ("code", "medicationCodeableConcept", "vaccineCode", "type", "category"):
        concept = content.get(name)
        concept = concept[0] if isinstance(concept, list) and concept else concept
        if isinstance(concept, dict):
            codings = concept.get("coding", [])
            shown = (
                one.get("display") or one.get("code")
                for one in (codings if isinstance(codings, list) else [])
                if isinstance(one, dict)
            )
            text = concept.get("text") or next(shown, None)
            if isinstance(text, str):
                return text
    return None


def _narrative(labels: list[str]) -> dict[str, str]:
    items = "".join(f"<li>{escape(label)}</li>" for label in labels)
    inner = f"<ul>{items}</ul>" if labels else "<p>Nothing is known.</p>"
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>',
    }


def _name(made_at: str, what: str) -> str:
    return _urn(_hash_name(encode((made_at, what))))


def _urn(digest: bytes) -> str:
    raw = bytearray(digest[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80  # RFC 9562, version 8
    return UUID(bytes=bytes(raw)).urn
