"""The reference model: it agrees with what we built, and disagrees with bugs, alone."""

import ast
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.workshop import Workshop
from tests.sim import reference, reference_trial
from tests.sim.cluster import Cluster
from tests.sim.observer import Observer
from tests.sim.plan import draw
from tests.sim.reference import Disagreement
from tests.sim.reference_adapter import Reference
from tests.sim.reference_duties import Duties

LINES_MAX = 300
RUNS_MAX = 40  # of the quick ones


def test_the_model_is_short_and_knows_nothing_of_the_code() -> None:
    source = Path(str(reference.__file__)).read_text()
    assert len(source.splitlines()) <= LINES_MAX
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imports} == {"collections", "typing"}


@pytest.mark.parametrize("first", [1, 5])
def test_it_agrees_with_what_honest_replicas_do(first: int) -> None:
    """It runs beside every seed of the other tests as well; here it is asked whether it did."""
    for seed in range(first, first + 4):
        plan = draw(seed)
        model = Reference(plan.faulty)
        result = Cluster(plan, observer=model).run()
        assert result.failure is None, f"seed {seed}: {result.failure}"
        assert model.steps > 100 or plan.n == 1


def test_watching_changes_nothing() -> None:
    """A run is the same, event for event, with the model and without."""
    for seed in (5, 11):
        plan = draw(seed)
        watched = Cluster(plan, observer=Reference(plan.faulty)).run()
        unwatched = Cluster(draw(seed), observer=Observer()).run()
        assert (watched.events, watched.heights) == (unwatched.events, unwatched.heights)


# -- scenes that chance brings too seldom: a replica of four at the epoch's base, told what to think


def _model(me: int = 1, **disk: object) -> reference.Replica:
    found = {"votes": {}, "prepared": (), "new_view": None, "certified": 0, "floor": 0, "reach": 0}
    place = reference.Place(me=me, n=4, epoch=0, base=0, window=8, ahead_max=4, null=_null)
    return reference.Replica(
        place, reference.Disk(**{**found, "epoch_end": 0, "may_vote": True, **disk})
    )


def _null(sequence: int) -> bytes:
    return b"null%d" % sequence


def _prepared(view: int, sequence: int, digest: bytes) -> reference.Prepared:
    others = tuple(i for i in range(4) if i != view)[:2]
    return reference.Prepared(view, sequence, digest, view, others)


def _wish(view: int, sender: int, low: int, *prepared: reference.Prepared) -> reference.ViewChange:
    proof = reference.Certified(low, b"H", (0, 1, 2)) if low else None
    content = b"%d %d" % (sender, low)
    return reference.ViewChange(reference.VIEW_CHANGE, view, 0, content, sender, proof, prepared)


def _new_view(
    view: int, wishes: list[reference.ViewChange], *digests: tuple[int, bytes]
) -> reference.NewView:
    votes = tuple(reference.Vote(reference.PRE_PREPARE, view, s, d, view % 4) for s, d in digests)
    return reference.NewView(reference.NEW_VIEW, view, 0, b"NV", view % 4, tuple(wishes), votes)


def test_a_restart_that_forgets_the_newest_certificate_is_found() -> None:
    """S7: of a sequence that was prepared twice the higher view counts."""
    model = _model(prepared=(_prepared(0, 1, b"a"), _prepared(1, 1, b"b")))
    model.reached.update({0: 3, 2: 3})
    with pytest.raises(Disagreement, match="has prepared"):
        model.says(_wish(3, 1, 0, _prepared(0, 1, b"a")))
    again = _model(prepared=(_prepared(0, 1, b"a"), _prepared(1, 1, b"b")))
    again.reached.update({0: 3, 2: 3})
    again.says(_wish(3, 1, 0, _prepared(1, 1, b"b")))


def test_a_watermark_below_the_adopted_one_is_found() -> None:
    """S10: who entered by a NEW-VIEW proves its low watermark, also where it executed less."""
    wishes = [_wish(2, 0, 3), _wish(2, 2, 0), _wish(2, 3, 0)]
    for low, lawful in ((3, True), (0, False)):
        model = _model()
        model.enters(_new_view(2, wishes))
        assert (model.low, model.votable(3), model.votable(11)) == (3, False, True)
        model.reached.update({0: 3, 2: 3})
        if lawful:
            model.says(_wish(3, 1, low))
        else:
            with pytest.raises(Disagreement, match="low watermark is 3"):
                model.says(_wish(3, 1, low))


