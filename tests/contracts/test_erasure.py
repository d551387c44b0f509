"""Cases of erasure (rules X-1 … X-5 of decision 0015)."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.erasure import ReceiptArgs, RequestArgs, WaitingArgs
from salus.erasure import (
    Basis,
    ErasureCase,
    ErasureHead,
    ErasureHolder,
    Holding,
    Reply,
    Stage,
    case_key,
    head_key,
    holder_key,
    records_commitment,
)
from salus.genesis import Role
from salus.permit import Purpose
from salus.transaction import Operation
from tests import factories
from tests.contracts.emergencies import Ward
from tests.contracts.lab import Lab, h, parameters
from tests.contracts.patients import Patient, cosign, enter
from tests.contracts.test_governance import boundary, decide, rotation


def patient(**kwargs: Any) -> tuple[Lab, Patient]:
    """At hosp-a; hosp-b may read results for treatment. hosp-d is the regulator."""
    genesis = factories.genesis(4, parameters=parameters())
    *others, last = genesis.members
    members = (*others, replace(last, roles=(Role.REGULATOR,)))
    chain = Lab(replace(genesis, members=members))
    ada = Patient(chain, **kwargs)
    enter(chain, ada)
    chain.run(ada.grant("p"), by="ada")
    return chain, ada


def request(
    ada: Patient, case: str = "case", by: str | None = "operator hosp-c", **changes: Any
) -> Operation:
    """`by`: who co-signs, and so it begins at once; None: it waits (X-9)."""
    args = RequestArgs(ada.org, ada.handle, h(case), h("records"), h("reason"), None, None)
    args = replace(args, **changes)
    return ada.op("erasure", "request", cosign(args, "erasure", "request", by))


def reply(
    ada: Patient, word: Reply = Reply.ERASED, case: str = "case", reason: bytes | None = None
) -> Operation:
    return ada.op("erasure", "receipt", ReceiptArgs(ada.org, h(case), word, reason))


def begin(ada: Patient, case: str = "case") -> Operation:
    return ada.op("erasure", "begin", WaitingArgs(ada.org, h(case)))


def cancel(ada: Patient, case: str = "case") -> Operation:
    return ada.op("erasure", "cancel", WaitingArgs(ada.org, h(case)))


def later(ada: Patient, time_ms: int) -> None:
    """Block time passes; the days of the permits do not matter here."""
    ada.chain.later_ms += time_ms


def case_of(ada: Patient, case: str = "case") -> ErasureCase:
    found = ada.chain.value(case_key(ada.org, h(case)), ErasureCase)
    assert isinstance(found, ErasureCase)
    return found


def holders(ada: Patient, case: str = "case") -> dict[str, tuple[Holding, Reply | None]]:
    """In the order in which they came."""
    found: list[tuple[str, ErasureHolder]] = []
    at: str | None = case_of(ada, case).newest
    while at is not None:
        holder = ada.chain.value(holder_key(ada.org, h(case), at), ErasureHolder)
        assert isinstance(holder, ErasureHolder)
        found.append((at, holder))
        at = holder.before
    return {name: (one.holding, one.reply) for name, one in reversed(found)}


def code(ada: Patient, operation: Operation, by: str) -> str:
    (found,) = ada.chain.codes(operation, by=by)
    return found


def test_whoever_had_a_permitted_ticket_is_asked_and_nobody_else() -> None:
    """X-3: by the tickets; a denied one, and the patient's own view, make no holder."""
    _, ada = patient()
    assert ada.ask("1", "p") == "PERMIT"
    assert ada.ask("2", "p") == "PERMIT"
    assert ada.ask("3", "p", "hosp-c") == "NO_PERMIT"
    assert ada.ask("4", requester="hosp-a") == "OWN_CARE"
    assert ada.ask("5", requester="hosp-c", owner="ada") == "OWN_REQUEST"
    assert code(ada, request(ada), by="ada") == "OK"
    asked = {"hosp-a": (Holding.CUSTODIAN, None), "hosp-b": (Holding.READER, None)}
    assert holders(ada) == asked
    found = case_of(ada)
    assert (found.basis, found.holders, found.answered) == (Basis.OWNER, 2, 0)
    assert code(ada, reply(ada, Reply.NOTHING_HELD), by="node hosp-c") == "NOT_A_HOLDER"
    assert code(ada, reply(ada, case="other"), by="node hosp-b") == "UNKNOWN_CASE"


