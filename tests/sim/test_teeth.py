"""The simulator judged by planted bugs: each must fall within a bounded number of runs."""

import pytest

from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.run import kill

SEEDS = range(5_000)  # most plans cannot show a given bug and are passed over
RUNS_MAX = 100


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if not mutant.slow], ids=lambda mutant: mutant.name
)
def test_a_planted_bug_is_caught(mutant: Mutant) -> None:
    runs, result = kill(mutant, SEEDS, RUNS_MAX)
    assert result is not None, f"{mutant.rule}: «{mutant.name}» survives {runs} runs"
