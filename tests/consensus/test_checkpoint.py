"""Certified blocks, divergence, catching up, epochs (S12–S14, L20, L24)."""

import pytest

from consensus.config import ReplicaConfig
from consensus.effects import (
    BuildProposal,
    CatchUp,
    Evidence,
    Execute,
    Halt,
    SendBlocks,
    WriteBlock,
)
from consensus.events import BlockWritten, BodyArrived, CaughtUp, Executed, PendingWork, Received
from consensus.messages import Checkpoint, Commit, PrePrepare, ViewChange
from consensus.replica import Replica
from salus.vote import JournalEntry, VoteType
from tests.consensus.cluster import (
    DOMAIN,
    PARAMETERS,
    FakeSigner,
    fake_verify,
    key,
    validator_set,
)
from tests.consensus.lab import A, B, C, Lab, certificate, status, vote


def executed(me: int = 1, header: bytes = C, n: int = 4) -> Lab:
    lab = Lab(me, n)
    lab.commit(1, A)
    lab.step(Executed(1, header, 0))
    return lab


def test_the_header_is_journalled_before_its_checkpoint_leaves() -> None:
    """S12: one header per height, ever."""
    lab = executed()
    assert lab.last.persist == [JournalEntry(VoteType.CHECKPOINT, 0, 0, 1, C)]
    assert [m.digest for m in lab.said(Checkpoint)] == [C]


def test_q_equal_headers_certify_the_block() -> None:
    """S12."""
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 0, 1, C))
    assert lab.did(WriteBlock) == []
    lab.hear(vote(Checkpoint, 2, 0, 1, C))
    assert lab.did(WriteBlock) == [WriteBlock(1, certificate(1, C))]


def test_a_checkpoint_of_a_view_is_no_checkpoint() -> None:
    """S1: a CHECKPOINT is signed for view 0 only, so that one header has one payload."""
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 1, 1, C), vote(Checkpoint, 2, 1, 1, C))
    assert lab.did(WriteBlock) == []


def test_an_early_certificate_waits_for_my_execution() -> None:
    """S12: a certificate for a block that I hold is kept and the block executed, never fetched."""
    lab = Lab()
    lab.votes(Checkpoint, [0, 2, 3], 0, 1, C)
    assert lab.did(WriteBlock) == []
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    assert [w.height for w in lab.did(WriteBlock)] == [1]
    assert lab.did(CatchUp) == []


def test_blocks_are_written_in_order() -> None:
    lab = Lab()
    lab.commit(1, A)
    lab.commit(2, B)
    lab.step(Executed(1, C, 0))
    lab.step(Executed(2, B, 0))
    lab.votes(Checkpoint, [0, 2], 0, 2, B)
    assert lab.did(WriteBlock) == []
    lab.votes(Checkpoint, [0, 2], 0, 1, C)
    assert [w.height for w in lab.did(WriteBlock)] == [1, 2]


def test_f_plus_1_other_headers_halt_me() -> None:
    """L24: one of them is honest, so I am wrong, or more than f lie."""
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 0, 1, B))
    assert lab.did(Halt) == []
    lab.hear(vote(Checkpoint, 2, 0, 1, B))
    assert [h.height for h in lab.did(Halt)] == [1]
    assert lab.replica.snapshot().halted is not None
    assert lab.hear(vote(PrePrepare, 0, 0, 2, B)).send == []


def test_f_plus_1_different_headers_do_not_halt_me() -> None:
    """L24: f+1 members must sign *one* header different from mine."""
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 0, 1, A), vote(Checkpoint, 2, 0, 1, B))
    assert lab.did(Halt) == []


def test_a_certified_header_that_is_not_mine_halts_me_when_i_execute() -> None:
    """L24, S12."""
    lab = Lab()
    lab.votes(Checkpoint, [0, 2, 3], 0, 1, B)
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    assert [h.height for h in lab.did(Halt)] == [1]
    assert lab.said(Checkpoint) == []


