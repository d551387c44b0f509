"""A document on its way into the vault: encrypted and on disk as its bytes come.

Law of the file: two chunks in memory, however large the document; until `finish` it has no name, and
what is abandoned, or cut off by a crash, leaves nothing behind.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from storage.disk import Disk, io_errors
from storage.sealing import TAG_BYTES, ChunkSealer, document_header

Seal = Callable[[bytes, bytes], bytes]  # (document, its key) → the key sealed to the keeper
Place = Callable[[bytes, bytes, str], None]  # (document, key to keep, file): gives it its name


@dataclass(frozen=True, slots=True)
class VaultEntry:
    """A stored document: its name (SHA-256 of the ciphertext) and the size of the plain text."""

    document: bytes
    size: int


class Deposit:
    """Use `Vault.deposit`. Its methods may be called from several threads, one after another."""

    def __init__(self, disk: Disk, temp: str, key: bytes, tag: bytes, place: Place) -> None:
        self._disk, self._temp, self._key, self._place = disk, temp, key, place
        # Who gives up must not close the file under a thread that writes to it.
        self._one = threading.Lock()
        self._open = True
        header = document_header(tag)
        self._sealer, self._digest, self._size = ChunkSealer(key, header), sha256(header), 0
        with io_errors(temp):
            self._file = disk.create(temp)
            try:
                self._file.write(header)
            except BaseException:
                self._end()
                raise

    def write(self, piece: bytes) -> None:
        """Of any size. After an error the deposit is abandoned."""
        with self._one, io_errors(self._temp):
            assert self._open
            try:
                for sealed in self._sealer.push(piece):
                    self._append(sealed)
            except BaseException:
                self._end()
                raise

    def finish(self, seal: Seal | None = None) -> VaultEntry:
        """Durable on return. `seal`: as in `Vault.put`. After an error the deposit is abandoned."""
        with self._one, io_errors(self._temp):
            assert self._open
            try:
                self._append(self._sealer.last())
                self._file.sync()
                document = self._digest.digest()
                stored = self._key if seal is None else seal(document, self._key)
            except BaseException:
                self._end()
                raise
            self._open = False
            self._file.close()
            try:
                self._place(document, stored, self._temp)
            except BaseException:
                self._disk.remove(self._temp)
                raise
        return VaultEntry(document, self._size)

    def abandon(self) -> None:
        """Nothing of it stays. No effect on one that is finished."""
        with self._one, io_errors(self._temp):
            if self._open:
                self._end()

    def _append(self, sealed: bytes) -> None:
        self._digest.update(sealed)
        self._size += len(sealed) - TAG_BYTES
        self._file.write(sealed)

    def _end(self) -> None:
        self._open = False
        try:
            self._disk.remove(self._temp)
        finally:
            self._file.close()
