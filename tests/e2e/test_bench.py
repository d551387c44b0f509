"""`salus bench`, small: the fixed summary, and a lying primary whom nobody believes."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.bench import reads
from tests.e2e.consortium import DATA, document

pytestmark = pytest.mark.slow

BENCH = (sys.executable, "-m", "cli.main", "bench")
FIXED = {
    "mode", "tx_per_s", "ops_per_s", "p50_ms", "p95_ms", "p99_ms", "validators", "seconds",
    "cpu_s_per_1k_tx", "rss_mb", "rss_own_mb", "memory", "disk_bytes_per_tx", "blocks", "messages_per_block", "tx_per_block", "transactions",
    "refused", "turned_away", "signatures_verified_min", "signatures_covered_max", "tx_bytes", "operations_per_tx", "state_keys", "limit_share",
    "stolen_share", "others_share", "nodes_agree", "lies_told", "lies_refused", "lie_gap_ms",
}  # fmt: skip


@pytest.mark.timeout(400)
def test_a_small_run_has_every_figure_and_refuses_every_lie(tmp_path: Path) -> None:
    done = subprocess.run(
        [*BENCH, "--json", "--seconds=2", "--rate=40", "--prefill=400", "--state-keys=3000"],
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
    assert summary["state_keys"] == 3000
    # Each node checks each signature, but those that a quorum had voted for before it came to them.
    believed = summary["signatures_verified_min"] + summary["signatures_covered_max"]
    assert believed >= summary["transactions"]
    assert summary["signatures_verified_min"] > 0
    assert summary["lies_told"] == summary["lies_refused"] >= 1
    assert summary["lie_gap_ms"] > 0


def test_an_import_is_measured_until_the_last_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    visit = (DATA / "visit-1.json").read_bytes()
    (folder / "one.json").write_bytes(visit)
    (folder / "two.json.gz").write_bytes(gzip.compress(visit + b"\n"))
    (folder / "notes.txt").write_text("no document")
    told = document("bench", "--measure", "import", "--folder", folder, "--validators", 4)
    assert (told["documents"], told["resources"], told["refused"]) == (2, 26, 0)
    assert told["resources_per_s"] > 0


def test_decisions_are_measured_on_real_stores_and_checked() -> None:
    told = document("bench", "--measure", "decisions", "--patients", 60, "--permits", 5)
    assert (told["patients"], told["permits_per_docket"], told["asked"]) == (60, 1, 300)
    assert 0.3 < told["denied_share"] < 0.7
    assert 0 < told["weigh_p50_us"] < told["warm_p50_us"]
    assert told["verify_us"] > 0


def test_reads_have_a_ticket_each_and_no_byte_comes_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is counted is counted in few as well; the numbers of the measurement took a minute of CPU.
    monkeypatch.setattr(reads, "REVOCATIONS", 2)
    monkeypatch.setattr(reads, "BESIDE_PER_S", 20)
    monkeypatch.setattr(reads, "THEFTS", 5)
    told = document("bench", "--measure", "reads", "--reads", 3, "--megabytes", 3)
    assert told["tickets"] == told["reads"] > 3
    assert told["bytes_without_ticket"] == 0
    assert told["blocks_until_effective_max"] <= 1
    assert told["reads_while_revoked"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_primary_that_dies_hangs_or_is_cut_off_loses_nothing() -> None:
    told = document("bench", "--measure", "faults", "--rate", 60, "--seconds", 10)
    assert [row["fault"] for row in told["faults"]] == ["SIGKILL", "SIGSTOP", "dropped packets"]
    for row in told["faults"]:
        assert (row["lost"], row["twice"]) == (0, 0)
        assert row["committed"] == row["sent"] > 0
        assert row["first_gap_ms"] > 500, "the primary was the one"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_three_times_the_load_is_refused_in_the_words_of_http() -> None:
    told = document("bench", "--measure", "overload", "--seconds", 4, "--prefill", 400)
    assert told["refused"] > 0
    assert (told["errors"], told["without_retry_after"]) == (0, 0)
    assert told["goodput_tx_per_s"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_that_was_away_comes_back_with_the_others_state() -> None:
    told = document("bench", "--measure", "catchup", "--seconds", 4)
    assert told["behind_blocks"] > 0
    assert told["catch_up_s"] > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_delays_between_nodes_show_in_what_a_client_waits() -> None:
    told = document("bench", "--measure", "wan")
    near = [row["primary_p50_ms"] for row in told["wan"]]
    assert near[0] > 4 * 10
    assert near[1] - near[0] > 100
    assert near[2] - near[1] > 200
