"""Processes of a testnet: found again by pid file, and never confused with a stranger."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import processes
from cli.errors import CliError
from cli.testnet import free_ports


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose command line names `tmp_path`, as a node's does."""
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()  # from here on the system shows its command line
    (tmp_path / "node.pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_node_is_found_by_its_pid_file(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.running(tmp_path) == sleeper.pid
    processes.stop([tmp_path], kill_at_once=True)
    assert processes.running(tmp_path) is None
    assert not (tmp_path / "node.pid").exists()


def test_how_a_node_ended_is_known_to_whoever_started_it(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """By what signal, or with what exit code; the log of a node that was killed does not say it."""
    assert processes.ending(sleeper.pid) is None, "it lives"
    processes.send(tmp_path, signal.SIGKILL)
    while processes.running(tmp_path) is not None:
        time.sleep(0.01)
    assert processes.ending(sleeper.pid) == "SIGKILL"
    pid = processes.start(tmp_path, tmp_path / "log", ("json.tool", "--nonsense"))
    while processes.running(tmp_path) is not None:
        time.sleep(0.01)
    assert processes.ending(pid) == "exit 2"
    assert processes.ending(os.getpid()) is None, "not ours"


def test_a_pid_that_now_belongs_to_a_stranger_is_not_signalled(tmp_path: Path) -> None:
    (tmp_path / "node.pid").write_text(f"{os.getpid()}\n")
    assert processes.running(tmp_path) is None
    processes.stop([tmp_path], kill_at_once=True)  # we are still here
    with pytest.raises(CliError, match="does not run"):
        processes.send(tmp_path, signal.SIGSTOP)


@pytest.mark.parametrize("content", ["", "x", "0", "-1", "999999999"])
def test_a_pid_file_that_says_nothing_is_nobody(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], content: str
) -> None:
    """Nor is it all of our children: to the system 0 and -1 mean those."""
    (tmp_path / "node.pid").write_text(content)
    assert processes.running(tmp_path) is None
    assert sleeper.poll() is None


def test_the_end_of_a_log_is_read_in_one_bounded_piece(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert processes.last_lines(log) == "(no log)"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert processes.last_lines(log, 2) == "line 99998\nline 99999"


def test_ports_are_free_distinct_and_never_those_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    known = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if known.exists():
        assert max(ports) < int(known.read_text().split()[0])


def test_a_keeper_is_not_taken_for_its_node(tmp_path: Path) -> None:
    """Its folder lies in the node's home: the name of the one begins with that of the other."""
    folder = tmp_path / processes.KEEPER_FOLDER
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        for file in (tmp_path / "node.pid", folder / "keeper.pid"):
            file.write_text(f"{process.pid}\n")
        assert processes.running(tmp_path) is None
        assert processes.running(folder, processes.KEEPER) == process.pid
        processes.stop([tmp_path])
        assert processes.running(folder, processes.KEEPER) is None
        assert not (folder / "keeper.pid").exists()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
