"""What people read about a proposal: what it does, who is missing, when it lapses, what comes."""

from typing import Any

import pytest

from cli import ballots
from cli.errors import CliError
from cli.governance import Count, effect, standing, when
from contracts.governance import PARAMETER_NAMES, governance
from contracts.proposals import Action, Ballot, Change, ParameterChange, Proposal, tally
from salus.codec import decode
from salus.genesis import Role
from salus.wire_json import to_json
from tests import factories

SET = factories.genesis(5).validators()
SEATED = [v.member for v in SET.validators]
CHANGES = {
    Action.ADD_MEMBER: Change(Action.ADD_MEMBER, "hosp-z", (Role.HOSPITAL,), candidate=True),
    Action.CHANGE_PARAMETERS: Change(
        Action.CHANGE_PARAMETERS, parameters=(ParameterChange("tick_ms", 20, 10),)
    ),
    Action.ACTIVATE_CONTRACT: Change(Action.ACTIVATE_CONTRACT, contract="records", version=2),
}


def asked(action: Action = Action.REMOVE_MEMBER, *votes: tuple[str, bool], **more: Any) -> Any:
    """A proposal as the ledger answers the query."""
    change = CHANGES.get(action, Change(action, "hosp-z"))
    ballots = tuple(Ballot(member, yes, 9) for member, yes in votes)
    made = Proposal(3, change, "hosp-a", 8, 0, 100, bytes(32), ballots)
    return to_json(made) | more


@pytest.mark.parametrize("action", Action)
def test_every_action_is_said_in_words_of_its_own(action: Action) -> None:
    text = effect(asked(action)["change"])
    assert action.value not in text
    assert "None" not in text
    if action not in {Action.CHANGE_PARAMETERS, Action.ACTIVATE_CONTRACT}:
        assert text.startswith("hosp-z ")


def test_an_action_of_newer_software_is_named_as_it_is() -> None:
    assert effect({"action": "merge_chains"}) == "merge_chains"


@pytest.mark.parametrize("n", [1, 3, 4, 5, 6, 7, 100])
def test_votes_are_counted_as_the_contract_counts_them(n: int) -> None:
    validators = factories.genesis(n).validators()
    seated = [v.member for v in validators.validators]
    for approvals in range(n + 1):
        votes = [(member, index < approvals) for index, member in enumerate(seated[: n - 1])]
        proposal = asked(Action.REMOVE_MEMBER, *votes, ("hosp-gone", True))
        count = Count(proposal, seated)
        told = tally([Ballot(m, yes, 9) for m, yes in votes], validators)
        assert (len(count.approve), len(count.reject), count.needed) == (
            told.approvals,
            told.rejections,
            told.needed,
        )
        assert count.silent == seated[n - 1 :]
        assert "hosp-gone" not in str(count.document()), "a ballot of who has left counts no more"


def lines(proposal: Any, candidacy: Any = None, height: int = 90, end: int = 0) -> str:
    return "\n".join(standing(proposal, Count(proposal, SEATED), candidacy, height, end))


def test_an_open_one_says_who_is_missing_and_when_it_lapses() -> None:
    text = lines(asked(Action.REMOVE_MEMBER, ("hosp-a", True), ("hosp-b", False)))
    assert "1 of 5 approve, 4 are needed; 3 missing" in text
    assert "lapses after height 100, in 10 blocks" in text
    assert "not voted yet: hosp-c, hosp-d, hosp-e" in text


def test_each_stage_has_its_sentence() -> None:
    passed = asked(stage="passed", decided_height=50)
    assert "in force from height 121 on" in lines(passed, end=120)
    assert "in force with the next epoch" in lines(passed)
    assert "from height 500 on" in lines(passed | {"activation_height": 500}, end=120)
    assert "since height 121" in lines(asked(stage="effective", effective_height=121))
    lapsed = lines(asked(stage="lapsed", lapse="LAST_VALIDATOR"))
    assert governance.refusals["LAST_VALIDATOR"].rstrip(".") in lapsed
    for stage in ("rejected", "expired"):
        assert f"{stage} at height 60" in lines(asked(stage=stage, decided_height=60))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("waiting", "waits for the node of hosp-z to catch up, until height 200"),
        ("ready", "counts from the next epoch on"),
        ("counted", "has its vote"),
        ("lapsed", "got no vote: READY_STALE"),
    ],
)
def test_a_candidate_is_followed_until_it_counts(stage: str, words: str) -> None:
    candidacy = {"member": "hosp-z", "proposal": 3, "stage": stage, "until_height": 200,
                 "lapse": "READY_STALE"}  # fmt: skip
    for proposal in (
        asked(Action.ADD_VALIDATOR, stage="passed", decided_height=9),
        asked(Action.ADD_MEMBER, stage="effective", effective_height=70),
    ):
        assert words in lines(proposal, candidacy)
        assert words not in lines(proposal, candidacy | {"proposal": 2}), "an older candidacy"


def test_what_an_idle_chain_does_is_said_before_anybody_waits() -> None:
    assert "makes those blocks by itself" in when(asked())
    assert "makes no heights by itself" in when(asked(activation_height=500))
    assert "catch up" in when(asked(Action.ADD_VALIDATOR))


# -- operations ------------------------------------------------------------------------------

KEYS = dict.fromkeys(("node_key", "operator_key", "box_key"), bytes(32))
WORDS = dict.fromkeys(("node_possession", "operator_possession"), bytes(64))
FIELDS: dict[str, dict[str, Any]] = {
    "add_member": {"member": "hosp-z", "roles": (Role.HOSPITAL,), "candidate": True} | KEYS | WORDS,
    "change_parameters": dict.fromkeys(PARAMETER_NAMES) | {"tick_ms": 10},
    "activate_contract": {"contract": "records", "version": 2},
} | {
    f"rotate_{capacity}_key": {"member": "hosp-a", "new_key": bytes(32), "possession": bytes(64)}
    for capacity in ("node", "operator")
}


@pytest.mark.parametrize("action", Action)
def test_an_operation_is_what_the_contract_reads(action: Action) -> None:
    fields = FIELDS.get(action, {"member": "hosp-z"})
    operation = ballots.proposal(action, 7, activation_height=70, expires_in=100, **fields)
    method = governance.methods[operation.method]
    args: Any = decode(operation.args, method.args)
    assert (args.activation_height, args.expiry_height, args.reasons) == (70, 107, bytes(32))
    for name, value in fields.items():
        assert getattr(args, name) == value


@pytest.mark.parametrize("member", ["Hosp-Z", "", "x" * 33, "a b"])
def test_an_id_that_cannot_be_one_is_refused_before_it_is_signed(member: str) -> None:
    with pytest.raises(CliError) as caught:
        ballots.proposal("remove_member", 7, member=member)
    assert (caught.value.code, caught.value.exit_code) == ("BAD_ARGUMENT", 65)
