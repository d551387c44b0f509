"""Votes, thresholds, deadlines, candidates, and what a change must leave (rule S13, decision 0006)."""

from typing import Any

import msgspec
import pytest

from contracts import members as members_module
from contracts.catalogue import registry
from contracts.context import Capacity, Context, Turn
from contracts.errors import NOT_AUTHORISED
from contracts.framework import Contract
from contracts.governance import PARAMETER_NAMES
from contracts.member_acts import take_vote
from contracts.members import MEMBERSHIP, MemberStatus, get_entry
from contracts.proposals import (
    CANDIDATES_MAX,
    HEIGHTS_AHEAD_MAX,
    OPEN_PER_MEMBER_MAX,
    PASSED_MAX,
    Agenda,
    Ballot,
    Candidacy,
    CandidacyStage,
    Open,
    Proposal,
    Stage,
    read_agenda,
    read_candidacy,
    read_proposal,
    tally,
)
from contracts.registry import Registry
from contracts.state import ReadState, State
from node.errors import UpgradeNeeded
from salus.block import OK, Event, Receipt
from salus.codec import UINT_MAX, Uint, Wire, encode
from salus.errors import BadMessage
from salus.genesis import Genesis, Role
from salus.governance import possession
from salus.keys import box_public_key
from salus.parameters import ContractVersion, Parameters, check_parameters
from salus.transaction import Operation
from salus.validators import MEMBER_ID_BYTES_MAX, VALIDATORS_MAX
from tests import factories
from tests.contracts.lab import Lab, h, parameters, proof_of
from tests.contracts.test_members import register

L = 8
SMALL = {"watermark_window": L, "in_flight_proposals_max": 2, "execute_ahead_max": 4}
NONE = dict.fromkeys(PARAMETER_NAMES)


def lab(n: int = 4, observers: int = 0, **limits: int) -> Lab:
    chosen = parameters(**(SMALL | limits))
    return Lab(factories.genesis(n, observers=observers, parameters=chosen))


def propose(chain: Lab, action: str, **fields: Any) -> Operation:
    heights = {"activation_height": 0, "expiry_height": 4_000, "reasons": h("reasons")}
    declared = chain.executor.active.method("governance", f"propose_{action}")
    return declared.operation(declared.args(**(heights | fields)))


def vote(chain: Lab, number: int, approve: bool = True) -> Operation:
    return chain.op("governance", "vote", proposal=number, approve=approve)


def decide(chain: Lab, action: str, *, by: str = "abc", **fields: Any) -> int:
    """Proposed and approved by these hospitals; the number."""
    first, *others = by
    (receipt,) = chain.run(propose(chain, action, **fields), by=f"operator hosp-{first}")
    assert receipt.code == OK, receipt
    number = receipt.events[0].data["proposal"]
    assert isinstance(number, int)
    for letter in others:
        codes = chain.codes(vote(chain, number), by=f"operator hosp-{letter}")
        assert codes == [OK]
    return number


def newcomer(name: str, *, candidate: bool = False, **changes: Any) -> dict[str, Any]:
    fields = {
        "member": name,
        "roles": (Role.HOSPITAL,),
        "node_key": factories.key(f"node {name}").public_key,
        "operator_key": factories.key(f"operator {name}").public_key,
        "box_key": box_public_key(factories.seed(f"box {name}")),
        "node_possession": proof_of(f"node {name}", name, "node"),
        "operator_possession": proof_of(f"operator {name}", name, "operator"),
        "candidate": candidate,
    }
    return fields | changes


def rotation(member: str, key: str, capacity: str) -> dict[str, Any]:
    return {
        "member": member,
        "new_key": factories.key(key).public_key,
        "possession": proof_of(key, member, capacity),
    }


def boundary(chain: Lab) -> None:
    """To the last block of the epoch, whose end is fixed."""
    end = chain.executor.epoch.end
    assert end, "no end is fixed"
    while chain.executor.head.height < end:
        chain.null()
        chain.certify()


def idle(chain: Lab, blocks: int) -> None:
    for _ in range(blocks):
        chain.null()
        chain.certify()


def proposal(chain: Lab, number: int) -> Proposal:
    found = read_proposal(ReadState(chain.executor.read, "governance"), number)
    assert found is not None
    return found


def candidacy(chain: Lab, member: str) -> Candidacy:
    found = read_candidacy(ReadState(chain.executor.read, "governance"), member)
    assert found is not None
    return found


def ready(chain: Lab, *, back: int = 0) -> Operation:
    height = chain.executor.certified_head.height - back
    header = chain.store.header(height)
    return chain.op("governance", "ready", height=height, header_hash=header.hash())


def seats(chain: Lab) -> str:
    return "".join(v.member[-1] for v in chain.executor.epoch.validators.validators)


# ── counting ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", range(1, 14))
def test_more_than_two_thirds_pass_and_a_third_against_rejects(n: int) -> None:
    validators = factories.genesis(n).validators()
    names = [v.member for v in validators.validators]
    for approvals in range(n + 1):
        for rejections in range(n + 1 - approvals):
            ballots = [Ballot(m, True, 1) for m in names[:approvals]]
            ballots += [Ballot(m, False, 1) for m in names[approvals : approvals + rejections]]
            count = tally(ballots, validators)
            assert count.passes == (approvals * 3 > n * 2) == (approvals >= count.needed)
            undecided = n - approvals - rejections
            assert count.fails == ((approvals + undecided) * 3 <= n * 2)
            assert not (count.passes and count.fails)


