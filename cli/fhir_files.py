"""FHIR resources and questions from files."""

import sys
from pathlib import Path

from salus.consent.fhir_forms import RESOURCE_BYTES_MAX


def read_resource(file: str) -> bytes:
    """One byte more than is allowed, so that whoever reads it can refuse it; «-» is standard input."""
    if file == "-":
        return sys.stdin.buffer.read(RESOURCE_BYTES_MAX + 1)
    with Path(file).open("rb") as stream:
        return stream.read(RESOURCE_BYTES_MAX + 1)
