"""Obligations → which parts of a document are withheld, so that the rest keeps its proofs.

A document is cut into parts, one for each resource of a Bundle (salus/document.py). Withholding
whole parts leaves the version's commitment as it is (health.md §4.3). A finer cut is another
document: salus/consent/derivative.py.

Law of the file: what cannot be judged is withheld.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from salus.codec import decode
from salus.consent.carried import Carried, labels_of, objects, of_codes, of_resource
from salus.consent.decision import Obligation
from salus.consent.terms import Code
from salus.document import Structure

# They tell of others: a section's narrative repeats what stands in the entries.
TELLERS = frozenset(("Composition", "List", "DocumentManifest", "Bundle"))
# Who and where. That somebody is withheld is told by nearly every reference, and no secret.
ROUND_ABOUT = frozenset(
    (
        "Patient", "RelatedPerson", "Person", "Group", "Practitioner", "PractitionerRole",
        "Organization", "Location", "HealthcareService", "Endpoint", "Device",
    )
)  # fmt: skip
_FHIR = ("application/fhir+json", "application/json")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be shown: the obligations of a decision, and the classes that were asked for."""

    obligations: tuple[Obligation, ...]
    classes: tuple[Code, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.obligations and not self.classes

    def passes(self, carried: Carried) -> bool:
        return carried.passes(self.obligations, self.classes)


def withheld(parts: Sequence[bytes], wanted: Wanted, known: Sequence[Code] = ()) -> tuple[int, ...]:
    """The indexes of the parts that must not be shown, ascending; all of them if nothing remains.

    `parts`: as `document.split` makes them. `known`: codes of the document as a whole, which the
    custodian keeps beside it; without them what is no FHIR is shown only to whom all is.
    """
    if wanted.everything:
        return ()
    structure = decode(parts[0], Structure)
    every = tuple(range(len(parts)))
    if not structure.gaps:
        content = b"".join(parts[1:])
        return () if wanted.passes(_whole(content, structure.media_type, known)) else every
    entries = [Entry.of(read_json(part)) for part in parts[1:]]
    outer = of_codes(known)
    outer.anywhere |= labels_of(_envelope(structure))
    hidden = set()
    for index, entry in enumerate(entries, 1):
        entry.carried.add_known(outer)
        if not wanted.passes(entry.carried):
            hidden.add(index)
    hidden |= _tell(entries, hidden)
    return every if len(hidden) == len(entries) else tuple(sorted(hidden))


def _tell(entries: Sequence["Entry"], hidden: set[int]) -> set[int]:
    """Those that would tell of what is hidden: by a reference with its display, or in prose."""
    secrets = [entries[index - 1] for index in hidden if entries[index - 1].secret]
    names = frozenset(name for entry in secrets for name in entry.names)
    return {
        index
        for index, entry in enumerate(entries, 1)
        if secrets
        and (entry.kind in TELLERS or any(refers(name, names) for name in entry.references))
    }


@dataclass(slots=True)
class Entry:
    """One resource of a document: an entry of a Bundle, or a line."""

    value: Any
    resource: Any
    carried: Carried

    @classmethod
    def of(cls, value: Any) -> "Entry":
        resource = value
        if isinstance(value, dict) and "resourceType" not in value:
            resource = value.get("resource")
        # All of the entry counts for what it mentions; only the resource for what it is.
        carried = of_resource(resource)
        carried.anywhere |= of_resource(value).anywhere
        return cls(value, resource, carried)

    @property
    def kind(self) -> str:
        kind = self.resource.get("resourceType") if isinstance(self.resource, dict) else None
        return kind if isinstance(kind, str) else ""

    @property
    def secret(self) -> bool:
        """Is it a secret that it is hidden? Persons and places are not."""
        return self.kind not in ROUND_ABOUT

    @property
    def names(self) -> frozenset[str]:
        """How references may name it."""
        names = set()
        if isinstance(self.value, dict) and isinstance(url := self.value.get("fullUrl"), str):
            names.add(url)
        if self.kind and isinstance(own := self.resource.get("id"), str):
            names.add(f"{self.kind}/{own}")
        return frozenset(names)

    @property
    def references(self) -> frozenset[str]:
        found = (inner.get("reference") for inner in objects(self.value))
        return frozenset(name for name in found if isinstance(name, str))


def refers(reference: str, names: frozenset[str]) -> bool:
    """Does a reference, relative or absolute, with or without a version, mean one of these?"""
    base = reference.split("/_history/", 1)[0]
    return base in names or "/".join(base.split("/")[-2:]) in names


def read_json(data: bytes) -> Any:
    """Numbers keep their letters; None for what is no JSON."""
    try:
        return json.loads(data, object_pairs_hook=_once, parse_int=_verbatim, parse_float=_verbatim)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _verbatim(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _whole(content: bytes, media_type: str, known: Sequence[Code]) -> Carried:
    """Of a document that is one resource, or nothing that can be read."""
    outer = of_codes(known)
    if media_type.split(";")[0].strip().lower() in _FHIR:
        read = of_resource(read_json(content))
        if read.itself:
            read.add_known(outer)
            return read
    return outer


def _envelope(structure: Structure) -> Any:
    """The Bundle without its entries; of lines there is none."""
    return read_json(b"null".join(structure.gaps))
