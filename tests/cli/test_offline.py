"""The demonstration's verifier has no network, by the system or, where it cannot, by Python."""

import subprocess
import sys
from pathlib import Path

from cli import offline


def test_the_fallback_can_make_no_socket(tmp_path: Path) -> None:
    program = offline._BLOCKED.replace(
        "from cli.main import main\nmain(sys.argv[1:])",
        "import asyncio, http.client, ssl\n"
        "ways = (\n"
        "    lambda: http.client.HTTPConnection('127.0.0.1', 1).connect(),\n"
        "    lambda: asyncio.run(asyncio.open_connection('127.0.0.1', 1)),\n"
        "    socket.socket,\n"
        ")\n"
        "for way in ways:\n"
        "    try:\n"
        "        way()\n"
        "    except NoNetwork:\n"
        "        print('blocked')\n",
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "blocked\n" * 3


def test_the_verifier_runs_without_sockets(tmp_path: Path) -> None:
    (tmp_path / "x.proof").write_bytes(b"junk")
    prefix = [sys.executable, "-P", "-c", offline._BLOCKED]
    done = offline.verify(prefix, ["x.proof", "--genesis", "00" * 32], tmp_path)
    assert done.returncode == 1, done.stderr
    assert "NOT VERIFIED" in done.stdout


def test_the_way_that_is_chosen_works_here(tmp_path: Path) -> None:
    prefix, how = offline.isolation()
    (tmp_path / "x.proof").write_bytes(b"junk")
    done = offline.verify(prefix, ["x.proof"], tmp_path)
    assert done.returncode == 2, done.stderr
    assert how
