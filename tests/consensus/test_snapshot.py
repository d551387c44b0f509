"""What `status`, `doctor` and /v1/consensus read (L24, B29)."""

from consensus.events import Complain, Executed
from consensus.messages import Checkpoint, Commit, Prepare
from tests.consensus.cluster import validator_set
from tests.consensus.lab import A, B, C, Lab, vote


def test_it_tells_the_phase_of_each_sequence_and_who_voted() -> None:
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    lab.commit(3, C)
    lab.propose(2, B)
    lab.hear(vote(Prepare, 3, 0, 2, B))
    lab.hear(vote(Commit, 0, 0, 4, A))
    shot = lab.replica.snapshot()
    assert [(slot.sequence, slot.phase) for slot in shot.slots] == [
        (1, "executed"),
        (2, "prepared"),
        (3, "committed"),
        (4, "empty"),
    ]
    assert (shot.slots[1].prepares, shot.slots[1].commits) == ((1, 3), (1,))
    assert (shot.primary, shot.n, shot.f, shot.quorum, shot.voting) == (0, 4, 1, 3, True)


def test_it_tells_who_was_heard_and_how_long_ago() -> None:
    """For «2 of 4 validators seen, 3 needed»."""
    lab = Lab()
    lab.hear(vote(Prepare, 3, 0, 1, A))
    lab.tick(7)
    assert lab.replica.snapshot().heard_ticks_ago == (None, 0, None, 7)


def test_it_tells_views_and_wishes() -> None:
    lab = Lab()
    lab.step(Complain())
    shot = lab.replica.snapshot()
    assert (shot.view, shot.wish, shot.in_view_change, shot.primary) == (0, 1, True, 1)
    assert shot.views == (0, 1, 0, 0)


def test_it_names_the_groups_of_an_uncertified_height() -> None:
    """L24."""
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    lab.hear(vote(Checkpoint, 0, 0, 1, B))
    (height,) = lab.replica.snapshot().header_groups
    assert (height.height, height.stuck) == (1, False)
    assert height.groups == ((B, (0,)), (C, (1,)))


def test_fewer_than_four_tolerate_nothing() -> None:
    """B29."""
    assert [validator_set(n).f for n in (1, 2, 3, 4)] == [0, 0, 0, 1]
    assert Lab(n=3).replica.snapshot().f == 0
