"""A request for a key (salus/key_request.py) as a file, which travels between devices."""

from pathlib import Path

from salus import files, key_request
from salus.key_request import FILE_BYTES_MAX, KeyRequest, Use


def write(path: Path, request: KeyRequest) -> None:
    files.replace(path, key_request.text(request))


def read(path: Path, *uses: Use) -> KeyRequest:
    """Raises `BadMessage` (BAD_KEY_REQUEST) unless it is one for one of these uses, signed."""
    with path.open("rb") as stream:
        return key_request.parse(stream.read(FILE_BYTES_MAX + 1), *uses)
