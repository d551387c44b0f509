"""Who may be able to read a file with a password."""

from pathlib import Path

import pytest

from cli.errors import CliError
from cli.keyfiles import read_password


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("a long secret\n")
    path.chmod(0o440)
    return path


def test_a_password_that_the_group_can_read_is_refused(secret: Path) -> None:
    with pytest.raises(CliError, match="can be read by others"):
        read_password(secret)


def test_a_credential_of_systemd_is_accepted(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ACL for the service's user shows as the group's bits; nobody else gets it by that."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    assert read_password(secret) == "a long secret"


def test_a_credential_that_everybody_can_read_is_refused(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.chmod(0o444)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    with pytest.raises(CliError, match="can be read by others"):
        read_password(secret)
