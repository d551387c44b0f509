"""Timers, the synchroniser, VIEW-CHANGE and NEW-VIEW in one replica (S7–S10, L17–L19)."""

import msgspec
import pytest

from consensus.effects import (
    BuildProposal,
    CheckProposal,
    Evidence,
    Execute,
    Halt,
    Rejected,
    ViewEntered,
    ViewLeft,
)
from consensus.events import BodyArrived, Complain, PendingWork, Verdict
from consensus.messages import Commit, Fetch, NewView, Prepare, PrePrepare, ViewChange
from consensus.proofs import null_digest
from tests.consensus.cluster import Cluster
from tests.consensus.lab import (
    A,
    B,
    C,
    Lab,
    certificate,
    new_view,
    prepared,
    sign,
    status,
    view_change,
    vote,
)

# -- timers (L17, L18) -------------------------------------------------------------------------


def test_an_idle_chain_changes_no_view() -> None:
    """L17."""
    lab = Lab()
    lab.tick(500)
    assert lab.said(ViewChange) == []


def test_pending_work_runs_the_progress_timer_and_each_commit_resets_it() -> None:
    """L17: ten ticks in these tests."""
    lab = Lab()
    lab.step(PendingWork(True))
    lab.tick(9)
    lab.commit(1, A)
    lab.tick(9)
    assert lab.said(ViewChange) == []
    lab.tick(1)
    assert [v.view for v in lab.said(ViewChange)] == [1]


def test_an_uncommitted_proposal_is_pending_work() -> None:
    """L17."""
    lab = Lab()
    lab.propose(1, A)
    lab.tick(10)
    assert len(lab.said(ViewChange)) == 1


def test_a_commit_out_of_order_is_no_progress() -> None:
    """L17: else a primary could leave one sequence out for ever."""
    lab = Lab()
    lab.step(PendingWork(True))
    lab.tick(5)
    lab.commit(2, B)
    lab.tick(5)
    assert len(lab.said(ViewChange)) == 1


def test_the_view_change_timer_starts_only_once_q_members_are_there() -> None:
    """L18: two of four, stopped for minutes, must not wish themselves into the far future."""
    lab = Lab()
    lab.step(Complain())
    lab.hear(view_change(2, 1))
    lab.tick(500)
    assert [v.wish for v in lab.did(ViewLeft)] == [1]
    lab.hear(status(3, 0, 1, 0))
    lab.tick(10)
    assert [v.wish for v in lab.did(ViewLeft)] == [1, 2]
    lab.tick(500)
    assert [v.wish for v in lab.did(ViewLeft)] == [1, 2], "nobody else is at view 2"


def test_the_timeout_doubles_to_a_cap_and_halves_after_a_commit() -> None:
    """L18: 2^6 at most."""
    lab = Lab(me=3)
    lab.step(Complain())
    waited = []
    for view in range(1, 10):
        lab.hear(status(0, 0, view, 0), status(2, 0, view, 0))
        ticks = 0
        while lab.state.wish == view:
            lab.tick()
            ticks += 1
        waited.append(ticks)
    assert waited == [10, 20, 40, 80, 160, 320, 640, 640, 640]
    lab.hear(new_view(10, view_change(0, 10), view_change(1, 10), view_change(2, 10)))
    assert lab.state.view == 10
    lab.commit(1, A, view=10)
    assert lab.state.doublings == 5
    for sequence in range(2, 8):
        lab.commit(sequence, A, view=10)
    assert lab.state.doublings == 0


def test_complaints_inside_a_view_change_do_not_pile_up() -> None:
    """L18: my wish is at most one above what q members have reached."""
    lab = Lab()
    for _ in range(5):
        lab.step(Complain())
    assert [v.wish for v in lab.did(ViewLeft)] == [1]


# -- the synchroniser (L19) --------------------------------------------------------------------


def test_one_huge_number_moves_nobody() -> None:
    """L19."""
    lab = Lab()
    lab.hear(view_change(3, 2**40), status(3, 0, 2**41, 0))
    lab.tick(100)
    assert lab.state.wish == 0


def test_f_plus_1_higher_wishes_are_joined_at_the_smallest() -> None:
    """L19: count higher wishes; waiting for exactly one view livelocks with one liar."""
    lab = Lab()
    lab.hear(view_change(3, 2**40), view_change(2, 5))
    assert [v.view for v in lab.said(ViewChange)] == [5]


