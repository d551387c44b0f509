"""The files of one node, under the real vote journal and log of buckets: `storage.disk.Disk` over memory.

What survives a power cut is what that file promises and no more: bytes after `sync` of the file,
names after `sync_directory`. The rest is torn anywhere. A restored copy has other inodes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from storage.disk import AppendFile, ReadFile
from tests.sim.power import Power

Image = dict[str, dict[str, bytes]]  # directory → name → content


class Inode:
    __slots__ = ("content", "number", "synced_bytes")

    def __init__(self, number: int, content: bytes = b"") -> None:
        self.number = number
        self.content = bytearray(content)
        self.synced_bytes = len(content)


class Directory:
    __slots__ = ("names", "synced")

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.synced: dict[str, Inode] = {}


class Files:
    """The `Disk` of one node. Locks are not modelled: one process uses it at a time."""

    def __init__(self, power: Power) -> None:
        self.power = power
        self.directories: dict[str, Directory] = {}
        self._inodes = 0

    # -- storage.disk.Disk ----------------------------------------------------------------------

    def make_directory(self, path: str) -> None:
        while path and path not in self.directories:
            self.directories[path] = Directory()
            path = path.rpartition("/")[0]

    def names(self, path: str) -> list[str]:
        directory = self.directories.get(path)
        return [] if directory is None else sorted(directory.names)

    def exists(self, path: str) -> bool:
        return self._find(path) is not None

    def identity(self, path: str) -> tuple[int, int, int]:
        number = self._inode(path).number
        return 1, number, 1_000 + number

    def read(self, path: str) -> bytes | None:
        inode = self._find(path)
        return None if inode is None else bytes(inode.content)

    def open_read(self, path: str) -> ReadFile | None:
        inode = self._find(path)
        return None if inode is None else File(self.power, inode)

    def create(self, path: str) -> AppendFile:
        directory, name = self._split(path)
        self.power.room()
        self.power.spend()
        self._inodes += 1
        inode = directory.names[name] = Inode(self._inodes)
        return File(self.power, inode)

    def open_append(self, path: str) -> AppendFile:
        return File(self.power, self._inode(path))

    def rename(self, old: str, new: str) -> None:
        source, name = self._split(old)
        target, new_name = self._split(new)
        self.power.spend()
        target.names[new_name] = source.names.pop(name)

    def remove(self, path: str) -> None:
        directory, name = self._split(path)
        if name in directory.names:
            self.power.spend()
            del directory.names[name]

    def sync_directory(self, path: str) -> None:
        self.power.spend()
        directory = self.directories[path]
        directory.synced = dict(directory.names)

    def lock(self, path: str) -> Callable[[], None]:
        return lambda: None

    # -- what happens to it ---------------------------------------------------------------------

    def lose(self, random: Random) -> None:
        """The power is gone: of what was not synced a part may have reached the disk."""
        for directory in self.directories.values():
            if directory.names != directory.synced:
                if random.random() < 0.5:
                    directory.synced = dict(directory.names)
                directory.names = dict(directory.synced)
            for inode in directory.names.values():
                unsynced = len(inode.content) - inode.synced_bytes
                if unsynced > 0:
                    kept = inode.synced_bytes + int(random.random() * (unsynced + 1))
                    del inode.content[kept:]
                    inode.synced_bytes = kept

    def image(self) -> Image:
        return {
            path: {name: bytes(inode.content) for name, inode in directory.names.items()}
            for path, directory in self.directories.items()
        }

    def restore(self, image: Image, *, same_inodes: bool) -> None:
        """Back to what an image holds. A copied file is another file, with another inode; an
        image of the whole disk, taken below the file system, brings the inodes back as well."""
        before = self.directories
        self.directories = {}
        for path, names in image.items():
            directory = self.directories[path] = Directory()
            for name, content in names.items():
                known = before[path].names.get(name) if path in before else None
                if same_inodes and known is not None:
                    number = known.number
                else:
                    self._inodes += 1
                    number = self._inodes
                directory.names[name] = Inode(number, content)
            directory.synced = dict(directory.names)

    def flip_bit(self, path: str, random: Random) -> bool:
        """One bit of a file, at rest; False if there is nothing to flip."""
        for name in reversed(self.names(path)):
            content = self.directories[path].names[name].content
            if content:
                content[int(random.random() * len(content))] ^= 1 << int(random.random() * 8)
                return True
        return False

    def wipe(self, path: str) -> None:
        """With all below it."""
        for known in [p for p in self.directories if p == path or p.startswith(path + "/")]:
            del self.directories[known]

    def _split(self, path: str) -> tuple[Directory, str]:
        directory, _, name = path.rpartition("/")
        return self.directories[directory], name

    def _find(self, path: str) -> Inode | None:
        where, _, name = path.rpartition("/")
        directory = self.directories.get(where)
        return None if directory is None else directory.names.get(name)

    def _inode(self, path: str) -> Inode:
        inode = self._find(path)
        if inode is None:
            raise FileNotFoundError(2, "no such file", path)
        return inode


class File:
    __slots__ = ("_inode", "_power")

    def __init__(self, power: Power, inode: Inode) -> None:
        self._power, self._inode = power, inode

    def write(self, data: bytes) -> None:
        if self._power.full:
            self._inode.content += data[: len(data) // 2]  # as far as there was room
            self._power.room()
        # A cut in the middle of a write may leave any part of it, see `lose`.
        self._inode.content += data
        self._power.spend()

    def sync(self) -> None:
        self._power.spend()
        self._inode.synced_bytes = len(self._inode.content)

    def truncate(self, size: int) -> None:
        self._power.spend()
        del self._inode.content[size:]
        self._inode.synced_bytes = min(self._inode.synced_bytes, size)

    def read_at(self, position: int, size: int) -> bytes:
        return bytes(self._inode.content[position : position + size])

    def size(self) -> int:
        return len(self._inode.content)

    def read(self, size: int) -> bytes:
        raise NotImplementedError("the vault is not simulated")

    def seek(self, position: int) -> None:
        raise NotImplementedError("the vault is not simulated")

    def close(self) -> None:
        pass
