"""Files that hospitals exchange once the network runs: to join it, and to change a key."""

import json
import shutil
from pathlib import Path

import pytest

from cli import key_rotation
from cli.ceremony import joining, keys_of
from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import public_key_of
from node.standing import BIRTH_MARK, NEXT_BIRTH_MARK, is_born
from salus.governance import possession
from salus.join import read_admission, read_join
from salus.keys import address, verify
from salus.rotation import read_rotation
from tests.cli.conftest import Salus

PASSWORD = "x"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A founder's home with genesis, and hosp-e's that joins: each init costs three argon2id."""
    from cli.main import run

    root = tmp_path_factory.mktemp("joining")
    (root / "password").write_text(PASSWORD + "\n")
    (root / "password").chmod(0o600)
    word = ["--password-file", str(root / "password")]

    def call(*arguments: object) -> None:
        assert run([str(argument) for argument in arguments]) == 0, arguments

    a = root / "hosp-a"
    call("init", "--moniker", "hosp-a", "--endpoint", "a.example:7400", *word, "--home", a)
    call("genesis", "new", "--chain-id", "health-net", "-o", root / "draft.json")
    call("genesis", "assemble", root / "draft.json", a / "join.json", "-o", root / "genesis.json")
    agreed = ["--genesis-hash", genesis_hash(root)]
    call("genesis", "install", root / "genesis.json", "--hash", agreed[1], "--home", a)
    call(
        "init", "--moniker", "hosp-e", "--endpoint", "e.example:7400", *word,
        "--from-genesis", root / "genesis.json", *agreed, "--join", a / "join.json",
        "--home", root / "hosp-e",
    )  # fmt: skip
    return root


def genesis_hash(root: Path) -> str:
    from salus.genesis import from_json

    return from_json((root / "genesis.json").read_bytes()).hash().hex()


@pytest.fixture
def home(made: Path, tmp_path: Path) -> NodeHome:
    """A copy of the joining home; its birth mark stays behind, as in life."""
    shutil.copytree(made / "hosp-e", tmp_path / "hosp-e")
    shutil.copytree(made / "hosp-a", tmp_path / "hosp-a")
    return NodeHome(tmp_path / "hosp-e")


# -- to join ---------------------------------------------------------------------------------


def test_a_home_for_a_running_network_is_ready_to_follow_it(made: Path, salus: Salus) -> None:
    home = made / "hosp-e"
    card, admission = read_admission((home / "join.json").read_bytes())
    assert admission is not None
    assert admission.chain_id == "health-net"
    payload = possession("health-net", "hosp-e", "node")
    assert verify(card.member.node_key, payload, admission.node_possession)
    assert "@a.example:7400" in (home / "node.toml").read_text()
    assert salus("genesis", "hash", "--home", home).out.strip() == genesis_hash(made)
    checks = salus("start", "--config-check", "--home", home, "--json").document["checks"]
    (keys,) = [check for check in checks if check["name"] == "keys"]
    assert keys["ok"] is None, "whether it is a member by now, only the chain can say"
    assert "hosp-e" in keys["detail"]


def test_a_founding_takes_the_file_as_well(made: Path) -> None:
    assert read_join((made / "hosp-e" / "join.json").read_bytes()).member.id == "hosp-e"


def test_an_id_of_a_founder_is_refused_before_keys_are_made(
    made: Path, tmp_path: Path, salus: Salus
) -> None:
    done = salus(
        "init", "--moniker", "hosp-a", "--from-genesis", made / "genesis.json",
        "--genesis-hash", genesis_hash(made), "--home", tmp_path / "new",
    )  # fmt: skip
    assert done.code == 2
    assert not (tmp_path / "new").exists()


def test_a_home_made_before_it_knew_the_chain_joins_by_vote(
    made: Path, tmp_path: Path, salus: Salus
) -> None:
    """`init` first, genesis later: `install --by-vote`, then `genesis join` signs for the chain."""
    shutil.copytree(made / "hosp-e", tmp_path / "hosp-e")
    home = tmp_path / "hosp-e"
    (home / "genesis.json").unlink()
    document = json.loads((home / "join.json").read_bytes())
    del document["admission"]
    (home / "join.json").write_text(json.dumps(document))
    agreed = ("--hash", genesis_hash(made), "--home", home, "--json")
    refused = salus("genesis", "install", made / "genesis.json", *agreed)
    assert (refused.code, refused.document["error"]["code"]) == (78, "NOT_IN_GENESIS")
    assert "--by-vote" in refused.document["error"]["next"]
    assert salus("genesis", "install", made / "genesis.json", "--by-vote", *agreed).code == 0
    target = tmp_path / "join.json"
    signed = ("genesis", "join", "-o", target, "--password-file", made / "password", "--home", home)
    assert salus(*signed).code == 0
    _, admission = read_admission(target.read_bytes())
    assert admission is not None
    assert admission.chain_id == "health-net"


def test_a_file_for_a_founding_admits_nobody_to_a_running_network(
    made: Path, tmp_path: Path
) -> None:
    with pytest.raises(CliError) as caught:
        keys_of(made / "hosp-a" / "join.json")
    assert caught.value.code == "BAD_JOIN"
    assert "--by-vote" in caught.value.next_step
    told, fingerprint = keys_of(made / "hosp-e" / "join.json")
    assert told["member"] == "hosp-e"
    assert len(fingerprint) == 19


# -- to change a key -------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", key_rotation.ROTATED)
def test_a_new_key_waits_beside_the_old_one_and_takes_its_place(
    home: NodeHome, capacity: str
) -> None:
    old = public_key_of(home.keys / f"{capacity}.json")
    rotation = key_rotation.begin(home, capacity, PASSWORD)
    assert key_rotation.begin(home, capacity, PASSWORD) == rotation, "made once"
    file = key_rotation.rotation_file(home, capacity)
    assert read_rotation(file.read_bytes()) == rotation
    assert keys_of(file)[0]["new_key"] == rotation.new_key.hex()
    assert public_key_of(home.keys / f"{capacity}.json") == old, "in force until the vote"
    assert key_rotation.waiting_key(home, capacity) == rotation.new_key

    assert key_rotation.finish(home, capacity, PASSWORD) == rotation.new_key
    assert public_key_of(home.keys / f"{capacity}.json") == rotation.new_key
    assert public_key_of(home.keys / f"{capacity}.replaced.json") == old
    card = read_join(home.join.read_bytes())
    assert getattr(card.member, f"{capacity}_key") == rotation.new_key
    assert not file.exists()
    assert key_rotation.finish(home, capacity, PASSWORD) == rotation.new_key, "done is done"
    with pytest.raises(CliError, match="no new"):
        key_rotation.waiting_key(home, capacity)

    again = key_rotation.begin(home, capacity, PASSWORD)
    key_rotation.finish(home, capacity, PASSWORD)
    assert public_key_of(home.keys / f"{capacity}.replaced-2.json") == rotation.new_key
    assert public_key_of(home.keys / f"{capacity}.json") == again.new_key


def test_a_founder_with_another_key_asks_for_no_admission(home: NodeHome) -> None:
    founder = NodeHome(home.path.parent / "hosp-a")
    key_rotation.begin(founder, "node", PASSWORD)
    key_rotation.finish(founder, "node", PASSWORD)
    card, admission = read_admission(founder.join.read_bytes())
    assert admission is None
    assert joining(founder, card) is None
    assert joining(home, read_join(home.join.read_bytes())) == "health-net"


def test_only_a_node_key_brings_a_birth_mark(home: NodeHome) -> None:
    (home.data / BIRTH_MARK).unlink()
    key_rotation.begin(home, "operator", PASSWORD)
    assert not (home.data / NEXT_BIRTH_MARK).exists()
    key_rotation.begin(home, "node", PASSWORD)
    mark = (home.data / NEXT_BIRTH_MARK).stat().st_ino
    key_rotation.begin(home, "node", PASSWORD)
    assert (home.data / NEXT_BIRTH_MARK).stat().st_ino == mark
    assert not is_born(home.data), "not before the key is in its place"
    key_rotation.finish(home, "node", PASSWORD)
    assert is_born(home.data)


@pytest.mark.parametrize("steps", range(4))
def test_a_crash_between_any_two_steps_is_finished_by_the_next_call(
    home: NodeHome, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renames one by one: whatever was done, is done; what was not, follows."""
    (home.data / BIRTH_MARK).unlink()
    rotation = key_rotation.begin(home, "node", PASSWORD)
    left = steps
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        nonlocal left
        if not left:
            raise OSError("the machine is gone")
        left -= 1
        return rename(path, target)

    def gone(*_: object, **__: object) -> str:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        patch.setattr(key_rotation, "sign_card", gone)
        with pytest.raises(OSError, match="gone"):
            key_rotation.finish(home, "node", PASSWORD)
    assert key_rotation.finish(home, "node", PASSWORD) == rotation.new_key
    assert public_key_of(home.keys / "node.json") == rotation.new_key
    assert is_born(home.data)
    assert read_join(home.join.read_bytes()).member.node_key == rotation.new_key


