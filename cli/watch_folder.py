"""A folder that others write into: which files of it are whole, and their content.

Law of the file: nothing outside of the folder is read (no link is followed, not even one that
takes a directory's place while we look), and nothing that is still being written.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SETTLE_S = 2.0  # A file that did not change for so long between two looks is whole.
OLD_S = 60.0  # One that was changed so long ago is whole at the first look.
DEPTH_MAX = 64  # folders in folders: each one on the way is held open
UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart")  # as copying programs name them


class Sight(NamedTuple):
    """A file as it was seen; another sight of the same path is another file."""

    path: str  # inside of the folder
    size: int
    modified_ns: int
    inode: int


class Folder:
    """`clock`: seconds that only go forward; `now_ns`: since 1970, as files count."""

    def __init__(
        self,
        root: Path,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.root, self._settle_s, self._clock, self._now_ns = root, settle_s, clock, now_ns
        self._since: dict[Sight, float] = {}
        self.changing = 0  # files that the last look left alone
        self.skipped = 0  # links, devices, directories that may not be read

    def look(self) -> list[Sight]:
        """The files that are whole, by path; hidden ones and `UNFINISHED` are none. Raises
        `OSError` when the folder itself is gone."""
        self.skipped = 0
        os.stat(self.root)
        sights = sorted(self._walk())
        now = self._clock()
        self._since = {sight: self._since.get(sight, now) for sight in sights}
        whole = [sight for sight in sights if self._whole(sight, now)]
        self.changing = len(sights) - len(whole)
        return whole

    def read(self, sight: Sight, bytes_max: int) -> bytes | None:
        """None if it is not that file any more; at most one byte more than `bytes_max`. Raises
        `OSError`."""
        descriptor = self._open(sight.path)
        with os.fdopen(descriptor, "rb") as stream:
            if self._sight(sight.path, os.fstat(descriptor)) != sight:
                return None
            content = stream.read(bytes_max + 1)
            return content if self._sight(sight.path, os.fstat(descriptor)) == sight else None

    def _walk(self) -> list[Sight]:
        sights = []
        for place, folders, names, descriptor in os.fwalk(
            self.root, follow_symlinks=False, onerror=self._unreadable
        ):
            below = os.path.relpath(place, self.root)
            if below.count(os.sep) >= DEPTH_MAX:
                self.skipped += len(folders)
                folders.clear()
            folders[:] = [name for name in folders if not name.startswith(".")]
            self.skipped += sum(os.path.islink(os.path.join(place, name)) for name in folders)
            for name in names:
                if name.startswith(".") or name.lower().endswith(UNFINISHED):
                    continue
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError:
                    continue  # gone meanwhile
                if not stat.S_ISREG(found.st_mode):
                    self.skipped += 1
                    continue
                sights.append(self._sight(os.path.normpath(os.path.join(below, name)), found))
        return sights

    def _unreadable(self, _: OSError) -> None:
        self.skipped += 1

    def _whole(self, sight: Sight, now: float) -> bool:
        age_s = (self._now_ns() - sight.modified_ns) / 1e9
        return age_s >= OLD_S or now - self._since[sight] >= self._settle_s

    def _open(self, path: str) -> int:
        *folders, name = path.split(os.sep)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        here = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            for folder in folders:
                below = os.open(folder, flags | os.O_DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
            # Non-blocking: a pipe that took the file's place would be waited for.
            return os.open(name, flags | os.O_NONBLOCK, dir_fd=here)
        finally:
            os.close(here)

    @staticmethod
    def _sight(path: str, found: os.stat_result) -> Sight:
        return Sight(path, found.st_size, found.st_mtime_ns, found.st_ino)
