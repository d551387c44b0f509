"""The record versions of a request, as the custodian keeps them: whose they are, and their sealed keys.

Law of the file: a record is found by its random id and nothing else, so asking teaches nobody what
there is; whatever does not fit is one and the same UNKNOWN_RECORD. What was erased says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from node.keeper import VersionKey
from node.record_list import check_list, is_list
from node.record_reader import RecordReader, SealedVersion
from node.record_version import PrivateVersion
from salus.errors import SalusError
from salus.reading import Ask, Asked, Locate, Located, Place
from salus.record import tag_hash
from storage.errors import DocumentMissing


@dataclass(frozen=True, slots=True)
class Kept:
    """One version that may be released under a ticket."""

    private: PrivateVersion
    key: VersionKey
    place: Place


class GateRecords:
    """Over the records of one organisation."""

    def __init__(self, records: RecordReader) -> None:
        self.records, self.vault = records, records.vault

    def locate(self, wanted: Locate) -> Located:
        """Raises `SalusError` (UNKNOWN_RECORD, ERASED)."""
        found = self._sealed(wanted.record_id, wanted.version)
        if wanted.handle not in (None, found.handle) or not self._anchored(found):
            raise _unknown()
        return Located(found.handle, found.number, found.private.commitment, found.classes)

    def erased(self, ask: Ask) -> bool:
        """Has one of its records been erased since it was decided?"""
        return any(self.records.files.is_erased(one.record_id) for one in ask.versions)

    def kept(self, ask: Ask) -> tuple[Kept, ...]:
        """The record set of a request, in its order; of a list of records it is empty. Raises `SalusError` (BAD_ASK, UNKNOWN_RECORD,
        ERASED, CLASSES_MISSING, KEEPER_MISSING, PRUNED)."""
        if is_list(ask):
            check_list(self.records.org, ask)
            return ()  # it opens no document
        order = ask.commitments
        if list(order) != sorted(set(order)) or ask.records() != ask.request.records:
            raise SalusError("these are not the versions of the request", code="BAD_ASK")
        found = tuple(self._one(ask.request.handle, one) for one in ask.versions)
        named = set(ask.request.classes)
        if any(named.isdisjoint(one.key.classes) for one in found):
            raise SalusError(
                "a record holds nothing of the classes that are asked for", code="CLASSES_MISSING"
            )
        return found

    def _one(self, handle: bytes, asked: Asked) -> Kept:
        found = self._sealed(asked.record_id, asked.version)
        private = found.private
        if (found.handle, private.commitment) != (handle, asked.commitment):
            raise _unknown()
        anchor = self.records.standing(private).anchor
        if anchor is None:
            raise _unknown()
        tx_id, operation = self.records.anchored_by(private.root, anchor.height)
        return Kept(
            private,
            VersionKey(private.commitment, found.classes, private.document, found.key),
            Place(
                self.records.org,
                private.root,
                private.index,
                private.leaves,
                private.path,
                tag_hash(private.tag),
                tx_id,
                operation,
            ),
        )

    def _sealed(self, record_id: bytes, version: int | None) -> SealedVersion:
        try:
            found = self.records.sealed(record_id.hex(), version)
        except DocumentMissing:
            found = None
        if found is None:
            raise _unknown()
        return found

    def _anchored(self, found: SealedVersion) -> bool:
        return self.records.standing(found.private).anchor is not None


def keys_of(kept: Sequence[Kept]) -> tuple[VersionKey, ...]:
    return tuple(one.key for one in kept)


def _unknown() -> SalusError:
    return SalusError("this node keeps no such record for this patient", code="UNKNOWN_RECORD")
