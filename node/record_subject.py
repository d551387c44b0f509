"""Whose record it is, and what is in it, as coarsely as the chain speaks of it (decision 0010).

Stays in the record's private file: the chain learns a handle and classes when somebody asks to
read, by a ticket, and never by the record itself.
"""

from collections.abc import Sequence

from node.fhir import FHIR_NDJSON, is_checked
from node.fhir_json import read_json
from salus.codec import Bytes32, Wire, decode_known
from salus.consent.carried import objects
from salus.document import line_spans
from salus.errors import BadMessage, SalusError
from salus.permit import Classes, RecordClass
from salus.relation import RelationEntry, relation_key
from salus.scope import CLASS_OF
from salus.statemap import SALT_BYTES
from storage.state import StateStore

# They hold resources and are none that somebody permits.
_CONTAINERS = ("Bundle", "Parameters")


class Subject(Wire, frozen=True):
    """A relation of this organisation, and the classes of all that any version holds or held. A ticket
    names those of the versions that it is for (node/record_files.py)."""

    handle: Bytes32
    classes: Classes


def subject_of(
    before: Subject | None, handle: bytes | None, found: Sequence[RecordClass]
) -> Subject | None:
    """Of a record with one more version, in which these classes were found.

    `handle`: None is the one that the record has. Raises `BadMessage` (OTHER_PATIENT)."""
    if before is not None and handle not in (None, before.handle):
        raise BadMessage("the record is another patient's", code="OTHER_PATIENT")
    known, whose = ((), handle) if before is None else (before.classes, before.handle)
    return None if whose is None else Subject(whose, tuple(sorted({*known, *found})))


def classes_in(content: bytes, media_type: str) -> tuple[RecordClass, ...]:
    """Ascending. Of what cannot be read it is `documents`; contained resources count. Takes 15 ms a
    megabyte of FHIR: call it in a thread."""
    if not is_checked(media_type):
        return (RecordClass.DOCUMENTS,)
    lines = [content]
    if media_type.split(";")[0].strip().lower() == FHIR_NDJSON:
        lines = [content[start:end] for _, start, end in line_spans(content)]
    found = {
        inner["resourceType"]
        for line in lines
        for inner in objects(read_json(line))
        if isinstance(inner.get("resourceType"), str)
    }
    if not found:
        return (RecordClass.DOCUMENTS,)  # JSON that is no FHIR
    resources = found.difference(_CONTAINERS)
    return tuple(sorted({CLASS_OF.get(name, RecordClass.OTHER) for name in resources})) or (
        RecordClass.OTHER,
    )


def require_relation(state: StateStore, org: str, handle: bytes) -> RelationEntry:
    """As the newest certified state has it. Raises `SalusError` (UNKNOWN_RELATION)."""
    stored = state.get(relation_key(org, handle))
    if stored is None:
        raise SalusError(
            "this organisation has no relation with this handle", code="UNKNOWN_RELATION"
        )
    return decode_known(stored[SALT_BYTES:], RelationEntry)
