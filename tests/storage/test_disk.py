"""On the real disk: what is synced in which order, and what the operator is told."""

import errno
import os
from pathlib import Path

import pytest

from storage.disk import RealDisk, io_errors, write_atomic
from storage.errors import StoreUnavailable


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that matter for durability, in their order, by file name."""
    seen: list[str] = []

    def name(descriptor: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))

    for call in ("fsync", "fdatasync"):
        original = getattr(os, call)

        def synced(descriptor: int, original: object = original) -> None:
            seen.append(f"sync {name(descriptor)}")
            original(descriptor)  # type: ignore[operator]

        monkeypatch.setattr(os, call, synced)
    write, replace = os.write, os.replace

    def written(descriptor: int, data: bytes) -> int:
        seen.append(f"write {name(descriptor)}")
        return write(descriptor, data)

    def replaced(old: str, new: str) -> None:
        seen.append(f"rename {os.path.basename(new)}")
        replace(old, new)

    monkeypatch.setattr(os, "write", written)
    monkeypatch.setattr(os, "replace", replaced)
    return seen


def test_a_file_is_whole_on_disk_before_it_has_its_name(tmp_path: Path, calls: list[str]) -> None:
    write_atomic(RealDisk(), str(tmp_path), "name", b"data")
    assert calls == ["write name.tmp", "sync name.tmp", "rename name", f"sync {tmp_path.name}"]
    assert (tmp_path / "name").read_bytes() == b"data"
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o600


def test_new_directories_are_synced_into_their_parents(tmp_path: Path, calls: list[str]) -> None:
    disk = RealDisk()
    disk.make_directory(f"{tmp_path}/a/b")
    assert calls == [f"sync {tmp_path.name}", "sync a"]
    disk.make_directory(f"{tmp_path}/a/b")
    assert calls[2:] == ["sync a"], "the power may have gone between the two"


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    file = RealDisk().create(f"{tmp_path}/file")
    file.write(b"0123456789")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_what_is_not_there_reads_as_nothing(tmp_path: Path) -> None:
    disk = RealDisk()
    assert disk.read(f"{tmp_path}/none") is None
    assert disk.open_read(f"{tmp_path}/none") is None
    assert disk.names(f"{tmp_path}/none") == []
    disk.remove(f"{tmp_path}/none")


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "DISK_FULL"), (errno.EDQUOT, "DISK_FULL"), (errno.EIO, "STORE_IO")],
)
def test_system_errors_come_with_a_code_and_a_next_step(number: int, code: str) -> None:
    with pytest.raises(StoreUnavailable) as failed, io_errors("data/journal"):
        raise OSError(number, os.strerror(number))
    assert failed.value.code == code
    assert "data/journal" in failed.value.message
    assert failed.value.hint
