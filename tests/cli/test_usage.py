"""What a node has used is also what its child processes have."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.bench import usage
from cli.bench.children import VERIFY, children, cpu_s, is_verifier
from cli.bench.stages import NAMES, Sampler
from cli.home import TestnetNode

USED_S = 0.1
BUSY = (
    "import sys, time\n"
    f"while time.process_time() < {USED_S} + 0.05: pass\n"
    "print(flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """It has used its time, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, VERIFY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def node(home: Path) -> TestnetNode:
    return TestnetNode("a", os.getpid(), "", str(home), "", "")


def test_the_time_of_children_counts_while_they_run_and_when_they_have_ended(
    tmp_path: Path, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_metric", lambda *_: 0)
    assert child.pid in children(os.getpid())
    assert cpu_s(child.pid) >= USED_S
    alone = cpu_s(os.getpid(), with_ended=True)
    assert usage.usage(node(tmp_path)).cpu_s >= alone + USED_S
    child.kill()
    child.wait()
    assert child.pid not in children(os.getpid())
    assert cpu_s(child.pid) == 0
    assert cpu_s(os.getpid(), with_ended=True) >= alone + USED_S


def test_the_memory_of_children_counts(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    with_child, own = usage.held(node(tmp_path)), usage._held(child.pid)
    assert 1 << 20 < own.own_bytes < with_child.own_bytes
    assert with_child.all_bytes > own.all_bytes
    child.kill()
    assert usage._held(child.pid).own_bytes in (0, own.own_bytes), "not yet buried"
    child.wait()
    assert usage._held(child.pid) == usage.Held(0, 0)


def test_what_processes_that_check_signatures_use_is_verifying(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    assert is_verifier(child.pid)
    assert not is_verifier(os.getpid())
    sampler = Sampler(tmp_path / "stages.json")
    sampler.look_at_children()
    first = sampler.seconds["verify"]
    sampler.look_at_children()
    assert sampler.seconds["verify"] == first >= USED_S
    assert all(sampler.seconds[name] == 0 for name in NAMES if name != "verify")
