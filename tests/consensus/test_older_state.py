"""A state store that was replaced by one older than the journal: first silence, then as if nothing had
been (S4, S7, S12)."""

from random import Random

import pytest

from consensus.effects import Evidence, Execute
from consensus.events import CaughtUp, Complain, Executed, PendingWork, ProposalBuilt
from consensus.messages import Checkpoint, Commit, Fetch, NewView, Prepare, PrePrepare, ViewChange
from salus.codec import encode
from salus.vote import JOURNAL_FLOOR, JOURNAL_NEW_VIEW, JOURNAL_PREPARED, JournalEntry, VoteType
from storage.votes import VoteMemory, floor_entry
from tests.consensus.cluster import PARAMETERS, Cluster
from tests.consensus.lab import A, B, C, Lab, certificate, new_view, prepared, view_change, vote

WINDOW = PARAMETERS.watermark_window
FLOOR = JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32))


def _catches_up(lab: Lab, *heights: int) -> None:
    for height in heights:
        lab.step(CaughtUp(height, certificate(height, C, without=1), 0))


# -- four replicas ------------------------------------------------------------------------------


def _replace_state(cluster: Cluster, index: int, height: int, floor: int) -> VoteMemory:
    """Its journal, as the journal of a node keeps it, is all that is newer than `height`."""
    node, memory = cluster.nodes[index], VoteMemory()
    for entry in (*node.journal, floor_entry((0, floor))):
        memory.apply(entry)
    node.journal = list(memory.entries())
    node.chain = {h: block for h, block in node.chain.items() if h <= height}
    return memory


def test_whom_the_others_need_leaves_the_view_once_it_has_caught_up() -> None:
    """L19, S7: the primary is dead and left proposals behind, prepared and not certified. Without the
    VIEW-CHANGE of the one with the older state there is no quorum; and it tells all it has prepared."""
    cluster = Cluster()
    for number in range(12):
        cluster.submit(f"t{number}", [0])
        cluster.settle()
    cluster.lost += [("Commit", 13), ("Commit", 14)]
    cluster.submit("a")
    cluster.submit("b")
    cluster.settle()
    left = {s: cluster.nodes[1].replica.state.log.slots[s].prepared for s in (13, 14)}
    assert None not in left.values()
    cluster.crash(0)
    cluster.crash(3)
    memory = _replace_state(cluster, 3, 2, floor=8)
    cluster.restart(3)
    node = cluster.nodes[3]
    assert 14 > node.height + WINDOW  # more than its window, or this shows nothing
    old = len(node.journal)
    cluster.tick(20)
    cluster.heal()  # with their COMMITs lost till here, only another view can end it
    cluster.tick(20)
    assert min(other.height for other in cluster.nodes[1:]) >= 14
    assert {node.chain[s].digest for s in left} == {
        p.pre_prepare.digest for p in left.values() if p
    }
    told = [said for said in cluster.log if said.startswith("3 → all  ViewChange v1")]
    assert "s13/v0:" in told[0]
    assert "s14/v0:" in told[0]
    for entry in node.journal[old:]:
        for news in memory.news([entry]):  # refuses what contradicts an earlier life
            memory.apply(news)


# -- one, on the bench --------------------------------------------------------------------------


def test_it_votes_for_nothing_until_its_window_reaches_its_journal() -> None:
    """S7, S12: what I prepared above my window no VIEW-CHANGE of mine could tell."""
    high = WINDOW + 4
    journal = (
        FLOOR,
        JournalEntry(int(VoteType.PREPARE), 0, 0, high, A),
        JournalEntry(JOURNAL_PREPARED, 0, 0, high, A, encode(prepared(0, high, A))),
        JournalEntry(int(VoteType.COMMIT), 0, 0, high, A),
    )
    lab = Lab(journal=journal)
    lab.propose(5, B)
    lab.step(Complain())
    _catches_up(lab, 3)
    lab.propose(6, B)
    lab.step(Complain())
    assert lab.sent == []
    _catches_up(lab, 4)
    lab.give_body(5, B)
    lab.give_body(6, B)
    assert [(p.sequence, p.digest) for p in lab.said(Prepare)] == [(5, B), (6, B)]
    lab.propose(high, B)
    (change,) = lab.said(ViewChange)  # the primary has said two things
    assert change.prepared == (prepared(0, high, A),)
    assert [p.digest for p in lab.said(Prepare) if p.sequence == high] == []


