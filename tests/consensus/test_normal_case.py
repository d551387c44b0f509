"""PRE-PREPARE, PREPARE, COMMIT and execution, seen by one replica (S3–S6, L21, B25, B28)."""

import msgspec
import pytest

from consensus.effects import (
    BuildProposal,
    CheckProposal,
    Evidence,
    Execute,
    PersistBody,
    Rejected,
    Send,
    SendBody,
    ViewLeft,
)
from consensus.events import (
    BlockWritten,
    BodyArrived,
    BodyDropped,
    Complain,
    Executed,
    ProposalBuilt,
    Tick,
    Verdict,
)
from consensus.messages import Checkpoint, Commit, Fetch, Prepare, PrePrepare, ViewChange
from consensus.proofs import null_digest
from salus.vote import JOURNAL_PREPARED, JournalEntry, VoteType
from tests.consensus.cluster import PARAMETERS, Cluster
from tests.consensus.lab import A, B, C, Lab, vote


def test_a_backup_votes_only_for_a_body_that_it_holds_and_judged() -> None:
    """S3, S15: body, verdict, then PREPARE, and the PREPARE is journalled in the same step."""
    lab = Lab()
    lab.hear(vote(PrePrepare, 0, 0, 1, A))
    assert lab.did(CheckProposal) == []
    lab.step(BodyArrived(1, A))
    assert lab.did(CheckProposal) == [CheckProposal(0, 1, A, 0, True)]
    assert lab.said(Prepare) == []
    lab.give_body(1, A)
    assert [p.digest for p in lab.said(Prepare)] == [A]
    assert lab.journal == [JournalEntry(VoteType.PREPARE, 0, 0, 1, A)]


def test_the_body_may_arrive_before_its_pre_prepare() -> None:
    """The order in which a shell reports a frame is its own affair."""
    lab = Lab()
    lab.step(BodyArrived(1, A))
    lab.hear(vote(PrePrepare, 0, 0, 1, A))
    assert lab.did(CheckProposal) == [CheckProposal(0, 1, A, 0, True)]


def test_a_missing_body_is_fetched_in_turn_from_everybody() -> None:
    """S3: first the primary, then the others; asked again until it comes."""
    lab = Lab(parameters=msgspec.structs.replace(PARAMETERS, progress_timeout_ms=5000))
    lab.hear(vote(PrePrepare, 0, 0, 1, A))
    asked: list[int | None] = []
    for _ in range(20):
        effects = lab.step(Tick())
        asked += [
            e.to for e in effects.send if isinstance(e, Send) and isinstance(e.message, Fetch)
        ]
    assert asked[:4] == [0, 2, 3, 0]
    assert len(asked) == 5
    lab.give_body(1, A)
    lab.tick(20)
    assert len(lab.said(Fetch)) == 5


def test_commit_leaves_with_body_and_certificate_journalled_in_one_step() -> None:
    """S3, S6: PRE-PREPARE and q−1 PREPAREs; the order within the step is body, entry, vote."""
    lab = Lab()
    lab.propose(1, A)
    assert lab.said(Commit) == []
    effects = lab.hear(vote(Prepare, 2, 0, 1, A))
    assert [type(m.message) for m in effects.send if isinstance(m, Send)] == [Commit]
    body, entry, commit = effects.persist
    assert body == PersistBody(1, A)
    assert isinstance(entry, JournalEntry)
    assert isinstance(commit, JournalEntry)
    assert (entry.kind, commit.kind) == (JOURNAL_PREPARED, VoteType.COMMIT)


