"""What the simulator found once: each is a small scene now, named for what must happen."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.effects import Effects
from consensus.events import CaughtUp, Event, Executed, PendingWork, Tick
from consensus.invariants import check
from consensus.log import OLD_COMMIT_VIEWS_MAX, Slot
from consensus.messages import Checkpoint, Commit, Fetch, NewView, Prepare, PrePrepare
from consensus.votes import Ballot
from node.admission import Admission
from node.gossip_rules import Gossip
from node.mempool import Mempool
from node.net.frames import Kind
from salus.block import DUPLICATE
from salus.forms import TransactionState
from salus.parameters import Parameters
from salus.vote import JOURNAL_FLOOR, JOURNAL_PREPARED, JournalEntry, VoteType
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
from tests.sim.cluster import Cluster
from tests.sim.duties import lost_votes
from tests.sim.founding import CHAIN_ID, Founding, anchor
from tests.sim.parts import Inline, run
from tests.sim.plan import draw
from tests.sim.poison import VERSIONS, with_poison
from tests.sim.promises import Promises
from tests.sim.signatures import verifier
from tests.sim.silence import SILENCE


def test_a_height_that_nobody_has_signed_yet_is_not_split() -> None:
    """L24: a quarantined validator executes before it has heard of any CHECKPOINT."""
    lab = Lab(me=3, voting=False)
    lab.commit(1, A)
    lab.step(Executed(1, B, 0))
    assert lab.state.halted is None
    assert lab.state.split_height == 0
    assert not lab.said(Checkpoint)


def test_a_sync_right_after_the_restart_settles_what_the_journal_restored() -> None:
    """S12: the first event may be CaughtUp; the slot that it settles must not rise again."""
    before = Lab(me=1)
    before.commit(1, A)
    after = before.crash()
    assert 1 in after.state.log.slots
    after.step(CaughtUp(1, certificate(1, B), 0))
    assert 1 not in after.state.log.slots
    assert after.state.log.certified == 1


def test_whoever_stands_still_gets_the_whole_proof_of_a_commit() -> None:
    """L20: of those who committed one may have lost its disk; nobody votes in that view again."""
    lab = Lab(me=0)
    lab.tick()
    lab.build(1, A)
    lab.votes(Prepare, [1, 2, 3], 0, 1, A)
    lab.votes(Commit, [1, 2], 0, 1, A)
    lab.sent.clear()
    lab.hear(status(3, 0, 1, 0))  # it left view 0 without its own COMMIT
    shown = [message.sender for message in lab.said(Commit)]
    assert sorted(shown) == [0, 1, 2]


def test_without_a_voice_a_replica_follows_a_lower_new_view() -> None:
    """S4: its own wish of before the quarantine binds nobody, and the watch knows it."""
    lab = Lab(me=3, voting=False)
    changes = [view_change(i, 1, prepared(0, 1, A)) for i in (0, 1, 2)]
    lab.hear(new_view(1, *changes))
    assert lab.state.view == 1
    assert not lab.said(NewView)
    assert not lab.said(PrePrepare)


def test_two_digests_never_commit_even_when_the_votes_come_in_any_order() -> None:
    """S6: late COMMITs of an old view complete a proof, they never contradict one."""
    lab = Lab(me=2)
    lab.propose(1, A)
    for sender in (0, 1, 3):
        lab.hear(vote(Commit, sender, 0, 1, A))
    lab.hear(vote(Commit, 1, 0, 1, C))  # a liar's second vote
    assert lab.state.halted is None
    assert lab.state.log.slots[1].committed == A


def test_a_new_primary_fetches_the_body_that_the_view_it_left_had_proposed() -> None:
    """S3, L19: it had the PRE-PREPARE of the old view without its body, and never asked: every
    new view waited for every primary in turn, for ever."""
    lab = Lab(me=2)
    lab.hear(vote(PrePrepare, 0, 0, 1, A))
    lab.sent.clear()
    lab.hear(*(view_change(i, 2, prepared(0, 1, A, without=2)) for i in (0, 1, 3)))
    assert [message.digest for message in lab.said(Fetch)] == [A]
    assert not lab.said(NewView)
    lab.give_body(1, A)
    (message,) = lab.said(NewView)
    assert [(p.sequence, p.digest) for p in message.pre_prepares] == [(1, A)]


def test_views_that_pass_leave_a_bounded_trail_in_a_slot() -> None:
    """B25: each view may leave a ballot of COMMITs; the proof of what is committed stays."""
    slot = Slot(1)
    for view in range(40):
        slot.enter_view()
        slot.commits[view] = Ballot()
    assert len(slot.commits) <= 1 + OLD_COMMIT_VIEWS_MAX
    slot.committed, slot.committed_view = A, 35
    slot.enter_view()
    assert list(slot.commits) == [35]


def test_a_restart_knows_the_body_of_every_commit_of_its_journal() -> None:
    """S3: of two prepared certificates the journal keeps that of the higher view; the COMMIT of
    the lower one still binds, and its body still lies on the disk."""
    before = Lab(me=3)
    before.propose(1, A)
    before.votes(Prepare, [1, 2], 0, 1, A)
    before.hear(new_view(1, *(view_change(i, 1, prepared(0, 1, A, without=3)) for i in (0, 1, 2))))
    before.votes(Prepare, [0, 2], 1, 1, A)
    before.journal = [
        entry for entry in before.journal if (entry.kind, entry.view) != (JOURNAL_PREPARED, 0)
    ]
    after = before.crash()
    check(after.replica)
    other = Lab(me=3, journal=tuple(e for e in before.journal if e.kind != JOURNAL_PREPARED))
    check(other.replica)
    assert other.state.log.slots[1].persisted == [A]


def _pool_of(size: int) -> tuple[Founding, Mempool, Gossip, Admission]:
    parameters = Parameters(pool_transactions_max=size, state_bucket_bits=4, contracts=VERSIONS)
    founding = Founding(4, parameters, with_poison())
    pool = Mempool(CHAIN_ID, founding.hash, parameters, verifier)
    gossip = Gossip(pool, ["n01", "n02"], None)
    rumours = SimpleNamespace(gossip=gossip, now_ms=lambda: 0, perform=lambda sends: None)
    admission = Admission(
        pool, cast(Any, Inline()), cast(Any, rumours), SILENCE, lambda tx: None, lambda: None
    )
    return founding, pool, gossip, admission


def test_a_transaction_that_found_the_pool_full_is_asked_for_when_it_is_announced_again() -> None:
    """L17: it was remembered as refused for ever. The one node that had it complained alone, and
    lost its vote by that; with a second one down the chain stood still."""
    founding, pool, gossip, admission = _pool_of(1)
    first, second = (founding.transaction(0, anchor(i), 50) for i in (1, 2))
    run(admission.intake("n01", [first.raw, second.raw]))
    assert pool.pending == 1
    pool.executed([first.id], 1)
    (ask,) = gossip.announced("n01", [second.id], 5_000)
    assert ask.kind is Kind.REQUEST
    run(admission.intake("n01", [second.raw]))
    assert pool.pending == 1
    pool.executed([second.id], 2)
    pool.expire(60)
    run(admission.intake("n02", [second.raw]))
    assert not pool.pending


def test_what_only_a_lost_proposal_has_shown_is_asked_for_again() -> None:
    """L17: a view change dropped the proposal; those who had verified its transactions took the
    announcement for one of their own, and waited for nothing."""
    founding, pool, gossip, admission = _pool_of(8)
    tx = founding.transaction(0, anchor(1), 50)
    pool.remember([tx])
    pool.ordered([tx.id], 1)
    assert not gossip.announced("n01", [tx.id], 0)
    pool.release_above(0)
    assert gossip.announced("n01", [tx.id], 2_000)
    run(admission.intake("n01", [tx.raw]))
    assert pool.owed == 1


def test_a_simulated_client_hears_of_what_was_refused_where_it_stands() -> None:
    """S4, the shell: an errand was told «ordered» for ever of a rejoin that had come too soon, made no
    new one on an idle chain, and its node never voted again."""
    cluster = Cluster(next(plan for plan in map(draw, range(1, 400)) if not plan.faulty))
    assert cluster.run().failure is None
    node = cluster.nodes[0]
    outcomes = {
        receipt.tx_id: (height, receipt.code)
        for height in range(1, node.height + 1)
        for receipt in node.state.receipts(height)
        if not receipt.ok and receipt.code != DUPLICATE
    }
    heard = [run(node.admission.submit([raw]))[0] for raw in cluster.sent]
    refused = [answer for answer in heard if answer.tx_id in outcomes]
    assert refused
    for answer in refused:
        assert answer.state is TransactionState.REJECTED
        assert (answer.height, answer.code) == outcomes[answer.tx_id]


@pytest.mark.parametrize(
    ("on_disk", "on_the_way", "known"),
    [
        pytest.param(B, None, True, id="on disk"),
        pytest.param(None, B, True, id="on the way to it"),
        pytest.param(None, None, False, id="nowhere"),
        pytest.param(None, C, False, id="another one on the way"),
        pytest.param(C, B, False, id="another one on disk"),
    ],
)
def test_a_lost_vote_that_is_signed_again_before_it_is_shown_is_no_news(
    on_disk: bytes | None, on_the_way: bytes | None, known: bool
) -> None:
    """S4: it executed the height again and its CHECKPOINT waited for a slow disk, when the block
    came with the one of its earlier life. They are equal; the check asked the disk alone."""
    lab = Lab(me=1)
    lab.commit(1, A)
    lab.step(Executed(1, B, 0))
    event = CaughtUp(1, certificate(1, B), 0)
    lab.step(event)
    assert lab.state.quarantined is None

    def entry(header: bytes) -> JournalEntry:
        return JournalEntry(int(VoteType.CHECKPOINT), 0, 0, 1, header, b"")

    synced = {} if on_disk is None else {(int(VoteType.CHECKPOINT), 0, 0, 1): entry(on_disk)}
    waiting = [] if on_the_way is None else [entry(on_the_way)]
    node = SimpleNamespace(
        member=1,
        replica=lab.replica,
        disks=SimpleNamespace(votes=synced),
        steps=[SimpleNamespace(effects=Effects(persist=cast(Any, waiting)))],
    )
    with nullcontext() if known else pytest.raises(AssertionError, match="that it lost"):
        lost_votes(cast(Any, node), event, 0, 0)


def test_whoever_may_not_leave_its_view_is_not_blamed_for_waiting() -> None:
    """L17, S12: its state had fallen back behind its journal, and the links by which it would have
    caught up were cut. One check demanded the VIEW-CHANGE that another forbids."""
    lab = Lab(me=1, journal=(JournalEntry(JOURNAL_FLOOR, 0, 0, 4, bytes(32)),))
    promises = Promises(cast(Any, SimpleNamespace(faulty=set(), liars={})), cast(Any, None))
    node = cast(Any, SimpleNamespace(member=1, address=1, replica=lab.replica))
    promises.born(node, lab.state.config)

    def step(event: Event) -> None:
        promises.stepped(node, event, lab.step(event))

    step(PendingWork(True))
    ticks = lab.state.config.progress_ticks << lab.state.parameters.timeout_doublings_max
    for _ in range(ticks + 1):
        step(Tick())
    assert lab.state.view == lab.state.wish == 0
    step(CaughtUp(4, certificate(4, C, without=1), 0))
    for _ in range(ticks):  # that the replica does not hear
        promises.stepped(node, Tick(), Effects())
    with pytest.raises(AssertionError, match="waits for its primary for ever"):
        promises.stepped(node, Tick(), Effects())
