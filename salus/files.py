"""Files that are on disk wholly or not at all: keys, tokens, proofs, documents.

temp → sync → link or rename → sync of the directory. Readable by the owner only unless the
caller says otherwise. Law of the file: after a power cut a name stands for its old content, its
new content, or nothing; never for a part.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self

OWNER_ONLY = 0o600


def write_new(path: Path, data: bytes, *, random: Callable[[int], bytes] = os.urandom) -> None:
    """Raises `FileExistsError` if the name is taken, by whomever and however late."""
    _write(path, data, OWNER_ONLY, random, _publish)


def replace(path: Path, data: bytes, *, mode: int = OWNER_ONLY) -> None:
    """A new file, or other content for an old one, which keeps its mode."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        pass
    _write(path, data, mode, os.urandom, os.replace)


def _write(
    path: Path,
    data: bytes,
    mode: int,
    random: Callable[[int], bytes],
    publish: Callable[[Path, Path], None],
) -> None:
    temp = path.with_name(f".{path.name[:200]}.{random(8).hex()}.tmp")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    _sync_directory(path)


def _publish(temp: Path, path: Path) -> None:
    """A link fails where the name exists; a rename would silently replace."""
    try:
        os.link(temp, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (a backup on a memory stick): look first, then rename.
        if path.exists():
            raise FileExistsError(path) from None
        temp.rename(path)


class NewFile:
    """A new file that is written in pieces: there once `publish` has returned, else never.

    with NewFile(path) as file: file.write(…); file.publish()
    """

    def __init__(self, path: Path, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._temp = path.with_name(f".{path.name[:200]}.{random(8).hex()}.tmp")

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._stream = os.fdopen(os.open(self._temp, flags, OWNER_ONLY), "wb")
        return self

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def publish(self) -> None:
        """Durable on return. Raises `FileExistsError` if the name is taken."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        _publish(self._temp, self._path)
        self._temp.unlink(missing_ok=True)
        _sync_directory(self._path)

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._temp.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