def test_only_the_highest_wish_of_a_member_counts() -> None:
    """L19: many wishes of one member are one."""
    lab = Lab()
    for view in (3, 4, 5, 6):
        lab.hear(view_change(2, view), status(2, 0, view, 0))
    assert lab.state.wish == 0
    assert list(lab.state.view_changes) == [2]


def test_a_wish_with_a_false_signature_counts_nothing() -> None:
    lab = Lab()
    for sender in (2, 3):
        lab.hear(msgspec.structs.replace(view_change(sender, 5), signature=bytes(64)))
    assert lab.state.wish == 0


# -- VIEW-CHANGE (S7) --------------------------------------------------------------------------


def test_my_view_change_carries_what_i_prepared_and_proves_its_low_watermark() -> None:
    """S7."""
    lab = Lab(certified=certificate(5, C))
    lab.propose(6, A)
    lab.hear(vote(Prepare, 2, 0, 6, A))
    lab.propose(7, B)
    lab.step(Complain())
    (message,) = lab.said(ViewChange)
    assert message.low == certificate(5, C)
    assert message.prepared == (prepared(0, 6, A),)


def test_after_a_view_change_nothing_of_the_old_view_is_signed() -> None:
    """S7: it would belie what the VIEW-CHANGE said; but commits are still learnt."""
    lab = Lab()
    lab.propose(1, A)
    lab.step(Complain())
    lab.hear(vote(Prepare, 2, 0, 1, A), vote(PrePrepare, 0, 0, 2, B))
    assert lab.said(Commit) == []
    lab.votes(Commit, [0, 2, 3], 0, 1, A)
    assert lab.did(Execute) == [Execute(1, A)]


# -- NEW-VIEW (S9, S10, L21) -------------------------------------------------------------------


def test_the_new_primary_announces_with_q_view_changes() -> None:
    """S9: its own among them."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1))
    assert lab.said(NewView) == []
    lab.hear(view_change(3, 1))
    (message,) = lab.said(NewView)
    assert [vc.sender for vc in message.view_changes] == [0, 1, 3]
    assert lab.did(ViewEntered) == [ViewEntered(1, 1)]
    assert lab.did(BuildProposal)[-1] == BuildProposal(1, 1, False)


def test_a_forged_view_change_is_left_out() -> None:
    """S8: its wish was counted, its content is not."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1, low=certificate(0, C, without=1)), view_change(2, 1))
    assert lab.said(NewView) == []
    lab.hear(view_change(3, 1))
    assert [vc.sender for vc in lab.said(NewView)[0].view_changes] == [1, 2, 3]


def test_the_new_primary_fetches_a_body_before_it_proposes_it() -> None:
    """S3: its PRE-PREPARE is a vote, and whoever lacks a body fetches it before voting."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1, prepared(0, 1, A, without=1)), view_change(3, 1))
    assert lab.said(NewView) == []
    assert [f.digest for f in lab.said(Fetch)] == [A]
    lab.step(BodyArrived(1, A))
    assert [p.digest for p in lab.said(NewView)[0].pre_prepares] == [A]


def test_a_body_that_nobody_has_does_not_stop_a_new_view_that_can_do_without() -> None:
    """S3: a liar may show a certificate whose body the honest lost in a power cut."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1, prepared(0, 1, A, without=1)), view_change(3, 1))
    assert lab.said(NewView) == []
    lab.hear(view_change(2, 1))
    assert [vc.sender for vc in lab.said(NewView)[0].view_changes] == [1, 2, 3]


def test_a_backup_votes_for_the_choice_without_asking_the_clock() -> None:
    """S9, S11, L21: re-proposals are judged by rule S15 only, null not at all."""
    lab = Lab(me=2)
    changes = view_change(0, 1, prepared(0, 2, A, without=2)), view_change(1, 1), view_change(3, 1)
    lab.hear(new_view(1, *changes))
    assert lab.did(ViewEntered) == [ViewEntered(1, 1)]
    assert [(p.sequence, p.digest) for p in lab.said(Prepare)] == [(1, null_digest(1))]
    assert [f.sequence for f in lab.said(Fetch)] == [2]
    lab.give_body(2, A, view=1)
    assert lab.did(CheckProposal) == [CheckProposal(1, 2, A, 1, False)]
    assert [p.sequence for p in lab.said(Prepare)] == [1, 2]


