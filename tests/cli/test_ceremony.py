"""The founding ceremony on four homes: everybody ends with the same document, or with an error."""

import json
import shutil
from pathlib import Path

import pytest

from cli import peppers
from cli.errors import CliError
from salus.genesis import from_json
from tests import factories
from tests.cli.conftest import Salus

NAMES = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
WITHOUT_GENESIS = shutil.ignore_patterns("genesis.json", "pepper.json")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four homes, made once: each costs three argon2id."""
    from cli.main import run

    root = tmp_path_factory.mktemp("ceremony")
    password = root / "password"
    password.write_text("x\n")
    password.chmod(0o600)
    for name in NAMES:
        arguments = ["init", "--moniker", name, "--endpoint", f"{name}.example:7400"]
        assert run([*arguments, "--password-file", str(password), "--home", str(root / name)]) == 0
    return root


@pytest.fixture
def draft(tmp_path: Path, salus: Salus) -> Path:
    path = tmp_path / "draft.json"
    assert salus("genesis", "new", "--chain-id", "health-net", "-o", path).code == 0
    return path


def joins(homes: Path) -> list[Path]:
    return [homes / name / "join.json" for name in NAMES]


def test_the_order_of_the_join_files_does_not_matter(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    hashes = set()
    for number, files in enumerate((joins(homes), joins(homes)[::-1])):
        target = tmp_path / f"genesis-{number}.json"
        result = salus("genesis", "assemble", draft, *files, "-o", target, "--json")
        assert result.code == 0, result.out
        assert result.document["quorum"] == 3
        hashes.add(result.document["genesis_hash"])
        assert from_json(target.read_bytes()).hash().hex() == result.document["genesis_hash"]
    assert len(hashes) == 1


@pytest.mark.parametrize("field", ["name", "box_key", "endpoint"])
def test_a_join_file_that_was_changed_is_refused(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus, field: str
) -> None:
    document = json.loads((homes / "hosp-b" / "join.json").read_bytes())
    if field == "endpoint":
        document["endpoint"] = "evil.example:7400"
    elif field == "name":
        document["member"]["name"] = "Another hospital"
    else:
        document["member"]["box_key"] = "11" * 32
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    target = tmp_path / "genesis.json"
    result = salus("genesis", "assemble", draft, *joins(homes)[:1], forged, "-o", target)
    assert result.code == 65
    assert "forged.json" in result.err
    assert "did not sign" in result.err
    assert not target.exists()


def test_the_same_hospital_twice_is_refused(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    result = salus("genesis", "assemble", draft, *joins(homes)[:1] * 2, "-o", tmp_path / "g.json")
    assert result.code == 65
    assert "error[BAD_GENESIS]" in result.err


def test_install_takes_only_the_agreed_document(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    genesis = tmp_path / "genesis.json"
    made = salus("genesis", "assemble", draft, *joins(homes), "-o", genesis, "--json").document
    places = [word for path in joins(homes) for word in ("--join", path)]
    home = homes / "hosp-a"
    other = salus("genesis", "install", genesis, "--hash", "00" * 32, *places, "--home", home)
    assert other.code == 65
    assert not (home / "genesis.json").exists()
    agreed = made["genesis_hash"]
    dry = salus(
        "genesis", "install", genesis, "--hash", agreed, *places, "--home", home, "--dry-run"
    )
    assert dry.code == 0
    assert not (home / "genesis.json").exists()
    done = salus("genesis", "install", genesis, "--hash", agreed, *places, "--home", home, "--json")
    assert done.document["member"] == "hosp-a"
    assert salus("genesis", "hash", "--home", home).out.strip() == agreed
    config = (home / "node.toml").read_text()
    assert config.count("@hosp-") == 3
    assert "@hosp-a.example" not in config
    # A second genesis never replaces the first.
    later = tmp_path / "later.json"
    salus("genesis", "assemble", draft, *joins(homes)[:3], "-o", later)
    digest = salus("genesis", "hash", later).out.strip()
    assert salus("genesis", "install", later, "--hash", digest, "--home", home).code == 73
    assert salus("start", "--config-check", "--home", home).code in (0, 69)


def test_a_node_that_moved_signs_its_new_place_and_the_others_take_it(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    """`p2p.advertise` is where the join file says the others reach it."""
    genesis, moved = tmp_path / "genesis.json", tmp_path / "moved.json"
    made = salus("genesis", "assemble", draft, *joins(homes), "-o", genesis, "--json").document
    for name in NAMES[2:]:
        shutil.copytree(homes / name, tmp_path / name)
    agreed = ("--hash", made["genesis_hash"], "--home", tmp_path / "hosp-c")
    places = [word for path in joins(homes) for word in ("--join", path)]
    assert salus("genesis", "install", genesis, *agreed, *places).code == 0

    home, password = tmp_path / "hosp-d", homes / "password"
    config = home / "node.toml"
    before = json.loads((home / "join.json").read_bytes())
    config.write_text(config.read_text().replace("hosp-d.example:7400", "new.example:7401"))
    assert salus("genesis", "join", "--home", home, "-o", moved).code != 0  # the keys are locked
    assert not moved.exists()
    signed = ("genesis", "join", "--home", home, "--password-file", password)
    assert salus(*signed, "-o", moved).code == 0
    assert json.loads(moved.read_bytes())["endpoint"] == "new.example:7401"
    assert json.loads(moved.read_bytes())["member"] == before["member"]
    assert salus("genesis", "join", "--home", home).out.strip() == moved.read_text().strip()

    assert salus("genesis", "install", genesis, *agreed, "--join", moved).code == 0
    peers = (tmp_path / "hosp-c" / "node.toml").read_text()
    assert [peers.count(f"@{name}.example:7400") for name in NAMES] == [1, 1, 0, 0]
    assert peers.count("@new.example:7401") == 1


def test_a_home_that_is_not_in_genesis_is_told(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    genesis = tmp_path / "genesis.json"
    salus("genesis", "assemble", draft, *joins(homes)[:3], "-o", genesis)
    digest = salus("genesis", "hash", genesis).out.strip()
    result = salus(
        "genesis", "install", genesis, "--hash", digest, "--home", homes / "hosp-d", "--json"
    )
    assert result.code == 78
    assert result.document["error"]["code"] == "NOT_IN_GENESIS"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epoch_block_max=5", "Did you mean «epoch_blocks_max»"),
        ("epoch_blocks_max=x", "NAME=NUMBER"),
        ("watermark_window=1", "error[BAD_GENESIS]"),
    ],
)
def test_parameters_are_checked_before_anything_is_written(
    tmp_path: Path, salus: Salus, setting: str, words: str
) -> None:
    target = tmp_path / "draft.json"
    result = salus("genesis", "new", "--chain-id", "abc", "--set", setting, "-o", target)
    assert result.code in (2, 65)
    assert words in result.err
    assert not target.exists()


# -- the pepper of identity tags ---------------------------------------------------------------


def test_each_founder_gets_the_pepper_sealed_and_genesis_names_it(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    genesis = tmp_path / "genesis.json"
    made = salus("genesis", "assemble", draft, *joins(homes), "-o", genesis, "--json").document
    secret = (tmp_path / "draft.json.secret").read_text().strip()
    assert (tmp_path / "draft.json.secret").stat().st_mode & 0o777 == 0o600
    for public in (genesis, tmp_path / "genesis.json.pepper", draft):
        assert secret not in public.read_text()
    for name in NAMES[:2]:
        home = tmp_path / name
        shutil.copytree(homes / name, home, ignore=WITHOUT_GENESIS)
        agreed = ("--hash", made["genesis_hash"], "--home", home, "--json")
        assert salus("genesis", "install", genesis, *agreed).document["pepper"]
        assert (home / "pepper.json").stat().st_mode & 0o777 == 0o600
        assert list(json.loads((home / "pepper.json").read_text())["copies"]) == [name]
        word = ("--password-file", homes / "password", "--home", home)
        assert salus("keys", "pepper", "check", *word).code == 0
    # One founder's copy opens nothing at another's.
    shutil.copy(tmp_path / "hosp-a" / "pepper.json", tmp_path / "hosp-b" / "pepper.json")
    other = salus("keys", "pepper", "check", *word, "--json")
    assert (other.code, other.document["error"]["code"]) == (65, "WRONG_PEPPER")


def test_another_founding_has_another_pepper_and_its_copies_are_refused(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    genesis, second = tmp_path / "genesis.json", tmp_path / "second.json"
    made = salus("genesis", "assemble", draft, *joins(homes), "-o", genesis, "--json").document
    salus("genesis", "new", "--chain-id", "health-net", "-o", tmp_path / "draft-2.json")
    salus("genesis", "assemble", tmp_path / "draft-2.json", *joins(homes), "-o", second)
    named = [json.loads(path.read_text())["pepper_commitment"] for path in (genesis, second)]
    assert named[0] != named[1]
    home = tmp_path / "hosp-a"
    shutil.copytree(homes / "hosp-a", home, ignore=WITHOUT_GENESIS)
    agreed = ("--hash", made["genesis_hash"], "--home", home, "--json")
    other = tmp_path / "second.json.pepper"
    refused = salus("genesis", "install", genesis, "--pepper", other, *agreed)
    assert (refused.code, refused.document["error"]["code"]) == (65, "WRONG_PEPPER")
    assert not (home / "genesis.json").exists(), "it is noticed before anything is written"
    (tmp_path / "genesis.json.pepper").unlink()
    done = salus("genesis", "install", genesis, *agreed)
    assert (done.code, done.document["pepper"]) == (0, False)
    word = ("--password-file", homes / "password", "--home", home, "--json")
    missing = salus("keys", "pepper", "check", *word)
    assert (missing.code, missing.document["error"]["code"]) == (78, "NO_PEPPER")
    wrong = salus("keys", "pepper", "import", other, *word)
    assert (wrong.code, wrong.document["error"]["code"]) == (65, "WRONG_PEPPER")
    assert not (home / "pepper.json").exists()


def test_a_founding_without_its_secret_is_not_assembled(
    homes: Path, draft: Path, tmp_path: Path, salus: Salus
) -> None:
    (tmp_path / "draft.json.secret").write_text("00" * 32 + "\n")
    target = tmp_path / "genesis.json"
    assemble = ("genesis", "assemble", draft, *joins(homes), "-o", target, "--json")
    wrong = salus(*assemble)
    assert (wrong.code, wrong.document["error"]["code"]) == (65, "WRONG_PEPPER")
    (tmp_path / "draft.json.secret").unlink()
    missing = salus(*assemble)
    assert (missing.code, missing.document["error"]["code"]) == (78, "NO_PEPPER")
    assert not target.exists()


def test_a_copy_is_sealed_to_a_members_own_key_alone_while_it_is_in_force() -> None:
    """A node that lies, or another one than one's own, names whatever key it likes."""
    founding = factories.genesis(2)
    first = founding.members[0]
    truth = {"id": first.id, "status": "active", "box_key": first.box_key.hex()}
    later = {"id": "late", "status": "active", "box_key": "07" * 32}
    assert peppers.box_key_of(founding, first.id, truth) == first.box_key
    assert peppers.box_key_of(founding, "late", later) == b"\7" * 32
    for found, to, code in (
        (None, first.id, "UNKNOWN_MEMBER"),
        (truth | {"status": "removed"}, first.id, "UNKNOWN_MEMBER"),
        (later | {"status": "suspended"}, "late", "MEMBER_SUSPENDED"),
        (truth | {"box_key": "07" * 32}, first.id, "NOT_PROVED"),
    ):
        with pytest.raises(CliError) as caught:
            peppers.box_key_of(founding, to, found)
        assert caught.value.code == code
