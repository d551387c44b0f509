"""Gauges that are read off the node at a scrape, so that no hot path has to push them."""

import platform
from asyncio import get_running_loop

from node.api.view import NodeView
from node.net.clock import skew_ms
from salus.forms_node import Consensus, Status

PHASES = ("normal", "view change")


def refresh(view: NodeView) -> None:
    """Everything that `status`, `consensus`, `mempool`, `peers` and `validators` know."""
    metrics, status, consensus = view.metrics, view.status(), view.consensus()
    _agreement(view, status, consensus)
    mempool = view.mempool()
    metrics.mempool_txs.set(mempool.transactions)
    metrics.mempool_bytes.set(mempool.bytes)
    metrics.sync_lag_blocks.set(status.sync_lag_blocks)
    metrics.sync_active.set(status.syncing)
    for part, size in status.storage_bytes.items():
        metrics.storage_bytes.labels(part).set(size)
    peers = view.peers()
    metrics.p2p_peers.labels("in").set(sum(peer.connected_in for peer in peers))
    metrics.p2p_peers.labels("out").set(sum(peer.connected_out for peer in peers))
    for peer in peers:
        metrics.p2p_queue_depth.labels(peer.member).set(peer.queued)
        if peer.rtt_ms is not None:
            metrics.p2p_rtt_seconds.labels(peer.member).set(peer.rtt_ms / 1000)
    skew = skew_ms([peer.clock_ahead_ms for peer in peers])
    if skew is not None:
        metrics.clock_skew_seconds.set(skew / 1000)
    loop = type(get_running_loop()).__module__.partition(".")[0]
    metrics.build_info.labels(status.version, platform.python_version(), loop).set(1)


def _agreement(view: NodeView, status: Status, consensus: Consensus) -> None:
    metrics = view.metrics
    metrics.consensus_height.set(status.height)
    metrics.consensus_view.set(status.view)
    metrics.consensus_is_primary.set(status.is_primary)
    metrics.consensus_quorum_online.set(status.quorum.online)
    metrics.consensus_quorum_needed.set(status.quorum.needed)
    metrics.consensus_checkpoint_height.set(consensus.stable_height)
    metrics.consensus_timeout_seconds.set(consensus.timeout_ms / 1000)
    metrics.consensus_halted.set(status.signing == "halted")
    metrics.enter_phase(consensus.phase, PHASES)
    for validator in view.validators().items:
        if validator.last_signed_height is not None:
            metrics.consensus_validator_last_signed_height.labels(validator.member).set(
                validator.last_signed_height
            )