def test_below_the_floor_of_the_journal_it_stays_silent() -> None:
    """S12: the window reaches the journal, and the journal has forgotten what lies below its floor."""
    journal = (
        JournalEntry(JOURNAL_FLOOR, 0, 0, 7, bytes(32)),
        JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 2, A),
    )
    lab = Lab(journal=journal)
    _catches_up(lab, 2)
    lab.propose(7, B)
    lab.step(Complain())
    assert lab.sent == []
    _catches_up(lab, 7)
    lab.step(Complain())
    assert [change.low for change in lab.said(ViewChange)] == [certificate(7, C, without=1)]


def test_what_it_executed_in_silence_it_signs_then() -> None:
    """S12: without its CHECKPOINT the others may have no quorum."""
    journal = (FLOOR, JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 4, A))
    lab = Lab(journal=journal, certified=certificate(3, C, without=1))
    for sequence in (4, 5):
        lab.propose(sequence, A)
        lab.votes(Commit, [0, 2, 3], 0, sequence, A)
        lab.step(Executed(sequence, B, 0))
    assert lab.sent == []
    lab.step(CaughtUp(4, certificate(4, B, without=1), 0))
    assert lab.said(Checkpoint) == [vote(Checkpoint, 1, 0, 5, B)]


def test_another_header_than_it_signed_before_halts_it_in_silence_too() -> None:
    """S12: one header per height, ever."""
    journal = (
        FLOOR,
        JournalEntry(int(VoteType.CHECKPOINT), 0, 0, 5, A),
        JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 5, A),
    )
    lab = Lab(journal=journal, certified=certificate(4, C, without=1))
    lab.propose(5, A)
    lab.votes(Commit, [0, 2, 3], 0, 5, A)
    lab.step(Executed(5, B, 0))
    assert lab.replica.snapshot().halted is not None


def test_its_own_commit_may_be_the_one_that_lacks() -> None:
    """S6: the others' came while it was silent, and nobody says them again."""
    high = WINDOW + 4
    journal = (
        FLOOR,
        JournalEntry(JOURNAL_PREPARED, 0, 0, 5, A, encode(prepared(0, 5, A))),
        JournalEntry(int(VoteType.COMMIT), 0, 0, 5, A),
        JournalEntry(int(VoteType.PREPARE), 0, 0, high, A),
    )
    lab = Lab(journal=journal, certified=certificate(3, C, without=1))
    lab.hear(new_view(2, *(view_change(i, 2) for i in (0, 2, 3))))
    lab.votes(Commit, [0, 2], 0, 5, A)
    assert lab.state.log.slots[5].committed is None
    _catches_up(lab, 4)
    assert lab.did(Execute) == [Execute(5, A)]


def test_it_votes_for_what_a_new_view_fixed_in_its_silence() -> None:
    """S9, L21: and for nothing else there."""
    lab = Lab(journal=(FLOOR, JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 4, A)))
    lab.hear(new_view(2, *(view_change(i, 2, prepared(0, 5, A, without=1)) for i in (0, 2, 3))))
    lab.give_body(5, A, view=2)
    assert {type(message) for message in lab.sent} == {Fetch}
    _catches_up(lab, 4)
    lab.give_body(5, A, view=2)
    assert [(p.view, p.sequence, p.digest) for p in lab.said(Prepare)] == [(2, 5, A)]


def test_a_vote_of_its_journal_binds_it_in_its_silence() -> None:
    """S4, L23: the primary asks for another PREPARE of the same place."""
    journal = (
        FLOOR,
        JournalEntry(int(VoteType.PREPARE), 0, 0, 5, A),
        JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 4, A),
    )
    lab = Lab(journal=journal)
    lab.propose(5, B)
    _catches_up(lab, 4)
    lab.propose(5, B)
    lab.tick(2)
    assert {p.digest for p in lab.said(Prepare) if p.sequence == 5} <= {A}
    assert [change.view for change in lab.said(ViewChange)] == [1]


@pytest.mark.parametrize("torn", [False, True])
def test_a_certificate_of_its_journal_binds_it_in_its_silence(torn: bool) -> None:
    """S3, L23: it prepared A off the clock, with no PREPARE of its own, and the primary shows it B."""
    journal = [
        FLOOR,
        JournalEntry(JOURNAL_PREPARED, 0, 0, 5, A, encode(prepared(0, 5, A, without=1))),
        JournalEntry(int(VoteType.COMMIT), 0, 0, 5, A),
        JournalEntry(int(VoteType.PREPARE), 0, 0, WINDOW + 4, A),
    ]
    lab = Lab(journal=tuple(entry for entry in journal if not (torn and entry is journal[2])))
    lab.propose(5, B)
    _catches_up(lab, 4)
    lab.give_body(5, B)
    lab.tick()
    assert [p for p in lab.said(Prepare) if p.digest == B] == []
    assert [c for c in lab.said(Commit) if c.digest == B] == []
    assert [change.prepared for change in lab.said(ViewChange)] == [(prepared(0, 5, A, without=1),)]
    (shown,) = lab.did(Evidence)
    assert (shown.culprit, shown.first.digest, shown.second.digest) == (0, B, A)


