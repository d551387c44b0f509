"""L22, decision 0008: epochs too short to replace their primary, and one that serves itself alone."""

import msgspec
import pytest

from tests.sim.cluster import Cluster
from tests.sim.plan import Plan, draw


def _censored(seed: int, liar: int) -> Plan:
    """Good weather and epochs of the shortest length that limits allow; all wait for the liar."""
    drawn, n = draw(seed), 4
    window = 8
    limits = msgspec.structs.replace(
        drawn.parameters,
        watermark_window=window,
        in_flight_proposals_max=4,
        execute_ahead_max=window - 5,
        epoch_blocks_max=window,
        # An epoch of sixteen blocks is over in 0.2 s: long before the account of a slow primary
        # (three timeouts, node/pace.py), or one pool capacity of others' transactions (L17).
        progress_timeout_ms=1_000,
        pool_transactions_max=100,
    )
    plan = Plan(seed, n, limits, heal_at=1_000.0)
    plan.base_ms = [[2.0] * (n + 1) for _ in range(n + 1)]
    plan.skew_ms, plan.tick_rate = [0.0] * (n + 1), [1.0] * (n + 1)
    plan.liars[liar] = ("censor",)
    plan.load = [(50.0 * step, node, 1) for step in range(20) for node in range(n) if node != liar]
    return plan


@pytest.mark.parametrize("liar", range(4))
def test_a_censor_does_not_keep_the_seat_from_epoch_to_epoch(liar: int) -> None:
    """Its blocks come without a pause, and the epoch is over before anybody has counted enough: what
    f+1 honest members know must be committed under the first primary of one of the next epochs."""
    cluster = Cluster(_censored(3, liar))
    result = cluster.run()
    assert result.failure is None, result.failure
    assert "S13 the epoch changed" in result.covered
