"""After a crash, from the journal alone; and what a lost journal means (S3, S4, S12)."""

import msgspec
import pytest

from consensus.effects import BuildProposal, CatchUp, CheckProposal, Execute, Quarantine
from consensus.events import (
    BodyArrived,
    CaughtUp,
    Complain,
    Executed,
    PendingWork,
    ProposalBuilt,
)
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
)
from salus.vote import JOURNAL_FLOOR, JournalEntry
from tests.consensus.lab import (
    A,
    B,
    C,
    Lab,
    certificate,
    new_view,
    prepared,
    status,
    view_change,
    vote,
)


def test_a_restart_never_prepares_another_digest() -> None:
    """S4: the primary that asks for it has made two proposals."""
    lab = Lab()
    lab.propose(1, A)
    again = lab.crash()
    again.propose(1, B)
    assert again.said(Prepare) == []
    assert [v.view for v in again.said(ViewChange)] == [1]


def test_a_restart_says_the_same_again() -> None:
    """S3: the same signature over the same digest, and nothing new in the journal."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(vote(Prepare, 2, 0, 1, A))
    again = lab.crash()
    again.hear(status(3, 0, 0, 0))
    assert again.said(Prepare) == lab.said(Prepare)
    assert again.said(Commit) == lab.said(Commit)
    assert again.journal == lab.journal


def test_a_restart_commits_with_its_own_vote_of_before() -> None:
    """S3: body and certificate were synced with the COMMIT; others repeat theirs (L20)."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(vote(Prepare, 2, 0, 1, A))
    again = lab.crash()
    again.votes(Commit, [0, 3], 0, 1, A)
    assert again.did(Execute) == [Execute(1, A)]


def test_alone_a_restart_needs_no_other_view_to_execute_what_it_committed() -> None:
    """S3, S6: its own COMMIT is the quorum; nobody will repeat one."""
    lab = Lab(me=0, n=1)
    lab.step(PendingWork(True))
    lab.build(1, A)
    assert lab.did(Execute) == [Execute(1, A)]
    again = lab.crash()
    again.tick()
    assert again.did(Execute) == [Execute(1, A)]
    assert again.state.view == 0


