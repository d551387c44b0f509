"""Sealing the keys of patients' documents to the keeper, so that the node cannot open them.

Law of the file: what a key is sealed under is fixed when its document comes: chain, custodian,
handle, the classes of that version, its commitment, its ciphertext. A version that was stored before
its record was somebody's, or before the node had a keeper, is handed over in an order that a crash
cannot spoil: classes noted, key sealed, that it is sealed noted.
"""

import logging
from functools import partial

import msgspec

from node.logs import log_event
from node.record_files import RecordFile, RecordFiles
from node.record_subject import classes_in
from node.record_version import PrivateVersion
from salus.errors import SalusError
from salus.permit import Classes
from salus.sealed_key import KeyOwner, seal_key
from storage.deposit import Seal
from storage.errors import DocumentMissing, StorageError
from storage.vault import Vault

log = logging.getLogger("salus.records")


class RecordSeals:
    """Knows the keeper's public key and nothing that opens."""

    def __init__(self, vault: Vault, chain_id: str, org: str, keeper: bytes | None) -> None:
        """`keeper`: its X25519 public key; None if this node has none."""
        self._vault, self._chain_id, self._org, self._keeper = vault, chain_id, org, keeper

    def require(self) -> bytes:
        """The keeper's key. Raises `SalusError` (KEEPER_MISSING)."""
        if self._keeper is None:
            raise SalusError(
                "this node has no keeper to which a patient's document could be sealed",
                code="KEEPER_MISSING",
            )
        return self._keeper

    def sealer(self, handle: bytes, classes: Classes, commitment: bytes) -> Seal:
        """For `Vault.put`. Raises `SalusError` (KEEPER_MISSING; when it seals, BAD_BOX_KEY)."""
        keeper = self.require()
        owner = partial(KeyOwner, self._chain_id, self._org, handle, classes, commitment)
        return lambda document, key: seal_key(owner(document), key, keeper)

    def hand_over(self, files: RecordFiles, record_id: bytes, file: RecordFile) -> RecordFile:
        """Seals the keys of all versions of a patient's record that the node still opens by itself.
        In a thread, by one caller at a time; durable on return."""
        assert file.subject is not None
        if all(version.sealed for version in file.versions):
            return file
        handle = file.subject.handle
        named = tuple(self._with_classes(version) for version in file.versions)
        file = msgspec.structs.replace(file, versions=named)
        files.store(record_id, file)
        for version in file.versions:
            if version.classes and not version.sealed:  # without: erased, nothing is there to open
                seal = self.sealer(handle, version.classes, version.commitment)
                self._vault.hand_over(version.document, seal)
        done = tuple(msgspec.structs.replace(version, sealed=True) for version in file.versions)
        file = msgspec.structs.replace(file, versions=done)
        files.store(record_id, file)
        return file

    def hand_over_all(self, files: RecordFiles) -> None:
        """At the start: what was stored when the node had no keeper, or was cut off by a crash."""
        if self._keeper is None:
            return
        count = 0
        for record_id in files.unsealed:
            try:
                file = files.readable_one(record_id)
                if file is not None:
                    self.hand_over(files, record_id, file)
                    count += 1
            except StorageError as error:  # «salus db check» names the file
                log_event(log, logging.ERROR, "hand_over_failed", error=error.code)
        if count:
            self._vault.erase(())  # the unsealed keys lie in spare blocks, under the old epoch key
            log_event(log, logging.INFO, "handed_to_keeper", count=count)

    def _with_classes(self, version: PrivateVersion) -> PrivateVersion:
        if version.classes:
            return version
        try:
            content = b"".join(self._vault.get(version.document))
        except DocumentMissing:
            return version
        return msgspec.structs.replace(version, classes=classes_in(content, version.media_type))
