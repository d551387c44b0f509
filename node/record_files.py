"""Private record files: what the keeper of a record knows of it, sealed in the vault.

Salts, tags and places in batches: with them a commitment can be opened, so they never leave the
node except as parts of a proof. One file per record, replaced as a whole.
"""

from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.document import Context
from salus.record import LeafPath
from storage.vault import Vault

RECORD_FILE_VERSION = 1
RECORD_ID_BYTES = 16
VERSIONS_MAX = 10_000  # of one record: its file stays below the vault's 16 MiB


class PrivateVersion(Wire, frozen=True):
    """One version of a record as its keeper knows it; sealed in the vault, never on a wire."""

    document: Bytes32  # its name in the vault
    size: Uint
    media_type: str
    salt_seed: Bytes32  # of the parts' salts
    tag: Bytes32
    commitment: Bytes32
    root: Bytes32
    leaves: Uint
    index: Uint
    path: LeafPath
    author_salt: Bytes32
    author: str
    context_salt: Bytes32
    context: Context
    reason_salt: Bytes32 | None = None  # of its retraction
    reason: str = ""


class RecordFile(Wire, frozen=True):
    version: Uint
    created_ms: Uint
    versions: Annotated[tuple[PrivateVersion, ...], msgspec.Meta(max_length=VERSIONS_MAX)]


class RecordFiles:
    """Record files by id, and their order by age."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        # (creation, id), newest first, for pages; all else stays in the vault. Replaced and never
        # changed, for it is read while a thread writes.
        self.order: tuple[tuple[int, bytes], ...] = ()
        ages = ((self.get(record_id).created_ms, record_id) for record_id in vault.records())
        self.order = tuple(sorted(ages, reverse=True))

    def find(self, record_id: str) -> RecordFile | None:
        """By id in hex; None for an unknown one, and for what is no id at all."""
        try:
            raw = bytes.fromhex(record_id)
        except ValueError:
            return None
        if len(raw) != RECORD_ID_BYTES or raw.hex() != record_id:
            return None
        stored = self._vault.record(raw)
        return None if stored is None else decode(stored, RecordFile)

    def get(self, record_id: bytes) -> RecordFile:
        stored = self._vault.record(record_id)
        assert stored is not None, "the vault lists this record"
        return decode(stored, RecordFile)

    def store(self, record_id: bytes, file: RecordFile) -> None:
        """Durable on return; one caller at a time."""
        self._vault.put_record(record_id, encode(file))
        place = (file.created_ms, record_id)
        if place not in self.order[:1] and len(file.versions) == 1:
            rest = [other for other in self.order if other != place]
            self.order = tuple(sorted((place, *rest), reverse=True))


def cursor(place: tuple[int, bytes]) -> str:
    """Sorts as the order of records does."""
    created_ms, record_id = place
    return f"{created_ms:014x}-{record_id.hex()}"