def test_a_new_view_with_an_unsigned_or_another_proposal_is_found() -> None:
    """S9: the highest view wins, null fills the gap; each proposal is signed."""
    wishes = [_wish(2, 0, 0, _prepared(0, 2, b"a")), _wish(2, 2, 0, _prepared(1, 2, b"b"))]
    wishes.append(_wish(2, 3, 0))
    _model().enters(_new_view(2, wishes, (1, b"null1"), (2, b"b")))
    unsigned = _new_view(2, wishes, (1, b"null1"), (2, b"b"))
    unsigned = unsigned._replace(proposals=(unsigned.proposals[0], None))
    for made in (
        unsigned,
        _new_view(2, wishes, (1, b"null1"), (2, b"a")),  # the lower view
        _new_view(2, wishes, (2, b"b")),  # the gap
        _new_view(2, wishes[:2], (1, b"null1"), (2, b"b")),  # no quorum
        _new_view(2, [wishes[0], wishes[0], wishes[2]], (1, b"null1"), (2, b"a")),
    ):
        with pytest.raises(Disagreement, match="without 3 VIEW-CHANGEs that force it"):
            _model().enters(made)


def test_commits_of_a_view_to_come_may_be_put_aside() -> None:
    """S6: they prove a commit, but whoever is late may not have counted them yet."""
    for view, lawful in ((1, True), (0, False)):
        model = _model(me=0)
        for sender in (1, 2, 3):
            model.hear(reference.Vote(reference.COMMIT, view, 1, b"b", sender))
        model.holds(1, b"a")
        model.checked(0, 1, b"a", reference.VALID)
        mine = reference.Vote(reference.PRE_PREPARE, 0, 1, b"a", 0)
        if lawful:
            model.says(mine)
        else:
            with pytest.raises(Disagreement, match="another is committed there"):
                model.says(mine)


@pytest.mark.parametrize("said", [b"b", b"bc", b"cb"])
def test_of_a_liar_s_two_commits_the_one_is_counted_that_came_first(said: bytes) -> None:
    """S5, S6. If its place was not in the window yet, that is another than was heard first, so a quorum with a sender of
    two proves nothing that must be known (seeds 7318 and 11900)."""
    model = _model(me=0)
    for digest in said:
        model.hear(reference.Vote(reference.COMMIT, 0, 1, bytes([digest]), 3))
    for sender in (1, 2):
        model.hear(reference.Vote(reference.COMMIT, 0, 1, b"b", sender))
    model.holds(1, b"b")
    model.holds(1, b"a")
    model.checked(0, 1, b"a", reference.VALID)
    prepare = reference.Vote(reference.PRE_PREPARE, 0, 1, b"a", 0)
    if said == b"cb":
        model.must()
        model.says(prepare)
        return
    with pytest.raises(Disagreement, match="does not execute s1"):
        model.must()
    for sender in (1, 2):  # what was proved stays so, whatever comes of a later view
        model.hear(reference.Vote(reference.COMMIT, 1, 1, b"b", sender))
    model.hear(reference.Vote(reference.COMMIT, 1, 1, b"b", 3))
    with pytest.raises(Disagreement, match="another is committed there"):
        model.says(prepare)


def test_a_late_status_takes_no_word_back() -> None:
    """S14, L20: two members had said 6; an older STATUS of one came a millisecond behind, and a
    replica reads one a tick. The model counted the last alone, and found one word."""
    duties = Duties(_model(me=0), {})
    for sender, height in ((1, 6), (2, 6), (2, 3)):
        duties.claims_height(sender, height)
    duties.looks_for(6)
    with pytest.raises(Disagreement, match="looks for 7 on 0 words"):
        duties.looks_for(7)


def test_one_member_repeating_itself_and_its_own_earlier_word_are_one_word_and_none() -> None:
    """S14: f+1 members, others than itself."""
    duties = Duties(_model(me=0), {})
    for sender in (1, 1, 0):
        duties.claims_height(sender, 6)
    with pytest.raises(Disagreement, match="looks for 6 on 1 words"):
        duties.looks_for(6)


# -- planted bugs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in reference_trial.safety_mutants() if mutant.quick],
    ids=lambda mutant: mutant.name,
)
def test_it_disagrees_with_a_planted_bug(mutant: Mutant, workshop: Workshop) -> None:
    """All of them: `.venv/bin/python -m tests.sim.reference_trial`."""
    runs, words = reference_trial.ask(mutant, workshop, RUNS_MAX)
    assert words is not None, f"{mutant.rule} «{mutant.name}»: the model agrees after {runs} runs"