def test_a_restart_carries_prepared_certificates_into_the_next_view() -> None:
    """S3, S7: this is what a power cut of everybody must not lose."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(vote(Prepare, 2, 0, 1, A))
    again = lab.crash()
    again.step(Complain())
    assert again.said(ViewChange)[0].prepared == (prepared(0, 1, A),)


def test_a_restart_repeats_its_view_change_word_by_word() -> None:
    """S3, S4: own VIEW-CHANGEs are reloaded; two different ones for a view would be a lie."""
    lab = Lab()
    lab.step(Complain())
    again = lab.crash()
    again.tick()
    assert again.state.wish == 1
    assert again.said(ViewChange)[:1] == lab.said(ViewChange)[:1]
    again.propose(1, A)
    assert again.said(Prepare) == []


def test_a_restart_stays_in_its_view_and_keeps_what_it_fixed() -> None:
    """S10, L21: my view never runs backwards, on disk neither."""
    lab = Lab(me=2)
    changes = (
        view_change(0, 1, prepared(0, 6, A, without=2), low=certificate(5, C, without=2)),
        view_change(1, 1),
        view_change(3, 1),
    )
    lab.hear(new_view(1, *changes))
    again = lab.crash()
    shot = again.replica.snapshot()
    assert (shot.view, shot.low) == (1, 5)
    again.give_body(6, A, view=1)
    assert again.did(CheckProposal) == [CheckProposal(1, 6, A, 1, False)]
    assert [p.view for p in again.said(Prepare)] == [1]


def test_a_primary_repeats_its_own_proposal_and_makes_no_second() -> None:
    """S4: the body that a crash took is fetched, or the view changes."""
    lab = Lab(me=0)
    lab.tick()
    lab.build(1, A)
    again = lab.crash()
    again.tick()
    again.step(ProposalBuilt(0, 1, B))
    again.hear(status(3, 0, 0, 0))
    assert again.said(PrePrepare) == lab.said(PrePrepare)
    again.step(BodyArrived(1, A))
    again.votes(Prepare, [1, 2], 0, 1, A)
    assert len(again.said(Commit)) == 1


def test_a_primary_repeats_its_new_view_and_makes_no_second() -> None:
    """S4, S9: also when the journal kept only the first entry of the step."""
    lab = Lab(me=1)
    lab.step(Complain())
    lab.hear(view_change(0, 1), view_change(3, 1))
    (message,) = lab.said(NewView)
    torn = Lab(1, journal=tuple(lab.journal[:2]))
    for again in (lab.crash(), torn):
        assert again.state.view == 1
        again.hear(status(2, 0, 0, 0))
        assert again.said(NewView) == [message]


def test_a_header_that_changed_over_a_restart_halts() -> None:
    """S12: one header per height, ever."""
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    again = lab.crash()
    again.votes(Commit, [0, 2, 3], 0, 1, A)
    again.step(Executed(1, B, 0))
    assert again.said(Checkpoint) == []
    assert again.replica.snapshot().halted is not None


def test_the_floor_is_the_higher_of_journal_and_disk() -> None:
    """S12: after a state transfer that a crash cut short nothing below is voted on."""
    floor = JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32))
    lab = Lab(journal=(floor,))
    lab.propose(4, A)
    lab.propose(5, B)
    assert [p.sequence for p in lab.said(Prepare)] == [5]


def test_no_view_change_below_the_floor() -> None:
    """S7, S12: what I prepared there the journal may have dropped; first I catch up."""
    lab = Lab(journal=(JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32)),))
    lab.step(Complain())
    assert lab.said(ViewChange) == []
    lab.step(CaughtUp(4, certificate(4, C, without=1), 0))
    lab.step(Complain())
    assert lab.said(ViewChange)[0].low == certificate(4, C, without=1)


def _above_its_state(*certificates: PreparedCertificate, floor: int) -> Lab:
    """It has led view 1, and its journal begins at `floor`: the state store fell back behind it."""
    lab = Lab(me=1)
    lab.step(Complain())
    for one in certificates:
        lab.step(BodyArrived(one.pre_prepare.sequence, one.pre_prepare.digest))
    lab.hear(*(view_change(i, 1, *certificates) for i in (0, 3)))
    assert len(lab.said(NewView)) == 1
    journal = (*lab.journal, JournalEntry(JOURNAL_FLOOR, 0, 0, floor, bytes(32)))
    return Lab(me=1, journal=journal)


def test_what_its_new_view_proposes_a_primary_does_not_say_again_below_its_floor() -> None:
    """S12: not even what it has signed there before; whoever is in that view has its NEW-VIEW."""
    first, second = (prepared(0, s, d, without=1) for s, d in ((1, A), (2, B)))
    lab = _above_its_state(first, second, floor=1)
    lab.hear(status(0, 1, 1, 0))
    assert [p.sequence for p in lab.said(PrePrepare)] == [2]
    lab.sent.clear()
    lab.tick()
    lab.hear(status(0, 0, 1, 0))
    assert [[p.sequence for p in m.pre_prepares] for m in lab.said(NewView)] == [[1, 2]]
    assert lab.said(PrePrepare) == []


def test_a_primary_below_its_floor_asks_for_no_proposal() -> None:
    """S12: it may not sign one; each that was built for it made it ask for the next."""
    lab = _above_its_state(floor=2)
    lab.step(PendingWork(True))
    lab.tick()
    assert lab.did(BuildProposal) == []
    lab.step(CaughtUp(1, certificate(1, C, without=1), 0))
    assert lab.did(BuildProposal) == []
    lab.step(CaughtUp(2, certificate(2, C, without=1), 0))
    assert lab.did(BuildProposal) == [BuildProposal(1, 3, False)]


@pytest.mark.parametrize("in_view_change", [False, True])
def test_no_timer_runs_out_below_the_floor(in_view_change: bool) -> None:
    """L17, L18, S12: it may not leave a view before it has caught up. Where the timers ran, each tick
    doubled them, and what it blamed its primary for was its own to fetch."""
    before = Lab()
    if in_view_change:
        before.hear(*(view_change(i, 2) for i in (0, 3)))
    lab = Lab(journal=(*before.journal, JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32))))
    if in_view_change:
        lab.hear(*(view_change(i, 2) for i in (0, 3)))
        assert lab.state.view_change_left is not None
    else:  # and nothing is committed in it
        lab.hear(new_view(2, *(view_change(i, 2) for i in (0, 2, 3))))
    lab.step(PendingWork(True))
    view, wish = lab.state.view, lab.state.wish
    lab.sent.clear()
    lab.tick(4 * lab.state.config.progress_ticks)
    assert (lab.state.view, lab.state.wish, lab.state.doublings) == (view, wish, 0)
    assert not lab.replica.waits_for_primary
    lab.step(CaughtUp(4, certificate(4, C, without=1), 0))
    lab.tick(2 * lab.state.config.progress_ticks)
    assert lab.state.wish > wish


def test_whoever_has_come_up_to_its_floor_joins_the_view_that_others_ask_for() -> None:
    """L19, S12: they asked for it while it could not, and say nothing that it has not heard."""
    lab = Lab(journal=(JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32)),))
    lab.hear(*(view_change(i, 1) for i in (2, 3)))
    assert lab.said(ViewChange) == []
    lab.step(CaughtUp(4, certificate(4, C, without=1), 0))
    assert [message.view for message in lab.said(ViewChange)] == [1]


@pytest.mark.parametrize("me", [0, 1])
def test_a_state_that_is_an_epoch_older_than_the_journal_signs_nothing_in_it(me: int) -> None:
    """S4, S12, S13: the journal refuses what it would sign there, and the node ended by it; and what
    it had signed there it would have taken for somebody else's."""
    later = JournalEntry(JOURNAL_FLOOR, 1, 0, 200, bytes(32))
    lab = Lab(me=me, journal=(later,))
    kept = len(lab.journal)
    lab.step(PendingWork(True))
    lab.tick(2 * lab.state.config.progress_ticks)
    lab.hear(*(view_change(i, 1) for i in (2, 3)))
    assert lab.did(BuildProposal) == []
    assert {type(message) for message in lab.sent} == {Status}
    assert lab.journal[kept:] == []
    lab.hear(new_view(2, *(view_change(i, 2) for i in (me, 2, 3))))
    assert lab.state.quarantined is None
    lab.hear(status(2, 0, 0, 230, epoch=1))
    assert lab.did(CatchUp) == [CatchUp(230)]