def test_the_primarys_prepare_does_not_count_beside_its_pre_prepare() -> None:
    """S5: once."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(vote(Prepare, 0, 0, 1, A))
    assert lab.said(Commit) == []


@pytest.mark.parametrize(
    "message",
    [
        vote(Prepare, 2, 0, 1, B),
        vote(Prepare, 2, 0, 2, A),
        vote(Prepare, 2, 1, 1, A),
        vote(Prepare, 2, 0, 1, A, epoch=1),
        vote(Commit, 2, 0, 1, A),
        msgspec.structs.replace(vote(Prepare, 2, 0, 1, A), sender=3),
        msgspec.structs.replace(vote(Prepare, 2, 0, 1, A), sender=4),
    ],
    ids=["digest", "sequence", "view", "epoch", "type", "forged sender", "no member"],
)
def test_what_does_not_match_does_not_prepare(message: Prepare) -> None:
    """S1, S5, S6: same view, sequence, digest, epoch and type, of a member, truly signed."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(message)
    assert lab.said(Commit) == []
    lab.hear(vote(Prepare, 3, 0, 1, A))
    assert len(lab.said(Commit)) == 1


def test_a_false_signature_is_reported_for_scoring_and_changes_nothing() -> None:
    """B25: a bad signature scores its connection; it never crashes anything."""
    lab = Lab()
    lab.propose(1, A)
    lab.hear(msgspec.structs.replace(vote(Prepare, 2, 0, 1, A), signature=bytes(64)))
    assert lab.did(Rejected) == [Rejected("Prepare: the signature is not valid")]
    lab.hear(vote(Prepare, 2, 0, 1, A))
    assert len(lab.said(Commit)) == 1


def test_commits_may_come_first() -> None:
    """S6: q COMMITs of one view commit, whatever else is known; then the body is fetched."""
    lab = Lab()
    lab.votes(Commit, [0, 2, 3], 0, 1, A)
    assert lab.did(Execute) == []
    lab.tick()
    assert [f.digest for f in lab.said(Fetch)] == [A]
    lab.step(BodyArrived(1, A))
    assert lab.did(Execute) == [Execute(1, A)]
    assert lab.bodies == [A]


def test_commits_of_different_views_do_not_add_up() -> None:
    """S6: q COMMITs of *one* view."""
    cluster = Cluster()
    node = cluster.nodes[3]
    cluster.tick()
    for i in (0, 1, 2):
        cluster.step(cluster.nodes[i], Complain())
    cluster.settle()
    assert node.replica.state.view == 1
    for sender, view in ((0, 0), (1, 0), (2, 1)):
        cluster.receive(node, vote(Commit, sender, view, 1, A))
    assert node.replica.state.log.committed == 0
    cluster.receive(node, vote(Commit, 2, 0, 1, A))
    assert node.replica.state.log.committed == 1


def test_execution_is_strictly_in_order() -> None:
    """S6."""
    lab = Lab()
    lab.commit(2, B)
    assert lab.did(Execute) == []
    lab.commit(1, A)
    assert lab.did(Execute) == [Execute(1, A), Execute(2, B)]


def test_execution_runs_ahead_of_certified_by_so_much_only() -> None:
    """B28: the overlays in memory are bounded (four in these tests)."""
    lab = Lab()
    for sequence in range(1, 7):
        lab.commit(sequence, bytes([sequence]) * 32)
    assert [e.sequence for e in lab.did(Execute)] == [1, 2, 3, 4]
    lab.certify(1, C)
    assert [e.sequence for e in lab.did(Execute)] == [1, 2, 3, 4, 5]


def test_the_primary_keeps_so_many_proposals_in_flight_only() -> None:
    """B28: counted from the last committed (two in these tests)."""
    lab = Lab(me=0)
    lab.tick()
    assert lab.did(BuildProposal) == [BuildProposal(0, 1, False)]
    lab.build(1, A)
    lab.build(2, B)
    assert [b.sequence for b in lab.did(BuildProposal)] == [1, 2]
    lab.votes(Prepare, [1, 2], 0, 1, A)
    lab.votes(Commit, [1, 2], 0, 1, A)
    assert [b.sequence for b in lab.did(BuildProposal)] == [1, 2, 3]


