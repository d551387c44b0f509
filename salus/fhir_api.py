"""The words of a read-only FHIR R4 server: what it can, what it found, what went wrong.

Resources come from elsewhere and go out as they came (R4: *capabilitystatement.html*, *bundle.html*,
*operationoutcome.html*).
"""

from collections.abc import Sequence
from typing import Any

FHIR_VERSION = "4.0.1"
RESOURCES = (
    "AllergyIntolerance",
    "CarePlan",
    "Condition",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Procedure",
)
RECORDS = ("AuditEvent", "Consent", "Provenance")  # about the data, by the ledger

# HTTP status → R4's issue type (*valueset-issue-type.html*).
_ISSUE = {400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 410: "deleted"}


def capability(software: str, date: str) -> dict[str, Any]:
    """The CapabilityStatement. `date`: of the software, FHIR date."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "Salus", "version": software},
        "implementation": {
            "description": "Records of one patient, read through his custodians' gates"
        },
        "fhirVersion": FHIR_VERSION,
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": "A bearer token; on this machine only"},
                "resource": [
                    {
                        "type": "Patient",
                        "interaction": [{"code": "read"}],
                        "operation": [
                            {"name": name, "definition": f"http://hl7.org/fhir/{where}"}
                            for name, where in (
                                ("everything", "OperationDefinition/Patient-everything"),
                                ("summary", "uv/ips/OperationDefinition/summary"),
                            )
                        ],
                    },
                    *(_searched(kind, "code", "_lastUpdated") for kind in RESOURCES),
                    *(_searched(kind) for kind in RECORDS),
                ],
            }
        ],
    }


def _searched(kind: str, *parameters: str) -> dict[str, Any]:
    types = {"code": "token", "_lastUpdated": "date"}
    said: dict[str, Any] = {"type": kind, "interaction": [{"code": "search-type"}]}
    if parameters:
        said["searchParam"] = [{"name": name, "type": types[name]} for name in parameters]
    return said


def found(resources: Sequence[tuple[str, dict[str, Any]]], base: str, query: str) -> dict[str, Any]:
    """A searchset of (fullUrl, resource). `base`: of this server; `query`: what was asked."""
    said: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(resources),
        "link": [{"relation": "self", "url": f"{base}/{query}"}],
    }
    if resources:  # R4 knows no empty lists
        said["entry"] = [
            {"fullUrl": url, "resource": resource, "search": {"mode": "match"}}
            for url, resource in resources
        ]
    return said


def outcome(status: int, code: str, message: str) -> dict[str, Any]:
    """What went wrong. `code`: our own word, as everywhere."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": _ISSUE.get(status, "exception" if status >= 500 else "processing"),
                "details": {"coding": [{"system": "urn:salus:code", "code": code}]},
                "diagnostics": message,
            }
        ],
    }
