"""The founding ceremony of docs/operating.md on four hosts, each with an address of its own.

Every command runs on its host, and every file goes from desk to desk. The nodes listen where the
documents say: on the default ports, which four nodes on one loopback could not have.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from salus.codes import Exit
from tests.e2e.hosts import Host, hosts
from tests.e2e.shell import until
from tests.history.wires import possible

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not possible(), reason="needs root and ip(8): network namespaces"),
]

NAMES = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
DATA = Path(__file__).parent.parent.parent / "cli" / "data"
PASSWORD = ("--password-file", "password")
PATIENCE = ("--timeout", "60")


@pytest.fixture
def four(tmp_path: Path) -> Iterator[tuple[Host, ...]]:
    with hosts(tmp_path, NAMES) as made:
        yield made
    for host in made:
        if host.log.exists():
            assert "Traceback" not in host.log.read_text(), host.name


def give(file: Path, *to: Host) -> None:
    """By mail, or by hand."""
    for host in to:
        if not (host.desk / file.name).exists():
            shutil.copy(file, host.desk)


def ready(host: Host, peers: int) -> None:
    def seen() -> bool:
        done = host.salus("status", "--json")
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)
        return bool(status["ready"]) and status["peers"]["connected"] == peers

    try:
        until(f"{host.name} is ready with {peers} peers", seen)
    except AssertionError as failed:
        told = host.salus("status").stdout + host.log.read_text()[-3000:]
        raise AssertionError(f"{failed}\n{told}") from None


def reached(host: Host, address: str, port: int) -> bool:
    """A TCP connection from this host."""
    probe = f"import socket; socket.create_connection(({address!r}, {port}), 2)"
    done = subprocess.run(host.here("python3", "-c", probe), capture_output=True, check=False)
    return done.returncode == 0


def test_four_hosts_found_a_consortium_by_the_documented_steps(four: tuple[Host, ...]) -> None:
    # 1. Each makes its keys, behind a password of its own.
    fingerprints = {}
    for host in four:
        (host.desk / "password").write_text(f"the password of {host.name}\n")
        (host.desk / "password").chmod(0o600)
        made = host.document("init", "--moniker", host.name, "--name", f"Hospital {host.name}",
                             "--endpoint", f"{host.address}:7400", *PASSWORD)  # fmt: skip
        fingerprints[host.name] = made["fingerprint"]
    assert len(set(fingerprints.values())) == 4

    # 2. Each sends its join file to the one who assembles.
    assembler, *others = four
    joins = []
    for host in four:
        name = f"{host.name}.join.json"
        done = host.salus("genesis", "join", "-o", name)
        assert done.returncode == 0, done.stderr
        give(host.desk / name, assembler)
        joins.append(name)

    # 3. He makes the founding document, and compares the fingerprints that were read to him.
    assert assembler.salus("genesis", "new", "--chain-id", "north-health", "-o",
                           "draft.json").returncode == 0  # fmt: skip
    done = assembler.salus("genesis", "assemble", "draft.json", *joins, "-o", "genesis.json",
                           "--json")  # fmt: skip
    assembled = json.loads(done.stdout)
    for name, fingerprint in fingerprints.items():
        (line,) = [line for line in done.stderr.splitlines() if line.split()[:1] == [name]]
        assert fingerprint in line
    assert assembled["quorum"] == 3

    # 4. Everybody gets it with all join files, and everybody reads the same hash aloud.
    for name in ("genesis.json", *joins):
        give(assembler.desk / name, *others)
    hashes = {host.document("genesis", "hash", "genesis.json")["genesis_hash"] for host in four}
    assert hashes == {assembled["genesis_hash"]}
    (agreed,) = hashes
    places = [word for name in joins for word in ("--join", name)]
    for host in four:
        wrong = host.salus("genesis", "install", "genesis.json", "--hash", "00" * 32, *places)
        assert wrong.returncode == Exit.BAD_DATA
        host.document("genesis", "install", "genesis.json", "--hash", agreed, *places)

    # 5. Everybody checks and starts; the chain moves when a quorum is up.
    for host in four:
        checked = host.document("start", "--config-check", *PASSWORD)
        assert checked["ok"], checked
    for host in four[:3]:
        host.start(*PASSWORD)
    for host in four[:3]:
        ready(host, peers=2)
    four[3].start(*PASSWORD)
    for host in four:
        ready(host, peers=3)
        places_seen = {peer["address"] for peer in host.document("query", "peers")["items"]}
        assert places_seen == {f"{o.address}:7400" for o in four if o is not host}

    # The others reach the port of the nodes, and nobody reaches the API from outside.
    assert reached(four[1], four[0].address, 7400)
    assert reached(four[0], "127.0.0.1", 7480)
    assert not reached(four[1], four[0].address, 7480)

    # It is a ledger: what one anchors all certify, and an auditor verifies with the hash alone.
    record = four[1].document("record", "add", DATA / "visit-1.json", *PATIENCE)
    four[1].document("proof", "make", "--record", record["record_id"], "-o", "visit.proof")
    give(four[1].desk / "visit.proof", four[2])
    verified = four[2].document("verify", "visit.proof", "--genesis", agreed)
    assert verified["verified"]
    assert "hosp-b" in verified["claim"]

    # One is cut off: the others go on. Its line comes back, and it has what they have.
    four[3].line("down")
    done = four[0].document("record", "add", DATA / "visit-1.json", *PATIENCE)
    four[3].line("up")
    until("hosp-d has the block", lambda: four[3].document("status")["height"] >= done["height"])
    for host in four:
        ready(host, peers=3)
    assert [host.stop() for host in four] == [0, 0, 0, 0]
