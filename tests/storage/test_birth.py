"""When a file came to be: what tells a restored file from the one whose inode it was given."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from storage import birth
from storage.birth import UNKNOWN, born_us, may_be_same


def _known() -> bool:
    with tempfile.NamedTemporaryFile() as file:
        return born_us(file.name) != UNKNOWN


needs_birth_times = pytest.mark.skipif(not _known(), reason="the file system keeps no birth times")


def let_files_be_younger(directory: Path) -> None:
    """Until the clock of the file system has moved on: it ticks some hundred times a second."""
    probe = directory / "probe"
    probe.touch()
    first = born_us(probe)
    while born_us(probe) == first:
        probe.unlink()
        probe.touch()
    probe.unlink()


@needs_birth_times
def test_the_birth_time_is_now_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before_us = time.time_ns() // 1_000
    path.write_text("a")
    born = born_us(path)
    assert abs(born - before_us) < 60_000_000
    path.write_text("b")
    path.chmod(0o600)
    os.utime(path, (0, 0))
    path.rename(tmp_path / "other")
    assert born_us(tmp_path / "other") == born


@needs_birth_times
def test_a_copy_is_younger_whatever_times_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    let_files_be_younger(tmp_path)
    shutil.copy2(path, tmp_path / "copy")
    assert not may_be_same(born_us(path), born_us(tmp_path / "copy"))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        born_us(tmp_path / "none")


def test_a_system_that_cannot_tell_says_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(birth, "_statx", lambda: None)
    if not hasattr(os.stat(tmp_path), "st_birthtime"):
        assert born_us(tmp_path / "file") == UNKNOWN
    monkeypatch.setattr(birth, "_statx", lambda: lambda *_: -1)
    if not hasattr(os.stat(tmp_path), "st_birthtime"):
        assert born_us(tmp_path / "file") == UNKNOWN


def test_what_is_not_known_is_not_compared() -> None:
    assert may_be_same(UNKNOWN, 5)
    assert may_be_same(5, UNKNOWN)
    assert may_be_same(5, 5)
    assert not may_be_same(5, 6)
