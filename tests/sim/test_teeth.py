"""The simulator judged by planted bugs: each must fall within a bounded number of runs."""

import pytest

from tests.sim.cluster import Cluster
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.plan import draw

SEEDS_MAX = 3_000  # scanned; most cannot show a given bug and are not run
RUNS_MAX = 100


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if not mutant.slow], ids=lambda mutant: mutant.name
)
def test_a_planted_bug_is_caught(mutant: Mutant) -> None:
    assert runs_to_kill(mutant) is not None, f"{mutant.rule}: «{mutant.name}» survives"


def runs_to_kill(mutant: Mutant) -> int | None:
    runs = 0
    for seed in range(SEEDS_MAX):
        plan = draw(seed)
        if not mutant.needs(plan):
            continue
        runs += 1
        with mutant.planted():
            if Cluster(plan).run().failure is not None:
                return runs
        if runs == RUNS_MAX:
            return None
    return None
