"""The reference model: it agrees with what we built, and disagrees with bugs, alone."""

import ast
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.workshop import Workshop
from tests.sim import reference, reference_trial
from tests.sim.cluster import Cluster
from tests.sim.observer import Observer
from tests.sim.plan import draw
from tests.sim.reference_adapter import Reference

LINES_MAX = 300
RUNS_MAX = 12  # of the quick ones


def test_the_model_is_short_and_knows_nothing_of_the_code() -> None:
    source = Path(str(reference.__file__)).read_text()
    assert len(source.splitlines()) <= LINES_MAX
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imports} == {"collections", "typing"}


@pytest.mark.parametrize("first", [1, 5])
def test_it_agrees_with_what_honest_replicas_do(first: int) -> None:
    """Beside every fourth seed of the other tests it runs anyway."""
    for seed in range(first, first + 4):
        plan = draw(seed)
        model = Reference(plan.faulty)
        result = Cluster(plan, observer=model).run()
        assert result.failure is None, f"seed {seed}: {result.failure}"
        assert model.steps > 100 or plan.n == 1


def test_watching_changes_nothing() -> None:
    """A run is the same, event for event, with the model and without."""
    for seed in (5, 11):
        plan = draw(seed)
        watched = Cluster(plan, observer=Reference(plan.faulty)).run()
        unwatched = Cluster(draw(seed), observer=Observer()).run()
        assert (watched.events, watched.heights) == (unwatched.events, unwatched.heights)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in reference_trial.safety_mutants() if mutant.quick],
    ids=lambda mutant: mutant.name,
)
def test_it_disagrees_with_a_planted_bug(mutant: Mutant, workshop: Workshop) -> None:
    """All of them: `.venv/bin/python -m tests.sim.reference_trial`."""
    runs, words = reference_trial.ask(mutant, workshop, RUNS_MAX)
    assert words is not None, f"{mutant.rule} «{mutant.name}»: the model agrees after {runs} runs"
