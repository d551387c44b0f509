"""The share of the simulator that every change must pass: all rules, S1 to B29, at once."""

import pytest

from tests.sim.cluster import run_seed
from tests.sim.run import run_quietly

CHUNK = 20


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_no_fault_and_no_lie_breaks_a_rule(first: int) -> None:
    """Agreement, no double vote, equal headers, liveness after the heal: checkers.py."""
    for seed in range(first, first + CHUNK):
        result = run_quietly(seed)
        assert result.failure is None, (
            f"seed {seed}: {result.failure}\n"
            f"replay: ./scripts/simulate --seeds {seed}..{seed + 1} --explain"
        )


def test_the_batch_reaches_the_hard_states() -> None:
    """A simulator that only sees sunny days proves nothing; the shares are of the full batch."""
    results = [run_quietly(seed) for seed in range(40)]
    covered = [what for result in results for what in result.covered]
    share = {what: covered.count(what) / len(results) for what in sorted(set(covered))}
    assert share["≥ 2 view changes"] >= 0.3
    assert share["crash inside a persist"] >= 0.2
    for what in (
        "S13 the epoch changed",
        "S14 a block is fetched",
        "S11 null executed",
        "L23 evidence is shown",
        "S3 a body is served",
    ):
        assert share[what] > 0, what


def test_a_trace_can_be_read() -> None:
    """`--explain` names times, nodes, messages, views."""
    seed = next(seed for seed in range(40) if "≥ 2 view changes" in run_quietly(seed).covered)
    lines: list[str] = []
    assert run_seed(seed, lines.append).failure is None
    text = "\n".join(lines)
    for word in ("PrePrepare from", "Commit", "enters view", "HEAL", "wrote block"):
        assert word in text