def test_a_false_new_view_is_evidence_and_a_reason_for_the_next() -> None:
    """S9."""
    lab = Lab(me=2)
    changes = view_change(0, 1, prepared(0, 1, A, without=2)), view_change(1, 1), view_change(3, 1)
    lie = sign(
        msgspec.structs.replace(new_view(1, *changes), pre_prepares=(vote(PrePrepare, 1, 1, 1, B),))
    )
    lab.hear(changes[0], changes[2])
    assert lab.state.wish == 1
    lab.hear(lie)
    assert lab.did(Evidence) == [Evidence(1, lie, lie)]
    assert lab.state.view == 0
    assert lab.state.wish == 2


@pytest.mark.parametrize("me", [1, None])
def test_who_does_not_vote_follows_a_new_view_and_journals_nothing(me: int | None) -> None:
    """S4: a quarantined validator and an observer have no journal that could take it."""
    lab = Lab(me, voting=False)
    lab.hear(new_view(2, *(view_change(i, 2) for i in (0, 2, 3))))
    assert lab.state.view == 2
    assert lab.journal == []


def test_a_new_view_of_another_member_or_of_the_past_is_nothing() -> None:
    """S9."""
    changes = tuple(view_change(i, 1) for i in (0, 1, 3))
    good = new_view(1, *changes)
    lab = Lab(me=2)
    lab.hear(sign(msgspec.structs.replace(good, sender=3)))
    assert lab.state.view == 0
    lab.hear(good)
    lab.step(Complain())
    assert lab.state.wish == 2
    lab.hear(good)
    assert (lab.state.view, lab.state.wish) == (1, 2)


def test_the_low_watermark_of_a_new_view_is_adopted_where_i_executed_less() -> None:
    """S10: nothing at or below is voted on; what I lack is fetched; my next VIEW-CHANGE proves
    that watermark, or a later view could choose null below it."""
    lab = Lab(me=2)
    changes = (
        view_change(0, 1, low=certificate(5, C, without=2)),
        view_change(1, 1),
        view_change(3, 1),
    )
    lab.hear(new_view(1, *changes))
    shot = lab.replica.snapshot()
    assert (shot.certified, shot.low, shot.proved) == (0, 5, 5)
    lab.hear(vote(PrePrepare, 1, 1, 5, A), vote(PrePrepare, 1, 1, 6, B))
    assert [slot.sequence for slot in lab.replica.snapshot().slots] == [6]
    lab.step(Complain())
    assert lab.said(ViewChange)[-1].low == certificate(5, C, without=2)


