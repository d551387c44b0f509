"""The vault: encrypted documents as files named by the hash of their ciphertext.

Each document version has a key of its own; that key lies in a file beside the document, wrapped
under the vault epoch key, so that erasing means to re-wrap the survivors under a new epoch key
and to destroy the old one (health.md §4.11). Inside that wrap it may be sealed to the keeper: then
who has this whole directory and every key of the node opens nothing. Law of the file: a name appears
only when its whole file is on disk (temp → sync → rename → sync directory), so a crash leaves no half
document; reading and writing hold two chunks in memory, however large the document is.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from hashlib import sha256

from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.sealed_key import SEALED_KEY_BYTES
from storage.deposit import Deposit, Seal, VaultEntry
from storage.disk import TEMP_SUFFIX, Disk, ReadFile, RealDisk, io_errors, sweep_temps, write_atomic
from storage.errors import DocumentMissing, DocumentSealed, VaultDamaged
from storage.sealing import (
    CHUNK_BYTES,
    DOCUMENT_HEADER_BYTES,
    DOCUMENT_TAG_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    opened_chunks,
    seal,
    unseal,
)
from storage.vault_keys import WRAP_BYTES, EpochKeys, Random, wrap_epoch

DOCUMENTS, KEYS, RECORDS, STAGING = "documents", "keys", "records", "staging"
KEY_SUFFIX, RECORD_SUFFIX = ".key", ".rec"

# What a name of ours looks like. Editors, file managers and backups leave names of their own.
_NAMES = {
    DOCUMENTS: re.compile(r"[0-9a-f]{64}"),
    STAGING: re.compile(r"[0-9a-f]{64}"),
    KEYS: re.compile(r"[0-9a-f]{64}\.key"),
    RECORDS: re.compile(r"([0-9a-f]{2}){1,64}\.rec"),
}

ERASING_FILE = "erasing"

DOCUMENT_ID_BYTES = 32
RECORD_ID_BYTES_MAX = 64  # a file name has at most 255 characters; ids are written in hex
RECORD_BYTES_MAX = 16 * 2**20  # a record is read and replaced as a whole


class Erasing(Wire, frozen=True):
    """What an erasure is about, on disk from its first step to its last (◆ `erasing`)."""

    epoch: Uint  # the vault epoch under which the survivors are re-wrapped
    documents: tuple[Bytes32, ...]
    records: tuple[bytes, ...]


# Of the 32 secret bytes of the organisation's box key: what the vault's epoch keys rest under.
vault_lock = hasher("vault-lock")


class Vault:
    def __init__(self, directory: str, disk: Disk, keys: EpochKeys, random: Random) -> None:
        """Use `open`."""
        self.directory = directory
        self._disk, self._keys, self._random = disk, keys, random
        # Documents may be stored from several worker threads. The lock covers what must not
        # interleave with a change of the epoch key, never the encryption of a document.
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        directory: str,
        lock: bytes,
        *,
        random: Random = os.urandom,
        disk: Disk | None = None,
    ) -> "Vault":
        """The vault in `directory`, a new one if there is none.

        `lock`: 32 bytes under which the epoch key rests, derived from a key of the node's
        keystore: who steals the directory alone can read nothing. Raises `VaultDamaged` if it
        is the wrong one, `StoreVersion`, `StoreUnavailable`.
        """
        assert len(lock) == KEY_BYTES
        disk = disk or RealDisk()
        with io_errors(directory):
            for name in _NAMES:
                disk.make_directory(f"{directory}/{name}")
                sweep_temps(disk, f"{directory}/{name}")
            sweep_temps(disk, directory)
            keys = EpochKeys.open(disk, directory, lock, random)
            if keys.current == 0:
                if any(_names(disk, directory, kind) for kind in (KEYS, RECORDS)):
                    raise VaultDamaged(
                        f"{directory} holds documents but no epoch key",
                        hint="Restore epochs/ from where its keys are kept; without it nothing "
                        "in this vault can be read.",
                    )
                keys.advance(1)
            vault = cls(directory, disk, keys, random)
            vault._finish_erasing()
        return vault

    # --- documents

    def put(self, chunks: Iterable[bytes], seal: Seal | None = None) -> VaultEntry:
        """Encrypt and store a document that comes in pieces of any size; durable on return.

        `seal`: called after the last piece, before anything has its name; without it the node
        itself can open the document. It counts as staged until `keep`: whoever stored it may not
        live to note its name.
        """
        deposit = self.deposit()
        try:
            for piece in chunks:
                deposit.write(piece)
            return deposit.finish(seal)
        except BaseException:
            deposit.abandon()
            raise

    def deposit(self) -> Deposit:
        """The same for pieces that come one by one: `write` them, then `finish`."""
        temp = self._path(DOCUMENTS, self._random(16).hex() + TEMP_SUFFIX)
        key, tag = self._random(KEY_BYTES), self._random(DOCUMENT_TAG_BYTES)
        return Deposit(self._disk, temp, key, tag, self._place)

    def _place(self, document: bytes, stored: bytes, temp: str) -> None:
        assert len(stored) in (KEY_BYTES, SEALED_KEY_BYTES)
        with self._lock, io_errors(self.directory):
            write_atomic(self._disk, self._path(STAGING), document.hex(), b"")
            # The key first: a document that has its name can be read.
            self._write_key(document, stored)
            self._disk.rename(temp, self._path(DOCUMENTS, document.hex()))
            self._disk.sync_directory(self._path(DOCUMENTS))

    def keep(self, document: bytes) -> None:
        """Somebody has noted the document's name, durably: it is no longer staged."""
        with self._lock, io_errors(self.directory):
            self._disk.remove(self._path(STAGING, document.hex()))

    def staged(self) -> tuple[bytes, ...]:
        """Documents that were stored and never kept; more after a crash than there are."""
        names = _names(self._disk, self.directory, STAGING)
        return tuple(bytes.fromhex(name) for name in names)

    def get(self, document: bytes, *, key: bytes | None = None, first: int = 0) -> Iterator[bytes]:
        """The document in chunks of 1 MiB, from chunk `first` on, without reading those before;
        each is authentic when it is given, and the last one proves that none is missing.

        `key`: from the keeper, if the document's is sealed. Raises at once `DocumentMissing` and
        `DocumentSealed`, on the way `VaultDamaged`: also if the key is another document's.
        """
        assert key is None or len(key) == KEY_BYTES
        assert first >= 0
        stored = self._read_key(document)
        if key is None and len(stored) != KEY_BYTES:
            raise DocumentSealed("the document's key is sealed to the keeper")
        with io_errors(self.directory):
            file = self._disk.open_read(self._path(DOCUMENTS, document.hex()))
        if file is None:
            raise DocumentMissing("the vault has no such document")
        return self._opened(file, key or stored, document, first)

    def sealed_key(self, document: bytes) -> bytes | None:
        """The document's key as it was sealed to the keeper; None if the node opens it by itself.
        Raises `DocumentMissing`, `VaultDamaged`."""
        stored = self._read_key(document)
        return stored if len(stored) == SEALED_KEY_BYTES else None

    def hand_over(self, document: bytes, seal: Seal) -> None:
        """Seal the key of a document that the node opens by itself; durable on return.

        The unsealed one lies in what the disk has not overwritten, under the present epoch key:
        it is gone with the next `erase`, of nothing at all if need be.
        """
        with self._lock, io_errors(self.directory):
            key = self._read_key(document)
            if len(key) == KEY_BYTES:
                self._write_key(document, _sealed(seal, document, key))

    def __contains__(self, document: bytes) -> bool:
        return self._disk.exists(self._path(DOCUMENTS, document.hex()))

    def documents(self) -> Iterator[bytes]:
        """The names of all documents, ascending."""
        for name in _names(self._disk, self.directory, DOCUMENTS):
            yield bytes.fromhex(name)

    def verify(self, document: bytes) -> None:
        """Read the whole document; raises `VaultDamaged` or `DocumentMissing`.

        Of one that the keeper opens: that its bytes and its sealed key are what was written."""
        with io_errors(self.directory):
            file = self._disk.open_read(self._path(DOCUMENTS, document.hex()))
            if file is None:
                raise DocumentMissing("the vault has no such document")
            try:
                digest = sha256()
                for piece in _pieces(file, CHUNK_BYTES):
                    digest.update(piece)
            finally:
                file.close()
        if digest.digest() != document:
            raise VaultDamaged(f"document {document.hex()} is not what its name says")
        if self.sealed_key(document) is None:
            for _ in self.get(document):
                pass

    def _opened(self, file: ReadFile, key: bytes, document: bytes, first: int) -> Iterator[bytes]:
        with io_errors(self.directory):
            try:
                header = _read_exactly(file, DOCUMENT_HEADER_BYTES)
                file.seek(DOCUMENT_HEADER_BYTES + first * SEALED_CHUNK_BYTES)
                sealed = _pieces(file, SEALED_CHUNK_BYTES)
                yield from opened_chunks(key, header, sealed, f"document {document.hex()}", first)
            finally:
                file.close()

    def _write_key(self, document: bytes, key: bytes) -> None:
        wrapped = self._keys.wrap(key, KEYS, document)
        write_atomic(self._disk, self._path(KEYS), document.hex() + KEY_SUFFIX, wrapped)

    def _read_key(self, document: bytes) -> bytes:
        assert len(document) == DOCUMENT_ID_BYTES
        with self._lock, io_errors(self.directory):
            wrapped = self._disk.read(self._path(KEYS, document.hex() + KEY_SUFFIX))
            if wrapped is None:
                raise DocumentMissing("the vault has no such document")
            stored = self._keys.unwrap(wrapped, KEYS, document)
        if len(stored) not in (KEY_BYTES, SEALED_KEY_BYTES):
            raise VaultDamaged(f"the key in keys/{document.hex()} is none")
        return stored

    # --- records: private metadata (salts, tags, versions), replaced as a whole

    def put_record(self, record_id: bytes, content: bytes) -> None:
        """Store or replace a record; durable on return, old or new after a crash."""
        self._put_record(record_id, content)

    def replace_record(self, record_id: bytes, content: bytes) -> bool:
        """As `put_record`, but False, and nothing is written, if there is none any more: what was
        erased must not come back by somebody who had read it before."""
        return self._put_record(record_id, content, known=True)

    def _put_record(self, record_id: bytes, content: bytes, *, known: bool = False) -> bool:
        assert 1 <= len(record_id) <= RECORD_ID_BYTES_MAX
        assert len(content) <= RECORD_BYTES_MAX
        key = self._random(KEY_BYTES)
        sealed = seal(key, self._random(NONCE_BYTES), content, _record_context(record_id))
        name = record_id.hex() + RECORD_SUFFIX
        with self._lock, io_errors(self.directory):
            if known and not self._disk.exists(self._path(RECORDS, name)):
                return False
            wrapped = self._keys.wrap(key, RECORDS, record_id)
            write_atomic(self._disk, self._path(RECORDS), name, wrapped + sealed)
        return True

    def record(self, record_id: bytes) -> bytes | None:
        """The record's content; None if there is none. Raises `VaultDamaged`."""
        with self._lock, io_errors(self.directory):
            data = self._disk.read(self._path(RECORDS, record_id.hex() + RECORD_SUFFIX))
            if data is None:
                return None
            key = self._keys.unwrap(data[:WRAP_BYTES], RECORDS, record_id)
        return unseal(
            key, data[WRAP_BYTES:], _record_context(record_id), f"record {record_id.hex()}"
        )

    def drop_record(self, record_id: bytes) -> None:
        """Remove a record that nobody needs any more. No erasure: its bytes may stay on the disk,
        under the epoch key, until the next one."""
        with self._lock, io_errors(self.directory):
            self._remove(RECORDS, {record_id.hex() + RECORD_SUFFIX})

    def records(self) -> Iterator[bytes]:
        """The ids of all records, ascending."""
        for name in _names(self._disk, self.directory, RECORDS):
            yield bytes.fromhex(name.removesuffix(RECORD_SUFFIX))

    # --- erasing (health.md §4.11)

    def erase(self, documents: Iterable[bytes], records: Iterable[bytes] = ()) -> None:
        """Make documents and records unreadable for ever, here: the survivors' keys are
        re-wrapped under a new epoch key, the old one is destroyed, then the files go.

        Takes one small write per surviving document. A crash on the way is finished at the next
        `open`. Copies elsewhere (backups of `epochs/`, the disk's spare blocks) are not ours to
        reach, so this is a claim and no proof.
        """
        with self._lock, io_errors(self.directory):
            todo = Erasing(
                self._keys.current + 1, tuple(sorted(set(documents))), tuple(sorted(set(records)))
            )
            write_atomic(self._disk, self.directory, ERASING_FILE, encode(todo))
            self._finish_erasing()

    def _finish_erasing(self) -> None:
        data = self._disk.read(f"{self.directory}/{ERASING_FILE}")
        if data is None:
            return
        try:
            todo = decode(data, Erasing)
        except BadMessage:
            raise VaultDamaged(f"{self.directory}/{ERASING_FILE} is damaged") from None
        if todo.epoch not in (self._keys.current, self._keys.current + 1):
            raise VaultDamaged(
                f"{self.directory}/{ERASING_FILE} is of another time: it leads to vault epoch "
                f"{todo.epoch}, and the newest key here is of {self._keys.current}"
            )
        keys = {document.hex() + KEY_SUFFIX for document in todo.documents}
        records = {record.hex() + RECORD_SUFFIX for record in todo.records}
        self._keys.advance(todo.epoch)
        self._rewrap(KEYS, KEY_SUFFIX, todo.epoch, erased=keys)
        self._rewrap(RECORDS, RECORD_SUFFIX, todo.epoch, erased=records)
        self._keys.destroy_older()
        self._remove(KEYS, keys)
        self._remove(RECORDS, records)
        for kind in (DOCUMENTS, STAGING):
            self._remove(kind, {document.hex() for document in todo.documents})
        self._disk.remove(f"{self.directory}/{ERASING_FILE}")
        self._disk.sync_directory(self.directory)

    def _rewrap(self, kind: str, suffix: str, epoch: int, *, erased: set[str]) -> None:
        for name in _names(self._disk, self.directory, kind):
            if name in erased:
                continue
            data = self._disk.read(self._path(kind, name)) or b""
            owner = bytes.fromhex(name.removesuffix(suffix))
            try:
                if wrap_epoch(data, f"{kind}/{name}") == epoch:
                    continue  # done before a crash
                # Of a record the content follows; a key file is all wrap, of either length.
                end = WRAP_BYTES if kind == RECORDS else len(data)
                key = self._keys.unwrap(data[:end], kind, owner)
            except VaultDamaged:
                continue  # nobody can read it anyway; it must not keep others from being erased
            wrapped = self._keys.wrap(key, kind, owner)
            write_atomic(self._disk, self._path(kind), name, wrapped + data[end:])

    def _remove(self, kind: str, names: set[str]) -> None:
        for name in sorted(names):
            self._disk.remove(self._path(kind, name))
        self._disk.sync_directory(self._path(kind))

    def _path(self, *parts: str) -> str:
        return "/".join((self.directory, *parts))


def _names(disk: Disk, directory: str, kind: str) -> list[str]:
    return [name for name in disk.names(f"{directory}/{kind}") if _NAMES[kind].fullmatch(name)]


def _sealed(seal: Seal, document: bytes, key: bytes) -> bytes:
    sealed = seal(document, key)
    assert len(sealed) == SEALED_KEY_BYTES
    return sealed


def _record_context(record_id: bytes) -> bytes:
    return b"record\0" + record_id


def _pieces(file: ReadFile, size: int) -> Iterator[bytes]:
    while piece := _read_exactly(file, size):
        yield piece


def _read_exactly(file: ReadFile, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
