"""`systemctl reload` at the wrong moment: systemd takes SIGHUP for an orderly end, and would leave a
node down that it ended."""

from pathlib import Path

import pytest

from tests.e2e.network import network
from tests.e2e.shell import lines, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_reload_while_the_node_starts_does_not_end_it(tmp_path: Path) -> None:
    """The one that comes after node.toml was read is done when the node is there."""
    with network(tmp_path, 1) as net:
        (node,) = net.nodes
        net.commands[node.name] = ("tests.e2e.early_reload",)
        await net.up()
        log = net.root / "logs" / f"{node.name}.log"
        until("it reloaded", lambda: any(one["event"] == "reloaded" for one in lines(log)))
        assert net.lives.strays() == []