def test_the_primary_proposes_above_an_adopted_watermark() -> None:
    """S10: also where it executed less itself."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1, low=certificate(5, C, without=1)), view_change(3, 1))
    assert lab.did(BuildProposal)[-1] == BuildProposal(1, 6, False)


def test_an_executed_sequence_is_voted_again_and_not_executed_again() -> None:
    """S6."""
    lab = Lab(me=2)
    lab.commit(1, A)
    assert lab.did(Execute) == [Execute(1, A)]
    changes = view_change(0, 1, prepared(0, 1, A, without=2)), view_change(1, 1), view_change(3, 1)
    lab.hear(new_view(1, *changes))
    assert [(p.view, p.digest) for p in lab.said(Prepare)] == [(0, A), (1, A)]
    lab.votes(Prepare, [0, 3], 1, 1, A)
    assert [(c.view, c.digest) for c in lab.said(Commit)] == [(0, A), (1, A)]
    lab.votes(Commit, [0, 1, 3], 1, 1, A)
    assert lab.did(Execute) == [Execute(1, A)]


def test_another_digest_for_an_executed_sequence_halts_with_evidence() -> None:
    """S6: then more than f lied, and going on would fork. Accused is who committed and kept silent
    about it, or shows another certificate of that very view; not the primary, whose choice follows."""
    lab = Lab(me=2)
    lab.votes(Commit, [0, 3], 0, 1, A)
    lab.commit(1, A)
    changes = view_change(0, 1), view_change(1, 1), view_change(3, 1, prepared(0, 1, B, without=2))
    lab.hear(new_view(1, *changes))
    assert [h.height for h in lab.did(Halt)] == [1]
    assert lab.did(Evidence) == [
        Evidence(0, vote(Commit, 0, 0, 1, A), changes[0]),
        Evidence(3, vote(Commit, 3, 0, 1, A), changes[2]),
    ]


def test_who_committed_and_says_so_is_not_accused_of_another_digest() -> None:
    """S6: he shows a certificate of a later view, which those made possible who lied before."""
    lab = Lab(me=2)
    lab.votes(Commit, [0, 3], 0, 1, A)
    lab.commit(1, A)
    truthful = view_change(0, 3, prepared(1, 1, B, without=2))
    lab.hear(new_view(3, truthful, view_change(1, 3), view_change(3, 3, prepared(0, 1, A))))
    assert [h.height for h in lab.did(Halt)] == [1]
    assert lab.did(Evidence) == []


def test_votes_that_overtake_their_new_view_are_kept() -> None:
    """B25: bounded, and only of the views to come."""
    lab = Lab(me=2)
    lab.hear(vote(PrePrepare, 1, 1, 1, A), vote(Prepare, 3, 1, 1, A))
    assert lab.said(Prepare) == []
    lab.hear(new_view(1, *(view_change(i, 1) for i in (0, 1, 3))))
    lab.give_body(1, A, view=1, verdict=Verdict.VALID)
    assert [p.view for p in lab.said(Prepare)] == [1]
    assert len(lab.said(Commit)) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_every_size_changes_its_view_when_all_complain(n: int) -> None:
    """B29: also where no fault is tolerated."""
    cluster = Cluster(n)
    cluster.tick()
    for node in cluster.nodes:
        cluster.step(node, Complain())
    cluster.settle()
    assert {node.replica.state.view for node in cluster.nodes} == {1}
    cluster.submit("a")
    cluster.settle()
    assert [node.height for node in cluster.nodes] == [1] * n


def test_two_of_four_stopped_for_minutes_cost_no_minutes_afterwards() -> None:
    """L18, L19: a long outage, then progress within a few timeouts."""
    cluster = Cluster(4)
    cluster.tick()
    cluster.isolate(2, 3)
    cluster.submit("a")
    cluster.tick(1200)
    cluster.heal()
    cluster.tick(30)
    assert [node.height for node in cluster.nodes] == [1] * 4


def test_two_view_changes_for_one_view_are_evidence_once() -> None:
    """L23, B25: a third costs nothing any more."""
    lab = Lab()
    first, second = view_change(2, 1), view_change(2, 1, prepared(0, 1, A, without=1))
    lab.hear(first, second, view_change(2, 1, prepared(0, 2, A, without=1)))
    assert lab.did(Evidence) == [Evidence(2, first, second)]


def test_false_new_views_are_examined_once_a_tick_and_once_a_view() -> None:
    """B25: the dearest message of all."""
    lab = Lab(me=2, voting=False)  # it wishes for nothing, so it reads all
    lab.hear(status(0, 8, 8, 0), status(3, 8, 8, 0))
    lies = [
        sign(msgspec.structs.replace(new_view(1 + 4 * k, view_change(0, 1)), view=1 + 4 * k))
        for k in range(5)
    ]
    seen = []
    for _ in range(6):
        lab.hear(*lies)
        seen.append(len(lab.did(Evidence)))
        lab.tick()
    assert seen == [1, 2, 3, 3, 3, 3]  # views 1, 5 and 9; nobody honest is near 13 and 17


def test_a_message_larger_than_a_true_one_is_refused_unread() -> None:
    """B25: a signature over it would be a hundred times as dear to check."""
    lab = Lab()
    true = prepared(0, 1, A)
    wide = msgspec.structs.replace(true, prepares=true.prepares + true.prepares[:1])
    window = lab.state.parameters.watermark_window
    large = [
        view_change(0, 1, wide),
        view_change(2, 1, *[true] * (window + 1)),
        msgspec.structs.replace(
            new_view(2, view_change(0, 2)), view_changes=4 * (view_change(0, 2),)
        ),
        msgspec.structs.replace(
            new_view(2, view_change(0, 2)), view_changes=(view_change(0, 2, wide),)
        ),
    ]
    for count, message in enumerate(large, 1):
        lab.hear(message)
        assert len(lab.did(Rejected)) == count
    assert lab.state.reached == [0, 0, 0, 0]