def test_the_state_shows_who_has_not_answered() -> None:
    chain, ada = patient()
    ada.ask("1", "p")
    code(ada, request(ada), by="ada")
    assert code(ada, reply(ada), by="node hosp-a") == "OK"
    assert holders(ada)["hosp-b"] == (Holding.READER, None)
    assert (case_of(ada).answered, case_of(ada).holders) == (1, 2)
    assert code(ada, reply(ada), by="operator hosp-b") == "OK"
    assert case_of(ada).answered == case_of(ada).holders == 2
    (receipt,) = chain.run(reply(ada), by="node hosp-b")
    assert receipt.code == "ALREADY_ANSWERED"


def test_a_reader_that_comes_before_the_custodian_has_erased_is_asked_too() -> None:
    """X-3: and none that cannot have got anything."""
    _, ada = patient()
    code(ada, request(ada), by="ada")
    assert "hosp-b" not in holders(ada)
    assert ada.ask("1", "p") == "PERMIT"
    # Its own answer finds it a holder as well: who read is asked, in whatever order.
    assert code(ada, reply(ada, Reply.NOTHING_HELD), by="node hosp-b") == "OK"
    assert code(ada, reply(ada), by="node hosp-a") == "OK"
    assert list(holders(ada)) == ["hosp-a", "hosp-b"]
    assert case_of(ada).closed
    code(ada, ada.grant("q", "hosp-c"), by="ada")
    assert ada.ask("2", "q", "hosp-c") == "PERMIT"
    assert code(ada, reply(ada), by="node hosp-c") == "NOT_A_HOLDER"


def test_another_relation_s_readers_are_not_asked() -> None:
    chain, ada = patient()
    bob = Patient(chain, "bob")
    enter(chain, bob)
    chain.run(bob.grant("b", "hosp-c"), by="bob")
    assert bob.ask("1", "b", "hosp-c") == "PERMIT"
    code(ada, request(ada), by="ada")
    assert list(holders(ada)) == ["hosp-a"]


def test_only_the_custodians_node_says_that_it_has_erased() -> None:
    """X-4: its operator may retain; and erase later after all."""
    _, ada = patient()
    code(ada, request(ada), by="ada")
    assert code(ada, reply(ada), by="operator hosp-a") == "NOT_AUTHORISED"
    assert code(ada, reply(ada, Reply.NOTHING_HELD), by="node hosp-a") == "BAD_REPLY"
    kept = reply(ada, Reply.RETAINED, reason=h("ten years"))
    assert code(ada, kept, by="node hosp-a") == "NOT_AUTHORISED"
    assert code(ada, kept, by="operator hosp-a") == "OK"
    assert not case_of(ada).closed
    assert code(ada, kept, by="operator hosp-a") == "ALREADY_ANSWERED"
    assert code(ada, reply(ada), by="node hosp-a") == "OK"
    assert (case_of(ada).answered, case_of(ada).closed) == (1, True)


def test_only_what_is_retained_has_a_reason() -> None:
    _, ada = patient()
    ada.ask("1", "p")
    code(ada, request(ada), by="ada")
    assert code(ada, reply(ada, Reply.RETAINED), by="node hosp-b") == "BAD_REPLY"
    assert code(ada, reply(ada, reason=h("why")), by="node hosp-b") == "BAD_REPLY"
    assert code(ada, reply(ada, Reply.RETAINED, reason=h("law")), by="node hosp-b") == "OK"
    assert code(ada, reply(ada, Reply.NOTHING_HELD), by="node hosp-b") == "BAD_REPLY"
    assert code(ada, reply(ada), by="node hosp-b") == "OK"


@pytest.mark.parametrize(
    "by", ["mal", "phone", "operator hosp-a", "node hosp-a", "operator hosp-b", "node hosp-d"]
)
def test_nobody_but_the_owner_and_a_regulator_asks(by: str) -> None:
    """X-1: no delegate either, whatever his rights."""
    _, ada = patient()
    code(ada, ada.delegate("phone", "deny", "revoke", "view"), by="ada")
    before = ada.chain.dump()
    assert code(ada, request(ada), by=by) == "NOT_AUTHORISED"
    assert ada.chain.dump() == before


def test_a_regulator_asks_and_the_case_says_so() -> None:
    _, ada = patient()
    assert code(ada, request(ada), by="operator hosp-d") == "OK"
    assert case_of(ada).basis is Basis.REGULATOR
    assert code(ada, request(ada, handle=h("nobody")), by="operator hosp-d") == "UNKNOWN_RELATION"


