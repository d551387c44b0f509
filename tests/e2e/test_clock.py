"""A clock that jumps (L21): its owner pays, the chain's time stays the time of the others.

The jump is made where the process reads the time of day (tests/history/node.py); the monotonic
clock goes on, as it does when NTP steps.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from salus.forms import Status
from tests.e2e.network import NAMES, Network, witnessed
from tests.e2e.shell import lines
from tests.history.node import CLOCK_FILE, CLOCK_SIGNAL
from tests.history.witness import double_votes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOUR_S = 3_600
NEAR_S = 120  # this machine's clock is the others', and it may be busy


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with witnessed(tmp_path_factory.mktemp("clock")) as made:
        yield made


def jump(net: Network, name: str, seconds: int) -> None:
    (Path(net.node(name).home) / CLOCK_FILE).write_text(str(seconds * 1_000))
    net.signal(name, CLOCK_SIGNAL)


async def times_s(net: Network, name: str) -> list[float]:
    """Of all blocks: how far from now."""
    now = datetime.now(UTC)
    async with net.client(name) as client:
        height = await client.height()
        headers = [(await client.block(at)).header for at in range(1, height + 1)]
    return [(datetime.fromisoformat(header.time) - now).total_seconds() for header in headers]


def refusals(net: Network, name: str) -> int:
    log = net.root / "logs" / f"{name}.log"
    return sum(line["event"] == "off_clock" for line in lines(log))


async def sound(net: Network) -> None:
    """Everybody takes part, and no block bears a wrong time."""
    for name in NAMES:
        await net.anchor(name)
    await net.agree()
    seen = await times_s(net, NAMES[0])
    assert seen == sorted(seen)
    assert all(abs(seconds) < NEAR_S for seconds in seen), seen
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
    assert refusals(net, backup) > before
    assert (await net.status(others[0])).primary == status.primary, "no reason to change the view"
    jump(net, backup, 0)
    await sound(net)


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
async def test_a_primary_whose_clock_jumps_is_replaced(net: Network, seconds: int) -> None:
    await net.up()
    await net.anchor(NAMES[0])
    primary = (await net.status(NAMES[0])).primary
    others = [name for name in NAMES if name != primary]
    jump(net, primary, seconds)
    for name in others:
        await net.anchor(name)
    assert (await net.status(others[0])).primary != primary
    assert all(refusals(net, name) > 0 for name in others)
    jump(net, primary, 0)
    await sound(net)


def _backup(primary: str) -> tuple[str, list[str]]:
    backup = next(name for name in reversed(NAMES) if name != primary)
    return backup, [name for name in NAMES if name != backup]
