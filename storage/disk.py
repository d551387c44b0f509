"""The few file operations that the journal, the vault and the bucket log are built from, and their order.

What survives a power cut: bytes of a file after `sync` on it, names in a directory (created,
renamed, removed) after `sync_directory` on it. Nothing else. `tests/storage/memory_disk.py`
implements exactly that promise and no more.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from storage.birth import born_us
from storage.errors import StoreUnavailable

TEMP_SUFFIX = ".tmp"  # of files that were never renamed: swept at start


class AppendFile(Protocol):
    """An open file that grows at its end."""

    def write(self, data: bytes) -> None:
        """All of it, in one system call where the system takes it."""

    def sync(self) -> None: ...

    def truncate(self, size: int) -> None: ...

    def close(self) -> None: ...


class ReadFile(Protocol):
    def read(self, size: int) -> bytes: ...

    def seek(self, position: int) -> None:
        """What is read next begins so many bytes after the file's first."""

    def read_at(self, position: int, size: int) -> bytes:
        """What stands there, less where the file ends; from any thread, whatever else reads."""

    def size(self) -> int: ...

    def close(self) -> None: ...


class Disk(Protocol):
    def make_directory(self, path: str) -> None:
        """With its parents; durable on return; no error if it exists."""

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none if there is no such directory."""

    def exists(self, path: str) -> bool: ...

    def identity(self, path: str) -> tuple[int, int, int]:
        """(device, inode, microsecond in which it came to be; 0 where nobody knows)."""

    def read(self, path: str) -> bytes | None:
        """The whole file; None if there is none."""

    def open_read(self, path: str) -> ReadFile | None: ...

    def create(self, path: str) -> AppendFile:
        """A new file, mode 0600; an old one of this name is emptied."""

    def open_append(self, path: str) -> AppendFile: ...

    def rename(self, old: str, new: str) -> None: ...

    def remove(self, path: str) -> None:
        """No error if there is no such file."""

    def sync_directory(self, path: str) -> None: ...

    def lock(self, path: str) -> Callable[[], None]:
        """Hold an exclusive lock until the returned function is called.

        Raises `StoreUnavailable` (STORE_LOCKED) if another process holds it."""


class _File:
    def __init__(self, path: str, flags: int) -> None:
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        # The size of an appended file belongs to what fdatasync makes durable (POSIX); the
        # times, which it may skip, are nobody's concern here.
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def seek(self, position: int) -> None:
        os.lseek(self._descriptor, position, os.SEEK_SET)

    def read_at(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    def make_directory(self, path: str) -> None:
        missing = [p for p in (Path(path), *Path(path).parents) if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            self.sync_directory(str(directory.parent))
        if not missing:  # but made in a moment in which the power went
            self.sync_directory(str(Path(path).parent))

    def names(self, path: str) -> list[str]:
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def identity(self, path: str) -> tuple[int, int, int]:
        status = os.stat(path)
        return status.st_dev, status.st_ino, born_us(path)

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None

    def open_read(self, path: str) -> ReadFile | None:
        try:
            return _File(path, os.O_RDONLY)
        except FileNotFoundError:
            return None

    def create(self, path: str) -> AppendFile:
        return _File(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def open_append(self, path: str) -> AppendFile:
        return _File(path, os.O_WRONLY | os.O_APPEND)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> Callable[[], None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreUnavailable(
                f"{path} is held by another process",
                code="STORE_LOCKED",
                hint="Another node runs with this home: stop it first (salus status).",
            ) from None
        return lambda: os.close(descriptor)


def write_atomic(disk: Disk, directory: str, name: str, data: bytes) -> None:
    """Write a whole file: temp → sync → rename → sync the directory, old content or new."""
    temp = f"{directory}/{name}{TEMP_SUFFIX}"
    file = disk.create(temp)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
    disk.rename(temp, f"{directory}/{name}")
    disk.sync_directory(directory)


def sweep_temps(disk: Disk, directory: str) -> None:
    """Remove what a crash left half written."""
    for name in disk.names(directory):
        if name.endswith(TEMP_SUFFIX):
            disk.remove(f"{directory}/{name}")


def io_errors(what: str) -> "_IoErrors":
    """`OSError`s inside become `StoreUnavailable` with a next step."""
    return _IoErrors(what)


class _IoErrors:
    """Around each append of the journal: a class, for a generator costs as much as the append."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(
                f"no space left for {self._what}",
                code="DISK_FULL",
                hint="Free some space and start the node again; nothing certified is lost.",
            ) from error
        reason = os.strerror(error.errno or errno.EIO)
        raise StoreUnavailable(f"{self._what} could not be read or written ({reason})") from error
