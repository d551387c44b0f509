"""A short run with everything in it; the long one is ./scripts/jepsen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.main import COMMANDS
from contracts.catalogue import registry
from tests.history.node import CHAIN_ID, HistoryNode
from tests.node.network import Hospitals

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 9
RUN_S = 300  # a machine that is busy with the rest of the suite


@pytest.mark.slow
@pytest.mark.timeout(RUN_S + 30)
def test_clients_see_one_register_and_one_set_while_nodes_die_sleep_and_are_cut_off(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.history", "--seconds", str(SECONDS), "--seed", "27",
         "--json", "--keep", tmp_path / "kept"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    faults, operations = report["faults"], report["operations"]
    assert faults["kill"] > 0
    assert set(faults) & {"isolate", "halves", "ring", "one way"}, faults
    for kind in ("write", "swap", "read", "add", "read by query", "see by query"):
        assert operations[kind]["done"] > 0, kind
    assert report["blocks"] > 0
    assert report["pairs"] > 0
    assert "is seen as one" in report["control"]


def test_nobody_serves_the_applications_of_the_tests_in_another_chain(tmp_path: Path) -> None:
    group = Hospitals(tmp_path, 1)
    assert group.genesis.chain_id != CHAIN_ID
    with pytest.raises(CliError, match="no chain of a test"):
        HistoryNode(group.home(0), group.config(0), group.genesis, group.keys[0], bytes(32))
    assert not (group.home(0) / "data" / "state").exists()


def test_no_setting_no_command_and_no_catalogue_leads_there() -> None:
    """What is installed neither names the module nor knows the two applications."""
    packages = ("salus", "consensus", "contracts", "storage", "node", "cli")
    for package in packages:
        for file in (ROOT / package).rglob("*.py"):
            assert "tests.history" not in file.read_text(), file
    assert all("history" not in place for place, _ in COMMANDS.values())
    assert {name for name, _ in registry().contracts}.isdisjoint({"register", "grow"})
