"""A slice of the exhaustive twins, and what makes the enumeration trustworthy.

All of them: `./scripts/simulate --long` (four rounds), `--twins 5` and `--nightly`.
"""

from unittest.mock import patch

from consensus import status
from salus.validators import ValidatorSet
from tests.sim import exhaustive
from tests.sim.exhaustive import (
    MIRROR,
    RECOVERY_TICKS_MAX,
    SPLITS,
    Path,
    enumerate_all,
    explore,
    mirrored,
    scenario,
)
from tests.sim.twins_world import NODES, TWIN, World, copied, outline

ROUNDS = 4
TWINS_EXCHANGED = (TWIN, 1, 2, 3, 0)


def test_the_sixteen_splits_are_all_there_are() -> None:
    """Each way to put five nodes on two sides, with no regard to which side is which."""
    everybody = frozenset(range(NODES))
    sides = {frozenset((split, everybody - split)) for split in SPLITS}
    assert len(SPLITS) == len(sides) == 16 == 2**NODES // 2


def test_a_mirror_image_is_the_split_with_the_twins_exchanged() -> None:
    everybody = frozenset(range(NODES))
    for split, image in zip(SPLITS, (SPLITS[i] for i in MIRROR), strict=True):
        exchanged = frozenset(TWINS_EXCHANGED[address] for address in split)
        assert image in (exchanged, everybody - exchanged)
    assert sum(image == split for split, image in enumerate(MIRROR)) == 8  # the twins together
    assert all(MIRROR[MIRROR[split]] == split for split in range(len(SPLITS)))


def test_a_scenario_and_its_mirror_image_are_one() -> None:
    """Served in the mirrored order, the mirror image goes exactly the same way, and heals in the
    same tick: whoever has run the one has run the other."""
    paths: list[Path] = [(a, b) for a in range(len(SPLITS)) for b in range(len(SPLITS))]
    paths += [(3, 9, 4), (12, 6, 1, 10), (5, 5, 10, 2), (0, 3, 9, 14), (7, 11, 13, 2, 8)]
    for path in paths:
        world, image = scenario(path), scenario(mirrored(path), World(TWINS_EXCHANGED))
        assert outline(world) == outline(image), path
        assert world.recover(RECOVERY_TICKS_MAX) == image.recover(RECOVERY_TICKS_MAX), path
        assert outline(world) == outline(image), path


def test_the_three_others_are_no_mirror_images_of_each_other() -> None:
    """They lead different views: with member 1 apart, who leads view 1, the others end in view 2;
    with member 2 apart, in view 1."""
    ends = {}
    for apart, order in ((1, (0, 1, 2, 3, 4)), (2, (0, 2, 1, 3, 4))):
        world = scenario((SPLITS.index(frozenset(range(NODES)) - {apart}),), World(order))
        ends[apart] = {node.replica.state.view for node in world.nodes if node.address != apart}
    assert ends == {1: {2}, 2: {1}}


def test_mirror_images_are_counted_and_change_no_count() -> None:
    """Paths in which the twins always stand together are their own image: 8^rounds of 16^rounds."""
    half, whole = explore((), 2), explore((), 2, mirror=False)
    assert (half.scenarios, half.run, half.mirrored) == (256, (256 + 64) // 2, (256 - 64) // 2)
    assert (whole.scenarios, whole.run, whole.mirrored) == (256, 256, 0)
    assert (half.failed, half.committed) == (whole.failed, whole.committed)
    assert half.pruned == whole.pruned == 0


def test_two_rounds_whole_and_a_slice_of_four() -> None:
    two = enumerate_all(2, 1)
    assert (two.scenarios, two.failures) == (256, [])
    assert two.committed > 200  # they are no scenarios of standing still
    slices = [(0, 3, 9), (1, 12, 6), (5, 5, 10), (10, 4, 7), (15, 2, 8)]
    slices.append((14, 7, 5))  # in one of them blocks come to one node by two ways at once
    for path in slices:
        four = explore(path, ROUNDS)
        assert (four.scenarios, four.failures) == (16, [])


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
    """After {0}, {0,2} or {0,3}, then {0,2,3,4}, nothing is left of the difference: one of three
    goes on, and stands for all."""
    with patch.object(exhaustive, "SPLITS", tuple(SPLITS[index] for index in (0, 2, 3, 14))):
        whole, pruned = explore((), 3, mirror=False), explore((), 3, mirror=False, prune=True)
    assert (whole.scenarios, whole.run, whole.worlds) == (64, 64, [4, 16])
    assert (pruned.scenarios, pruned.run, pruned.worlds) == (64, 56, [4, 14])
    assert (pruned.pruned, pruned.mirrored, whole.pruned) == (8, 0, 0)
    assert (pruned.failed, pruned.committed) == (whole.failed, whole.committed)


def test_the_counts_do_not_depend_on_the_number_of_processes() -> None:
    assert explore((), 2, jobs=1, prune=True) == explore((), 2, jobs=2, prune=True)


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