def test_the_command_tells_what_to_do_with_the_file(
    home: NodeHome, made: Path, salus: Salus
) -> None:
    word = ("--password-file", made / "password", "--home", home.path)
    dry = salus("keys", "rotate", "operator", "--dry-run", *word, "--json")
    assert (dry.code, dry.document["exists"]) == (0, False)
    done = salus("keys", "rotate", "operator", *word)
    assert done.code == 0
    rotation = read_rotation(key_rotation.rotation_file(home, "operator").read_bytes())
    assert address(rotation.new_key) in done.out
    assert rotation.fingerprint() in done.out
    assert "salus gov propose rotate-operator-key --key-file" in done.out
    early = salus("keys", "rotate", "operator", "--finish", *word, "--json")
    assert early.code == 6, "no node can say yet that the vote has taken effect"
    assert public_key_of(home.keys / "operator.json") != rotation.new_key
    assert salus("keys", "rotate", "node", "--finish", *word, "--json").code == 65


# -- where the others are --------------------------------------------------------------------


def peers(home: NodeHome) -> list[str]:
    return [str(peer) for peer in home.settings()["p2p"]["peers"]]


def test_a_new_hospital_is_added_to_the_peers_and_taken_out_again(
    home: NodeHome, salus: Salus
) -> None:
    """Beside those of genesis, which stay as they were; never this node itself."""
    founder = NodeHome(home.path.parent / "hosp-a")
    card = read_join(home.join.read_bytes())
    at = ("--home", founder.path)
    assert salus("peer", "add", home.join, "--dry-run", *at).code == 0
    assert "peers" not in founder.settings()["p2p"]
    done = salus("peer", "add", home.join, founder.join, *at)
    assert done.code == 0
    assert card.fingerprint() in done.err
    assert peers(founder) == [f"{address(card.member.node_key)}@e.example:7400"]
    before = founder.config.read_text()
    assert salus("peer", "add", home.join, *at).code == 0
    assert founder.config.read_text() == before, "twice is once"
    assert peers(home)[0].endswith("@a.example:7400")

    key = address(card.member.node_key)
    assert salus("peer", "remove", key, "--dry-run", *at).code == 0
    assert len(peers(founder)) == 1
    assert salus("peer", "remove", key, *at).code == 0
    assert peers(founder) == []
    assert salus("peer", "remove", key, *at).code == 5
    assert salus("start", "--config-check", *at).code == 0


def test_a_file_that_was_changed_adds_no_peer(home: NodeHome, salus: Salus) -> None:
    forged = home.path.parent / "forged.json"
    forged.write_text(home.join.read_text().replace("e.example", "evil.example"))
    before = home.config.read_text()
    assert salus("peer", "add", forged, "--home", home.path).code == 65
    assert home.config.read_text() == before
