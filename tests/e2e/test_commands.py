"""Four processes, and the commands that nothing else runs for real: events, delay, retract."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.home import read_testnet
from cli.keyfiles import read_password
from contracts.records import AnchorArgs
from salus.client import Client
from salus.codec import encode
from salus.codes import Exit
from salus.keys import SigningKey
from salus.keystore import unlock_seed
from salus.transaction import Operation
from tests.e2e import consortium
from tests.e2e.shell import document, error, following, salus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DATA = Path(__file__).parent.parent.parent / "cli" / "data"
NAMES = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
PATIENCE = ("--timeout", "60")  # for a commit, on a machine with other things to do


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("commands") / "net"
    try:
        consortium.document("testnet", "up", "-n", 4, "--home", home)
        yield home
    finally:
        assert consortium.salus("testnet", "down", "--home", home).returncode == 0
    for name in NAMES:
        assert "Traceback" not in (home / "logs" / f"{name}.log").read_text()


def add(net: Path, node: str) -> Any:
    return document(
        "record", "add", DATA / "visit-1.json", "--home", net, "--node", node, *PATIENCE
    )


# --- events


def test_the_feed_shows_what_was_and_then_what_comes(net: Path) -> None:
    """At any node, by kind, in order; its ids are the same everywhere."""
    seen = add(net, "hosp-a")
    feed = ("events", "--json", "--after", "0", "--kind", "records.*", "--home", net)
    with following(*feed, "--node", "hosp-b") as live:
        first = json.loads(live.line())
        while first["tx_id"] != seen["tx_id"]:  # other tests may have been here
            first = json.loads(live.line())
        assert first["kind"] == "records.anchored"
        assert first["id"].partition(".")[0] == str(seen["height"])
        for node in ("hosp-c", "hosp-b"):
            added = add(net, node)
            event = json.loads(live.line())
            assert (event["tx_id"], event["kind"]) == (added["tx_id"], "records.anchored")
            assert added["record_id"] not in json.dumps(event), "it names a record to nobody"
    with following(*feed, "--node", "hosp-d") as other:
        ids = [json.loads(other.line())["id"]]
        while ids[-1] != event["id"]:
            ids.append(json.loads(other.line())["id"])
    assert first["id"] in ids
    assert ids == sorted(ids, key=lambda text: [int(part) for part in text.split(".")])


def test_a_reader_with_a_checkpoint_goes_on_where_it_was(net: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    feed = ("events", "--json", "--kind", "records.*", "--checkpoint", place, "--home", net,
            "--node", "hosp-b")  # fmt: skip
    first = add(net, "hosp-a")
    with following(*feed, "--after", "0") as reader:
        while json.loads(reader.line())["tx_id"] != first["tx_id"]:
            pass
        # Acknowledged after it is printed: the next line says that the place is on disk.
        second = add(net, "hosp-a")
        assert json.loads(reader.line())["tx_id"] == second["tx_id"]
        reader.process.kill()
    third = add(net, "hosp-c")
    with following(*feed) as reader:
        later = [json.loads(reader.line())["tx_id"]]
        while later[-1] != third["tx_id"]:
            later.append(json.loads(reader.line())["tx_id"])
    assert first["tx_id"] not in later
    assert later in ([third["tx_id"]], [second["tx_id"], third["tx_id"]]), "at least once"


def test_the_feed_survives_the_death_of_its_node(net: Path) -> None:
    before = add(net, "hosp-b")
    with following(
        "events", "--json", "--after", "0", "--kind", "records.*", "--home", net
    ) as live:
        while json.loads(live.line())["tx_id"] != before["tx_id"]:
            pass
        try:
            document("testnet", "kill", "hosp-a", "--home", net)  # the first that it asks
            after = add(net, "hosp-c")
            assert json.loads(live.line())["tx_id"] == after["tx_id"]
        finally:
            document("testnet", "start", "hosp-a", "--home", net)


# --- delay


async def commit_s(net: Path, name: str) -> float:
    """How long a client of this node waits for a commit."""
    node = read_testnet(net).node(name)
    password = read_password(node.node_home.keys / "password")
    key = SigningKey.from_seed(unlock_seed(node.node_home.keys / "operator.json", password))
    async with Client(node.api, signer=key, timeout_s=60) as client:
        args = AnchorArgs(secrets.token_bytes(32), 1, bytes(32), bytes(32))
        tx = await client.build([Operation("records", "anchor", 1, encode(args))])
        began = time.monotonic()
        await client.commit(tx)
        return time.monotonic() - began


async def test_a_delay_slows_the_network_and_ends_nothing(net: Path) -> None:
    """Every frame of a commit waits: PRE-PREPARE, PREPARE, COMMIT, CHECKPOINT, one after another."""
    delay_ms = 150
    described = document("testnet", "delay", delay_ms, "--home", net)
    assert described == {"delay_ms": delay_ms, "nodes": list(NAMES)}
    try:
        for name in NAMES:
            faults = document("api", "GET", "dev/faults", "--home", net, "--node", name)
            assert faults["delay_ms"] == delay_ms
        assert await commit_s(net, "hosp-b") >= 4 * delay_ms / 1000
    finally:
        document("testnet", "heal", "--home", net)
    for name in NAMES:
        faults = document("api", "GET", "dev/faults", "--home", net, "--node", name)
        assert faults == {"blocked": [], "delay_ms": 0}
    only = document("testnet", "delay", 50, "hosp-d", "--home", net)
    assert only["nodes"] == ["hosp-d"]
    try:
        await commit_s(net, "hosp-d")
    finally:
        document("testnet", "delay", 0, "--home", net)
    assert salus("testnet", "delay", "--home", net).returncode == Exit.USAGE
    assert salus("testnet", "delay", 10, "hosp-z", "--home", net).returncode == Exit.USAGE


# --- retract


def content(file: Path) -> bytes:
    """Of what is there: the stores of a running node come and go."""
    try:
        return file.read_bytes() if file.is_file() else b""
    except FileNotFoundError:
        return b""


def test_a_retracted_record_is_ended_for_everybody_and_says_why_to_nobody(
    net: Path, tmp_path: Path
) -> None:
    reason = "wrong patient, see the note of Monday"
    added = add(net, "hosp-a")
    record = added["record_id"]
    at = ("--home", net, "--node", "hosp-a")
    shown = document("record", "retract", record, "--reason", reason, "--dry-run", *at)
    assert [version["state"] for version in shown["versions"]] == ["anchored"], "nothing was sent"

    with following(
        "events", "--json", "--after", "0", "--kind", "records.*", "--home", net, "--node", "hosp-c"
    ) as live:
        while json.loads(live.line())["tx_id"] != added["tx_id"]:
            pass
        done = document("record", "retract", record, "--reason", reason, *at, *PATIENCE)
        event = json.loads(live.line())
        assert (event["tx_id"], event["kind"]) == (done["tx_id"], "records.retracted")
    assert done["height"] > added["height"]
    (version,) = document("record", "show", record, *at)["versions"]
    assert version["state"] == "retracted"

    # It is over, and stays readable at home.
    for again in (
        ("retract", record, "--reason", reason),
        ("amend", record, DATA / "visit-2.json"),
    ):
        assert error(Exit.REJECTED, "record", *again, *at)["code"] == "VERSION_ENDED"
    got = salus("record", "get", record, *at)
    assert got.stdout.encode() == (DATA / "visit-1.json").read_bytes()

    # A proof says so, offline; one without the state says only that it was anchored.
    genesis = json.loads((net / "testnet.json").read_text())["genesis_hash"]
    for as_of, status in ((("--as-of",), "retracted"), ((), "anchored")):
        proof = tmp_path / f"{status}.proof"
        document("proof", "make", "--record", f"{record}@1", *as_of, "-o", proof, *at)
        report = document("verify", proof, "--genesis", genesis)
        assert (report["verified"], report["status"]) == (True, status)
        assert reason.encode() not in proof.read_bytes()
    assert (
        f"retracted at height {done['height']}"
        in document("verify", tmp_path / "retracted.proof", "--genesis", genesis)["claim"]
    )

    # The reason is a commitment on the chain and a secret of the vault.
    tx = document("tx", "show", done["tx_id"], "--home", net, "--node", "hosp-d")
    assert tx["state"] == "committed"
    assert "Monday" not in json.dumps(tx)  # no hex spells it by chance
    for file in net.rglob("*"):
        assert reason.encode() not in content(file), file
