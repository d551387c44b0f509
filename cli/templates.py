"""What a biometric device keeps of each enrolment: the salt that opens the commitment, and the openings
of its comparisons (rule I-8).

    biometrics/COMMITMENT.json    in the home of the device; without the template itself

It says which relation the template is of, so it is readable by its owner only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CliError
from salus import files
from salus.biometric import (
    TEMPLATE_BYTES_MAX,
    Enrolled,
    template_commitment,
)
from salus.errors import BadMessage
from salus.wire_json import from_json, to_json

FILE_BYTES_MAX = 512 * 2**10


@dataclass(frozen=True)
class Templates:
    """The enrolments of one device's home."""

    folder: Path

    def put(self, enrolled: Enrolled) -> None:
        """New, or with one comparison more."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(to_json(enrolled), indent=1) + "\n"
        files.replace(self.folder / f"{enrolled.commitment.hex()}.json", text.encode())

    def of(self, org: str, handle: bytes) -> list[Enrolled]:
        """Those of a relation. Raises `CliError` (BAD_TEMPLATE) for a damaged file."""
        found = [_read(path) for path in sorted(self.folder.glob("*.json"))]
        return [one for one in found if (one.org, one.handle) == (org, handle)]

    def opened_by(self, template: bytes, org: str, handle: bytes) -> Enrolled:
        """The enrolment of this very template. Raises `CliError` (BAD_TEMPLATE)."""
        for one in self.of(org, handle):
            if template_commitment(one.salt, template) == one.commitment:
                return one
        raise CliError(
            "BAD_TEMPLATE", "this template is not one that this device enrolled for the relation"
        )


def read_template(path: Path) -> bytes:
    """The bytes of a matcher. Raises `CliError` (BAD_TEMPLATE, TOO_LARGE)."""
    with path.open("rb") as stream:
        raw = stream.read(TEMPLATE_BYTES_MAX + 1)
    if len(raw) > TEMPLATE_BYTES_MAX:
        raise CliError("TOO_LARGE", f"{path} has more than {TEMPLATE_BYTES_MAX} bytes")
    if not raw:
        raise CliError("BAD_TEMPLATE", f"{path} is empty")
    return raw


def _read(path: Path) -> Enrolled:
    with path.open("rb") as stream:
        return parse(stream.read(FILE_BYTES_MAX + 1))


def parse(raw: bytes) -> Enrolled:
    """The contents of a file. Raises `CliError` (BAD_TEMPLATE)."""
    document: Any = None
    try:
        document = json.loads(raw) if len(raw) <= FILE_BYTES_MAX else None
    except (ValueError, RecursionError):
        pass
    try:
        return from_json(Enrolled, document)
    except BadMessage as error:
        raise CliError(
            "BAD_TEMPLATE", f"a file of biometrics/ is damaged: {error.message}"
        ) from None
