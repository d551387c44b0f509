"""Record files as earlier versions of the software wrote them: still read, and written anew."""

from typing import Annotated

import msgspec

from node.record_subject import Subject
from node.record_version import VERSIONS_MAX, PrivateVersion2
from salus.codec import Uint, Wire, decode
from salus.errors import BadMessage

_Versions = Annotated[tuple[PrivateVersion2, ...], msgspec.Meta(max_length=VERSIONS_MAX)]


class RecordFile2(Wire, frozen=True):
    version: Uint
    created_ms: Uint
    versions: _Versions
    subject: Subject | None = None


class RecordFile1(Wire, frozen=True):
    """Which knew no subject."""

    version: Uint
    created_ms: Uint
    versions: _Versions


def read_older(stored: bytes) -> tuple[int, tuple[PrivateVersion2, ...], Subject | None]:
    """Creation, versions, subject. Raises `BadMessage`."""
    try:
        file = decode(stored, RecordFile2)
        found = (file.version, 2), file.created_ms, file.versions, file.subject
    except BadMessage:
        first = decode(stored, RecordFile1)
        found = (first.version, 1), first.created_ms, first.versions, None
    (version, expected), created_ms, versions, subject = found
    if version != expected:
        raise BadMessage("a record file of no known version")
    return created_ms, versions, subject
