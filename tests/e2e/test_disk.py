"""A disk that is full, a file that is damaged: the node stops with a word for it, and comes back.

Whatever a disk does to one hospital, the others go on; and the way back is the one that
docs/operating.md describes.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import processes, testnet
from node.standing import mark_birth
from salus.codes import lookup
from tests.e2e.network import NAMES, Network, witnessed
from tests.e2e.shell import document, lines, salus, until
from tests.history.node import MODULE
from tests.history.witness import double_votes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DISK_BYTES = 64 * 2**20  # storage.free_min is at least 16 MiB, and the node must first run
LEFT_BYTES = 16 * 2**10  # less than the next blocks need
ROOM_BYTES = 32 * 2**10  # of a quota, above the largest file: some twenty blocks
BLOCKS_MAX = 200
FLIPPED_BYTES = 8
OTHERS, VICTIM = NAMES[:3], NAMES[3]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with witnessed(tmp_path_factory.mktemp("disk"), OTHERS) as made:
        yield made


def mount_possible(tmp: Path) -> bool:
    tmp.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
    if done:
        subprocess.run(["umount", tmp], check=True)
    return done


@contextmanager
def small_disk(data: Path) -> Iterator[None]:
    """`data` of a node that never ran, on a disk of its own; what is there is as it was born."""
    shutil.rmtree(data)
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", data]
    subprocess.run(mount, check=True)
    try:
        mark_birth(data)
        yield
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


def fill(ballast: Path) -> None:
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - LEFT_BYTES)))


async def until_it_ends(net: Network) -> None:
    """The others go on all the while, and each of their blocks is one that the victim writes."""
    for number in range(BLOCKS_MAX):
        if processes.running(Path(net.node(VICTIM).home)) is None:
            return
        await net.anchor(OTHERS[number % len(OTHERS)])
    # It may be behind them, on a machine with other things to do.
    home = Path(net.node(VICTIM).home)
    until(f"{BLOCKS_MAX} blocks find no room", lambda: processes.running(home) is None)


async def signers(net: Network) -> set[str]:
    """Whose signatures stand under the newest block."""
    async with net.client(OTHERS[0]) as client:
        block = await client.block()
        assert block.certificate is not None
        return {NAMES[signature.index] for signature in block.certificate.signatures}


async def test_a_full_disk_ends_the_votes_with_a_word_and_room_brings_them_back(
    net: Network, tmp_path: Path
) -> None:
    """S3: what cannot be written is not said. The others do not notice but for the missing one."""
    if not mount_possible(tmp_path / "probe"):
        pytest.skip("no file system can be mounted here")
    home = net.node(VICTIM).node_home
    with small_disk(home.data):
        document("config", "set", "storage.free_min", "16MiB", "--home", home.path)
        await net.up()
        await net.anchor(VICTIM)
        fill(home.data / "ballast")
        await net.until(VICTIM, "turning clients away", reason=lambda r: "disk" in (r or ""))
        await until_it_ends(net)
        log = net.log(VICTIM)
        assert "error[DISK_FULL] no space left for" in log
        events = lines(testnet.log_of(net.root, VICTIM))
        assert [line["full"] for line in events if line["event"] == "disk"] == [True]
        for _ in range(3):
            await net.anchor(OTHERS[0])
        assert VICTIM not in await signers(net)

        # Without room it does not even begin, and says why.
        refused = salus("start", "--home", home.path)
        assert refused.returncode == lookup("DISK_FULL").exit_code
        assert "error[DISK_FULL]" in refused.stderr

        (home.data / "ballast").unlink()
        await net.up(VICTIM)
        assert (await net.status(VICTIM)).signing == "signing", (
            "its journal is whole: no quarantine"
        )
        await net.agree()
        await net.anchor(VICTIM)
        assert double_votes(Path(net.node(name).home) for name in OTHERS) == []
        net.stop(*NAMES)


@pytest.mark.long
async def test_a_quota_that_is_used_up_ends_the_votes_with_a_word_too(net: Network) -> None:
    """A limit on the size of files, as root or not: EFBIG where the last test has ENOSPC."""
    await net.up()
    await net.until(VICTIM, "voting", signing="signing")
    net.stop(VICTIM)
    data = net.node(VICTIM).node_home.data
    largest = max(file.stat().st_size for file in data.rglob("*") if file.is_file())
    net.commands[VICTIM] = (MODULE, "--file-bytes-max", str(largest + ROOM_BYTES))
    await net.up(VICTIM)
    await until_it_ends(net)
    said = net.log(VICTIM).splitlines()[-2]
    assert said.startswith("error[STORE_IO]")
    assert "File too large" in said or "a limit of the system" in said
    await net.anchor(OTHERS[0])  # it may have signed the block that it could not write
    assert VICTIM not in await signers(net)
    del net.commands[VICTIM]
    await net.up(VICTIM)
    assert (await net.status(VICTIM)).signing == "signing"
    await net.agree()
    assert double_votes(Path(net.node(name).home) for name in OTHERS) == []


# --- damaged files


def flip(store: Path, pattern: str) -> list[Path]:
    """Bytes in the middle of each such file; what a bad sector or a bad cable does."""
    files = [file for file in sorted(store.glob(pattern)) if file.stat().st_size]
    for file in files:
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        for at in range(middle, middle + FLIPPED_BYTES):
            content[at] ^= 0xFF
        file.write_bytes(content)
    return files


@pytest.mark.long
@pytest.mark.parametrize(
    ("store", "kind", "named"),
    [
        ("state", "*.ldb", "LevelDB finds damage in"),
        ("blocks", "*.log", "the block store lacks the body of block"),
    ],
)
async def test_a_damaged_store_is_named_and_refused_and_the_way_back_is_the_described_one(
    net: Network, store: str, kind: str, named: str
) -> None:
    """`salus db check` and the node itself see it; blocks/ and state/ away, and it rejoins (S4)."""
    home = net.node(VICTIM).node_home
    await net.up()
    await net.until(VICTIM, "voting", signing="signing")
    for name in NAMES * 3:
        await net.anchor(name)
    await net.agree()
    net.stop(VICTIM)
    if kind == "*.ldb":  # the start after makes a table out of the log
        await net.up(VICTIM)
        net.stop(VICTIM)
    assert flip(home.data / store, kind)

    refused = salus("start", "--home", home.path)
    assert refused.returncode == lookup("STORE_DAMAGED").exit_code, refused.stderr
    assert f"error[STORE_DAMAGED] {named}" in refused.stderr
    assert "salus db check" in refused.stderr
    checked = salus("db", "check", "--home", home.path)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "move blocks/ and state/ out of" in checked.stdout + checked.stderr

    epoch = (await net.status(OTHERS[0])).epoch
    aside = home.path / f"damaged-{store}"
    aside.mkdir()
    for name in ("blocks", "state"):
        (home.data / name).rename(aside / name)
    net.start(VICTIM)
    back = await net.until(VICTIM, "voting again", signing="signing", ready=True)
    assert back.epoch > epoch, "what it signed before is void"
    await net.anchor(VICTIM)
    await net.agree()
    assert double_votes(Path(net.node(name).home) for name in OTHERS) == []
