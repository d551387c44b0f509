"""Unix sockets in deep folders: an address holds about a hundred bytes, a path has more.

Linux names an open folder /proc/self/fd/N; through that name any path is short.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salus.errors import SalusError

SOCKET_PATH_BYTES_MAX = 100  # sun_path has 104 to 108, by system
_OPEN_FOLDERS = Path("/proc/self/fd")


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A name of the socket that can be bound and connected to, as long as the block lasts. Raises
    `OSError` if there is no such folder, `SalusError` (CONFIG_INVALID) where no name is short enough.
    """
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    if not _OPEN_FOLDERS.is_dir():
        raise SalusError(
            f"{path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes",
            code="CONFIG_INVALID",
        )
    # O_PATH: who may pass through the folder need not have the right to list it.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{_OPEN_FOLDERS}/{folder}/{path.name}"
    finally:
        os.close(folder)