def test_where_the_hospital_holds_the_key_somebody_else_signs_too() -> None:
    """X-1, I-6: a hospital alone makes no record of its own go away."""
    _, kid = patient(custodial=True)
    assert code(kid, request(kid, by=None), by="ada") == "NEEDS_COSIGNATURE"
    assert code(kid, request(kid, by="operator hosp-a"), by="ada") == "BAD_COSIGNATURE"
    assert code(kid, request(kid, by="mal"), by="ada") == "BAD_COSIGNATURE"
    assert code(kid, request(kid, by="operator hosp-c"), by="ada") == "OK"


def test_nothing_is_erased_while_a_recovery_is_open() -> None:
    """X-1: a thief with the old key burns nothing."""
    _, ada = patient()
    code(ada, ada.recover("ada again"), by="operator hosp-a")
    code(ada, ada.act("recover_approve"), by="operator hosp-b")
    assert code(ada, request(ada), by="ada") == "RECOVERY_OPEN"


def test_cases_of_a_handle_name_the_one_before() -> None:
    """X-5."""
    chain, ada = patient()
    for name in ("first", "second"):
        assert code(ada, request(ada, name), by="ada") == "OK"
    (again,) = chain.run(request(ada, "second"), by="ada")
    assert (again.code, again.facts) == ("DUPLICATE_CASE", {"height": 4})
    assert chain.value(head_key(ada.org, ada.handle), ErasureHead) == ErasureHead(h("second"), 2)
    assert case_of(ada, "second").before == h("first")
    assert case_of(ada, "first").before is None


def asked(ada: Patient, member: str, **start: str | None) -> tuple[list[str], int, Any]:
    """Case ids, newest first; the count; where the rest begins."""
    arguments = {"member": member, "org": None, "case": None} | start
    chain = ada.chain
    page = chain.executor.active.query(chain.executor.read, "erasure", "asked_of", arguments)
    return [one["case"]["case"] for one in page["items"]], page["count"], page["next"]


def test_a_member_sees_all_that_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """X-5: of all custodians and patients, answered or not, in pages."""
    chain, ada = patient()
    bob = Patient(chain, "bob")
    enter(chain, bob)
    chain.run(bob.grant("b"), by="bob")
    ada.ask("1", "p")
    bob.ask("2", "b")
    code(ada, request(ada, "first"), by="ada")
    code(bob, request(bob, "second"), by="bob")
    assert asked(ada, "hosp-b") == ([h("second").hex(), h("first").hex()], 2, None)
    assert asked(ada, "hosp-c") == ([], 0, None)
    assert code(ada, reply(ada, case="first"), by="node hosp-b") == "OK"
    assert asked(ada, "hosp-b")[1] == 2
    monkeypatch.setattr("contracts.erasure.ASKED_PER_ANSWER", 1)
    found, _, rest = asked(ada, "hosp-b")
    assert (found, rest) == ([h("second").hex()], {"org": "hosp-a", "case": h("first").hex()})
    assert asked(ada, "hosp-b", **rest) == ([h("first").hex()], 2, None)
    assert asked(ada, "hosp-b", org="hosp-a", case=h("nothing").hex())[0] == []


def test_a_permitted_ticket_for_research_makes_a_holder_too() -> None:
    _, ada = patient()
    code(ada, ada.grant("r", "hosp-c", purpose=Purpose.RESEARCH), by="ada")
    assert ada.ask("1", "r", "hosp-c", purpose=Purpose.RESEARCH) == "PERMIT"
    code(ada, request(ada), by="ada")
    assert list(holders(ada)) == ["hosp-a", "hosp-c"]


def test_the_commitment_does_not_depend_on_the_order_of_leaves() -> None:
    leaves = [h("one"), h("two")]
    assert records_commitment(h("salt"), leaves) == records_commitment(h("salt"), leaves[::-1])
    assert records_commitment(h("salt"), leaves) != records_commitment(h("other"), leaves)


def test_who_keeps_or_opened_the_emergency_summary_is_asked_too() -> None:
    """X-3."""
    ward = Ward()
    bob = ward.ada = Patient(ward.chain, "bob")
    enter(ward.chain, bob)
    assert ward.open("night") == "OK"
    for _ in range(2):
        assert ward.run(ward.deposit(("hosp-a", "hosp-c")), "bob") == "OK"
    assert code(bob, request(bob), by="bob") == "OK"
    assert {name: holding for name, (holding, _) in holders(bob).items()} == {
        "hosp-a": Holding.CUSTODIAN,
        "hosp-b": Holding.SUMMARY,
        "hosp-c": Holding.SUMMARY,
    }


# -- the waiting time (X-9) ------------------------------------------------------------------

WAIT_MS = parameters().erasure_wait_ms


