"""The liar of the benchmark: refused by all others, and out of reach of any setting (S15)."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from cli.bench import lying_validator
from cli.bench.lying_validator import CHAIN_ID, LIES_FILE, LyingNode
from cli.errors import CliError
from cli.main import COMMANDS
from node.node import Node
from tests.node.network import Hospitals, eventually
from tests.node.test_node import anchor, commit


class Playhouse(Hospitals):
    """Four hospitals of the benchmark's chain, one of them a liar."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.genesis = msgspec.structs.replace(self.genesis, chain_id=CHAIN_ID)
        first = self.genesis.validators().validators[0].public_key
        self.liar = next(i for i in range(self.n) if self.keys[i].public_key == first)

    def start_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for index in range(self.n):
            with monkeypatch.context() as patch:
                if index == self.liar:
                    patch.setattr("tests.node.network.Node", _lying)
                self.start(index)


def _lying(*parts: object) -> Node:
    return LyingNode(*parts[:5])  # type: ignore[arg-type]


async def test_a_lying_primary_is_refused_and_loses_its_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    group = Playhouse(tmp_path)
    group.start_all(monkeypatch)
    try:
        await group.connected()
        honest = [index for index in group.nodes if index != group.liar]
        made = [anchor(group, number, org=index) for number, index in enumerate(honest)]
        heights = await asyncio.gather(
            *(commit(group, index, tx) for index, tx in zip(honest, made, strict=True))
        )
        lies = (group.home(group.liar) / LIES_FILE).read_text().split()
        assert lies, "it was the primary, and had something to propose"
        await group.height(max(heights))
        for index in group.nodes:
            node = group.nodes[index]
            assert all(node.state.find_transaction(bytes.fromhex(lie)) is None for lie in lies)
        for index in honest:
            await eventually(lambda at=index: group.nodes[at].vitals.view_changes >= 1)  # type: ignore[misc]

        def refused() -> bool:
            told = [r for r in caplog.records if r.getMessage() == "bad_proposal"]
            codes = [r.fields["code"] for r in told]  # type: ignore[attr-defined]
            return codes.count("BAD_SIGNATURE") >= len(honest)

        await eventually(refused)
    finally:
        for index in tuple(group.nodes):
            await group.stop(index)


def test_nobody_lies_in_another_chain(tmp_path: Path) -> None:
    group = Hospitals(tmp_path, 1)
    with pytest.raises(CliError, match="nobody lies here"):
        LyingNode(group.home(0), group.config(0), group.genesis, group.keys[0], bytes(32))
    assert not (group.home(0) / "data" / "state").exists()


def test_no_command_and_no_setting_leads_to_the_liar() -> None:
    """Only the benchmark names the module, and nobody who runs a node imports the benchmark."""
    assert all("lying" not in place and "lies" not in place for place, _ in COMMANDS.values())
    root = Path(lying_validator.__file__).parents[2]
    named = {
        str(file.relative_to(root))
        for package in ("salus", "consensus", "contracts", "storage", "node", "cli")
        for file in (root / package).rglob("*.py")
        if "lying_validator" in file.read_text()
    }
    assert named == {
        "cli/bench/transactions.py",
        "cli/bench/lies.py",
        "cli/bench/lying_validator.py",
    }
    settings = (root / "node" / "config_tables.py").read_text()
    assert "proposer_type" not in settings
    assert "lie" not in settings.split()


def test_wrong_arguments_are_a_usage_error() -> None:
    with pytest.raises(SystemExit):
        lying_validator.main(["start"])
