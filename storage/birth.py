"""When a file came to be. An inode number tells two files apart only while both exist: many file
systems give a number again at once, so a restored copy can look like what was deleted before it.

Python's `os.stat` does not know the birth time on Linux; the system call statx(2) does. Where
nobody knows (an old kernel, some network file systems) it is 0, and whoever compares leaves it out.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

UNKNOWN = 0

# ◆ of the Linux kernel, the same on every architecture (include/uapi/linux/stat.h).
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_MASK, _BTIME_S, _BTIME_NS = slice(0, 4), slice(80, 88), slice(88, 92)


def born_us(path: str | os.PathLike[str]) -> int:
    """Microseconds since 1970, or `UNKNOWN`. Raises `FileNotFoundError`."""
    status = os.stat(path)
    found = getattr(status, "st_birthtime", None)  # macOS, the BSDs
    if found is not None:
        return int(found * 1_000_000)
    statx = _statx()
    if statx is None:
        return UNKNOWN
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return UNKNOWN
    if not _native(buffer.raw[_MASK]) & _STATX_BTIME:
        return UNKNOWN
    return _native(buffer.raw[_BTIME_S]) * 1_000_000 + _native(buffer.raw[_BTIME_NS]) // 1_000


def may_be_same(one_us: int, other_us: int) -> bool:
    """False: certainly two files."""
    return UNKNOWN in (one_us, other_us) or one_us == other_us


@functools.cache
def _statx() -> Callable[..., Any] | None:
    """The wrapper of the C library; None where it has none."""
    try:
        return ctypes.CDLL(None, use_errno=True).statx
    except (AttributeError, OSError, TypeError):
        return None


def _native(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)