def test_a_primary_proposes_nothing_anew() -> None:
    """S4: of what it proposed before, it says the same again."""
    high = WINDOW + 4
    journal = (FLOOR, *(JournalEntry(int(VoteType.PRE_PREPARE), 0, 0, s, A) for s in (5, high)))
    lab = Lab(me=0, journal=journal)
    lab.step(PendingWork(True))
    lab.step(ProposalBuilt(0, 1, B))
    lab.tick(4)
    assert lab.said(PrePrepare) == []
    lab.step(CaughtUp(4, certificate(4, C, without=0), 0))
    lab.step(ProposalBuilt(0, 5, B))
    assert lab.said(PrePrepare) == []
    assert lab.state.log.slots[5].pre_prepare == vote(PrePrepare, 0, 0, 5, A)


# -- as a restart would leave it ----------------------------------------------------------------


def _draw_journal(dice: Random, me: int, top: int) -> tuple[JournalEntry, ...]:
    """Of a life that certified `top` and voted on what lies a window above, in up to three views."""
    entries = [JournalEntry(JOURNAL_FLOOR, 0, 0, dice.randrange(1, top + 1), bytes(32))]
    floor, view = entries[0].sequence, dice.randrange(3)
    for sequence in range(floor + 1, top + WINDOW + 1):
        digest = dice.choice((A, B))
        for earlier in sorted(dice.sample(range(view + 1), dice.randrange(view + 1) + 1)):
            asked = VoteType.PRE_PREPARE if earlier == me else VoteType.PREPARE
            if dice.random() < 0.8 or sequence == top + WINDOW:
                entries.append(JournalEntry(int(asked), 0, earlier, sequence, digest))
            if dice.random() < 0.5:
                proof = encode(prepared(earlier, sequence, digest))
                entries.append(JournalEntry(JOURNAL_PREPARED, 0, earlier, sequence, digest, proof))
                entries.append(JournalEntry(int(VoteType.COMMIT), 0, earlier, sequence, digest))
        if sequence <= top + 2:
            entries.append(JournalEntry(int(VoteType.CHECKPOINT), 0, 0, sequence, C))
    if view:
        made = new_view(view, *(view_change(i, view) for i in (1, 2, 3)))
        entries.append(JournalEntry(JOURNAL_NEW_VIEW, 0, view, 0, bytes(32), encode(made)))
    return tuple(entries)


@pytest.mark.parametrize("seed", range(60))
def test_it_stands_where_a_restart_would_put_it(seed: int) -> None:
    """S4, S7, S12: the same votes, certificates and proposals; and it says the same of them."""
    dice = Random(seed)
    me, top = dice.choice((0, 1)), dice.randrange(2, 7)
    journal = _draw_journal(dice, me, top)
    proof = certificate(top, C, without=me)
    lab, again = Lab(me=me, journal=journal), Lab(me=me, journal=journal, certified=proof)
    assert lab.state.voter.withheld == top + WINDOW
    for height in range(1, top + 1):
        lab.step(CaughtUp(height, certificate(height, C, without=me), 0))
    for one in (lab, again):
        one.tick()
        one.step(Complain())
        one.tick()
    assert _stands(lab) == _stands(again)
    for kind in (Prepare, Commit, PrePrepare, Checkpoint, ViewChange, NewView):
        assert lab.said(kind) == again.said(kind)


def _stands(lab: Lab) -> object:
    s = lab.state
    votes = {sequence: s.voter.signed_at(sequence) for sequence in s.voter.signed_sequences()}
    slots = {
        sequence: (slot.pre_prepare, slot.prepared, slot.prepares.votes, slot.persisted)
        for sequence, slot in s.log.slots.items()
    }
    commits = {q: {v: b.votes for v, b in slot.commits.items()} for q, slot in s.log.slots.items()}
    return s.voter.floor, s.voter.withheld, s.view, s.wish, votes, slots, commits
