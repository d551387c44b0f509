"""A clock that jumps (L21): its owner pays, the chain's time stays the time of the others.

The jump is made where the process reads the time of day (tests/history/node.py); the monotonic
clock goes on, as it does when NTP steps.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from salus.forms_node import Status
from tests.e2e.consortium import document
from tests.e2e.network import NAMES, Network, witnessed
from tests.e2e.shell import lines, until
from tests.history.node import CLOCK_FILE, CLOCK_SIGNAL
from tests.history.witness import double_votes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOUR_S = 3_600
NEAR_S = 120  # this machine's clock is the others', and it may be busy


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with witnessed(tmp_path_factory.mktemp("clock")) as made:
        for node in made.nodes:  # refusals are counted below: the first of each test is written
            document("config", "set", "log.repeat_interval", "100ms", "--home", node.home)
        yield made


def jump(net: Network, name: str, seconds: int) -> None:
    (Path(net.node(name).home) / CLOCK_FILE).write_text(str(seconds * 1_000))
    net.signal(name, CLOCK_SIGNAL)


async def times_s(net: Network, name: str) -> list[float]:
    """Of genesis and all blocks, since the epoch of Unix."""
    async with net.client(name) as client:
        founded_ms = (await client.chain()).genesis.time_ms
        height = await client.height()
        headers = [(await client.block(at)).header for at in range(1, height + 1)]
    times = (datetime.fromisoformat(header.time).timestamp() for header in headers)
    return [founded_ms / 1000, *times]


def refusals(net: Network, name: str) -> int:
    log = net.root / "logs" / f"{name}.log"
    return sum(line["event"] == "off_clock" for line in lines(log))


async def sound(net: Network) -> None:
    """Everybody takes part, and no block bears a wrong time."""
    for name in NAMES:
        await net.anchor(name)
    await net.agree()
    seen = await times_s(net, NAMES[0])
    assert seen == sorted(seen), "genesis is the first of them"
    assert seen[-1] < time.time() + NEAR_S
    assert double_votes(Path(node.home) for node in net.nodes) == []


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
async def test_a_backup_whose_clock_jumps_refuses_and_nobody_waits_for_it(
    net: Network, seconds: int
) -> None:
    await net.up()
    status: Status = await net.status(NAMES[0])
    backup, others = _backup(status.primary)
    before = refusals(net, backup)
    jump(net, backup, seconds)
    for name in others:
        await net.anchor(name)
    await net.agree(*others)
    # The others are a quorum; it may hear of their proposals later.
    until("it refuses", lambda: refusals(net, backup) > before)
    assert (await net.status(others[0])).primary == status.primary, "no reason to change the view"
    jump(net, backup, 0)
    await sound(net)


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
async def test_a_primary_whose_clock_jumps_is_replaced(net: Network, seconds: int) -> None:
    await net.up()
    await net.anchor(NAMES[0])
    primary = (await net.status(NAMES[0])).primary
    others = [name for name in NAMES if name != primary]
    before = {name: refusals(net, name) for name in others}
    jump(net, primary, seconds)
    for name in others:
        await net.anchor(name)
    await net.until(others[0], "in another view", primary=lambda now: now != primary)
    # With fewer, its proposal would have had a quorum; the third may have been told before it looked.
    assert sum(refusals(net, name) > before[name] for name in others) >= 2
    jump(net, primary, 0)
    await sound(net)


def _backup(primary: str) -> tuple[str, list[str]]:
    backup = next(name for name in reversed(NAMES) if name != primary)
    return backup, [name for name in NAMES if name != backup]
