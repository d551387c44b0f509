"""Tickets, receipts and the trail (rules T-1 … T-6 of decision 0010)."""

from typing import Any

import msgspec
import pytest

from salus.permit import Effect, Purpose
from salus.relation import DAY_MS
from salus.ticket import Ticket, TrailHead, ticket_key, trail_key
from tests.contracts.lab import Lab, h
from tests.contracts.patients import Patient, enter, request_id
from tests.contracts.test_governance import L, idle, lab
from tests.contracts.test_governance import decide as suspend


def patient(**kwargs: Any) -> tuple[Lab, Patient]:
    chain = Lab()
    ada = Patient(chain, **kwargs)
    enter(chain, ada)
    chain.run(ada.grant("p"), by="ada")
    return chain, ada


def head(chain: Lab, ada: Patient) -> TrailHead:
    found = chain.value(trail_key(ada.org, ada.handle), TrailHead)
    assert isinstance(found, TrailHead)
    return found


def test_permit_and_deny_are_both_on_record() -> None:
    chain, ada = patient()
    assert ada.ask("1", "p") == "PERMIT"
    assert ada.ask("2", "p", "hosp-c") == "NO_PERMIT"
    assert ada.ask("3", "p", classes=("results", "summary")) == "CLASS"
    assert ada.ask("4", "p", narrowed=True) == "TERMS"
    assert ada.ask("5", "p", purpose=Purpose.RESEARCH) == "NO_PERMIT"
    assert head(chain, ada) == TrailHead(request_id("5"), 5, 0)


def test_an_earlier_revoke_in_the_same_block_wins() -> None:
    """T-2: the ticket is decided at its own position."""
    chain, ada = patient()
    revoke = chain.tx(ada.revoke("p"), by="ada")
    ticket = chain.tx(ada.ticket("1", "p"), by="node hosp-a")
    executed = chain.block(revoke, ticket)
    assert [receipt.code for receipt in executed.receipts] == ["OK", "OK"]
    assert ada.decided("1") == "ENDED"
    chain.run(ada.grant("q"), by="ada")
    before = chain.tx(ada.ticket("2", "q"), by="node hosp-a")
    chain.block(before, chain.tx(ada.revoke("q"), by="ada"))
    assert ada.decided("2") == "PERMIT"


def test_a_request_is_decided_once() -> None:
    chain, ada = patient()
    assert ada.ask("1", "p") == "PERMIT"
    before = chain.dump()
    (receipt,) = chain.run(ada.ticket("1", "p"), by="node hosp-a")
    assert (receipt.code, receipt.facts) == ("REQUEST_SEEN", {"height": 3})
    assert chain.dump() == before


@pytest.mark.parametrize(("ahead", "code"), [(-1, "REQUEST_LATE"), (21, "REQUEST_LATE")])
def test_a_request_lives_twenty_blocks(ahead: int, code: str) -> None:
    chain, ada = patient()
    next_height = chain.executor.head.height + 1
    assert ada.ask("1", "p", expiry_height=next_height + ahead) == code
    next_height += 1
    assert ada.ask("2", "p", expiry_height=next_height) == "PERMIT"
    assert ada.ask("3", "p", expiry_height=next_height + 21) == "PERMIT"


@pytest.mark.parametrize("by", ["node hosp-b", "operator hosp-a", "ada", "mal"])
def test_only_the_custodians_node_writes_tickets(by: str) -> None:
    chain, ada = patient()
    (code,) = chain.codes(ada.ticket("1", "p"), by=by)
    assert code == ("UNKNOWN_RELATION" if by == "node hosp-b" else "NOT_AUTHORISED")


def test_a_permit_ends_with_its_last_day() -> None:
    chain, ada = patient()
    chain.later_ms = 90 * DAY_MS
    assert ada.ask("1", "p") == "PERMIT"
    chain.later_ms = 91 * DAY_MS
    assert ada.ask("2", "p") == "PAST"


