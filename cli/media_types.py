"""What kind of document a file is, by the end of its name."""

from pathlib import PurePath

OPAQUE = "application/octet-stream"

MEDIA_TYPES = {
    ".json": "application/fhir+json",
    ".ndjson": "application/fhir+ndjson",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".dcm": "application/dicom",
    ".xml": "application/xml",
}


def by_name(name: str) -> str | None:
    return MEDIA_TYPES.get(PurePath(name).suffix.lower())


def of_file(name: str, content: bytes) -> str:
    """For whoever cannot ask: JSON that does not speak of resources is no FHIR, and what has no
    known ending is kept unread."""
    kind = by_name(name) or OPAQUE
    if kind == "application/fhir+json" and b'"resourceType"' not in content:
        return "application/json"
    return kind