def test_ballots_of_others_do_not_count() -> None:
    validators = factories.genesis(4).validators()
    ballots = [Ballot(f"obs-{i:03}", True, 1) for i in range(9)] + [Ballot("hosp-a", True, 1)]
    assert tally(ballots, validators) == (1, 0, 4)


@pytest.mark.parametrize("by", ["operator obs-000", "node hosp-a", "nurse", "somebody"])
def test_only_operators_of_validators_propose_and_vote(by: str) -> None:
    chain = lab(observers=1)
    assert chain.codes(register(chain)) == [OK]
    asked = propose(chain, "remove_member", member="obs-000")
    assert chain.codes(asked, by=by) == ["NOT_AUTHORISED"]
    assert chain.codes(asked) == [OK]
    assert chain.codes(vote(chain, 1), by=by) == ["NOT_AUTHORISED"]


def test_a_lone_validator_decides_alone() -> None:
    chain = lab(1, observers=1)
    decide(chain, "remove_member", by="a", member="obs-000")
    boundary(chain)
    assert proposal(chain, 1).stage is Stage.EFFECTIVE


def test_a_member_has_so_many_open_proposals_and_no_more() -> None:
    chain = lab(observers=OPEN_PER_MEMBER_MAX + 1)
    for index in range(OPEN_PER_MEMBER_MAX):
        asked = propose(chain, "remove_member", member=f"obs-{index:03}")
        assert chain.codes(asked) == [OK]
    last = propose(chain, "remove_member", member=f"obs-{OPEN_PER_MEMBER_MAX:03}")
    assert chain.codes(last) == ["TOO_MANY_PROPOSALS"]
    assert chain.codes(last, by="operator hosp-b") == [OK], "it is the member's limit"
    against = [vote(chain, 1, False)]
    assert [c for b in "bc" for c in chain.codes(*against, by=f"operator hosp-{b}")] == [OK, OK]
    assert proposal(chain, 1).stage is Stage.REJECTED
    again = propose(chain, "suspend_member", member="obs-000")
    assert chain.codes(again) == [OK], "a decided one makes room"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"expiry_height": 1}, "BAD_HEIGHTS"),  # proposed at height 1
        ({"expiry_height": HEIGHTS_AHEAD_MAX + 2}, "BAD_HEIGHTS"),
        ({"activation_height": HEIGHTS_AHEAD_MAX + 2}, "BAD_HEIGHTS"),
        ({"expiry_height": HEIGHTS_AHEAD_MAX + 1}, OK),
        ({"expiry_height": 2}, OK),
    ],
)
def test_expiry_lies_ahead_and_not_too_far(fields: dict[str, int], code: str) -> None:
    chain = lab(observers=1)
    assert chain.codes(propose(chain, "remove_member", member="obs-000", **fields)) == [code]


def test_a_vote_at_the_expiry_height_counts_and_one_later_does_not() -> None:
    chain = lab(observers=2)
    for number in (1, 2):
        member = f"obs-{number - 1:03}"
        assert chain.codes(propose(chain, "remove_member", member=member, expiry_height=6)) == [OK]
    assert chain.codes(vote(chain, 1), by="operator hosp-b") == [OK]
    assert chain.codes(vote(chain, 2), by="operator hosp-b") == [OK]
    idle(chain, 1)
    assert chain.codes(vote(chain, 1), by="operator hosp-c") == [OK]
    assert chain.executor.head.height == 6
    assert (proposal(chain, 1).stage, proposal(chain, 2).stage) == (Stage.PASSED, Stage.EXPIRED)
    assert chain.codes(vote(chain, 2), by="operator hosp-c") == ["PROPOSAL_CLOSED"]
    assert chain.codes(vote(chain, 3)) == ["UNKNOWN_PROPOSAL"]


def test_the_same_change_is_not_voted_on_twice_at_a_time() -> None:
    chain = lab(observers=1)
    asked = propose(chain, "remove_member", member="obs-000", expiry_height=3)
    assert chain.codes(asked) == [OK]
    (receipt,) = chain.run(
        propose(chain, "remove_member", member="obs-000", reasons=h("other")), by="operator hosp-b"
    )
    assert (receipt.code, receipt.facts) == ("DUPLICATE_PROPOSAL", {"proposal": 1})
    idle(chain, 1)
    assert chain.codes(propose(chain, "remove_member", member="obs-000")) == [OK], "1 has expired"


def test_nobody_holds_a_change_off_by_proposing_it_for_a_far_height() -> None:
    """Else a member about to be removed would propose just that, for a height that may never come."""
    chain = lab(observers=1)
    far = propose(
        chain, "remove_member", member="hosp-d", activation_height=900_000, expiry_height=900_000
    )
    assert chain.codes(far, by="operator hosp-d") == [OK]
    decide(chain, "remove_member", member="hosp-d")
    assert chain.codes(vote(chain, 1)) == [OK], "the other one is its own, and still open"
    assert chain.codes(vote(chain, 1), by="operator hosp-b") == [OK]
    boundary(chain)
    assert seats(chain) == "abc"
    assert proposal(chain, 1).stage is Stage.PASSED