def test_own_staff_need_a_ticket_and_no_permit() -> None:
    """C-6."""
    chain, ada = patient()
    assert ada.ask("1", requester="hosp-a") == "OWN_CARE"
    assert ada.ask("2", requester="hosp-a", purpose=Purpose.RESEARCH) == "NO_PERMIT"
    assert ada.ask("3", requester="hosp-b") == "NO_PERMIT"
    chain.run(ada.grant("d", "hosp-a", effect=Effect.DENY), by="ada")
    assert ada.ask("4", requester="hosp-a") == "LATER_DENY"
    assert ada.ask("5", requester="hosp-a", classes=("summary",)) == "OWN_CARE"


def test_nobody_denies_the_patients_own_view() -> None:
    chain, ada = patient()
    chain.run(ada.grant("d", "hosp-a", effect=Effect.DENY), by="ada")
    assert ada.ask("1", requester="hosp-a", owner="ada") == "OWN_REQUEST"
    assert ada.ask("2", requester="hosp-a", owner="mal") == "NO_PERMIT"
    assert ada.ask("3", requester="hosp-a", owner="phone") == "NO_PERMIT"
    chain.run(ada.delegate("phone", "view"), ada.delegate("clock", "revoke"), by="ada")
    assert ada.ask("4", requester="hosp-a", owner="phone") == "OWN_REQUEST"
    assert ada.ask("5", requester="hosp-a", owner="clock") == "NO_PERMIT"
    assert ada.ask("6", requester="hosp-a", purpose=Purpose.PATIENT_REQUEST) == "NO_PERMIT"
    # The signature is over one request.
    copied = ada.ticket("7", requester="hosp-a", owner="ada")
    method = chain.executor.active.method("access", "ticket")
    other = msgspec.structs.replace(method.decode(copied.args), request=h("another"))
    assert chain.codes(method.operation(other), by="node hosp-a") == ["OK"]
    assert ada.decided("7") == "NO_PERMIT"
    assert ada.ask("8", requester="hosp-a", owner="ada", narrowed=True) == "TERMS"


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": request_id("another")},
        {"requester": "hosp-b"},
        {"classes": ("conditions", "results")},
        {"records": h("all of them")},
        {"expiry_height": 20},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_custodian_makes_no_ticket_of_its_own_from_a_patients_signature(
    changes: dict[str, Any],
) -> None:
    """T-1: a signature that stood on the chain before opens nothing else, and for nobody else."""
    chain, ada = patient()
    first = ada.ticket("1", requester="hosp-a", owner="ada")
    method = chain.executor.active.method("access", "ticket")
    args = msgspec.structs.replace(method.decode(first.args), **changes)
    if args.request_id == request_id("1"):
        assert chain.codes(method.operation(args), by="node hosp-a") == ["OK"]
        assert ada.decided("1") == "NO_PERMIT"
    else:
        assert chain.codes(first, by="node hosp-a") == ["OK"]
        assert ada.decided("1") == "OWN_REQUEST"
        assert chain.codes(method.operation(args), by="node hosp-a") == ["OK"]
        assert ada.decided("another") == "NO_PERMIT"


def test_what_is_no_ticket_is_refused() -> None:
    _, ada = patient()
    twice = ("results", "results")
    assert ada.ask("1", "p", classes=twice) == "BAD_CLASSES"
    assert ada.ask("2", "p", purpose=Purpose.EMERGENCY) == "BAD_PURPOSE"
    assert ada.ask("3", "p", handle=h("nobody")) == "UNKNOWN_RELATION"