def test_the_primary_stops_at_the_high_watermark() -> None:
    """S12, L24: without certificates the log fills, and then nothing is proposed."""
    lab = Lab(me=0)
    lab.tick()
    for sequence in range(1, 10):
        digest = bytes([sequence]) * 32
        lab.build(sequence, digest)
        lab.votes(Prepare, [1, 2], 0, sequence, digest)
        lab.votes(Commit, [1, 2], 0, sequence, digest)
    assert max(b.sequence for b in lab.did(BuildProposal)) == 8
    assert lab.state.log.committed == 8


def test_an_answer_to_a_withdrawn_question_is_ignored() -> None:
    """A body for a sequence or view that I did not ask for is not proposed."""
    lab = Lab(me=0)
    lab.tick()
    lab.step(ProposalBuilt(0, 2, B))
    lab.step(ProposalBuilt(1, 1, B))
    assert lab.said(PrePrepare) == []
    assert Lab(me=1).step(ProposalBuilt(0, 1, B)).send == []


def test_an_equivocating_primary_is_exposed_and_loses_its_view() -> None:
    """L23: both signed messages, once, and the view changes."""
    lab = Lab()
    first, second = vote(PrePrepare, 0, 0, 1, A), vote(PrePrepare, 0, 0, 1, B)
    lab.hear(first, second, second)
    assert lab.did(Evidence) == [Evidence(0, first, second)]
    assert [v.wish for v in lab.did(ViewLeft)] == [1]


def test_an_equivocating_backup_is_exposed_and_changes_no_view() -> None:
    """L23: evidence removes nobody and, of a backup, moves nobody."""
    lab = Lab()
    lab.propose(1, A)
    first, second = vote(Prepare, 3, 0, 1, B), vote(Prepare, 3, 0, 1, A)
    lab.hear(first, second, second)
    assert lab.did(Evidence) == [Evidence(3, first, second)]
    assert lab.did(ViewLeft) == []
    assert lab.said(Commit) == []


def test_a_proposal_that_rule_15_forbids_costs_the_primary_its_view() -> None:
    """S15, L22."""
    lab = Lab()
    lab.propose(1, A, verdict=Verdict.INVALID)
    assert lab.said(Prepare) == []
    assert [v.view for v in lab.said(ViewChange)] == [1]


def test_null_is_not_proposed_but_chosen() -> None:
    """S11, L21: a first proposal has a proposer; Null(sequence) has none."""
    lab = Lab()
    lab.hear(vote(PrePrepare, 0, 0, 1, null_digest(1)))
    assert lab.said(Prepare) == []
    assert len(lab.said(ViewChange)) == 1


def test_off_the_clock_is_not_prepared_but_followed() -> None:
    """L21: my clock may be the wrong one; q−1 others decide that, and then I commit with them."""
    lab = Lab()
    lab.propose(1, A, verdict=Verdict.OFF_CLOCK)
    assert lab.said(Prepare) == []
    assert lab.said(ViewChange) == []
    lab.votes(Prepare, [2, 3], 0, 1, A)
    assert len(lab.said(Commit)) == 1


def test_only_the_primary_proposes_and_only_within_the_watermarks() -> None:
    """S5, S12: not another member, not at the low watermark, not above the high one."""
    lab = Lab()
    lab.hear(
        vote(PrePrepare, 2, 0, 1, A), vote(PrePrepare, 0, 0, 9, A), vote(PrePrepare, 0, 0, 0, A)
    )
    assert lab.state.log.slots == {}


def test_a_pre_prepare_contradicting_a_commit_is_a_lie_not_a_fork() -> None:
    """S6: only a NEW-VIEW can prove a contradiction; a liar alone cannot halt me."""
    lab = Lab()
    lab.votes(Commit, [0, 2, 3], 0, 1, A)
    lab.hear(vote(PrePrepare, 0, 0, 1, B))
    assert lab.replica.snapshot().halted is None
    assert len(lab.said(ViewChange)) == 1