# ── what is impossible ───────────────────────────────────────────────────────

IMPOSSIBLE: list[tuple[str, dict[str, Any], str]] = [
    ("add_member", newcomer("hosp-a"), "DUPLICATE_MEMBER"),
    ("add_member", newcomer("hosp-e", roles=(Role.PHARMACY, Role.HOSPITAL)), "BAD_ROLES"),
    ("add_member", newcomer("hosp-e", roles=(Role.HOSPITAL, Role.HOSPITAL)), "BAD_ROLES"),
    ("add_member", newcomer("hosp-e", box_key=bytes(32)), "BAD_KEY"),
    (
        "add_member",
        newcomer("hosp-e", box_key=box_public_key(factories.seed("box hosp-b"))),
        "KEY_IN_USE",
    ),
    (
        "add_member",
        newcomer("hosp-e", box_key=factories.key("node hosp-e").public_key),
        "KEY_IN_USE",
    ),
    ("add_member", newcomer("hosp-e", node_possession=bytes(64)), "NO_POSSESSION"),
    (
        "add_member",
        newcomer("hosp-e", operator_possession=proof_of("operator hosp-e", "hosp-f", "operator")),
        "NO_POSSESSION",
    ),
    (
        "add_member",
        newcomer("hosp-e", operator_possession=proof_of("operator hosp-e", "hosp-e", "node")),
        "NO_POSSESSION",
    ),
    ("add_validator", {"member": "hosp-b"}, "ALREADY_VALIDATOR"),
    ("add_validator", {"member": "nobody"}, "UNKNOWN_MEMBER"),
    ("remove_validator", {"member": "obs-000"}, "NO_VALIDATOR"),
    ("reinstate_member", {"member": "hosp-b"}, "MEMBER_STATUS"),
    ("rotate_node_key", rotation("hosp-b", "node hosp-a", "node"), "NO_POSSESSION"),
    ("rotate_node_key", rotation("nobody", "new", "node"), "UNKNOWN_MEMBER"),
    ("rotate_operator_key", rotation("hosp-b", "new", "node"), "NO_POSSESSION"),
    ("change_parameters", NONE, "NOTHING_CHANGES"),
    ("change_parameters", NONE | {"watermark_window": L}, "NOTHING_CHANGES"),
    ("activate_contract", {"contract": "records", "version": 1}, "NOT_NEWER"),
]


@pytest.mark.parametrize(("action", "fields", "code"), IMPOSSIBLE)
def test_what_is_impossible_cannot_be_proposed(
    action: str, fields: dict[str, Any], code: str
) -> None:
    chain = lab(observers=1)
    if code == "NO_POSSESSION" and action == "rotate_node_key":
        # A key that is in use: its owner alone could sign for it, and for itself only.
        fields = fields | {"possession": proof_of("node hosp-a", "hosp-a", "node")}
    before = chain.dump()
    assert chain.codes(propose(chain, action, **fields)) == [code]
    assert chain.dump() == before


@pytest.mark.parametrize("used", ["node hosp-a", "operator hosp-c", "nurse"])
@pytest.mark.parametrize("capacity", ["node", "operator"])
def test_no_key_gets_a_second_owner(used: str, capacity: str) -> None:
    """Though its holder signs for it."""
    chain = lab()
    assert chain.codes(register(chain)) == [OK]
    asked = propose(chain, f"rotate_{capacity}_key", **rotation("hosp-b", used, capacity))
    assert chain.codes(asked) == ["KEY_IN_USE"]
    fields = newcomer("hosp-e")
    fields[f"{capacity}_key"] = factories.key(used).public_key
    fields[f"{capacity}_possession"] = proof_of(used, "hosp-e", capacity)
    assert chain.codes(propose(chain, "add_member", **fields)) == ["KEY_IN_USE"]


@pytest.mark.parametrize("action", ["remove_validator", "remove_member", "suspend_member"])
def test_the_last_validator_stays(action: str) -> None:
    chain = lab(1)
    assert chain.codes(propose(chain, action, member="hosp-a")) == ["LAST_VALIDATOR"]


def test_two_validators_cannot_vote_each_other_out_at_once() -> None:
    """Each alone is possible; together they would leave nobody."""
    chain = lab(2)
    one = decide(chain, "remove_validator", by="ab", member="hosp-a")
    two = decide(chain, "remove_validator", by="ab", member="hosp-b")
    boundary(chain)
    assert seats(chain) == "b"
    assert proposal(chain, one).stage is Stage.EFFECTIVE
    assert (proposal(chain, two).stage, proposal(chain, two).lapse) == (
        Stage.LAPSED,
        "LAST_VALIDATOR",
    )


def test_no_more_validators_than_can_be() -> None:
    chain = Lab(factories.genesis(VALIDATORS_MAX, observers=1, parameters=parameters()))
    asked = propose(chain, "add_validator", member="obs-000")
    assert chain.codes(asked, by="operator hosp-000") == ["TOO_MANY_VALIDATORS"]


def test_a_set_whose_new_view_could_not_be_sent_is_refused() -> None:
    window = next(
        w for w in range(8, 1024) if not _fits(Genesis.validators(factories.genesis(90)), w)
    )
    limits = parameters(watermark_window=window - 1)
    chain = Lab(factories.genesis(90, observers=40, parameters=limits))
    by = "operator hosp-000"
    asked = propose(chain, "change_parameters", **(NONE | {"watermark_window": window}))
    assert chain.codes(asked, by=by) == ["UNFIT_PARAMETERS"]
    asked = propose(chain, "add_validator", member="obs-000")
    assert chain.codes(asked, by=by) == ["UNFIT_PARAMETERS"]