def test_the_requesting_hospital_confirms_once() -> None:
    chain, ada = patient()
    ada.ask("1", "p")
    ada.ask("2", "p", narrowed=True)

    def receipt(request: str) -> Any:
        return chain.op(
            "access", "receipt", org="hosp-a", request_id=request_id(request), arrived=h("arrived")
        )

    assert chain.codes(receipt("1"), by="node hosp-a") == ["NOT_AUTHORISED"]
    assert chain.codes(receipt("2"), by="node hosp-b") == ["UNKNOWN_TICKET"]
    assert chain.codes(receipt("3"), by="node hosp-b") == ["UNKNOWN_TICKET"]
    assert chain.codes(receipt("1"), by="operator hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(receipt("1"), by="node hosp-b") == ["OK"]
    found = chain.value(ticket_key("hosp-a", request_id("1")), Ticket)
    assert isinstance(found, Ticket)
    assert (found.receipt, found.receipt_height) == (h("arrived"), 9)
    assert chain.codes(receipt("1"), by="node hosp-b") == ["ALREADY_RECEIVED"]


def test_the_trail_leads_from_the_newest_ticket_to_the_first() -> None:
    """T-6: nobody can leave one out unseen; another patient's tickets do not stand in it."""
    chain, ada = patient()
    bob = Patient(chain, "bob")
    enter(chain, bob)
    for number in range(4):
        ada.ask(f"a{number}", "p", narrowed=bool(number % 2))
        bob.ask(f"b{number}")
    found, at = [], head(chain, ada).newest
    while at is not None:
        found.append(at)
        ticket = chain.value(ticket_key("hosp-a", at), Ticket)
        assert isinstance(ticket, Ticket)
        assert ticket.handle == ada.handle
        at = ticket.before
    assert found == [request_id(f"a{number}") for number in (3, 2, 1, 0)]
    assert head(chain, ada).tickets == 4


def test_many_denials_are_counted_in_one() -> None:
    chain, ada = patient()
    count = chain.op("access", "denials", handle=ada.handle, requester="hosp-b", count=12)
    assert chain.codes(count, by="node hosp-b") == ["UNKNOWN_RELATION"]
    assert chain.codes(count, by="node hosp-a") == ["OK"]
    assert chain.codes(count, by="node hosp-a", independent=True) == ["OK"]
    ada.ask("1", "p")
    assert head(chain, ada) == TrailHead(request_id("1"), 1, 24)


def binaries(value: Any) -> set[bytes]:
    """Every byte string within a decoded value."""
    if isinstance(value, bytes):
        return {value}
    if isinstance(value, list):
        return set().union(*map(binaries, value))
    return set()


def test_a_requester_is_an_organisation_that_the_chain_knows() -> None:
    """Else a custodian could publish any word in its place."""
    chain, ada = patient()
    before = chain.dump()
    assert ada.ask("1", "p", "hosp-z") == "UNKNOWN_MEMBER"
    count = chain.op("access", "denials", handle=ada.handle, requester="hosp-z", count=12)
    assert chain.codes(count, by="node hosp-a") == ["UNKNOWN_MEMBER"]
    assert chain.dump() == before


def test_a_suspended_organisation_reads_nothing() -> None:
    chain = lab()
    ada = Patient(chain)
    enter(chain, ada)
    chain.run(ada.grant("p", "hosp-d"), by="ada")
    assert ada.ask("1", "p", "hosp-d") == "PERMIT"
    suspend(chain, "suspend_member", member="hosp-d")
    idle(chain, L)
    assert ada.ask("2", "p", "hosp-d") == "REQUESTER"
    count = chain.op("access", "denials", handle=ada.handle, requester="hosp-d", count=1)
    assert chain.codes(count, by="node hosp-a") == ["OK"]


def test_two_relations_of_one_patient_share_no_value() -> None:
    """Handles, keys, tags, permits and tickets at two hospitals; words and numbers aside."""
    chain = Lab()
    at_a, at_b = Patient(chain, "ada at a"), Patient(chain, "ada at b", "hosp-b")
    enter(chain, at_a, at_b)
    for patient, name in ((at_a, "a"), (at_b, "b")):
        commitments = {k: h(f"{k} {name}") for k in ("records", "decision", "care")}
        chain.run(patient.grant(f"p{name}", "hosp-c", opening=h(name) * 16), by=patient.name)
        assert patient.ask(f"r{name}", f"p{name}", "hosp-c", **commitments) == "PERMIT"
    found: list[set[bytes]] = []
    for patient in (at_a, at_b):
        values: set[bytes] = {patient.handle}
        for key, raw in chain.dump().items():
            if patient.handle in key + raw:
                values |= binaries(msgspec.msgpack.decode(raw))
        found.append(values)
    assert len(found[0]) == len(found[1]) >= 9
    assert found[0].isdisjoint(found[1])
