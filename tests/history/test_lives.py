"""The harness sees how each node process ended, and says so."""

import os
import signal
from pathlib import Path
from unittest.mock import patch

import pytest

from cli import processes
from cli.errors import CliError
from tests.e2e.network import Network, network
from tests.e2e.shell import until
from tests.history.nemesis import Nemesis
from tests.history.report import Plan
from tests.history.run import run
from tests.node.network import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def murder(nemesis: Nemesis) -> None:
    """As by somebody else on the machine: nobody says so, and the log has no word of it."""
    net = nemesis.net
    victim = net.nodes[1]
    os.kill(victim.pid, signal.SIGKILL)
    await eventually(lambda: processes.running(Path(victim.home)) is None)
    net.revive()


async def test_a_node_that_vanishes_is_named_with_its_exit_status_and_the_others_are_judged(
    tmp_path: Path,
) -> None:
    with patch.object(Nemesis, "run", murder):
        report = await run(Plan(1, 1.0, namespaces=False), tmp_path)
    (wrong,) = report.wrong
    assert "hosp-b" in wrong
    assert "ended by itself" in wrong
    assert wrong.endswith("SIGKILL")
    assert report.blocks > 0
    assert "is seen as one" in report.control
    assert sum(report.endings.values()) == 4
    assert wrong in report.text()


async def test_a_run_that_cannot_be_finished_is_a_report_too(tmp_path: Path) -> None:
    """What was seen until then is judged, and the report says why it ended."""

    async def never(net: Network, *names: str) -> None:
        raise AssertionError("hosp-c is not ready")

    with patch.object(Network, "up", never):
        report = await run(Plan(1, 1.0, namespaces=False), tmp_path)
    assert report.wrong == ["the run gave up: AssertionError: hosp-c is not ready"]


async def test_a_node_that_ends_before_it_is_ready_is_named_with_its_exit_code(
    tmp_path: Path,
) -> None:
    with network(tmp_path, 1) as net:
        net.commands["hosp-a"] = ("json.tool", "--nonsense")
        with pytest.raises(ExceptionGroup) as ended:
            await net.up()
        assert ended.group_contains(CliError, match=r"hosp-a is not ready: .*ended \(exit 2\)")
        assert [life.ending for life in net.lives.strays()] == ["exit 2"]


def test_who_was_ended_by_the_test_is_no_stray(tmp_path: Path) -> None:
    with network(tmp_path, 2) as net:
        net.start()
        first, second = (node.name for node in net.nodes)
        net.kill(first)
        net.start(first)
        assert net.lives.strays() == []
        os.kill(net.node(second).pid, signal.SIGKILL)
        until("it is seen", lambda: bool(net.lives.strays()))
        net.kill(first)
    assert [life.name for life in net.lives.strays()] == [second]
    assert net.lives.endings() == {"SIGKILL": 2}