def _fits(validators: Any, window: int) -> bool:
    from salus.parameters import CONSENSUS_BYTES_MAX, new_view_bytes_max

    return new_view_bytes_max(validators, window) <= CONSENSUS_BYTES_MAX


@pytest.mark.parametrize(
    "changes",
    [
        {"watermark_window": 7},  # the range of the number itself
        {"in_flight_proposals_max": 5},  # with execute_ahead_max it would fill the window
        {"transaction_bytes_max": 2**20},  # no block could hold one
        {"transaction_bytes_max": 2_047},  # no proposal with three keys
        {"keys_touched_max": 63},
        {"state_value_bytes_max": 16_383},
        {"state_bytes_written_max": 32_767},
        {"progress_timeout_ms": 60_001},
        {"view_change_timeout_ms": 99},
        {"clock_drift_max_ms": 99},
        {"pool_transactions_max": 99},
        {"epoch_blocks_max": 7},
        {"tick_ms": 0},
        {"timeout_doublings_max": 0},  # one second for a view change, for ever
        {"view_change_timeout_ms": 100, "timeout_doublings_max": 4},
        {"progress_timeout_ms": 100, "timeout_doublings_max": 4},
    ],
)
def test_limits_that_could_not_be_called_back_are_refused(changes: dict[str, int]) -> None:
    chain = lab()
    asked = propose(chain, "change_parameters", **(NONE | changes))
    assert chain.codes(asked) == ["UNFIT_PARAMETERS"]


def test_under_the_narrowest_limits_a_hundred_validators_still_decide() -> None:
    """Else such limits could never be changed again."""
    narrow = {
        "keys_touched_max": 64,
        "state_value_bytes_max": 16_384,
        "state_bytes_written_max": 32_768,
        "transaction_bytes_max": 2_048,
    }
    limits = parameters(**(SMALL | narrow))
    chain = Lab(factories.genesis(VALIDATORS_MAX, parameters=limits))
    names = factories.member_ids(VALIDATORS_MAX)
    for number in range(OPEN_PER_MEMBER_MAX):  # the agenda full, but for one place
        asked = [
            chain.tx(
                propose(chain, "add_member", **newcomer(f"{name}-{number}")),
                by=f"operator {name}",
            )
            for name in names[:-1]
        ]
        assert {r.code for r in chain.block(*asked).receipts} == {OK}
    wide = NONE | {"keys_touched_max": 4_096}
    (asked_last,) = chain.run(
        propose(chain, "change_parameters", **wide), by=f"operator {names[-1]}"
    )
    assert asked_last.code == OK
    number = asked_last.events[0].data["proposal"]
    assert isinstance(number, int)
    votes = [chain.tx(vote(chain, number), by=f"operator {name}") for name in names[:66]]
    assert {r.code for r in chain.block(*votes).receipts} == {OK}
    boundary(chain)
    assert chain.executor.epoch.parameters.keys_touched_max == 4_096


def test_the_fullest_agenda_can_be_written_under_the_narrowest_limits() -> None:
    """Whatever the heights and numbers have become: else nobody could propose or vote any more."""
    most = UINT_MAX
    full = Agenda(
        most,
        tuple(Open(most, most) for _ in range(OPEN_PER_MEMBER_MAX * VALIDATORS_MAX)),
        (most,) * PASSED_MAX,
        ("m" * MEMBER_ID_BYTES_MAX,) * CANDIDATES_MAX,
        most,
    )
    narrow = Parameters(state_value_bytes_max=len(encode(full)) - 1)
    with pytest.raises(BadMessage, match="state_value_bytes_max"):
        check_parameters(narrow, Parameters())


def test_what_somebody_without_a_vote_has_proposed_is_open_no_more() -> None:
    """Sets that follow each other would else leave their proposals, until the agenda is full."""
    chain = lab(5, observers=1)
    (asked,) = chain.run(propose(chain, "remove_member", member="obs-000"), by="operator hosp-e")
    (kept,) = chain.run(propose(chain, "suspend_member", member="obs-000"), by="operator hosp-d")
    numbers = [int(receipt.events[0].data["proposal"]) for receipt in (asked, kept)]
    decide(chain, "remove_validator", by="abcd", member="hosp-e")
    assert proposal(chain, numbers[0]).stage is Stage.OPEN
    boundary(chain)
    assert seats(chain) == "abcd"
    assert [proposal(chain, n).stage for n in numbers] == [Stage.REJECTED, Stage.OPEN]
    agenda = read_agenda(ReadState(chain.executor.read, "governance"))
    assert [entry.number for entry in agenda.open] == numbers[1:]
    again = propose(chain, "remove_member", member="obs-000")
    assert chain.codes(again, by="operator hosp-a") == [OK]


