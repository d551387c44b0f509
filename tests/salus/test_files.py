"""Files are on disk wholly or not at all, and their owner's."""

import os
from pathlib import Path

import pytest

from salus.files import replace, write_new


def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_new_file_is_its_owners_and_never_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_new(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_new(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["x"]


def test_other_content_for_an_old_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    replace(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    replace(path, b"two", mode=0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)


def test_a_full_disk_leaves_the_old_content_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_new(path, b"one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["x"]
