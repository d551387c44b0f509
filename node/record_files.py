"""Private record files: what the keeper of a record knows of it, sealed in the vault.

Salts, tags and places in batches: with them a commitment can be opened, so they never leave the
node except as parts of a proof. One file per record, replaced as a whole.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec

from node.logs import log_event
from node.record_subject import Subject
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.document import Context
from salus.errors import BadMessage
from salus.record import LeafPath
from storage.errors import StorageError, StoreVersion, VaultDamaged
from storage.vault import Vault

log = logging.getLogger("salus.records")

RECORD_FILE_VERSION = 2
RECORD_ID_BYTES = 16
VERSIONS_MAX = 10_000  # of one record: its file stays below the vault's 16 MiB


REASONS_MAX = 16  # for one retraction: so often somebody changed his mind before it was certified


class Reason(Wire, frozen=True):
    """Why a version is withdrawn, and the salt that opens its commitment."""

    salt: Bytes32
    text: str


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
    # Of its retraction: every one that was handed out for signing, for any may be on the chain.
    reasons: Annotated[tuple[Reason, ...], msgspec.Meta(max_length=REASONS_MAX)] = ()


class RecordFile(Wire, frozen=True):
    version: Uint
    created_ms: Uint
    versions: Annotated[tuple[PrivateVersion, ...], msgspec.Meta(max_length=VERSIONS_MAX)]
    subject: Subject | None = None  # of whom it is, if it was said


class RecordFile1(Wire, frozen=True):
    """Version 1, which knew no subject; still read, and written anew as version 2."""

    version: Uint
    created_ms: Uint
    versions: Annotated[tuple[PrivateVersion, ...], msgspec.Meta(max_length=VERSIONS_MAX)]


class RecordFiles:
    """Record files by id, and their order by age.

    A file that cannot be read is left out, with an alarm: one bad sector among ten thousand
    records must keep neither the node from starting nor the others from being read.
    """

    def __init__(self, vault: Vault, damaged: Callable[[StorageError], None]) -> None:
        """`damaged`: takes what made a file unreadable."""
        self._vault, self._damaged = vault, damaged
        # (creation, id), newest first, for pages; all else stays in the vault. Replaced and never
        # changed, for it is read while a thread writes.
        self.order: tuple[tuple[int, bytes], ...] = ()
        # Openings of consents lie beside them under longer names (node/openings.py).
        self.order = tuple((0, one) for one in vault.records() if len(one) == RECORD_ID_BYTES)
        named: set[bytes] = set()
        ages = []
        for record_id, file in self.readable():
            ages.append((file.created_ms, record_id))
            named.update(version.document for version in file.versions)
        whole = len(ages) == len(self.order)
        self.order = tuple(sorted(ages, reverse=True))
        self._settle(named, whole)

    def _settle(self, named: set[bytes], whole: bool) -> None:
        """After a crash: documents that a record names are kept, those that no record names go.

        Nobody was ever told of the latter. As long as a record file is unreadable it may be the
        one that names them, so they stay."""
        for document in self._vault.staged():
            if document in named:
                self._vault.keep(document)
        lost = self._vault.staged()
        if lost and whole:
            log_event(log, logging.WARNING, "half_staged_erased", count=len(lost))
            self._vault.erase(lost)

    def readable(self) -> Iterator[tuple[bytes, RecordFile]]:
        """All records that can be read, newest first."""
        for _, record_id in self.order:
            file = self.readable_one(record_id)
            if file is not None:
                yield record_id, file

    def readable_one(self, record_id: bytes) -> RecordFile | None:
        """None, and an alarm, if the file is damaged or gone."""
        try:
            file = self._read(record_id)
        except (VaultDamaged, StoreVersion) as error:
            # «salus db check» names the file.
            log_event(log, logging.ERROR, "record_damaged", error=error.code)
            self._damaged(error)
            return None
        return file

    def find(self, record_id: str) -> RecordFile | None:
        """By id in hex; None for an unknown one, and for what is no id at all. Raises
        `VaultDamaged`."""
        try:
            raw = bytes.fromhex(record_id)
        except ValueError:
            return None
        if len(raw) != RECORD_ID_BYTES or raw.hex() != record_id:
            return None
        return self._read(raw)

    def _read(self, record_id: bytes) -> RecordFile | None:
        stored = self._vault.record(record_id)
        if stored is None:
            return None
        try:
            file = _decoded(stored)
        except BadMessage:
            raise VaultDamaged("a record file of the vault is not what was written") from None
        if file.version != RECORD_FILE_VERSION:
            raise StoreVersion(f"a record file has format version {file.version}")
        if not file.versions:
            raise VaultDamaged("a record file of the vault is not what was written")
        return file

    def store(self, record_id: bytes, file: RecordFile) -> None:
        """Durable on return, the documents that it names no longer staged; one caller at a time."""
        self._vault.put_record(record_id, encode(file))
        self._vault.keep(file.versions[-1].document)
        place = (file.created_ms, record_id)
        if place not in self.order[:1] and len(file.versions) == 1:
            rest = [other for other in self.order if other != place]
            self.order = tuple(sorted((place, *rest), reverse=True))


def _decoded(stored: bytes) -> RecordFile:
    try:
        return decode(stored, RecordFile)
    except BadMessage:
        old = decode(stored, RecordFile1)
        if old.version != 1:
            raise
        return RecordFile(RECORD_FILE_VERSION, old.created_ms, old.versions)


def cursor(place: tuple[int, bytes]) -> str:
    """Sorts as the order of records does."""
    created_ms, record_id = place
    return f"{created_ms:014x}-{record_id.hex()}"
