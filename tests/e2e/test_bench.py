"""`salus bench`, small: the fixed summary, and a lying primary whom nobody believes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCH = (sys.executable, "-m", "cli.main", "bench")
FIXED = {
    "mode", "tx_per_s", "ops_per_s", "p50_ms", "p95_ms", "p99_ms", "validators", "seconds",
    "cpu_s_per_1k_tx", "rss_mb", "disk_bytes_per_tx", "blocks", "tx_per_block", "transactions",
    "refused", "signatures_verified_min", "tx_bytes", "operations_per_tx", "limit_share",
    "nodes_agree", "lies_told", "lies_refused", "lie_gap_ms",
}  # fmt: skip


@pytest.mark.timeout(400)
def test_a_small_run_has_every_figure_and_refuses_every_lie(tmp_path: Path) -> None:
    done = subprocess.run(
        [*BENCH, "--json", "--seconds", "2", "--rate", "40", "--prefill", "400"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert set(summary) == FIXED
    assert summary["nodes_agree"]
    assert summary["signatures_verified_min"] >= summary["transactions"] > 0
    assert summary["lies_told"] == summary["lies_refused"] >= 1
    assert summary["lie_gap_ms"] > 0
