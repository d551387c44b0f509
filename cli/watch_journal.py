"""What `record watch` has done, so that nothing is done twice after a kill.

Lines of JSON, appended; the first one is the version and a random key. A file is known by the
keyed hash of its content and never by its name. Law of the file: before a transaction leaves,
its bytes are on disk here; after a kill the *same* bytes are sent again, and a chain takes those
once. A last line without its end was never acted upon.
"""

import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from cli.errors import CliError
from salus.files import OWNER_ONLY, replace

VERSION = 1
KEY_BYTES = 32


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    key: str


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How far a content has come; later lines of the same `id` count.

    sending   the node may have it, or may still be taking it, under `record_id`: sent again as that
    signed    `transaction` anchors `record_id`; it may have been sent
    done      certified
    refused   `code` and `message`, for good
    """

    id: str
    state: Literal["sending", "signed", "done", "refused"]
    record_id: str = ""
    transaction: str = ""
    resources: int = 0
    schemaless: int = 0
    code: str = ""
    message: str = ""


@dataclass
class Journal:
    """Held by one process; entries by id."""

    path: Path
    key: bytes
    entries: dict[str, Entry]
    _lock: int
    _file: int

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Raises `CliError` (STORE_LOCKED, STORE_VERSION, STORE_DAMAGED), `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise CliError("STORE_LOCKED", "another `record watch` keeps this state") from None
        try:
            key, entries = _read(path)
            head = msgspec.json.encode(Head(VERSION, key.hex()))
            lines = [head, *map(msgspec.json.encode, entries.values())]
            replace(path, b"".join(line + b"\n" for line in lines), mode=OWNER_ONLY)
            return cls(
                path, key, entries, lock, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            )
        except BaseException:
            os.close(lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        os.close(self._lock)

    def id_of(self, content: bytes) -> str:
        """64 hex digits that tell nothing to who has not the key."""
        return hashlib.blake2b(content, key=self.key, digest_size=32).hexdigest()

    def note(self, entry: Entry, *, sync: bool = False) -> None:
        """`sync`: on disk on return; else only safe from a kill of this process."""
        line = msgspec.json.encode(entry) + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, "No space left on device")
        if sync:
            os.fsync(self._file)
        self.entries[entry.id] = entry

    def forget(self, state: str) -> None:
        """What is in this state is tried anew."""
        self.entries = {i: entry for i, entry in self.entries.items() if entry.state != state}


def _read(path: Path) -> tuple[bytes, dict[str, Entry]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return os.urandom(KEY_BYTES), {}
    *lines, _ = raw.split(b"\n")  # behind the last end of line: nothing, or a torn one
    entries: dict[str, Entry] = {}
    try:
        head = msgspec.json.decode(lines[0], type=Head)
        if head.version != VERSION:
            raise CliError("STORE_VERSION", f"{path}: format version {head.version}")
        for line in lines[1:]:
            entry = msgspec.json.decode(line, type=Entry)
            entries[entry.id] = entry
        return bytes.fromhex(head.key), entries
    except (IndexError, ValueError, RecursionError, msgspec.MsgspecError):
        raise CliError(
            "STORE_DAMAGED",
            f"{path} is not what was written",
            next_step="restore it from a backup; without it files are taken as new: --state FILE",
        ) from None