def test_entries_of_another_epoch_are_void() -> None:
    """S4, S13: which is what makes a rejoin safe."""
    old = JournalEntry(2, 1, 0, 1, B)
    lab = Lab(journal=(old,))
    lab.propose(1, A)
    assert [p.digest for p in lab.said(Prepare)] == [A]


# -- a journal that lacks what I said (S4) -----------------------------------------------------

MINE: dict[str, Message] = {
    "PRE-PREPARE": vote(PrePrepare, 1, 1, 3, A),
    "PREPARE": vote(Prepare, 1, 0, 3, A),
    "COMMIT": vote(Commit, 1, 0, 3, A),
    "CHECKPOINT": vote(Checkpoint, 1, 0, 3, A),
    "VIEW-CHANGE": view_change(1, 3),
    "VIEW-CHANGE in a NEW-VIEW": new_view(2, *(view_change(i, 2) for i in (0, 1, 3))),
    "PREPARE in a certificate": new_view(
        2, view_change(0, 2, prepared(0, 1, A)), view_change(2, 2), view_change(3, 2)
    ),
    "CHECKPOINT in a certificate": new_view(
        2, view_change(0, 2, low=certificate(5, C)), view_change(2, 2), view_change(3, 2)
    ),
}


@pytest.mark.parametrize("shown", MINE.values(), ids=MINE.keys())
def test_a_vote_of_mine_that_my_journal_lacks_silences_me(shown: Message) -> None:
    """S4: a restored backup or a copied key; no consensus message leaves any more."""
    lab = Lab()
    lab.hear(shown)
    assert len(lab.did(Quarantine)) == 1
    journalled = len(lab.journal)
    lab.commit(1, A, view=lab.state.view)
    lab.step(Complain())
    lab.tick(50)
    assert all(
        isinstance(m, Status) and m.signature == NO_SIGNATURE
        for m in lab.sent
        if not hasattr(m, "digest")
    )
    assert not lab.said(Prepare)
    assert not lab.said(ViewChange)
    assert len(lab.journal) == journalled


def test_a_certificate_that_comes_with_blocks_may_show_it_too() -> None:
    """S4."""
    lab = Lab()
    lab.step(CaughtUp(3, certificate(3, C), 0))
    assert len(lab.did(Quarantine)) == 1


def test_a_forged_vote_in_my_name_silences_nobody() -> None:
    """S4: only a valid signature does."""
    lab = Lab()
    lab.hear(msgspec.structs.replace(vote(Prepare, 1, 0, 3, A), signature=bytes(64)))
    lab.hear(msgspec.structs.replace(vote(Prepare, 2, 0, 3, A), sender=1))
    assert lab.did(Quarantine) == []


def test_my_own_votes_coming_back_are_nothing_new() -> None:
    """S2: duplicates are silent."""
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    for message in (*lab.said(Prepare), *lab.said(Commit), *lab.said(Checkpoint)):
        lab.hear(message)
    lab.hear(status(1, 0, 0, 0))
    assert lab.did(Quarantine) == []


def test_an_unsigned_status_is_a_request_and_counts_for_nothing() -> None:
    """S4, L20: a quarantined validator is answered."""
    lab = Lab()
    lab.propose(1, A)
    asking = Status(0, 0, 7, 0, 3, NO_SIGNATURE)
    effects = lab.hear(asking)
    assert [type(e.message) for e in effects.send] == [Prepare]  # type: ignore[union-attr]
    lab.hear(Status(0, 0, 7, 900, 2, NO_SIGNATURE))
    assert lab.state.wish == 0
    assert lab.replica.snapshot().claimed == -1
