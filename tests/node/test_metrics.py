"""Metric names are an interface: alerts and the board name only what exists."""

import json
import re
import shutil
import subprocess
from enum import Enum
from pathlib import Path

import pytest

from node.metrics import Metrics, NetMeter

ROOT = Path(__file__).parents[2]

SUFFIXES = ("_bucket", "_count", "_sum", "_total")

# interfaces of this issue: names that operators may rely on from now on
PROMISED = [
    "consensus_height",
    "consensus_view",
    "consensus_is_primary",
    "consensus_phase",
    "consensus_quorum_online",
    "consensus_quorum_needed",
    "consensus_view_changes_total",
    "consensus_phase_seconds",
    "consensus_block_interval_seconds",
    "consensus_last_block_timestamp_seconds",
    "consensus_validator_last_signed_height",
    "consensus_validator_missed_blocks_total",
    "consensus_equivocations_total",
    "consensus_checkpoint_height",
    "consensus_timeout_seconds",
    "tx_commit_seconds",
    "txs_total",
    "tx_rejected_total",
    "mempool_txs",
    "mempool_bytes",
    "mempool_evicted_total",
    "p2p_peers",
    "p2p_messages_total",
    "p2p_bytes_total",
    "p2p_rtt_seconds",
    "p2p_rejected_total",
    "p2p_queue_depth",
    "block_txs",
    "block_bytes",
    "block_apply_seconds",
    "sync_lag_blocks",
    "sync_active",
    "storage_bytes",
    "storage_write_seconds",
    "storage_free_bytes",
    "storage_damaged_total",
    "clock_skew_seconds",
    "contract_faults_total",
    "consensus_halted",
    "signer_seconds",
    "signer_errors_total",
    "api_request_seconds",
    "api_inflight",
    "events_subscribers",
    "events_lag",
    "crypto_verify_seconds",
    "event_loop_lag_seconds",
    "emergency_access_total",
    "emergency_owed",
    "build_info",
]


def test_every_promised_name_is_exported() -> None:
    assert {f"salus_{name}" for name in PROMISED} <= set(Metrics().names())


def test_two_nodes_in_one_process_do_not_share_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.consensus_height.set(7)
    assert b"salus_consensus_height 7.0" in one.text()
    assert b"salus_consensus_height 0.0" in other.text()


def test_helpers() -> None:
    metrics = Metrics()
    metrics.enter_phase("normal", ("normal", "view-change"))
    metrics.block_certified(5, 10, 1_700_000_000.0)
    metrics.certificate_signed(5, ["hosp-a"], ["hosp-a", "hosp-b"])
    metrics.rejected("EXPIRED")
    text = metrics.text().decode()
    for line in (
        'salus_consensus_phase{phase="normal"} 1.0',
        'salus_consensus_phase{phase="view-change"} 0.0',
        "salus_consensus_height 5.0",
        'salus_consensus_validator_last_signed_height{validator="hosp-a"} 5.0',
        'salus_consensus_validator_missed_blocks_total{validator="hosp-b"} 1.0',
        'salus_tx_rejected_total{code="EXPIRED"} 1.0',
    ):
        assert line in text.splitlines()


def test_the_transport_counts_frames_by_kind_and_direction() -> None:
    kind = Enum("Kind", ["BLOCKS"])
    metrics = Metrics()
    meter = NetMeter(metrics)
    meter.frame(kind["BLOCKS"], "in", 10)
    meter.frame(kind["BLOCKS"], "in", 5)
    meter.dropped(kind["BLOCKS"])
    meter.rejected("NOT_A_MEMBER")
    lines = metrics.text().decode().splitlines()
    assert 'salus_p2p_messages_total{direction="in",type="blocks"} 2.0' in lines
    assert 'salus_p2p_bytes_total{direction="in",type="blocks"} 15.0' in lines
    assert 'salus_p2p_dropped_total{type="blocks"} 1.0' in lines
    assert 'salus_p2p_rejected_total{reason="NOT_A_MEMBER"} 1.0' in lines


def test_gauges_are_read_off_at_the_scrape() -> None:
    metrics = Metrics()
    metrics.on_scrape(lambda: metrics.mempool_txs.set(3))
    assert b"salus_mempool_txs 3.0" in metrics.text()


def test_no_label_could_name_a_patient_or_a_key() -> None:
    allowed = {
        "phase", "reason", "validator", "kind", "result", "code", "contract", "direction", "type",
        "peer", "part", "route", "status", "version", "python", "loop", "hospital",
    }  # fmt: skip
    metrics = Metrics()
    labels = {
        label
        for value in vars(metrics).values()
        for names in ("_labelnames", "label_names")
        for label in getattr(value, names, ())
    }
    assert labels == allowed


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\bsalus_[a-z0-9_]+", text))


def base_names() -> set[str]:
    names = set(Metrics().names())
    return names | {name + suffix for name in names for suffix in SUFFIXES}


def test_alerts_name_existing_metrics_only() -> None:
    text = (ROOT / "configs/alerts.yml").read_text()
    assert named_in(text)
    assert named_in(text) <= base_names()


def test_the_board_names_existing_metrics_only() -> None:
    board = json.loads((ROOT / "configs/grafana.json").read_text())
    expressions = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", ())
    ]
    named = named_in(" ".join(expressions))
    assert len(named) > 10
    assert named <= base_names()


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: see scripts/setup-optional"
)
def test_promtool_finds_nothing() -> None:
    subprocess.run(["promtool", "check", "rules", ROOT / "configs/alerts.yml"], check=True)
    subprocess.run(["promtool", "check", "metrics"], input=Metrics().text(), check=True)
