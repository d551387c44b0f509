"""Calls the command line inside this process and hands back what a shell would see."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import run

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON object on stdout; fails if there is more or less."""
        return json.loads(self.out)


Salus = Callable[..., Result]


@pytest.fixture
def salus(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Salus:
    for name in ("SALUS_HOME", "SALUS_NODE", "SALUS_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path
