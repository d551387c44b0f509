"""One seed is one trace, byte for byte, whatever the hash seed of the process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _trace(hash_seed: str, seeds: str) -> bytes:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seeds", seeds, "--explain"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        timeout=120,
        check=True,
    )
    return ran.stdout


def test_the_trace_of_a_seed_does_not_depend_on_the_hash_seed() -> None:
    seeds = "40..52"
    first, second = _trace("1", seeds), _trace("2", seeds)
    assert len(first) > 100_000
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()
