"""Who has the API's token reads documents: an empty or readable one must never serve."""

import os
from pathlib import Path
from typing import Any

import pytest

from node.api.guard import Guard
from node.api.settings import ApiSettings
from node.errors import ConfigError
from node.token import api_token


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_token_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "api.token"
    token = api_token(path)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert api_token(path) == token
    assert [file.name for file in tmp_path.iterdir()] == ["api.token"]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short\n", b"\0" * 64, b"a b" * 32, b"\xff" * 64, b"x" * 5000]
)
def test_a_file_that_holds_no_token_keeps_the_node_from_starting(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ConfigError, match="CONFIG_UNSAFE"):
        api_token(written(tmp_path / "api.token", content))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_may_read_keeps_the_node_from_starting(
    tmp_path: Path, mode: int
) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        api_token(written(tmp_path / "api.token", b"t" * 43, mode))


def test_a_full_disk_leaves_no_empty_token_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        api_token(tmp_path / "api.token")
    assert not list(tmp_path.iterdir())


def test_the_guard_takes_no_empty_token() -> None:
    with pytest.raises(AssertionError):
        Guard(ApiSettings(token=""), lambda: 0.0)