def test_two_headers_of_one_member_are_evidence() -> None:
    """L23."""
    lab = executed()
    first, second = vote(Checkpoint, 0, 0, 1, B), vote(Checkpoint, 0, 0, 1, C)
    lab.hear(first, second)
    assert lab.did(Evidence) == [Evidence(0, first, second)]
    assert lab.did(WriteBlock) == []


def test_a_height_that_cannot_reach_q_stops_the_timer_and_shows_its_groups() -> None:
    """L24: another primary would not help; `status` prints who signed what."""
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 0, 1, A))
    lab.step(PendingWork(True))
    lab.tick(30)
    assert lab.said(ViewChange) != [], "two members may still sign mine"
    lab = executed()
    lab.hear(vote(Checkpoint, 0, 0, 1, A), vote(Checkpoint, 2, 0, 1, B))
    lab.hear(vote(Checkpoint, 3, 0, 1, bytes(32)))
    lab.step(PendingWork(True))
    lab.tick(30)
    assert lab.said(ViewChange) == []
    (groups,) = lab.replica.snapshot().header_groups
    assert groups.stuck
    assert sorted(groups.groups) == [(bytes(32), (3,)), (A, (0,)), (B, (2,)), (C, (1,))]


def test_a_full_log_stops_the_timer() -> None:
    """L24: without certificates the window fills; that is not the primary's fault."""
    lab = Lab()
    for sequence in range(1, 9):
        lab.commit(sequence, bytes([sequence]) * 32)
    lab.step(PendingWork(True))
    lab.tick(50)
    assert lab.said(ViewChange) == []


def test_my_checkpoints_are_said_again_until_certified() -> None:
    """L20."""
    lab = executed()
    lab.tick(10)
    assert len(lab.said(Checkpoint)) >= 3
    lab.votes(Checkpoint, [0, 2], 0, 1, C)
    lab.step(BlockWritten(1))
    before = len(lab.said(Checkpoint))
    lab.tick(30)
    assert len(lab.said(Checkpoint)) == before


def test_caught_up_replaces_everything_below() -> None:
    """S14, L20: fetched blocks settle slots, votes and headers, and voting goes on above."""
    lab = executed()
    lab.hear(vote(Commit, 0, 0, 2, B))
    lab.step(CaughtUp(5, certificate(5, B, without=1), 0))
    shot = lab.replica.snapshot()
    assert (shot.certified, shot.executed, shot.committed, shot.low) == (5, 5, 5, 5)
    assert shot.slots == ()
    lab.step(Executed(1, C, 0))  # A late answer of the shell changes nothing.
    lab.step(BlockWritten(1))
    lab.commit(6, A)
    assert lab.did(Execute)[-1] == Execute(6, A)


def test_caught_up_with_another_header_than_mine_halts() -> None:
    """L24."""
    lab = executed()
    lab.step(CaughtUp(1, certificate(1, B), 0))
    assert [h.height for h in lab.did(Halt)] == [1]


def test_a_block_whose_commit_is_known_is_no_progress_of_the_primary() -> None:
    """L17: only a commit that moves `settled` resets the timer; a certified block from elsewhere
    is one if I had not seen it committed. Otherwise each fetched block would spare a primary
    that does nothing any more."""
    lab = Lab()
    lab.commit(1, A)
    lab.commit(2, A)
    lab.step(PendingWork(True))
    lab.tick()
    left = lab.replica.state.progress_left
    assert left < lab.replica.state.config.progress_ticks
    lab.step(CaughtUp(1, certificate(1, C), 0))
    assert lab.replica.state.progress_left == left
    lab.step(CaughtUp(3, certificate(3, C), 0))
    assert lab.replica.state.progress_left > left


def test_a_proved_height_that_i_lack_is_fetched_but_not_at_once() -> None:
    """S12, S14: a certificate often overtakes the votes that it sums up."""
    lab = Lab()
    lab.tick()
    lab.votes(Checkpoint, [0, 2, 3], 0, 3, C)
    assert lab.did(CatchUp) == []
    lab.tick(6)
    assert CatchUp(3) in lab.did(CatchUp)