def test_ballots_of_former_validators_make_room_when_the_record_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One set after the other may vote on a proposal that stays open, and it is one state value."""
    chain = lab(5, observers=1)
    (asked,) = chain.run(propose(chain, "remove_member", member="obs-000"), by="operator hosp-a")
    number = int(asked.events[0].data["proposal"])
    assert chain.codes(vote(chain, number), by="operator hosp-e") == [OK]
    decide(chain, "remove_validator", by="abcd", member="hosp-e")
    boundary(chain)
    monkeypatch.setattr("contracts.governance.VALIDATORS_MAX", 2)
    assert chain.codes(vote(chain, number), by="operator hosp-b") == [OK]
    assert [ballot.member for ballot in proposal(chain, number).ballots] == ["hosp-a", "hosp-b"]


# ── when it takes effect ─────────────────────────────────────────────────────


def test_nothing_changes_before_the_boundary_and_all_of_it_there() -> None:
    chain = lab()
    decide(chain, "suspend_member", member="hosp-d")
    passed_at = chain.executor.head.height
    assert chain.executor.epoch.end == passed_at + L
    idle(chain, L - 1)
    assert chain.codes(register(chain, org="hosp-d", key="other"), by="operator hosp-d") == [OK]
    assert chain.executor.epoch.epoch == 1, "its last transaction was in the last block"
    assert seats(chain) == "abc"
    for by in ("operator hosp-d", "other"):
        refused = chain.codes(chain.op("members", "staff_revoke", handle=h("handle")), by=by)
        assert refused == ["NOT_AUTHORISED"]
    header = chain.executor.head
    last = chain.store.header(passed_at + L)
    assert last.next_validators_hash == header.validators_hash != last.validators_hash


def test_a_dry_run_of_an_epochs_last_block_is_under_the_rules_of_that_epoch() -> None:
    """It has been executed here and waits for its certificate: the head is an epoch further."""
    chain = lab()
    other = NONE | {"progress_timeout_ms": 2_000}
    decide(chain, "change_parameters", **other)
    end = chain.executor.epoch.end
    idle(chain, end - 1 - chain.executor.head.height)
    chain.null()
    assert chain.executor.epoch.epoch == 1
    asked = propose(chain, "change_parameters", activation_height=1_000, **other)
    tx = chain.tx(asked, by="operator hosp-a")
    height, receipts = chain.executor.simulate(tx)
    assert (height, [r.code for r in receipts]) == (end, [OK])
    chain.certify()
    height, receipts = chain.executor.simulate(tx)
    assert (height, [r.code for r in receipts]) == (end + 1, ["NOTHING_CHANGES"])


def test_one_epoch_brings_several_changes_in_the_order_of_passing() -> None:
    chain = lab()
    decide(chain, "remove_validator", member="hosp-d")
    end = chain.executor.epoch.end
    decide(chain, "add_member", **newcomer("hosp-e"))
    assert chain.executor.epoch.end == end, "an end that is fixed stays"
    boundary(chain)
    assert [proposal(chain, n).effective_height for n in (1, 2)] == [end + 1, end + 1]
    assert seats(chain) == "abc"


def test_what_passes_in_the_last_block_comes_with_it() -> None:
    chain = lab(observers=1)
    decide(chain, "remove_validator", member="hosp-d")
    idle(chain, L - 3)
    decide(chain, "remove_member", member="obs-000")
    assert chain.executor.epoch.epoch == 1
    assert proposal(chain, 2).stage is Stage.EFFECTIVE
    assert chain.executor.epoch.end == 0, "and asks for no further end"


@pytest.mark.parametrize("height", [1, 20, 21, 40])
def test_an_activation_height_is_the_first_of_an_epoch_or_lies_before_it(height: int) -> None:
    chain = lab()
    decide(chain, "change_parameters", activation_height=height, **(NONE | {"tick_ms": 30}))
    passed_at = chain.executor.head.height
    first = max(height, passed_at + L + 1)
    idle(chain, first - 1 - passed_at)
    assert chain.executor.head.height == chain.executor.epoch.base == first - 1
    assert chain.executor.epoch.parameters.tick_ms == 30
    assert proposal(chain, 1).effective_height == first


def test_an_epoch_that_ends_before_the_activation_height_does_not_bring_it() -> None:
    """The next one has its end at birth, if it would otherwise be too long."""
    chain = lab(observers=1)
    decide(chain, "change_parameters", activation_height=18, **(NONE | {"tick_ms": 30}))
    assert chain.executor.epoch.end == 0
    decide(chain, "remove_member", member="obs-000")
    boundary(chain)
    epoch = chain.executor.epoch
    assert (epoch.base, epoch.end, epoch.parameters.tick_ms) == (14, 14 + L, 20)
    boundary(chain)
    assert chain.executor.epoch.parameters.tick_ms == 30


def test_what_passes_since_the_set_has_shrunk_ends_the_next_epoch_from_its_birth() -> None:
    """Nobody is left to vote: without this it would wait for ever on an idle chain."""
    chain = lab(5)
    one = decide(chain, "change_parameters", by="abc", **(NONE | {"tick_ms": 30}))
    assert proposal(chain, one).stage is Stage.OPEN, "three of five"
    decide(chain, "remove_validator", by="abcd", member="hosp-e")
    boundary(chain)
    assert proposal(chain, one).stage is Stage.PASSED, "three of four"
    assert chain.executor.epoch.end == chain.executor.epoch.base + L
    boundary(chain)
    assert chain.executor.epoch.parameters.tick_ms == 30


def test_a_key_that_somebody_took_meanwhile_lets_the_change_lapse() -> None:
    chain = lab()
    number = decide(chain, "rotate_node_key", **rotation("hosp-b", "new", "node"))
    assert chain.codes(register(chain, key="new")) == [OK]
    boundary(chain)
    found = proposal(chain, number)
    assert (found.stage, found.lapse) == (Stage.LAPSED, "KEY_IN_USE")
    assert found.effective_height is None


def test_of_two_rotations_of_one_key_the_second_lapses() -> None:
    chain = lab()
    one = decide(chain, "rotate_node_key", **rotation("hosp-b", "one", "node"))
    two = decide(chain, "rotate_node_key", **rotation("hosp-b", "two", "node"))
    boundary(chain)
    assert [proposal(chain, n).lapse for n in (one, two)] == [None, "CHANGED_MEANWHILE"]
    validators = chain.executor.epoch.validators
    assert validators.index_of(factories.key("one").public_key) == 1


def test_a_replaced_key_opens_nothing_and_is_nobody_elses() -> None:
    chain = lab()
    decide(chain, "rotate_operator_key", **rotation("hosp-b", "second", "operator"))
    boundary(chain)
    asked = propose(chain, "remove_member", member="hosp-d")
    assert chain.codes(asked, by="operator hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(asked, by="second") == [OK]
    again = propose(
        chain, "rotate_operator_key", **rotation("hosp-c", "operator hosp-b", "operator")
    )
    assert chain.codes(again) == ["KEY_IN_USE"]
    answer = chain.executor.active.query(
        chain.executor.read,
        "members",
        "key",
        {"public_key": factories.key("operator hosp-b").public_key.hex()},
    )
    assert (answer["member"], answer["status"]) == ("hosp-b", "revoked")


def test_a_parameter_that_changed_meanwhile_lets_the_other_change_lapse() -> None:
    chain = lab()
    one = decide(chain, "change_parameters", **(NONE | {"tick_ms": 30}))
    two = decide(chain, "change_parameters", **(NONE | {"tick_ms": 40}))
    three = decide(chain, "change_parameters", **(NONE | {"timeout_doublings_max": 3}))
    boundary(chain)
    assert [proposal(chain, n).lapse for n in (one, two, three)] == [
        None,
        "CHANGED_MEANWHILE",
        None,
    ]
    limits = chain.executor.epoch.parameters
    assert (limits.tick_ms, limits.timeout_doublings_max) == (30, 3)


def test_a_removed_member_never_comes_back() -> None:
    chain = lab()
    decide(chain, "remove_member", member="hosp-d")
    boundary(chain)
    assert seats(chain) == "abc"
    for action, code in (
        ("reinstate_member", "MEMBER_STATUS"),
        ("add_validator", "MEMBER_STATUS"),
        ("remove_member", "MEMBER_STATUS"),
        ("suspend_member", "MEMBER_STATUS"),
    ):
        assert chain.codes(propose(chain, action, member="hosp-d")) == [code]
    asked = propose(chain, "add_member", **newcomer("hosp-d"))
    assert chain.codes(asked) == ["DUPLICATE_MEMBER"]
    asked = propose(chain, "add_member", **newcomer("hosp-d") | {"member": "hosp-e"})
    assert chain.codes(asked) == ["NO_POSSESSION"]
    entry = get_entry(ReadState(chain.executor.read, "members"), "hosp-d")
    assert entry is not None
    assert (entry.status, entry.validator) == (MemberStatus.REMOVED, False)


def test_more_members_than_a_page_holds_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MEMBERS_PER_PAGE", 4)
    monkeypatch.setattr("contracts.member_acts.MEMBERS_PER_PAGE", 4)
    chain = lab()
    for name in ("hosp-aa", "aaa", "zzz"):
        decide(chain, "add_member", **newcomer(name))
    boundary(chain)
    listed = chain.executor.active.query(chain.executor.read, "members", "list_members", {})
    ids = [member["id"] for member in listed["members"]]
    assert ids == ["aaa", "hosp-a", "hosp-aa", "hosp-b", "hosp-c", "hosp-d", "zzz"]


# ── candidates ───────────────────────────────────────────────────────────────


def test_a_member_becomes_a_validator_by_its_own_ready_and_not_before() -> None:
    chain = lab(observers=1)
    number = decide(chain, "add_validator", member="obs-000")
    assert chain.executor.epoch.end == 0, "nothing ends before it has caught up"
    idle(chain, 2 * L)
    assert seats(chain) == "abcd"
    assert chain.codes(ready(chain), by="operator obs-000") == ["NOT_AUTHORISED"]
    assert chain.codes(ready(chain, back=2 * L), by="node obs-000") == ["READY_STALE"]
    ahead = chain.executor.head.height + 1
    forged = chain.op("governance", "ready", height=ahead, header_hash=h("x"))
    assert chain.codes(forged, by="node obs-000") == ["READY_STALE"]
    assert chain.codes(ready(chain, back=2 * L - 1), by="node obs-000") == [OK]
    boundary(chain)
    assert seats(chain) == "abcd0"
    assert candidacy(chain, "obs-000").stage is CandidacyStage.COUNTED
    assert proposal(chain, number).stage is Stage.EFFECTIVE


def test_a_candidate_that_does_not_catch_up_in_time_lapses() -> None:
    chain = lab(observers=1, epoch_blocks_max=30)
    number = decide(chain, "add_validator", member="obs-000")
    until = candidacy(chain, "obs-000").until_height
    assert until == chain.executor.head.height + 30
    idle(chain, 30)
    assert candidacy(chain, "obs-000").stage is CandidacyStage.LAPSED
    assert (proposal(chain, number).stage, proposal(chain, number).lapse) == (
        Stage.LAPSED,
        "READY_STALE",
    )
    assert chain.codes(ready(chain), by="node obs-000") == ["NO_CANDIDATE"]
    decide(chain, "add_validator", member="obs-000")  # it may be proposed again
    assert chain.codes(ready(chain), by="node obs-000") == [OK]


def test_a_candidate_whose_node_key_is_replaced_must_say_ready_with_the_new_one() -> None:
    """What votes is the node with the new key, and nobody has heard of that one yet."""
    chain = lab(observers=1)
    number = decide(chain, "add_validator", member="obs-000")
    assert chain.codes(ready(chain), by="node obs-000") == [OK]
    decide(chain, "rotate_node_key", **rotation("obs-000", "next node", "node"))
    boundary(chain)
    assert seats(chain) == "abcd"
    found = candidacy(chain, "obs-000")
    assert (found.stage, found.ready_height) == (CandidacyStage.WAITING, None)
    assert chain.codes(ready(chain), by="node obs-000") == [NOT_AUTHORISED]
    assert chain.codes(ready(chain), by="next node") == [OK]
    boundary(chain)
    assert seats(chain) == "abcd0"
    assert proposal(chain, number).stage is Stage.EFFECTIVE


def test_a_candidate_that_was_removed_meanwhile_gets_no_vote() -> None:
    chain = lab(observers=1)
    number = decide(chain, "add_validator", member="obs-000")
    decide(chain, "remove_member", member="obs-000")
    assert chain.codes(ready(chain), by="node obs-000") == [OK]
    boundary(chain)
    assert seats(chain) == "abcd"
    assert (candidacy(chain, "obs-000").stage, candidacy(chain, "obs-000").lapse) == (
        CandidacyStage.LAPSED,
        "MEMBER_STATUS",
    )
    assert proposal(chain, number).lapse == "MEMBER_STATUS"


def test_a_candidate_is_not_counted_before_its_activation_height() -> None:
    chain = lab(observers=2)
    decide(chain, "add_validator", member="obs-000", activation_height=30)
    idle(chain, 30 - 1 - L - chain.executor.head.height - 1)
    assert read_candidacy(ReadState(chain.executor.read, "governance"), "obs-000") is None
    idle(chain, 1)
    assert candidacy(chain, "obs-000").stage is CandidacyStage.WAITING
    assert chain.codes(ready(chain), by="node obs-000") == [OK]
    boundary(chain)
    assert seats(chain) == "abcd0"
    assert chain.executor.epoch.base + 1 >= 30


def test_a_reinstated_validator_stands_for_its_vote_again_and_an_observer_does_not() -> None:
    chain = lab(observers=1)
    decide(chain, "suspend_member", member="hosp-d")
    decide(chain, "suspend_member", member="obs-000")
    boundary(chain)
    decide(chain, "reinstate_member", member="hosp-d")
    decide(chain, "reinstate_member", member="obs-000")
    boundary(chain)
    assert candidacy(chain, "hosp-d").stage is CandidacyStage.WAITING
    assert read_candidacy(ReadState(chain.executor.read, "governance"), "obs-000") is None
    assert chain.codes(ready(chain), by="node hosp-d") == [OK]
    boundary(chain)
    assert seats(chain) == "abcd"


# ── contract versions ────────────────────────────────────────────────────────


class Nothing(Wire, frozen=True):
    """No arguments."""


def newer() -> Registry:
    """The catalogue, and a second version of the records."""
    second = Contract("records", version=2, doc="The next version.", refusals={})

    @second.method(senders=(Capacity.OPERATOR,))
    def greet(ctx: Context, state: State, args: Nothing) -> list[Event]:
        """Only here to be called."""
        return []

    return Registry((*registry().contracts.values(), second), MEMBERSHIP)


def test_a_contract_version_is_active_from_its_height_on() -> None:
    chain = Lab(factories.genesis(4, parameters=parameters(**SMALL)), newer)
    decide(chain, "activate_contract", contract="records", version=2, activation_height=20)
    greeting = Operation("records", "greet", 2, b"\x90")
    idle(chain, 19 - chain.executor.head.height - 1)
    assert chain.codes(greeting) == ["WRONG_VERSION"]
    assert chain.codes(greeting) == [OK]
    assert chain.executor.head.height == 20
    assert ContractVersion("records", 2) in chain.executor.epoch.parameters.contracts
    assert chain.codes(propose(chain, "activate_contract", contract="records", version=2)) == [
        "NOT_NEWER"
    ]


@pytest.mark.parametrize("contract", ["records", "pharmacy"])
def test_version_0_is_newer_than_nothing(contract: str) -> None:
    chain = lab()
    asked = propose(chain, "activate_contract", contract=contract, version=0)
    assert chain.codes(asked) == ["NOT_NEWER"]


def test_a_node_without_the_version_stops_before_the_boundary_and_can_go_on_from_there() -> None:
    """S13: nothing half done; what it has executed is right."""
    chain = lab()
    decide(chain, "activate_contract", contract="records", version=2)
    idle(chain, L - 1)
    before, root = chain.executor.head, chain.executor.tree.root
    with pytest.raises(UpgradeNeeded, match="records version 2"):
        chain.null()
    assert (chain.executor.head, chain.executor.tree.root) == (before, root)
    chain.registry = newer()
    chain.executor = chain.open()
    chain.null()
    chain.certify()
    assert chain.executor.epoch.epoch == 1
    assert chain.codes(Operation("records", "greet", 2, b"\x90")) == [OK]


# ── acts and turns ───────────────────────────────────────────────────────────


def _intruder() -> Contract:
    contract = Contract("intruder", version=1, doc="Acts undeclared.", refusals={})

    @contract.method(senders=(Capacity.OPERATOR,))
    def intrude(ctx: Context, state: State, args: Nothing) -> list[Event]:
        """Take somebody's vote."""
        ctx.act(take_vote, "hosp-a")
        return []

    return contract


