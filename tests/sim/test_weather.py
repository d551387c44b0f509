"""The network that a run draws: fair weather for a primary that drips (weather.py), and none of what
was to come begins once the network is good (network.py)."""

from itertools import islice

from tests.sim.cluster import Cluster
from tests.sim.plan import draw
from tests.sim.run import run_quietly


def test_a_dripping_primary_is_complained_about_and_given_up() -> None:
    """L22: nothing else is wrong in such a run, so it is the account of its pace that ends its view."""
    dripping = (seed for seed in range(2_000) if draw(seed).liars == {0: ("dripping",)})
    results = [run_quietly(seed) for seed in islice(dripping, 6)]
    assert [result.failure for result in results] == [None] * 6
    reached = [set(result.covered) for result in results]
    for branch in (
        "L22 complaint of a slow primary",
        "L22 a slow or censoring primary is given up",
    ):
        assert sum(branch in covered for covered in reached) >= 3, branch


def test_a_loss_of_checkpoints_that_was_to_come_does_not_begin_after_the_heal() -> None:
    """A lively run is healed before its plan is through. It lost CHECKPOINTs for seconds afterwards,
    the log was full, and the primaries that came and went were held against the code (L22)."""
    healed, faulty = Cluster(draw(1)), Cluster(draw(1))
    healed.healed = True
    for cluster in (healed, faulty):
        cluster.network.lose_checkpoints(4_085.0)
    assert faulty.network.no_checkpoints_until == 4_085.0
    assert healed.network.no_checkpoints_until == 0.0
    assert "no CHECKPOINT arrives" not in healed.covered
