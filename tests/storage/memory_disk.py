"""A disk that keeps exactly what `storage/disk.py` promises, and can lose the rest.

Every operation that changes something is counted; `crash_at` raises `PowerCut` in place of the
operation with that number (0 = the first). `lose` then leaves what a power cut leaves:
`bytes_kept` of what each file had unsynced, and unsynced names only with `names_kept`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from storage.disk import AppendFile, ReadFile


class PowerCut(BaseException):
    """Not an `Exception`: no handler of the code under test may go on after it."""


@dataclass
class Inode:
    number: int
    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass
class Directory:
    names: dict[str, Inode] = field(default_factory=dict)
    synced: dict[str, Inode] = field(default_factory=dict)


class MemoryDisk:
    def __init__(self) -> None:
        self.directories: dict[str, Directory] = {}
        self.operations: list[str] = []  # words like «write 000.seg», for tests of the order
        self.crash_at: int | None = None
        self.fail_with: OSError | None = None  # raised once, by the next write
        self._inodes = 0

    def lose(self, *, bytes_kept: Callable[[int], int] = lambda size: 0, names_kept: bool) -> None:
        for directory in self.directories.values():
            if names_kept:
                directory.synced = dict(directory.names)
            directory.names = dict(directory.synced)
            for inode in directory.names.values():
                unsynced = bytes(inode.content[len(inode.synced) :])
                inode.content = bytearray(inode.synced + unsynced[: bytes_kept(len(unsynced))])
                inode.synced = bytes(inode.content)
        self.crash_at = None

    def step(self, word: str) -> None:
        if self.crash_at is not None and len(self.operations) >= self.crash_at:
            raise PowerCut(word)
        self.operations.append(word)

    def make_directory(self, path: str) -> None:
        while path and path not in self.directories:
            self.directories[path] = Directory()
            path = path.rpartition("/")[0]

    def names(self, path: str) -> list[str]:
        return sorted(self.directories.get(path, Directory()).names)

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
        return None if inode is None else File(self, path, inode)

    def create(self, path: str) -> AppendFile:
        directory, name = self._split(path)
        self.step(f"create {name}")
        self._inodes += 1
        directory.names[name] = Inode(self._inodes)
        return File(self, path, directory.names[name])

    def open_append(self, path: str) -> AppendFile:
        return File(self, path, self._inode(path))

    def rename(self, old: str, new: str) -> None:
        directory, name = self._split(old)
        target, target_name = self._split(new)
        self.step(f"rename {target_name}")
        target.names[target_name] = directory.names.pop(name)

    def remove(self, path: str) -> None:
        directory, name = self._split(path)
        if name in directory.names:
            self.step(f"remove {name}")
            del directory.names[name]

    def sync_directory(self, path: str) -> None:
        self.step("sync directory")
        self.directories[path].synced = dict(self.directories[path].names)

    def lock(self, path: str) -> Callable[[], None]:
        if not self.exists(path):
            self.create(path).close()
        return lambda: None

    def _split(self, path: str) -> tuple[Directory, str]:
        directory, _, name = path.rpartition("/")
        return self.directories[directory], name

    def _find(self, path: str) -> Inode | None:
        directory, _, name = path.rpartition("/")
        return self.directories.get(directory, Directory()).names.get(name)

    def _inode(self, path: str) -> Inode:
        inode = self._find(path)
        if inode is None:
            raise FileNotFoundError(2, "no such file", path)
        return inode


class File:
    def __init__(self, disk: MemoryDisk, path: str, inode: Inode) -> None:
        self._disk, self._name, self._inode = disk, path.rpartition("/")[2], inode
        self._at = 0

    def write(self, data: bytes) -> None:
        if self._disk.fail_with is not None:
            error, self._disk.fail_with = self._disk.fail_with, None
            self._inode.content += data[: len(data) // 2]
            raise error
        try:
            self._disk.step(f"write {self._name}")
        finally:
            # A cut in the middle of a write may leave any part of it.
            self._inode.content += data

    def sync(self) -> None:
        self._disk.step(f"sync {self._name}")
        self._inode.synced = bytes(self._inode.content)

    def truncate(self, size: int) -> None:
        self._disk.step(f"truncate {self._name}")
        del self._inode.content[size:]
        self._inode.synced = self._inode.synced[:size]

    def seek(self, position: int) -> None:
        self._at = position

    def read(self, size: int) -> bytes:
        data = bytes(self._inode.content[self._at : self._at + size])
        self._at += len(data)
        return data

    def read_at(self, position: int, size: int) -> bytes:
        return bytes(self._inode.content[position : position + size])

    def size(self) -> int:
        return len(self._inode.content)

    def close(self) -> None:
        pass