def test_one_claim_moves_nobody_f_plus_1_make_me_look() -> None:
    """S14, L20: a height is believed with its certificate only, but looking costs little."""
    lab = Lab()
    lab.hear(status(0, 0, 0, 900))
    lab.tick(12)
    assert lab.did(CatchUp) == []
    lab.hear(status(2, 0, 0, 7))
    lab.tick(12)
    assert CatchUp(7) in lab.did(CatchUp)
    assert lab.replica.snapshot().certified == 0


# -- epochs (S13) ------------------------------------------------------------------------------


def test_a_fixed_end_makes_the_primary_fill_up_and_stop_exactly_there() -> None:
    """S13: epoch_end = h + L; no PRE-PREPARE above it."""
    lab = Lab(me=0)
    lab.tick()
    lab.build(1, A)
    lab.votes(Commit, [1, 2, 3], 0, 1, A)
    assert lab.did(BuildProposal)[-1] == BuildProposal(0, 2, False)
    lab.step(Executed(1, C, 9))
    assert lab.did(BuildProposal)[-1] == BuildProposal(0, 2, True)
    for height in range(2, 10):
        digest = bytes([height]) * 32
        lab.votes(Checkpoint, [1, 2], 0, height - 1, C if height == 2 else bytes([height - 1]) * 32)
        lab.step(BlockWritten(height - 1))
        lab.build(height, digest)
        lab.votes(Commit, [1, 2, 3], 0, height, digest)
        lab.step(Executed(height, digest, 9))
    assert max(b.sequence for b in lab.did(BuildProposal)) == 9
    assert lab.state.log.committed == 9


def test_nothing_above_the_epochs_end_is_accepted() -> None:
    """S13."""
    lab = Lab(certified=certificate(5, A), epoch_end=7)
    lab.hear(vote(PrePrepare, 0, 0, 8, A), vote(Commit, 0, 0, 8, A))
    assert lab.state.log.slots == {}
    lab.hear(vote(PrePrepare, 0, 0, 7, A))
    assert list(lab.state.log.slots) == [7]


def test_a_scheduled_end_is_pending_work() -> None:
    """S13, L17: a primary that does not fill up loses its view."""
    lab = Lab(certified=certificate(5, A), epoch_end=7)
    lab.tick(10)
    assert len(lab.said(ViewChange)) == 1


def test_votes_of_another_epoch_are_void_and_an_old_status_is_answered() -> None:
    """S13: answered with the blocks, the boundary certificate among them."""
    lab = Lab()
    lab.propose(1, A)
    assert lab.hear(vote(PrePrepare, 0, 0, 2, A, epoch=1)).send == []
    newer = status(3, 0, 0, 40, epoch=1)
    assert lab.hear(newer).deliver == [CatchUp(40)]
    assert lab.hear(newer).deliver == [], "hearsay is looked after once in a while only"


def test_an_old_epochs_status_is_answered_with_blocks() -> None:
    """S13."""
    replica = Replica(
        ReplicaConfig(
            vote_domain=DOMAIN,
            parameters=PARAMETERS,
            epoch=2,
            base=30,
            validators=validator_set(4, 2),
            me=1,
            signer=FakeSigner(key(1)),
            verifier=fake_verify,
            certified=30,
        )
    )
    assert replica.step(Received(status(3, 0, 0, 12, epoch=1))).send == [SendBlocks(3, 12, 1)]
    assert replica.step(Received(vote(PrePrepare, 0, 0, 31, A, epoch=1))).send == []


@pytest.mark.parametrize("me", [None, 1])
def test_who_signs_nothing_still_follows(me: int | None) -> None:
    """S4: observers and quarantined validators count votes, execute, and write blocks."""
    lab = Lab(me, voting=False)
    lab.votes(Commit, [0, 2, 3], 0, 1, A)
    lab.step(BodyArrived(1, A))
    lab.step(Executed(1, C, 0))
    lab.votes(Checkpoint, [0, 2, 3], 0, 1, C)
    assert [w.height for w in lab.did(WriteBlock)] == [1]
    lab.step(BlockWritten(1))
    assert lab.journal == []