def _declared() -> Contract:
    """One that declares to act, and is not among the callers of the act."""
    contract = Contract("intruder", version=1, doc="Is no caller.", refusals={}, acts=("members",))

    @contract.method(senders=(Capacity.OPERATOR,))
    def intrude(ctx: Context, state: State, args: Nothing) -> list[Event]:
        """Take somebody's vote."""
        ctx.act(take_vote, "hosp-a")
        return []

    return contract


@pytest.mark.parametrize("make", [_intruder, _declared])
def test_only_declared_callers_act_on_another_contracts_state(make: Any) -> None:
    versions = (ContractVersion("intruder", 1), *Parameters().contracts)
    ordered = tuple(sorted(versions, key=lambda v: v.contract))
    genesis = factories.genesis(4, parameters=parameters(contracts=ordered))
    chain = Lab(genesis, lambda: Registry((*registry().contracts.values(), make()), MEMBERSHIP))
    before = chain.dump()
    assert chain.codes(Operation("intruder", "intrude", 1, b"\x90")) == ["CONTRACT_FAULT"]
    assert chain.dump() == before


class Cell(Wire, frozen=True):
    value: Uint


def name_of(version: ContractVersion) -> str:
    return version.contract


def test_a_fault_in_a_turn_is_undone_and_the_chain_goes_on() -> None:
    """S16: the others' turns stand, and the alarm names the contract."""
    broken = Contract("broken", version=1, doc="Fails in its turn.", refusals={})

    @broken.takes_turn(lambda state: 0)
    def fail(turn: Turn, state: State) -> None:
        state.put(b"half", Cell(1))
        raise ZeroDivisionError

    versions = tuple(sorted((ContractVersion("broken", 1), *Parameters().contracts), key=name_of))
    limits = parameters(**SMALL, contracts=versions)  # type: ignore[arg-type]
    genesis = factories.genesis(4, parameters=limits)
    chain = Lab(genesis, lambda: Registry((broken, *registry().contracts.values()), MEMBERSHIP))
    executed = chain.null()
    chain.certify()
    (fault,) = executed.faults
    assert (fault.contract, fault.method, fault.kind) == ("broken", "turn", "ZeroDivisionError")
    assert chain.value(b"broken/half", Cell) is None
    decide(chain, "remove_validator", member="hosp-d")
    boundary(chain)
    assert seats(chain) == "abc"


