"""A primary that lets its transactions drip is complained about in the simulator, too (weather.py)."""

from itertools import islice

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
