"""Private record files: what the keeper of a record knows of it, sealed in the vault.

Salts, tags and places in batches: with them a commitment can be opened, so they never leave the
node except as parts of a proof. One file per record, replaced as a whole.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec

from node.logs import log_event
from node.record_files_older import read_older
from node.record_subject import Subject
from node.record_version import VERSIONS_MAX, PrivateVersion
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from storage.errors import StorageError, StoreVersion, VaultDamaged
from storage.vault import Vault

log = logging.getLogger("salus.records")

RECORD_FILE_VERSION = 3
RECORD_ID_BYTES = 16


class RecordFile(Wire, frozen=True):
    version: Uint
    created_ms: Uint
    versions: Annotated[tuple[PrivateVersion, ...], msgspec.Meta(max_length=VERSIONS_MAX)]
    subject: Subject | None = None  # of whom it is, if it was said


class Tombstone(Wire, frozen=True):
    """All that stays of an erased record: that it was, and the case on the chain (rule X-6)."""

    version: Uint
    case: Bytes32


TOMBSTONE_VERSION = 1
_TOMBSTONE = b"x"  # in the vault, before the record id


class RecordFiles:
    """Record files by id, and their order by age.

    A file that cannot be read is left out, with an alarm: one bad sector among ten thousand
    records must keep neither the node from starting nor the others from being read.
    """

    def __init__(self, vault: Vault, damaged: Callable[[StorageError], None]) -> None:
        """`damaged`: takes what made a file unreadable."""
        self._vault, self.damaged = vault, damaged
        # (creation, id), newest first, for pages; all else stays in the vault. Replaced and never
        # changed, for it is read while a thread writes.
        self.order: tuple[tuple[int, bytes], ...] = ()
        # handle → record ids, oldest first; so that a patient's list reads no other's files.
        self._whose: dict[bytes, tuple[bytes, ...]] = {}
        # What is not a record lies beside them under longer names (node/openings.py).
        names = tuple(vault.records())
        self._erased = {
            one[1:]
            for one in names
            if len(one) == RECORD_ID_BYTES + 1 and one.startswith(_TOMBSTONE)
        }
        self.order = tuple(
            (0, one) for one in names if len(one) == RECORD_ID_BYTES and one not in self._erased
        )
        # Patients' records with a version that the node opens by itself (node/record_seals.py).
        self.unsealed: list[bytes] = []
        named: set[bytes] = set()
        ages = []
        subjects: dict[bytes, Subject] = {}
        for record_id, file in self.readable():
            ages.append((file.created_ms, record_id))
            if file.subject is not None:
                subjects[record_id] = file.subject
            if file.subject is not None and not all(one.sealed for one in file.versions):
                self.unsealed.append(record_id)
            named.update(version.document for version in file.versions)
        whole = len(ages) == len(self.order)
        self.order = tuple(sorted(ages, reverse=True))
        for _, record_id in sorted(ages):
            self._note(record_id, subjects.get(record_id))
        self._settle(named, whole)

    def of(self, handle: bytes) -> tuple[bytes, ...]:
        """The record ids of one patient, newest first."""
        return self._whose.get(handle, ())[::-1]

    def _note(self, record_id: bytes, subject: Subject | None) -> None:
        known = () if subject is None else self._whose.get(subject.handle, ())
        if subject is not None and record_id not in known:
            self._whose[subject.handle] = (*known, record_id)

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
            self.damaged(error)
            return None
        return file

    def find(self, record_id: str) -> RecordFile | None:
        """By id in hex; None for an unknown one, and for what is no id at all. Raises
        `VaultDamaged`, and `SalusError` (ERASED)."""
        try:
            raw = bytes.fromhex(record_id)
        except ValueError:
            return None
        if len(raw) != RECORD_ID_BYTES or raw.hex() != record_id:
            return None
        if raw in self._erased:
            raise SalusError("the record was erased", code="ERASED")
        return self._read(raw)

    # -- erasing: one caller at a time, which has the vault erase what is buried -----------------

    def is_erased(self, record_id: bytes) -> bool:
        """From its tombstone on, though its files may still be going."""
        return record_id in self._erased

    def even_erased(self, record_id: bytes) -> RecordFile | None:
        """What is left of it; None once it has gone. For whoever erases."""
        return self._read(record_id)

    def bury(self, record_ids: Sequence[bytes], case: bytes) -> None:
        """Durable on return: nobody is told of these records any more."""
        for record_id in record_ids:
            if record_id not in self._erased:
                stone = encode(Tombstone(TOMBSTONE_VERSION, case))
                self._vault.put_record(_TOMBSTONE + record_id, stone)
        self._erased = self._erased.union(record_ids)
        for handle, ids in self._whose.items():
            self._whose[handle] = tuple(one for one in ids if one not in self._erased)
        self.order = tuple(place for place in self.order if place[1] not in self._erased)

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
        self._note(record_id, file.subject)
        place = (file.created_ms, record_id)
        if place not in self.order[:1] and len(file.versions) == 1:
            rest = [other for other in self.order if other != place]
            self.order = tuple(sorted((place, *rest), reverse=True))


def _decoded(stored: bytes) -> RecordFile:
    try:
        return decode(stored, RecordFile)
    except BadMessage:
        created_ms, versions, subject = read_older(stored)
    return RecordFile(
        RECORD_FILE_VERSION,
        created_ms,
        tuple(PrivateVersion(*msgspec.structs.astuple(one)) for one in versions),
        subject,
    )


def cursor(place: tuple[int, bytes]) -> str:
    """Sorts as the order of records does."""
    created_ms, record_id = place
    return f"{created_ms:014x}-{record_id.hex()}"