def test_a_restart_at_any_height_gives_the_same_chain() -> None:
    """Deadlines and ends are functions of state, not of what a process has seen."""
    one, other = lab(observers=2, epoch_blocks_max=40), lab(observers=2, epoch_blocks_max=40)

    def both(*operations: Operation, by: str) -> list[Receipt]:
        tx = one.tx(*operations, by=by)
        other.executor = other.open()
        assert one.block(tx).header == other.block(tx).header
        return []

    both(propose(one, "add_validator", member="obs-000"), by="operator hosp-a")
    both(propose(one, "remove_member", member="obs-001", expiry_height=9), by="operator hosp-b")
    for letter in "bc":
        both(vote(one, 1), by=f"operator hosp-{letter}")
    asked = NONE | {"tick_ms": 30}
    both(propose(one, "change_parameters", activation_height=60, **asked), by="operator hosp-a")
    for letter in "bc":
        both(vote(one, 3), by=f"operator hosp-{letter}")
    for number in range(110):
        if number == 20:
            both(ready(one), by="node obs-000")
        other.executor = other.open()
        assert one.null().header == other.null().header
        one.certify()
        other.certify()
    assert one.executor.epoch == other.executor.epoch
    assert one.executor.epoch.parameters.tick_ms == 30
    assert seats(one) == "abcd0"
    assert read_agenda(ReadState(one.executor.read, "governance")).due == UINT_MAX


def test_the_names_in_the_proposal_are_those_of_the_parameters() -> None:
    fixed = {"state_bucket_bits", "contracts"}
    assert set(PARAMETER_NAMES) == set(Parameters.__struct_fields__) - fixed


def test_what_a_new_key_signs_names_chain_member_and_capacity() -> None:
    said = {
        possession(chain, member, capacity)
        for chain in ("one", "two")
        for member in ("a", "b")
        for capacity in ("node", "operator")
    }
    assert len(said) == 8
    assert msgspec.msgpack.decode(next(iter(said)).partition(b"\x00")[2])
