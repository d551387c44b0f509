"""A slice of the exhaustive twins, and what makes the enumeration trustworthy.

All of them: `./scripts/simulate --long` (four rounds) and `--twins 5`.
"""

from unittest.mock import patch

from consensus import status
from salus.validators import ValidatorSet
from tests.sim.exhaustive import SPLITS, Counts, enumerate_all, explore, scenario
from tests.sim.twins_world import NODES, copied, outline

ROUNDS = 4


def test_the_sixteen_splits_are_all_there_are() -> None:
    """Each way to put five nodes on two sides, with no regard to which side is which."""
    everybody = frozenset(range(NODES))
    sides = {frozenset((split, everybody - split)) for split in SPLITS}
    assert len(SPLITS) == len(sides) == 16 == 2**NODES // 2


def test_two_rounds_whole_and_a_slice_of_four() -> None:
    two = enumerate_all(2, 1)
    assert (two.scenarios, two.failures) == (256, [])
    assert two.committed > 200  # they are no scenarios of standing still
    four = Counts()
    for path in ((0, 3, 9), (1, 12, 6), (5, 5, 10), (10, 4, 7), (15, 2, 8)):
        four.add(explore(path, ROUNDS))
    four.add(explore((14, 7, 5, 13), ROUNDS))  # blocks come to one node by two ways at once
    assert (four.scenarios, four.failures) == (5 * 16 + 1, [])


def test_a_copy_of_a_world_has_its_own_future() -> None:
    """Copied and run from the beginning a world is the same; the original does not move."""
    for path in ((3, 9), (0, 12), (6, 6)):
        before = scenario(path)
        unmoved = outline(before)
        child = copied(before)
        child.round(SPLITS[5], leave=True)
        assert outline(child) == outline(scenario((*path, 5)))
        assert outline(before) == unmoved
        before.round(SPLITS[5], leave=True)
        assert outline(before) == outline(child)


def test_pruning_counts_what_it_leaves_out() -> None:
    whole, pruned = explore((15,), 3), explore((15,), 3, prune=True)
    assert whole.scenarios == pruned.scenarios == 256
    assert whole.pruned == 0 < pruned.pruned
    assert pruned.committed < whole.committed  # so many heals were not run


def test_the_counts_do_not_depend_on_the_number_of_processes() -> None:
    assert enumerate_all(1, 1) == enumerate_all(1, 2)


def test_two_of_four_are_no_quorum() -> None:
    """S5: with too small a quorum the twins fork the chain in the very first round."""
    with patch.object(ValidatorSet, "quorum", property(lambda self: 2)):
        counts = enumerate_all(1, 1)
    assert any("AGREEMENT" in failure for failure in counts.failures)


def test_where_nothing_is_said_again_somebody_never_comes_back() -> None:
    """L20: what a split kept from it comes again after the heal, or not at all."""
    with patch.object(status, "tick", lambda s: None):
        counts = explore((0,), 2)
    assert any("LIVENESS" in failure for failure in counts.failures)
