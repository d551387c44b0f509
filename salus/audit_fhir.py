"""An audit trail as a FHIR R4 Bundle: an AuditEvent for each entry, and a Provenance for their source.

Entries that only count (denials without tickets) become one AuditEvent that says how many. Pure.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from salus.audit_story import Entry
from salus.granting import ORGANISATION, STAFF
from salus.permit import Purpose
from salus.scope import PURPOSES

_REASON = {purpose.value: word for word, purpose in PURPOSES.items()} | {
    Purpose.EMERGENCY.value: "ETREAT"
}
_ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_EVENT = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_RESTFUL = "http://hl7.org/fhir/restful-interaction"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ROLE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_RECORD, _PERMIT, _TICKET = "urn:salus:record", "urn:salus:permit", "urn:salus:ticket"
_NEVER = "1970-01-01T00:00:00Z"  # FHIR wants a time; a count has none, and says so in its text

# Success, or a minor failure: the request was refused, and nothing else went wrong.
_OUTCOME = {"read": "0", "emergency": "0", "erasure": "0", "denied": "4", "denials": "4"}
_ACTION = {"read": "R", "emergency": "R", "erasure": "D", "denied": "R", "denials": "R"}


def bundle(chain_id: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """A collection; equal entries give an equal one."""
    events = [(_url(entry), _event(entry)) for entry in entries]
    found = [{"fullUrl": url, "resource": resource} for url, resource in events]
    if events:
        told = _provenance(chain_id, entries, [url for url, _ in events])
        found.append(
            {"fullUrl": _named("provenance", *(url for url, _ in events)), "resource": told}
        )
    document: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    if found:
        document["entry"] = found
    return document


def _event(entry: Entry) -> dict[str, Any]:
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "type": _type(entry),
        "action": _ACTION[entry.kind],
        "recorded": entry.time or _NEVER,
        "outcome": _OUTCOME[entry.kind],
        "outcomeDesc": f"{entry.authority}: {entry.words}",
        "agent": [_agent(entry)],
        "source": {"observer": _identified(ORGANISATION, entry.custodian)},
    }
    if entry.kind in ("read", "denied"):
        event["subtype"] = [{"system": _RESTFUL, "code": "read"}]
    if entry.purpose is not None:
        event["purposeOfEvent"] = [
            {"coding": [{"system": _ACT_REASON, "code": _REASON[entry.purpose]}]}
        ]
    event["entity"] = _entities(entry)
    return event


def _type(entry: Entry) -> dict[str, str]:
    if entry.kind == "emergency":
        return {"system": _DCM, "code": "110113", "display": "Security Alert"}
    return {"system": _EVENT, "code": "rest", "display": "RESTful Operation"}


def _agent(entry: Entry) -> dict[str, Any]:
    agent: dict[str, Any] = {"requestor": True}
    if entry.staff is not None and entry.by is not None:
        agent["who"] = _identified(STAFF, f"{entry.by}/{entry.staff}")
    elif entry.by is not None:
        agent["who"] = _identified(ORGANISATION, entry.by)
    else:
        agent["name"] = "several" if entry.kind == "denials" else "the patient"
    if entry.permit is not None:
        agent["policy"] = [f"{_PERMIT}:{entry.permit}"]
    return agent


def _entities(entry: Entry) -> list[dict[str, Any]]:
    """What it was about; at least the ticket, the case or the count itself."""
    detail = [{"type": "check", "valueString": entry.check}]
    for name, value in (
        ("classes", " ".join(entry.classes)),
        ("care", entry.care),
        ("receipt", entry.receipt),
        ("faults", " ".join(entry.faults)),
        ("height", None if entry.height is None else str(entry.height)),
        ("count", str(entry.count) if entry.kind == "denials" else None),
        ("withheld", str(entry.withheld) if entry.withheld else None),
    ):
        if value:
            detail.append({"type": name, "valueString": value})
    first: dict[str, Any] = {"detail": detail}
    if entry.id:
        first["what"] = _identified(_TICKET, entry.id)
    else:
        first["name"] = "denials without tickets of their own"
    return [first, *({"what": _identified(_RECORD, record)} for record in entry.records)]


def _provenance(chain_id: str, entries: Sequence[Entry], urls: Sequence[str]) -> dict[str, Any]:
    """The chain wrote them: the newest block that one of them stands in, and who keeps the records."""
    height = max((entry.height or 0 for entry in entries), default=0)
    recorded = next((entry.time for entry in entries if entry.height == height), None)
    return {
        "resourceType": "Provenance",
        "target": [{"reference": url} for url in urls],
        "recorded": recorded or _NEVER,
        "agent": [
            {
                "type": {"coding": [{"system": _ROLE, "code": "custodian"}]},
                "who": _identified(ORGANISATION, entries[0].custodian),
            }
        ],
        "entity": [
            {"role": "source", "what": _identified(f"urn:salus:chain:{chain_id}", str(height))}
        ],
    }


def _identified(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}


def _url(entry: Entry) -> str:
    return _named(entry.kind, entry.custodian, entry.id, str(entry.count))


def _named(*words: str) -> str:
    """A URN that equal words give again (RFC 4122, version 5's form with SHA-256)."""
    digest = sha256("\0".join(words).encode()).digest()[:16]
    return UUID(bytes=digest, version=5).urn