def test_what_was_committed_otherwise_meanwhile_is_not_prepared() -> None:
    """S6: an equivocator proposed to me alone, and its body is judged after the others' COMMITs."""
    lab = Lab()
    lab.hear(vote(PrePrepare, 0, 0, 1, B))
    lab.step(BodyArrived(1, B))
    lab.votes(Commit, [0, 2, 3], 0, 1, A)
    lab.give_body(1, B)
    assert lab.said(Prepare) == []
    assert len(lab.said(ViewChange)) == 1
    lab.step(BodyArrived(1, A))
    assert lab.did(Execute) == [Execute(1, A)]
    assert lab.replica.snapshot().halted is None


def test_two_committed_digests_halt_me() -> None:
    """S6: more than f lie; nothing that I could still sign would be safe."""
    cluster = Cluster()
    node = cluster.nodes[3]
    for sender in (0, 1, 2):
        cluster.receive(node, vote(Commit, sender, 0, 1, A))
    for i in (0, 1, 2):
        cluster.step(cluster.nodes[i], Complain())
    cluster.settle()
    for sender in (0, 1, 2):
        cluster.receive(node, vote(Commit, sender, 1, 1, B))
    assert node.replica.snapshot().halted is not None
    assert node.replica.step(Tick()).send == []


def test_fetch_is_served_to_members_of_the_epoch() -> None:
    """S3; the shell knows whether it holds the body."""
    lab = Lab()
    effects = lab.hear(Fetch(0, 1, A, 3))
    assert effects.send == [SendBody(3, 1, A)]
    assert lab.hear(Fetch(0, 1, A, 4)).send == []
    assert lab.hear(Fetch(1, 1, A, 3)).send == []


def test_a_flood_of_digests_for_one_slot_stays_within_its_cap() -> None:
    """B25: bodies remembered per slot, COMMITs per sender and view."""
    lab = Lab()
    lab.propose(1, A)
    for letter in range(50):
        lab.step(BodyArrived(1, bytes([letter]) * 32))
        lab.hear(vote(Prepare, 2, 0, 1, bytes([letter]) * 32))
    slot = lab.state.log.slots[1]
    assert len(slot.bodies) == 4
    assert A in slot.bodies
    assert len(slot.prepares.votes) == 2


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_every_size_commits_and_certifies(n: int) -> None:
    """B29: n < 4 tolerates no fault and works without one; a single validator agrees alone."""
    cluster = Cluster(n)
    cluster.tick()
    for name in ("a", "b", "c"):
        cluster.submit(name)
    cluster.settle()
    assert [node.height for node in cluster.nodes] == [3] * n
    assert cluster.nodes[0].replica.snapshot().f == (n - 1) // 3


def test_an_executed_block_is_truncated_only_when_it_stands_on_my_disk() -> None:
    """S12: min(stable, own last persisted)."""
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    lab.votes(Checkpoint, [0, 2], 0, 1, C)
    assert list(lab.state.log.slots) == [1]
    lab.step(BlockWritten(1))
    assert lab.state.log.slots == {}
    assert lab.state.log.low == 1


def test_a_body_that_made_room_is_fetched_and_judged_again() -> None:
    """B25: the shell may drop what the core can spare; then it counts as never arrived."""
    lab = Lab()
    lab.step(BodyArrived(1, A))
    assert not lab.replica.counts_on(1, A)
    lab.step(BodyDropped(1, A))
    lab.hear(vote(PrePrepare, 0, 0, 1, A))
    assert lab.did(CheckProposal) == []
    assert lab.replica.wants(1, A)
    assert not lab.replica.wants(1, B)
    lab.step(BodyArrived(1, A))
    assert not lab.replica.wants(1, A)
    assert lab.replica.counts_on(1, A)
    lab.step(BodyDropped(1, A))  # the shell did lose it: nothing was judged
    lab.step(BodyArrived(1, A))
    assert len(lab.did(CheckProposal)) == 2
