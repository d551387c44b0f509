"""One key and more than one memory: a restored backup, a copied home. Nobody signs twice (S4).

Judged is what the peers received (tests/history/witness.py), not what the node says of itself.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import processes
from tests.e2e.network import NAMES, Network, witnessed
from tests.e2e.shell import document, lines, until
from tests.history.witness import Place, double_votes, votes
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OTHERS, VICTIM = NAMES[:3], NAMES[3]
PRIMARY = NAMES[0]  # of view 0 in every epoch: a copy of its key can do the most


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with witnessed(tmp_path) as made:
        yield made


def homes(net: Network, *but: str) -> list[Path]:
    return [Path(node.home) for node in net.nodes if node.name not in but]


VOTES_S = 60  # longer is a failure


def said(net: Network, name: str, epoch: int) -> set[Place]:
    """Where this member signed in this epoch, as far as the others know."""
    index = NAMES.index(name)
    heard = votes(homes(net, name))
    return {place for place in heard if (place.sender, place.epoch) == (index, epoch)}


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


def overwrite(source: Path, target: Path) -> None:
    """As a restore into the files that are there (`rsync --inplace`): same inodes, older bytes."""
    wanted = {file.relative_to(source) for file in source.rglob("*") if file.is_file()}
    for file in [file for file in target.rglob("*") if file.is_file()]:
        if file.relative_to(target) not in wanted:
            file.unlink()
    for name in wanted:
        with (target / name).open("r+b" if (target / name).exists() else "wb") as file:
            file.write((source / name).read_bytes())
            file.truncate()


async def grown(net: Network, backup: Path) -> int:
    """Four hospitals, the victim killed; `backup`: of its home from some blocks before. The epoch."""
    await net.up()
    for name in NAMES:
        await net.anchor(name)
    net.stop(VICTIM)
    copy(Path(net.node(VICTIM).home), backup)
    await net.up(VICTIM)
    for name in NAMES * 2:
        await net.anchor(name)
    await net.agree()
    epoch = (await net.status(VICTIM)).epoch
    await voted(net, VICTIM, epoch)
    net.kill(VICTIM)
    return epoch


async def voted(net: Network, name: str, epoch: int) -> None:
    """Three others are a quorum: a slow one may have missed all that was voted on."""
    deadline = time.monotonic() + VOTES_S
    while not said(net, name, epoch):
        assert time.monotonic() < deadline, "it does not vote"
        await net.anchor(NAMES[0])


async def test_a_backup_of_the_whole_home_is_quarantined_and_signs_nothing_old(
    net: Network, tmp_path: Path
) -> None:
    """`cp -a`, journal included: the files are others, and the journal says less than was said."""
    epoch = await grown(net, tmp_path / "backup")
    home = Path(net.node(VICTIM).home)
    shutil.rmtree(home)
    copy(tmp_path / "backup", home)
    for name in OTHERS:  # work that it could vote on
        await net.anchor(name)
    before = said(net, VICTIM, epoch)  # by now whatever was under way has arrived
    assert before, "it had votes to forget"
    net.start(VICTIM)
    back = await net.until(VICTIM, "voting again", signing="signing", ready=True)
    assert "journal_lost" in events(net.root / "logs" / f"{VICTIM}.log")
    assert "the vote journal was copied or restored" in net.log(VICTIM)
    assert back.epoch > epoch
    await net.anchor(VICTIM)
    await net.agree()
    await voted(net, VICTIM, back.epoch)
    assert said(net, VICTIM, epoch) == before, "not one vote in the epoch that it forgot"
    assert double_votes(homes(net)) == []


@pytest.mark.long
async def test_an_older_state_of_the_very_same_files_never_signs_twice(
    net: Network, tmp_path: Path
) -> None:
    """An image of the whole machine: nothing on the disk can tell. Its own signatures in the
    blocks that it fetches do, or it votes only where it never did."""
    epoch = await grown(net, tmp_path / "backup")
    home = Path(net.node(VICTIM).home)
    before = said(net, VICTIM, epoch)
    overwrite(tmp_path / "backup", home)
    net.start(VICTIM)
    await net.until(VICTIM, "up", signing=lambda signing: signing in ("signing", "quarantine"))
    for name in OTHERS * 2:
        await net.anchor(name)
    await net.until(VICTIM, "voting again", signing="signing", ready=True)
    await net.agree()
    assert double_votes(homes(net)) == []
    again = votes(homes(net, VICTIM))
    assert all(len(again[place]) == 1 for place in before)
    assert "journal_lost" not in net.log(VICTIM), "nothing on the disk tells"
    assert '"quarantine"' in net.log(VICTIM), "a peer does"


def copied(net: Network, twin: Path) -> str:
    """The home of `PRIMARY` once more, to run beside it; where the copy listens for peers."""
    copy(Path(net.node(PRIMARY).home), twin)
    (twin / "node.pid").unlink()
    (twin / "witness").unlink()
    p2p, api = (f"127.0.0.1:{port}" for port in free_ports(2))
    document("config", "set", "p2p.listen", p2p, "api.listen", api, "--home", twin)
    return p2p


@pytest.mark.long
async def test_a_copied_key_on_two_nodes_costs_its_owner_and_not_the_chain(
    net: Network, tmp_path: Path
) -> None:
    """One hospital has the address of the copy, the others that of the original. The copy has no
    journal of its own, so it rejoins like an honest node that lost it; the original sees that
    somebody else did, and stops. So nobody signs twice, in whichever order the two come back."""
    deceived, *others = (name for name in NAMES if name != PRIMARY)
    await net.up()
    await net.anchor(PRIMARY)
    twin, log = tmp_path / "twin", tmp_path / "twin.log"
    place = copied(net, twin)
    net.stop(deceived)
    config = net.node(deceived).node_home.config
    config.write_text(config.read_text().replace(net.node(PRIMARY).p2p, place))
    processes.start(twin, log)
    net.start(deceived)
    try:
        await net.until(others[0], "in the epoch that the copy asked for", epoch=lambda e: e >= 1)
        for name in others * 4:
            await net.anchor(name)
        assert processes.running(twin) is not None, log.read_text()[-2000:]
        assert "rejoin_asked" in log.read_text()
    finally:
        processes.stop([twin])
    assert "Traceback" not in log.read_text()
    assert double_votes(homes(net)) == []
    # What everybody can see: the two take each other's connections away.
    seen = [line.get("reason") for line in lines(net.root / "logs" / f"{others[0]}.log")]
    assert seen.count("REPLACED") >= 2
    # The copy is gone, and the addresses are right again: the owner comes back by himself.
    net.stop(deceived)
    config.write_text(config.read_text().replace(place, net.node(PRIMARY).p2p))
    net.start(deceived)
    await net.agree()
    for name in NAMES:
        await net.until(name, "voting", signing="signing", ready=True)
    await net.anchor(PRIMARY)
    assert "another node with this key has rejoined" in net.log(PRIMARY)
    assert double_votes(homes(net)) == []


@pytest.mark.long
async def test_a_copy_at_another_address_hears_and_cannot_speak(
    net: Network, tmp_path: Path
) -> None:
    """Frames flow from who is dialled, and the others dial the address that they know."""
    await net.up()
    await net.anchor(PRIMARY)
    twin, log = tmp_path / "twin", tmp_path / "twin.log"
    copied(net, twin)
    processes.start(twin, log)
    try:
        until("the copy knows its place", lambda: "journal_lost" in events(log))
        for name in NAMES * 3:
            await net.anchor(name)
        assert processes.running(twin) is not None
    finally:
        processes.stop([twin])
    assert (await net.status(PRIMARY)).epoch == 0, "nobody heard it ask to rejoin"
    assert double_votes(homes(net)) == []
    for name in NAMES:
        await net.until(name, "voting", signing="signing", ready=True)


def events(log: Path) -> list[str]:
    return [line["event"] for line in lines(log)]
