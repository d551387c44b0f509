from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.messages import Checkpoint, Commit, Prepare
from consensus.votes import Ballot, FutureVotes, block_certificate, prepared_certificate
from salus.validators import ValidatorSet
from tests.consensus.cluster import validator_set
from tests.consensus.lab import A, B, certificate, prepared, vote


def test_a_member_is_counted_once() -> None:
    """S5: distinct members count, not messages."""
    ballot: Ballot[Prepare] = Ballot()
    for _ in range(3):
        assert ballot.add(vote(Prepare, 2, 0, 1, A)) is None
    assert ballot.count(A) == 1


def test_a_second_different_vote_comes_back_as_evidence_and_is_not_counted() -> None:
    """S2, L23: duplicates are silent, contradictions are not."""
    ballot: Ballot[Prepare] = Ballot()
    first, second = vote(Prepare, 2, 0, 1, A), vote(Prepare, 2, 0, 1, B)
    ballot.add(first)
    assert ballot.add(second) == first
    assert (ballot.count(A), ballot.count(B)) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([A, B]))))
@settings(max_examples=100, deadline=None)
def test_counts_agree_with_a_naive_model(votes: list[tuple[int, bytes]]) -> None:
    """S5, against a dict of first votes."""
    ballot: Ballot[Prepare] = Ballot()
    model: dict[int, bytes] = {}
    for sender, digest in votes:
        ballot.add(vote(Prepare, sender, 0, 1, digest))
        model.setdefault(sender, digest)
    for digest in (A, B):
        assert ballot.count(digest) == list(model.values()).count(digest)
        assert ballot.senders(digest) == sorted(s for s, d in model.items() if d == digest)


def test_certificates_name_their_signers_in_ascending_order() -> None:
    """S6, S12: q−1 PREPAREs beside the PRE-PREPARE, q CHECKPOINTs."""
    expected = prepared(0, 1, A)
    ballot: Ballot[Prepare] = Ballot()
    for sender in (3, 2, 1):
        ballot.add(vote(Prepare, sender, 0, 1, A))
    made = prepared_certificate(expected.pre_prepare, ballot, 3)
    assert [signature.index for signature in made.prepares] == [1, 2]
    assert made == expected
    assert block_certificate(0, 1, A, _checkpoints([2, 0, 1]), 3) == certificate(1, A)


def _checkpoints(senders: list[int]) -> Ballot[Checkpoint]:
    ballot: Ballot[Checkpoint] = Ballot()
    for sender in senders:
        ballot.add(vote(Checkpoint, sender, 0, 1, A))
    return ballot


def test_future_votes_evict_the_farthest_future_of_the_same_sender() -> None:
    """B25: a flooder fills his own share only, and the nearest votes stay."""
    future = FutureVotes(2)
    far, near, nearest = (vote(Prepare, 1, view, 1, A) for view in (9, 5, 3))
    future.add(far)
    future.add(vote(Commit, 2, 7, 1, A))
    future.add(near)
    assert not future.wants(vote(Prepare, 1, 10, 1, A))
    assert future.wants(nearest)
    future.add(nearest)
    assert not future.wants(nearest)
    assert future.sizes() == [2, 1]
    assert future.take(5) == [near]
    assert future.take(9) == []
    assert future.sizes() == [0, 0]


def test_two_quorums_share_an_honest_member_for_every_size() -> None:
    """The thresholds in one file: q = ⌊(n+f)/2⌋+1, also where 2f+1 would not do."""
    unsafe = 0
    for n in range(1, 101):
        validators: ValidatorSet = validator_set(n)
        f, q = validators.f, validators.quorum
        assert 2 * q - n >= f + 1, "two quorums share f+1 members"
        assert n - f >= q, "the honest alone are a quorum"
        unsafe += n >= 4 and 2 * (2 * f + 1) - n < f + 1
    assert unsafe == 64
