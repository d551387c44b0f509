"""Scenes of one lie, or one loss, each: they are played as they are meant, and change no other run."""

from collections.abc import Callable
from itertools import islice

from tests.sim.cluster import Cluster
from tests.sim.faults import Loss
from tests.sim.liars import DivergedNode
from tests.sim.plan import Plan, draw
from tests.sim.run import run_quietly
from tests.sim.schism import split_height, unclear

SEEDS = 400


def _first(shows: Callable[[Plan], bool]) -> Plan:
    return next(plan for plan in map(draw, range(SEEDS)) if shows(plan))


def test_a_schism_comes_to_a_clear_stop() -> None:
    """L24: two of four compute wrongly, each in its own way; both halt, and the others keep their view
    and show who signed what. Before anybody has executed that height, nothing of it is to be seen."""
    plan = _first(lambda plan: plan.schism)
    assert len(plan.liars) == (plan.n - 1) // 3 + 1
    cluster = Cluster(plan)
    assert any(isinstance(node, DivergedNode) for node in cluster.nodes)
    result = cluster.run()
    assert result.failure is None
    assert "L24 a diverged node halts" in result.covered
    assert not any(cluster.views.values())
    assert not list(unclear(cluster))
    for node in cluster.upright:
        assert node.replica is not None
        s = node.replica.state
        assert split_height(s) == s.split_height == s.log.certified + 1
        s.log.certified = s.split_height  # as if it had a certificate: it is split no more
        assert split_height(s) == 0


def test_what_is_asked_of_a_schism_can_be_missed() -> None:
    """A run that has not begun has nothing to show."""
    cluster = Cluster(_first(lambda plan: plan.schism))
    for node in cluster.nodes:
        node.start()
    said = list(unclear(cluster))
    assert len(said) == cluster.plan.n
    assert sum("goes on" in words for words in said) == len(cluster.plan.liars)


def test_who_comes_late_is_shown_a_backdated_new_view_and_refuses_it() -> None:
    """S8: it holds what the liar prepared in the very view that it leads."""
    late = (seed for seed in range(SEEDS) if draw(seed).liars == {1: ("backdating",)})
    results = [run_quietly(seed) for seed in islice(late, 2)]
    assert [result.failure for result in results] == [None] * 2
    assert any("S9 a false NEW-VIEW is refused" in result.covered for result in results)


def test_an_older_state_comes_up_to_its_journal_where_it_is_needed() -> None:
    """S12: f others are silent, so without its votes nothing would be certified any more."""
    scenes = (seed for seed in range(SEEDS) if draw(seed).needed is not None)
    results = [run_quietly(seed) for seed in islice(scenes, 3)]
    assert [result.failure for result in results] == [None] * 3
    assert all("S12 an older state has come up to its journal" in one.covered for one in results)


def test_runs_with_faults_of_their_own_become_no_scene() -> None:
    for plan in map(draw, range(SEEDS)):
        scene = plan.schism or {("backdating",), ("untimely",)} & set(plan.liars.values())
        if scene or plan.needed is not None:
            assert all(crash.loss is Loss.NOTHING for crash in plan.crashes)
            assert plan.relapse is None
