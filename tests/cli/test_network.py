"""The commands that outsiders call, on four real processes; what they print and how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands.demo import demo
from tests.e2e.shell import patient, until
from tests.stopwatch import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

UP_S = 10
DATA = Path(__file__).parent.parent.parent / "cli" / "data"


def salus(*arguments: object, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SALUS_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def document(*arguments: object) -> Any:
    done = salus(*patient(*arguments), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, Stopwatch]]:
    home = tmp_path_factory.mktemp("net") / "home"
    try:
        with Stopwatch() as watch:
            described = document("testnet", "up", "-n", 4, "--home", home)
        yield home, described, watch
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0


@pytest.fixture(scope="module")
def net(timed: tuple[Path, Any, Stopwatch]) -> tuple[Path, Any]:
    return timed[:2]


@pytest.fixture(scope="module")
def record(net: tuple[Path, Any]) -> Any:
    home, _ = net
    return document("record", "add", DATA / "visit-1.json", "--home", home, "--node", "hosp-a")


def test_four_nodes_are_up_within_10_s(timed: tuple[Path, Any, Stopwatch]) -> None:
    """From nothing: keys, genesis, homes, processes, and all see each other."""
    timed[2].check("testnet up", UP_S)


def test_up_prints_what_the_checks_from_outside_expect(net: tuple[Path, Any]) -> None:
    home, described = net
    assert set(described) == {"chain_id", "genesis_hash", "nodes"}
    assert len(described["nodes"]) == 4
    for node in described["nodes"]:
        assert {"name", "pid", "api", "home", "address"} <= set(node)
        assert (Path(node["home"]) / "node.pid").read_text().strip() == str(node["pid"])
        os.kill(node["pid"], 0)
    assert document("testnet", "up", "-n", 4, "--home", home) == described
    assert salus("testnet", "up", "-n", 5, "--home", home).returncode == 73


def test_a_record_is_added_and_comes_back(net: tuple[Path, Any], record: Any) -> None:
    home, _ = net
    assert {"record_id", "tx_id", "height", "commitment"} <= set(record)
    done = salus("record", "get", record["record_id"], "--home", home, "--node", "hosp-a")
    assert done.stdout.encode() == (DATA / "visit-1.json").read_bytes()


def test_a_node_is_named_by_name_or_url(net: tuple[Path, Any], record: Any) -> None:
    home, described = net
    for node in ("hosp-c", described["nodes"][2]["api"]):
        status = document("status", "--node", node, "--home", home)
        assert {"height", "view", "primary", "syncing", "peers"} <= set(status)
        assert status["member"] == "hosp-c"
    assert salus("status", "--node", "hosp-z", "--home", home).returncode == 2


def test_the_proof_of_a_transaction_verifies_and_a_changed_one_does_not(
    net: tuple[Path, Any], record: Any, tmp_path: Path
) -> None:
    home, described = net
    path = tmp_path / "x.proof"
    made = salus("proof", "make", record["tx_id"], "--node", "hosp-b", "--home", home, "-o", path)
    assert made.returncode == 0, made.stderr
    good = salus("verify", path, "--genesis", described["genesis_hash"])
    assert good.returncode == 0
    assert good.stdout.splitlines()[-1] == "VERIFIED offline (no network used)"
    assert salus("verify", path).returncode == 2
    assert salus("verify", path, "--genesis", "00" * 32).returncode == 1
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert salus("verify", path, "--genesis", described["genesis_hash"]).returncode == 1


def test_bad_fhir_is_refused_with_the_path_of_the_fault(
    net: tuple[Path, Any], tmp_path: Path
) -> None:
    home, _ = net
    bundle = json.loads((DATA / "visit-1.json").read_bytes())
    bundle["entry"][0]["resource"]["birthDate"] = "yesterday"
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bundle))
    done = salus("record", "add", path, "--home", home, "--node", "hosp-a", "--json")
    assert done.returncode == 65
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "BAD_FHIR"
    assert "birthDate" in error["message"]
    assert "yesterday" not in done.stdout + done.stderr


def test_doctor_names_the_dead_and_db_check_reads_their_disk(
    net: tuple[Path, Any], record: Any
) -> None:
    home, described = net
    assert salus("doctor", "--home", home).returncode == 0
    assert salus("db", "check", "--home", described["nodes"][3]["home"]).returncode == 69
    try:
        assert salus("testnet", "kill", "hosp-c", "hosp-d", "--home", home).returncode == 0
        for node in described["nodes"][2:]:
            checked = salus("db", "check", "--replay", "--home", node["home"])
            assert checked.returncode == 0, checked.stdout
        done = salus("doctor", "--home", home, "--node", "hosp-d", "--json")
        assert done.returncode == 1
        found = json.loads(done.stdout)
        assert found["next"] == "salus testnet start hosp-d"
        here = ("doctor", "--home", home, "--node", "hosp-a", "--json")
        # Who was heard of within two timeouts counts as there.
        until("hosp-a misses them", lambda: salus(*here).returncode == 1)
        assert "hosp-c" in json.loads(salus(*here).stdout)["cause"]
    finally:
        started = salus("testnet", "start", "hosp-c", "hosp-d", "--home", home)
    assert started.returncode == 0, started.stderr


def test_no_answer_is_six_and_a_paused_node_is_no_answer(net: tuple[Path, Any]) -> None:
    home, _ = net
    assert salus("testnet", "pause", "hosp-b", "--home", home).returncode == 0
    try:
        done = salus("status", "--node", "hosp-b", "--home", home, "--timeout", "1", "--json")
        assert done.returncode == 6
        assert json.loads(done.stdout)["error"]["code"] == "UNREACHABLE"
    finally:
        assert salus("testnet", "resume", "hosp-b", "--home", home).returncode == 0


def test_a_partition_says_what_to_expect_and_heals(net: tuple[Path, Any]) -> None:
    home, _ = net
    split = document("testnet", "partition", "hosp-a,hosp-b / hosp-c,hosp-d", "--home", home)
    try:
        assert split["goes_on"] is False
    finally:
        healed = document("testnet", "heal", "--home", home)
    assert len(healed["healed"]) == 4


def test_the_ledgers_story_ends_with_verified() -> None:
    """The patient's is told in tests/e2e/test_demo.py; without --story both are."""
    (story,) = (one for one in demo.params if one.name == "story")
    assert story.default == "all"
    done = salus("demo", "--story", "ledger", "--fast", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("VERIFIED ")


def test_each_node_has_a_keeper_and_it_is_told_when_it_does_not_answer(
    net: tuple[Path, Any],
) -> None:
    home, described = net
    for name in (node["name"] for node in described["nodes"]):
        keeper = document("keeper", "status", "--home", home, "--node", name)
        assert (keeper["running"], keeper["org"], keeper["unwrappings"]) == (True, name, 0)
    node = home / "nodes" / "hosp-b"
    assert document("status", "--home", node)["keeper"] == {"named": True, "answers": True}
    found = document("doctor", "--home", node)
    assert [one["ok"] for one in found["findings"] if one["name"] == "keeper"] == [True]
    pid = int((node / "keeper" / "keeper.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until("the keeper has closed", lambda: not (node / "keeper" / "keeper.sock").exists())
    try:
        assert document("status", "--home", node)["keeper"] == {"named": True, "answers": False}
        done = salus("doctor", "--home", node, "--json")
        assert done.returncode == 1
        (bad,) = [one for one in json.loads(done.stdout)["findings"] if one["ok"] is False]
        assert (bad["code"], bad["next"]) == ("KEEPER_DOWN", "salus keeper start")
        assert "down" in salus("testnet", "status", "--home", home).stdout
    finally:
        document("testnet", "kill", "hosp-b", "--home", home)
        document("testnet", "start", "hosp-b", "--home", home)
    assert document("keeper", "status", "--home", home, "--node", "hosp-b")["running"]


def test_doctor_takes_the_ports_of_a_node_that_answers_for_its_own(
    net: tuple[Path, Any],
) -> None:
    """Under systemd there is no pid file; a healthy node must not be told that its port is taken."""
    home, _ = net
    node = home / "nodes" / "hosp-b"
    pid = node / "node.pid"
    pid.rename(pid.with_suffix(".away"))
    try:
        found = document("doctor", "--home", node)
    finally:
        pid.with_suffix(".away").rename(pid)
    assert found["ok"], found
    assert not [f for f in found["findings"] if f["name"].startswith("port")]