def test_what_one_key_asks_for_waits_and_nobody_says_before_that_it_is_gone() -> None:
    _, ada = patient()
    ada.ask("1", "p")
    assert code(ada, request(ada, by=None), by="ada") == "OK"
    found = case_of(ada)
    assert (found.stage, found.due_ms) == (Stage.WAITING, found.time_ms + WAIT_MS)
    for by in ("node hosp-a", "node hosp-b"):
        assert code(ada, reply(ada), by=by) == "NOT_BEGUN"
    assert code(ada, reply(ada, Reply.NOTHING_HELD), by="node hosp-b") == "NOT_BEGUN"
    # That a law makes it keep a copy, a holder may say at once.
    kept = reply(ada, Reply.RETAINED, reason=h("law"))
    assert code(ada, kept, by="operator hosp-b") == "OK"
    (early,) = ada.chain.run(begin(ada), by="node hosp-a")
    assert (early.code, early.facts) == ("TOO_EARLY", {"due_ms": found.due_ms})
    later(ada, WAIT_MS)
    assert code(ada, begin(ada), by="mal") == "OK"  # anybody may: it is the chain's word
    assert case_of(ada).stage is Stage.BEGUN
    assert code(ada, begin(ada), by="mal") == "NOT_WAITING"
    assert code(ada, cancel(ada), by="ada") == "NOT_WAITING"
    assert code(ada, reply(ada), by="node hosp-a") == "OK"


@pytest.mark.parametrize("by", ["operator hosp-c", "gus"])
def test_with_a_second_voice_it_begins_at_once(by: str) -> None:
    """Without undue delay, where somebody else says that it is the patient's wish."""
    _, ada = patient(guardians=("gus", "gia", "gil"), threshold=2)
    assert code(ada, request(ada, by=by), by="ada") == "OK"
    assert (case_of(ada).stage, case_of(ada).due_ms) == (Stage.BEGUN, case_of(ada).time_ms)
    assert code(ada, reply(ada), by="node hosp-a") == "OK"


def test_a_second_voice_is_nobody_who_takes_part() -> None:
    _, ada = patient()
    for by in ("operator hosp-a", "node hosp-c", "ada", "mal"):
        assert code(ada, request(ada, by=by), by="ada") == "BAD_COSIGNATURE"
    assert code(ada, request(ada, by="operator hosp-d"), by="operator hosp-d") == "BAD_COSIGNATURE"
    half = request(ada, by=None, cosigner=factories.key("operator hosp-c").public_key)
    assert code(ada, half, by="ada") == "NEEDS_COSIGNATURE"


@pytest.mark.parametrize("by", ["ada", "gus"])
def test_owner_and_guardians_stop_what_waits(by: str) -> None:
    """A thief has the owner's key; the owner still has it too, and his friends have theirs."""
    _, ada = patient(guardians=("gus", "gia", "gil"), threshold=2)
    code(ada, request(ada, by=None), by="ada")
    for other in ("mal", "operator hosp-a", "operator hosp-b", "operator hosp-d"):
        assert code(ada, cancel(ada), by=other) == "NOT_AUTHORISED"
    assert code(ada, cancel(ada), by=by) == "OK"
    assert (case_of(ada).stage, case_of(ada).closed) == (Stage.CANCELLED, True)
    later(ada, WAIT_MS)
    assert code(ada, begin(ada), by="ada") == "NOT_WAITING"
    assert code(ada, reply(ada), by="node hosp-a") == "CASE_CANCELLED"
    assert code(ada, cancel(ada, "other"), by=by) == "UNKNOWN_CASE"
    assert code(ada, begin(ada, "other"), by=by) == "UNKNOWN_CASE"


def test_a_browsers_key_stops_what_waits_and_asks_for_nothing() -> None:
    """X-9: it is what a patient has at hand; the right to say no suffices, and no other does."""
    _, ada = patient()
    code(ada, ada.delegate("browser", "deny"), by="ada")
    code(ada, ada.delegate("helper", "revoke", "view"), by="ada")
    code(ada, request(ada, by=None), by="ada")
    assert code(ada, cancel(ada), by="helper") == "NOT_AUTHORISED"
    assert code(ada, cancel(ada), by="browser") == "OK"
    assert case_of(ada).stage is Stage.CANCELLED
    assert code(ada, request(ada, by=None, case="again"), by="browser") == "NOT_AUTHORISED"
    code(ada, request(ada, by=None, case="again"), by="ada")
    code(ada, ada.undelegate("browser"), by="ada")
    assert code(ada, cancel(ada, "again"), by="browser") == "NOT_AUTHORISED"


