"""A folder served by `record watch` into a real node: killed in the middle, refused files, new files."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import consortium
from tests.e2e.shell import command, environment, following, salus, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILES = 40
PATIENCE = ("--timeout", "60")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("watch") / "net"
    try:
        consortium.document("testnet", "up", "-n", 4, "--home", home)
        yield home
    finally:
        assert consortium.salus("testnet", "down", "--home", home).returncode == 0
    for log in (home / "logs").iterdir():
        text = log.read_text()
        assert "Traceback" not in text
        assert "Zacharias" not in text, "a name is in a log"


def observation(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o-{number}",
        "status": "final",
        "code": {"text": "x"},
    }


def drop(path: Path, content: bytes) -> None:
    """As a careful neighbour does: written beside, aged, renamed."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    os.utime(beside, (1, 1))
    beside.rename(path)


def records(net: Path, node: str) -> list[Any]:
    rows: list[Any] = []
    after: tuple[object, ...] = ()
    while True:
        done = salus(
            "record", "list", "--limit", 100, *after, "--home", net, "--node", node, "--json"
        )
        assert done.returncode == 0, done.stderr
        page = json.loads(done.stdout)
        rows += page["items"]
        if page.get("next") is None:
            return rows
        after = ("--after", page["next"])


def once(net: Path, folder: Path, node: str, *more: object) -> tuple[int, Any]:
    done = salus(
        "record",
        "watch",
        folder,
        "--once",
        "--home",
        net,
        "--node",
        node,
        "--json",
        *PATIENCE,
        *more,
    )
    assert "Zacharias" not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_a_watch_that_is_killed_goes_on_and_anchors_each_file_once(
    net: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "ward").mkdir(parents=True)
    for number in range(FILES):
        below = folder / "ward" if number % 2 else folder
        drop(below / f"Zacharias-{number}.json", json.dumps(observation(number)).encode())
    anchored: set[str] = set()
    journal = net / "nodes" / "hosp-a" / "watch.journal"
    # Killed three times: alone, after some files; on their way into a batch; after its first.
    for lines, *how in ((5, "--now"), (0,), (1,)):
        at = ("--home", net, "--node", "hosp-a", "--json", *PATIENCE, *how)
        process = subprocess.Popen(
            command("record", "watch", folder, *at),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment(),
            text=True,
        )
        assert process.stdout is not None
        if not lines:
            # More than the life before had begun.
            until("many are on their way", lambda: journal.read_bytes().count(b'"sending"') >= 20)
        for _ in range(lines):
            told = json.loads(process.stdout.readline())
            if told["outcome"] == "imported":
                anchored.add(told["record_id"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    code, summary = once(net, folder, "hosp-a")
    assert (code, summary["imported"] + summary["known"]) == (0, FILES)
    kept = records(net, "hosp-a")
    assert len(kept) == FILES, "each file is one record"
    assert {row["versions"][-1]["state"] for row in kept} == {"anchored"}
    assert anchored <= {row["record_id"] for row in kept}
    assert all(row["versions"][-1]["tx_id"] for row in kept)
    assert len({row["versions"][-1]["tx_id"] for row in kept}) < FILES, "some came in batches"


def test_what_is_refused_is_reported_and_the_rest_is_served(net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    drop(folder / "bulk.ndjson", b"\n".join(json.dumps(observation(n)).encode() for n in range(9)))
    drop(folder / "old.json", json.dumps({"resourceType": "MedicinalProduct", "x": 1}).encode())
    drop(folder / "letter.pdf", b"%PDF-1.7 Zacharias")
    drop(folder / "Zacharias.json", json.dumps({**observation(1), "status": 5}).encode())
    drop(folder / "twice.json", b'{"resourceType": "Basic", "resourceType": "Basic"}')
    drop(folder / "huge.json", b" " * (33 * 2**20))
    report = tmp_path / "report.json"
    code, summary = once(net, folder, "hosp-b", "--report", report)
    assert code == 65
    assert (summary["imported"], summary["refused"]) == (3, 3)
    assert (summary["resources"], summary["schemaless"]) == (10, 1)
    told = {row["file"]: row for row in json.loads(report.read_text())["files"]}
    assert {name: row["code"] for name, row in told.items()} == {
        "Zacharias.json": "BAD_FHIR",
        "huge.json": "TOO_LARGE",
        "twice.json": "JSON_KEY_TWICE",
    }
    assert all(row["next"] for row in told.values())
    assert "status" in told["Zacharias.json"]["why"]
    code, summary = once(net, folder, "hosp-b", "--report", report)
    assert (code, summary["imported"], summary["known"]) == (65, 0, 3)


def test_a_served_folder_takes_what_comes_and_ends_on_sigterm(net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    at = ("--home", net, "--node", "hosp-c", "--json", *PATIENCE)
    with following("record", "watch", folder, *at) as lines:
        for number in range(2):
            drop(folder / f"{number}.json", json.dumps(observation(100 + number)).encode())
            told = json.loads(lines.line())
            assert (told["outcome"], told["resources"]) == ("imported", 1)
        assert salus("record", "watch", folder, "--once", *at).returncode == 69, "one at a time"
        lines.process.terminate()
        summary = json.loads(lines.line())
        assert (summary["imported"], summary["exit"]) == (2, 0)
        assert lines.process.wait(60) == 0
    assert len(records(net, "hosp-c")) == 2


def test_a_node_that_comes_back_is_served_on(net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    at = ("--home", net, "--node", "hosp-d", "--json", *PATIENCE)
    with following("record", "watch", folder, *at) as lines:
        drop(folder / "a.json", json.dumps(observation(200)).encode())
        first = json.loads(lines.line())
        assert salus("testnet", "kill", "hosp-d", "--home", net).returncode == 0
        drop(folder / "b.json", json.dumps(observation(201)).encode())
        started = salus("testnet", "start", "hosp-d", "--home", net)
        assert started.returncode == 0, started.stderr
        second = json.loads(lines.line())
    assert {first["outcome"], second["outcome"]} == {"imported"}

    def both() -> bool:
        return len(records(net, "hosp-d")) == 2

    until("both are in the vault", both)
