"""Without faults nothing happens that is not asked for."""

import pytest

from consensus.messages import ViewChange
from tests.sim.checkers import Checkers
from tests.sim.cluster import Cluster
from tests.sim.plan import Plan, draw


def _calm(seed: int, n: int) -> Plan:
    """The parameters of a seed in good weather, without a single transaction."""
    drawn = draw(seed)
    plan = Plan(seed, n, drawn.parameters, heal_at=5_000.0)
    plan.base_ms = [[2.0] * (n + 1) for _ in range(n + 1)]
    plan.skew_ms, plan.tick_rate = [0.0] * (n + 1), [1.0] * (n + 1)
    return plan


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_an_idle_chain_stays_in_its_view(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """L17: and its first transaction is certified without one view change."""
    wishes: list[object] = []
    real = Checkers.on_send

    def listen(self: Checkers, node: object, message: object) -> None:
        if isinstance(message, ViewChange):
            wishes.append(message)
        real(self, node, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkers, "on_send", listen)
    for seed in range(4):
        cluster = Cluster(_calm(seed, n))
        result = cluster.run()
        assert result.failure is None
        assert cluster.now > 5_000  # the idle time was waited out
        assert not wishes
        assert {node.height for node in cluster.nodes} == {1}


def test_a_loaded_chain_in_good_weather_stays_in_its_view() -> None:
    """L17: progress resets the timer; the fairness measure does not fire at an honest primary."""
    plan = _calm(9, 4)
    plan.load = [(20.0 * step, step % 4, 2) for step in range(200)]
    cluster = Cluster(plan)
    result = cluster.run()
    assert result.failure is None
    assert not cluster.views
    assert "L17 fairness complaint" not in result.covered