def test_an_authority_waits_too_and_stops_its_own_cases_only() -> None:
    """One stolen operator key would else erase what everybody has."""
    _, ada = patient()
    code(ada, request(ada, by=None), by="operator hosp-d")
    assert case_of(ada).stage is Stage.WAITING
    assert code(ada, cancel(ada), by="ada") == "NOT_AUTHORISED"
    code(ada, request(ada, "own", by=None), by="ada")
    assert code(ada, cancel(ada, "own"), by="operator hosp-d") == "NOT_AUTHORISED"
    assert code(ada, cancel(ada), by="operator hosp-d") == "OK"
    code(ada, request(ada, "again", by=None), by="operator hosp-d")
    later(ada, WAIT_MS)
    assert code(ada, begin(ada, "again"), by="operator hosp-d") == "OK"
    assert code(ada, request(ada, "third"), by="operator hosp-d") == "OK"
    assert case_of(ada, "third").stage is Stage.BEGUN


def test_what_a_key_asked_for_that_was_replaced_since_never_begins() -> None:
    """The owner lost his key, the thief asked, the recovery took longer than the waiting time."""
    _, ada = patient()
    code(ada, request(ada, by=None), by="ada")
    later(ada, WAIT_MS - 1_000)
    code(ada, ada.recover("ada again"), by="operator hosp-a")
    code(ada, ada.act("recover_approve"), by="operator hosp-b")
    later(ada, 2_000)
    assert code(ada, begin(ada), by="ada") == "RECOVERY_OPEN"
    later(ada, ada.chain.genesis.parameters.recovery_wait_ms)
    assert code(ada, ada.act("recover_finish"), by="mal") == "OK"
    assert code(ada, begin(ada), by="ada") == "ASKER_REPLACED"
    assert code(ada, cancel(ada), by="ada") == "NOT_AUTHORISED"
    assert code(ada, cancel(ada), by="ada again") == "OK"


def test_what_a_regulators_stolen_key_asked_for_ends_with_that_key() -> None:
    """The first thing that a robbed authority does is to have its key replaced."""
    chain, ada = patient()
    for case in ("one", "two"):
        assert code(ada, request(ada, case, by=None), by="operator hosp-d") == "OK"
    decide(chain, "rotate_operator_key", **rotation("hosp-d", "second", "operator"))
    boundary(chain)
    assert code(ada, cancel(ada, "one"), by="operator hosp-d") == "NOT_AUTHORISED"
    assert code(ada, cancel(ada, "one"), by="second") == "OK"
    later(ada, WAIT_MS)
    assert code(ada, begin(ada, "two"), by="mal") == "ASKER_REPLACED"
    assert code(ada, cancel(ada, "two"), by="second") == "OK"


def test_a_thief_who_cancels_the_recovery_does_not_get_his_erasure_by_it() -> None:
    _, ada = patient()
    code(ada, request(ada, by=None), by="ada")
    code(ada, ada.recover("ada again"), by="operator hosp-a")
    code(ada, ada.act("recover_approve"), by="operator hosp-b")
    later(ada, WAIT_MS)
    assert code(ada, ada.act("recover_cancel"), by="ada") == "OK"
    assert code(ada, begin(ada), by="ada") == "RECOVERY_OPEN"
    later(ada, 2 * ada.chain.genesis.parameters.recovery_wait_ms + 1_000)
    assert code(ada, begin(ada), by="ada") == "OK"


def test_a_second_voice_burns_nothing_while_a_cancelled_recovery_counts() -> None:
    """Others wanted other keys a moment ago: one friend who was fooled must not be enough."""
    _, ada = patient()
    code(ada, ada.recover("ada again"), by="operator hosp-a")
    code(ada, ada.act("recover_approve"), by="operator hosp-b")
    assert code(ada, ada.act("recover_cancel"), by="ada") == "OK"
    assert code(ada, request(ada), by="ada") == "RECOVERY_OPEN"
    assert code(ada, request(ada, by=None), by="ada") == "OK"
    later(ada, 2 * ada.chain.genesis.parameters.recovery_wait_ms + 1_000)
    assert code(ada, request(ada, "later"), by="ada") == "OK"


def test_a_case_that_was_stopped_is_in_the_list_of_what_is_asked_and_says_so() -> None:
    _, ada = patient()
    code(ada, request(ada, by=None), by="ada")
    code(ada, cancel(ada), by="ada")
    chain = ada.chain
    arguments = {"member": "hosp-a", "org": None, "case": None}
    page = chain.executor.active.query(chain.executor.read, "erasure", "asked_of", arguments)
    assert [one["stage"] for one in page["items"]] == ["cancelled"]
