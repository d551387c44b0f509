"""Keys of a home: made once, never overwritten, opened by a password that others cannot read."""

import json
from pathlib import Path

import pytest

from cli.home import NodeHome
from cli.keyfiles import make_keys
from salus.genesis import to_json
from salus.join import read_join
from salus.keys import verify
from salus.staff import possession
from tests import factories
from tests.cli.conftest import Salus


@pytest.fixture
def home(tmp_path: Path, salus: Salus, password_file: Path) -> Path:
    home = tmp_path / "home"
    result = salus(
        "init", "--moniker", "hosp-a", "--endpoint", "a.example:7400",
        "--password-file", password_file, "--home", home, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    return home


def test_init_makes_a_home_that_only_its_owner_reads(home: Path) -> None:
    assert home.stat().st_mode & 0o077 == 0
    for path in (home / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    card = read_join((home / "join.json").read_bytes())
    assert (card.member.id, card.endpoint) == ("hosp-a", "a.example:7400")
    assert not (home / "keys" / "password").exists()


def test_init_marks_the_birth_of_the_vote_journal(home: Path) -> None:
    """S4: only a node whose keys were just made may vote without a journal."""
    assert (home / "data" / "journal.birth").exists()


def test_init_refuses_to_overwrite(home: Path, salus: Salus, password_file: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    result = salus(
        "init", "--moniker", "hosp-b", "--password-file", password_file, "--home", home, "--json"
    )
    assert result.code == 73
    assert result.document["error"]["code"] == "REFUSES_OVERWRITE"
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_init_dry_run_makes_nothing(tmp_path: Path, salus: Salus) -> None:
    assert salus("init", "--moniker", "hosp-a", "--home", tmp_path / "x", "--dry-run").code == 0
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--moniker", "Hosp A"],
        ["--moniker", "a", "--role", "wizard"],
        ["--moniker", "a", "--endpoint", "x"],
    ],
)
def test_init_names_what_is_wrong(
    tmp_path: Path, salus: Salus, password_file: Path, wrong: list[str]
) -> None:
    home = tmp_path / "home"
    result = salus("init", *wrong, "--password-file", password_file, "--home", home)
    assert result.code == 2
    assert not home.exists()


def test_a_password_file_that_others_can_read_is_refused(
    tmp_path: Path, salus: Salus, password_file: Path
) -> None:
    password_file.chmod(0o644)
    result = salus(
        "init", "--moniker", "a", "--password-file", password_file, "--home", tmp_path / "h"
    )
    assert result.code == 7
    assert "chmod 600" in result.err


def test_keys_are_listed_without_a_password_and_checked_with_one(
    home: Path, salus: Salus, password_file: Path, tmp_path: Path
) -> None:
    listed = salus("keys", "list", "--home", home, "--json").document["keys"]
    assert [key["name"] for key in listed] == ["box", "node", "operator"]
    shown = salus(
        "keys",
        "show",
        "node",
        "--check",
        "--password-file",
        password_file,
        "--home",
        home,
        "--json",
    )
    assert shown.document["checked"] is True
    password_file.write_text("wrong\n")
    wrong = salus("keys", "show", "--check", "--password-file", password_file, "--home", home)
    assert wrong.code == 7
    assert "error[WRONG_PASSWORD]" in wrong.err


def test_a_key_travels_by_export_and_import(
    home: Path, salus: Salus, password_file: Path, tmp_path: Path
) -> None:
    made = salus("keys", "new", "dr-x", "--password-file", password_file, "--home", home, "--json")
    assert made.document["kind"] == "staff"
    other = tmp_path / "other-password"
    other.write_text("another\n")
    other.chmod(0o600)
    backup = tmp_path / "backup" / "dr-x.json"
    exported = salus(
        "keys", "export", "dr-x", "-o", backup, "--new-password-file", other,
        "--password-file", password_file, "--home", home,
    )  # fmt: skip
    assert exported.code == 0, exported.err
    imported = salus(
        "keys", "import", backup, "dr-y", "--file-password-file", other,
        "--password-file", password_file, "--home", home,
    )  # fmt: skip
    assert imported.code == 0, imported.err
    document = json.loads((home / "keys" / "dr-y.json").read_text())
    assert document["address"] == made.document["address"]
    again = salus(
        "keys", "import", backup, "dr-y", "--file-password-file", other,
        "--password-file", password_file, "--home", home,
    )  # fmt: skip
    assert again.code == 73


def test_an_imported_validator_key_gets_no_birth_mark(
    home: Path, salus: Salus, password_file: Path, tmp_path: Path
) -> None:
    """S4: a restored key must not vote as if nothing had been signed before."""
    fresh = tmp_path / "fresh"
    result = salus(
        "keys", "import", home / "keys" / "node.json", "node", "--file-password-file",
        password_file, "--password-file", password_file, "--home", fresh,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert not (fresh / "data").exists()


def test_keys_are_not_made_over_existing_ones(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "operator.json").write_text("{}")
    with pytest.raises(Exception, match="never overwritten"):
        make_keys(home, "x")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["operator.json"]


def test_a_staff_key_signs_that_it_belongs_to_the_organisation(
    home: Path, salus: Salus, password_file: Path
) -> None:
    """What members.staff_register asks for; else anybody could register the key as his own."""
    founding = factories.genesis()
    (home / "genesis.json").write_text(to_json(founding))
    common = ("--password-file", password_file, "--home", home, "--json")
    assert salus("keys", "new", "nurse", *common).code == 0
    handle = "ab" * 32
    signed = salus("keys", "possession", "nurse", "--handle", handle, *common).document
    payload = possession(founding.chain_id, "hosp-a", bytes.fromhex(handle))
    key, signature = (bytes.fromhex(signed[name]) for name in ("key", "possession"))
    assert verify(key, payload, signature)
    assert salus("keys", "possession", "nurse", "--handle", "x", *common).code == 2
