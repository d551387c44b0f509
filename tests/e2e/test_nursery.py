"""What comes from a nursery is a process like one that was started cold."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli import processes
from tests.e2e.shell import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every start is cold")

CHILD = "tests.e2e.test_nursery"  # what stands at the end of this file
SLEEP_S = 600


def child(folder: Path, *words: str) -> int:
    folder.mkdir(exist_ok=True)
    return processes.start(folder, folder.with_suffix(".log"), (CHILD, *words))


def told(folder: Path, pid: int) -> Any:
    """What it wrote; it has ended well."""
    until("it ended", lambda: processes.ending(pid) is not None)
    text = folder.with_suffix(".log").read_text()
    assert processes.ending(pid) == "exit 0", text
    return json.loads(text)


def test_it_is_found_by_its_folder_and_ends_by_a_signal(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    pid = child(folder, "sleep")
    assert processes.running(folder) == pid
    assert os.getsid(pid) == pid != os.getsid(0)
    (tmp_path / "node.pid").write_text(str(pid))
    assert processes.running(tmp_path) is None, "another folder's"
    processes.send(folder, signal.SIGKILL)
    until("it ended", lambda: processes.ending(pid) is not None)
    assert processes.ending(pid) == "SIGKILL"
    assert processes.running(folder) is None


def test_its_exit_code_arrives(tmp_path: Path) -> None:
    pid = child(tmp_path / "home", "fail")
    until("it ended", lambda: processes.ending(pid) is not None)
    assert processes.ending(pid) == "exit 7"


def test_it_has_the_environment_and_the_place_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_CALLER", "yes")
    monkeypatch.setenv("SALUS_NODE", "not meant for nodes")
    folder = tmp_path / "home"
    seen = told(folder, child(folder, "tell"))
    assert seen["arguments"] == ["tell", "--home", str(folder)]
    assert (seen["folder"], seen["of_the_caller"], seen["salus"]) == (str(tmp_path), "yes", [])
    assert seen["descriptors"] == [0, 1, 2], "nothing of the tests' or the nursery's is left to it"
    assert seen["interrupt"] == "default_int_handler"


def test_two_that_follow_each_other_do_not_share_the_order_of_sets(tmp_path: Path) -> None:
    """A contract that leans on it would else agree with itself in every test."""
    folders = [tmp_path / name for name in ("one", "two")]
    one, two = (told(folder, child(folder, "tell"))["hash"] for folder in folders)
    assert one != two


def _main(word: str) -> int:
    if word == "sleep":
        time.sleep(SLEEP_S)
    if word == "fail":
        return 7
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    handler = signal.getsignal(signal.SIGINT)
    seen = {
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "of_the_caller": os.environ.get("OF_THE_CALLER"),
        "salus": [name for name in os.environ if name.startswith("SALUS_")],
        # The listing has one of its own, which is closed by now.
        "descriptors": sorted(fd for fd in descriptors if os.path.exists(f"/proc/self/fd/{fd}")),
        "interrupt": getattr(handler, "__name__", str(handler)),
        "hash": hash("hosp-a"),
    }
    sys.stdout.write(json.dumps(seen) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
