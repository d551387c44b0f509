"""What keeps a node from starting: named with its cause, its next step and its own exit code."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.home import NodeHome
from cli.preflight import Preflight
from node.config import load
from node.config_docs import render_toml
from salus import pepper
from salus.genesis import GENESIS_VERSION, NO_PEPPER, Genesis, Member, Role, to_json
from salus.keys import SigningKey, box_public_key
from salus.keystore import TESTNET, write
from salus.parameters import Parameters
from tests.cli.conftest import Salus


def settings(p2p: int, api: int, **more: object) -> str:
    listen = {"p2p.listen": f"127.0.0.1:{p2p}", "api.listen": f"127.0.0.1:{api}"}
    return render_toml({"profile": "dev"} | listen | more)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that could start: one member, its key, its genesis. Port 0: any."""
    seed = b"\7" * 32
    write(tmp_path / "keys" / "node.json", seed, "x", kind="node", kdf=TESTNET)
    member = Member(
        "hosp-a", "A", (Role.HOSPITAL,), True,
        SigningKey.from_seed(seed).public_key, SigningKey.from_seed(b"\1" * 32).public_key,
        b"\3" * 32,
    )  # fmt: skip
    founding = Genesis(GENESIS_VERSION, "test-net", 1, (member,), Parameters(), NO_PEPPER)
    (tmp_path / "genesis.json").write_text(to_json(founding))
    (tmp_path / "node.toml").write_text(settings(0, 0))
    return tmp_path


def check(salus: Salus, home: Path) -> tuple[int, str]:
    result = salus("start", "--config-check", "--home", home, "--json")
    document = result.document
    return result.code, document["error"]["code"] if "error" in document else "OK"


def test_a_sound_home_may_start(home: Path, salus: Salus) -> None:
    assert check(salus, home) == (0, "OK")


def test_verify_all_is_the_setting_for_once(
    home: Path, salus: Salus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(
        "cli.commands.start.run_node", lambda home, overrides, password: seen.append(overrides)
    )
    monkeypatch.setattr("cli.keyfiles.password_for", lambda *_: "x")
    for options in ((), ("--verify-all",)):
        assert salus("start", *options, "--home", home).code == 0
    assert seen == [{}, {"sync.verify_all": "true"}]
    loaded = [load(home / "node.toml", overrides=chosen).config for chosen in seen]
    assert [config.sync.verify_all for config in loaded] == [False, True]


@pytest.mark.parametrize("place", ["keys/node.json", "keeper/keys/keeper.json"])
def test_a_key_of_a_test_network_is_refused_in_production(
    home: Path, salus: Salus, place: str
) -> None:
    (home / "node.toml").write_text(settings(0, 0, profile="prod"))
    (home / "keys" / "node.json").unlink()
    write(home / "keys" / "node.json", b"\7" * 32, "x", kind="node")  # as `salus init` does
    assert check(salus, home) == (0, "OK")
    (home / place).unlink(missing_ok=True)
    write(home / place, b"\7" * 32, "x", kind="node", kdf=TESTNET)
    assert check(salus, home) == (78, "BAD_KEYSTORE")
    (home / "node.toml").write_text(settings(0, 0))
    assert check(salus, home) == (0, "OK")


def test_a_fault_in_the_settings_is_78(home: Path, salus: Salus) -> None:
    (home / "node.toml").write_text("version = 1\n[p2p]\nlisten = 5\n")
    assert check(salus, home)[0] == 78


def test_a_taken_port_is_69(home: Path, salus: Salus, taken: int) -> None:
    (home / "node.toml").write_text(settings(0, taken))
    assert check(salus, home) == (69, "PORT_TAKEN")
    (home / "node.toml").write_text(settings(taken, 0))
    assert check(salus, home) == (69, "PORT_TAKEN")


def test_a_full_disk_is_74(home: Path, salus: Salus) -> None:
    (home / "node.toml").write_text(settings(0, 0, **{"storage.free_min": "1000000GiB"}))
    assert check(salus, home) == (74, "DISK_FULL")


def test_a_key_that_is_not_in_genesis_is_78(home: Path, salus: Salus) -> None:
    (home / "keys" / "node.json").unlink()
    write(home / "keys" / "node.json", b"\x08" * 32, "x", kind="node", kdf=TESTNET)
    assert check(salus, home) == (78, "NOT_IN_GENESIS")


def test_a_missing_key_or_genesis_is_78(home: Path, salus: Salus) -> None:
    (home / "keys" / "node.json").unlink()
    assert check(salus, home)[0] == 78
    (home / "genesis.json").unlink()
    assert check(salus, home) == (78, "NOT_IN_GENESIS")


def test_a_folder_that_is_no_home_is_78(tmp_path: Path, salus: Salus) -> None:
    assert check(salus, tmp_path) == (78, "NO_HOME")


def test_without_a_password_the_node_does_not_start(home: Path, salus: Salus) -> None:
    assert salus("start", "--home", home).code == 7


def test_doctor_reads_the_disk_of_a_dead_node(home: Path, salus: Salus, taken: int) -> None:
    """Everything at once, and the cause is the fault that explains the others."""
    (home / "keys" / "node.json").unlink()
    (home / "node.toml").write_text(settings(0, taken, **{"storage.free_min": "1000000GiB"}))
    result = salus("doctor", "--home", home, "--json")
    assert result.code == 1
    bad = {f["name"] for f in result.document["findings"] if f["ok"] is False}
    assert {"keys", "disk", "port api"} <= bad
    assert "keys" in result.document["cause"]


def test_doctor_says_that_the_pepper_is_missing_or_another_one(home: Path, salus: Salus) -> None:
    """A warning: the node does all else without it."""
    document = json.loads((home / "genesis.json").read_text())
    secret = b"\x05" * 32
    document["pepper_commitment"] = pepper.commitment(secret).hex()
    (home / "genesis.json").write_text(json.dumps(document))
    (home / "join.json").write_text(json.dumps({"member": {"id": "hosp-a"}}))

    def found() -> tuple[bool | None, str]:
        findings = salus("doctor", "--home", home, "--json").document["findings"]
        (one,) = (each for each in findings if each["name"] == "pepper")
        return one["ok"], one.get("code", "OK")

    box = {"hosp-a": box_public_key(b"\x06" * 32)}
    assert found() == (None, "NO_PEPPER")
    (home / "pepper.json").write_text(pepper.write(pepper.sealed(b"\x04" * 32, "test-net", box)))
    assert found() == (None, "WRONG_PEPPER")
    (home / "pepper.json").write_text("{}")
    assert found() == (None, "BAD_PEPPER_FILE")
    (home / "pepper.json").write_text(pepper.write(pepper.sealed(secret, "test-net", box)))
    (home / "pepper.json").chmod(0o644)
    assert found() == (None, "BAD_PEPPER_FILE")
    (home / "pepper.json").chmod(0o600)
    assert found() == (True, "OK")


def test_doctor_finds_a_damaged_vote_journal(home: Path, salus: Salus) -> None:
    journal = home / "data" / "journal"
    journal.mkdir(parents=True)
    from storage.segment import SEGMENT_SUFFIX

    (journal / f"0000000000000001{SEGMENT_SUFFIX}").write_bytes(b"not a journal at all")
    result = salus("doctor", "--home", home, "--json")
    found = {f["name"]: f for f in result.document["findings"]}
    assert found["journal"]["ok"] is False
    assert found["journal"]["next"]


def test_the_checks_change_nothing(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert all(finding.ok is not False for finding in Preflight(NodeHome(home)).run())
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
