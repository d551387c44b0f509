"""A patient's own paths: the session says whose, the chain's lists are followed to their end."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.consent import PermitAnswer, RevokeArgs
from contracts.erasure import WaitingArgs
from node.api.mine import NEWEST
from node.contacts import CarrierName, Contact
from node.notices import Language
from salus.answers import CaseAnswer
from salus.codec import encode
from salus.consent.terms import encode_terms, terms_commitment
from salus.emergency import Case
from salus.erasure import Basis, ErasureCase, Stage
from salus.granting import Grantee, say
from salus.keys import SigningKey
from salus.looks import LookOpening
from salus.permit import Docket, Effect, Permit, Purpose, Reach, Reason, RecordClass
from salus.reading import Asked
from salus.relation import DAY_MS, Right
from salus.ticket import Request, Ticket, records_commitment, request_commitment
from salus.transaction import Operation, build
from salus.wire_json import to_json
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.patient import (
    BROWSER,
    DAY,
    HANDLE,
    OWNER,
    VIEW,
    VIEWER,
    PatientNode,
    entry,
    login,
)

SALT = factories.seed("salt of the terms")
SAID = say(Grantee("hosp-b"), ("Observation",), Purpose.TREATMENT, DAY * DAY_MS, (DAY + 9) * DAY_MS)
IDS = [factories.seed(f"permit {number}") for number in range(5)]
REQUESTS = [factories.seed(f"request {number}")[:16] for number in range(3)]


def permit(number: int, **other: Any) -> Permit:
    fields: dict[str, Any] = {
        "id": IDS[number],
        "effect": Effect.PERMIT,
        "reach": Reach.ORGANISATION,
        "classes": (RecordClass.RESULTS,),
        "from_day": DAY,
        "until_day": DAY + 8,
        "terms": terms_commitment(SALT, SAID.terms) if number == 0 else bytes(32),
        "granted_height": number + 1,
        "ended_height": None,
    }
    return Permit(**(fields | other))


PERMITS: list[Permit | None] = [
    permit(0),
    permit(1, ended_height=9),
    permit(2, from_day=DAY + 1),
    permit(3, from_day=DAY - 9, until_day=DAY - 1),
    None,
]


def ticket(number: int, permitted: bool, handle: bytes = HANDLE) -> Ticket:
    return Ticket(
        handle=handle,
        requester="hosp-b",
        purpose=Purpose.TREATMENT,
        classes=(RecordClass.RESULTS,),
        permit=IDS[0] if permitted else None,
        permitted=permitted,
        reason=Reason.PERMIT if permitted else Reason.NO_PERMIT,
        height=number + 5,
        time_ms=DAY * DAY_MS,
        records=bytes(32),
        request=bytes(32),
        decision=bytes(32),
        care=bytes(32),
        before=REQUESTS[number - 1] if number else None,
        receipt=None,
        receipt_height=7 if number == 1 else None,
    )


@pytest.fixture
def node() -> PatientNode:
    node = PatientNode()
    tickets = {REQUESTS[number].hex(): ticket(number, number != 2) for number in range(3)}

    def permit_of(arguments: Mapping[str, Any]) -> Any:
        assert arguments["handle"] == HANDLE.hex()
        number = IDS.index(bytes.fromhex(arguments["permit"]))
        before = IDS[number - 1] if number else None
        return to_json(PermitAnswer("hosp-b", Purpose.TREATMENT, PERMITS[number], before))

    node.contracts.answers |= {
        ("consent", "newest"): lambda _: {"newest": IDS[4].hex(), "count": 5},
        ("consent", "permit"): permit_of,
        ("access", "trail"): lambda _: {
            "newest": REQUESTS[2].hex(), "tickets": 3, "denials": 4,
        },
        ("access", "ticket_of"): lambda a: to_json(tickets[a["request_id"]]),
        ("erasure", "newest"): lambda _: None,
        ("emergency", "cases_of"): lambda _: {"cases": [], "count": 0, "next": None},
    }  # fmt: skip
    return node


async def get(client: Browser, path: str, token: str) -> tuple[int, Any]:
    async with client.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.json(content_type=None)


async def token_of(client: Browser, key: SigningKey) -> str:
    body = login(key, f"http://127.0.0.1:{client.port}")
    async with client.post("/v1/session", json=body) as response:
        return str((await response.json())["token"])


async def test_a_patient_sees_the_relation_and_which_key_this_is(client: Browser) -> None:
    status, me = await get(client, "/v1/me", await token_of(client, BROWSER))
    assert status == 200
    assert (me["organisation"], me["custodial"], me["recovery_at"]) == ("hosp-a", False, None)
    assert [one["this_one"] for one in me["delegates"]] == [True, False]


async def test_the_list_of_permits_is_the_chains_in_states_and_words(
    node: PatientNode, client: Browser
) -> None:
    assert node.openings is not None
    await node.openings.keep(HANDLE, SALT, encode_terms(SAID.terms))
    token = await token_of(client, VIEWER)
    _, page = await get(client, "/v1/me/consents?limit=3", token)
    states = [one["state"] for one in page["items"]]
    assert (states, page["count"]) == (["replaced", "past", "to_come"], 5)
    _, rest = await get(client, f"/v1/me/consents?after={page['next']}", token)
    assert [one["state"] for one in rest["items"]] == ["revoked", "active"]
    assert rest["next"] is None
    active = rest["items"][-1]
    assert active["to_name"] == "Hospital"
    assert active["terms"][0]["classes"] == ["Observation"]
    assert rest["items"][0]["terms"] is None, "nobody has shown what the other one says"


async def test_what_opens_the_terms_is_shown_to_who_may_see_and_of_this_relation_alone(
    node: PatientNode, client: Browser
) -> None:
    """For a device that was made anew from its seed (rule P-13)."""
    assert node.openings is not None
    terms = encode_terms(SAID.terms)
    await node.openings.keep(HANDLE, SALT, terms)
    await node.openings.keep(bytes(32), bytes(32), terms)
    token = await token_of(client, OWNER)
    items, after, pages = [], "", 0
    while after is not None:
        _, page = await get(client, f"/v1/me/openings?limit=2{after}", token)
        assert page["count"] == 5
        items += page["items"]
        after, pages = page["next"] and f"&after={page['next']}", pages + 1
    assert pages == 3
    assert {(one["salt"], one["terms"]) for one in items} == {(SALT.hex(), terms.hex())}
    node.contracts.relation = entry(replace(VIEW, rights=(Right.REVOKE,)))
    status, problem = await get(client, "/v1/me/openings", await token_of(client, VIEWER))
    assert (status, problem["code"]) == (403, "RIGHT_MISSING")


async def test_who_looked_with_denials_and_missing_receipts(client: Browser) -> None:
    token = await token_of(client, VIEWER)
    _, page = await get(client, "/v1/me/access-log", token)
    assert [one["permitted"] for one in page["items"]] == [False, True, True]
    assert [one["receipt_height"] for one in page["items"]] == [None, 7, None]
    assert (page["tickets"], page["denials"], page["next"]) == (3, 4, None)
    _, first = await get(client, "/v1/me/access-log?limit=1", token)
    _, second = await get(client, f"/v1/me/access-log?limit=1&after={first['next']}", token)
    assert second["items"] == page["items"][1:2]


def opened(number: int) -> tuple[Ticket, LookOpening]:
    """A ticket whose request was signed by a doctor, and what opens it."""
    doctor, salt = factories.key("doctor"), factories.seed("salt of the request")
    asked = (Asked(bytes(16), 1, bytes(32)),)
    plain = ticket(number, True)
    request = Request(
        factories.CHAIN_ID,
        "hosp-a",
        HANDLE,
        records_commitment(salt, (bytes(32),)),
        plain.purpose,
        plain.classes,
        REQUESTS[number],
        99,
        bytes(32),
        plain.permit,
        plain.requester,
        doctor.public_key,
    )
    signature = doctor.sign(request.payload())
    found = replace(
        plain, records=request.records, request=request_commitment(salt, request, signature)
    )
    opening = LookOpening(request, signature, salt, salt, asked, IDS[1], bytes(32), None)
    return found, opening


async def test_what_opens_a_ticket_is_shown_if_it_leads_to_the_ticket(
    node: PatientNode, client: Browser
) -> None:
    """Also of a ticket whose records were erased: who asked stays, why is gone."""
    fits, opening = opened(1)
    tickets = {REQUESTS[2]: ticket(2, False), REQUESTS[1]: fits, REQUESTS[0]: ticket(0, True)}
    node.contracts.answers["access", "ticket_of"] = lambda a: to_json(
        tickets[bytes.fromhex(a["request_id"])]
    )
    assert node.audit is not None
    node.audit.known = {REQUESTS[1]: opening, REQUESTS[0]: opening}  # the second is another one's
    _, page = await get(client, "/v1/me/access-log", await token_of(client, VIEWER))
    assert [(one["staff"], one["records"]) for one in page["items"]] == [
        (None, None),
        (IDS[1].hex(), ["00" * 16]),
        (None, None),
    ]
    assert [one["care"] for one in page["items"]] == [None] * 3


async def test_another_ones_ticket_is_shown_to_nobody(node: PatientNode, client: Browser) -> None:
    token, other = await token_of(client, OWNER), await token_of(client, VIEWER)
    cursor = (await get(client, "/v1/me/access-log?limit=1", token))[1]["next"]
    for session, status in ((token, 200), (other, 400)):
        assert (await get(client, f"/v1/me/access-log?after={cursor}", session))[0] == status
    assert REQUESTS[2].hex() not in cursor
    foreign = to_json(ticket(0, True, bytes(32)))
    node.contracts.answers["access", "ticket_of"] = lambda _: foreign
    status, problem = await get(client, "/v1/me/access-log", token)
    assert (status, problem["code"]) == (404, "UNKNOWN_TICKET")


async def test_only_own_records_are_listed(node: PatientNode, client: Browser) -> None:
    assert node.records is not None
    token = await token_of(client, OWNER)
    assert (await get(client, "/v1/me/records", token))[1]["items"] == []
    node.records.handles.append(HANDLE)
    assert len((await get(client, "/v1/me/records", token))[1]["items"]) == 1


def revocation(
    node: PatientNode, key: SigningKey, *, handle: bytes = HANDLE, method: str = "revoke"
) -> str:
    args = encode(RevokeArgs("hosp-a", handle, IDS[0], None, None))
    return signed_by(node, key, Operation("consent", method, 1, args))


def signed_by(node: PatientNode, key: SigningKey, operation: Operation) -> str:
    tx = build(
        (operation,),
        signer=key,
        chain_id=node.genesis.chain_id,
        genesis_hash=node.genesis_hash,
        nonce=bytes(16),
        expiry_height=50,
    )
    return tx.raw.hex()


async def post(
    client: Browser, token: str, transaction: str, path: str = "/v1/me/revocations"
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"transaction": transaction}
    async with client.post(path, json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_a_revocation_of_this_key_is_passed_on_and_nothing_else(
    node: PatientNode, client: Browser
) -> None:
    token = await token_of(client, BROWSER)
    for refused in (
        revocation(node, OWNER),
        revocation(node, BROWSER, handle=bytes(32)),
        revocation(node, BROWSER, method="grant"),
    ):
        status, problem = await post(client, token, refused)
        assert (status, problem["code"]) == (403, "FORBIDDEN")
    assert (await post(client, token, "00"))[1]["code"] == "NOT_CANONICAL"
    viewer = await token_of(client, VIEWER)
    assert (await post(client, viewer, revocation(node, VIEWER)))[1]["code"] == "RIGHT_MISSING"
    assert node.pending == {}

    async def certified(tx_id: bytes, timeout_s: float) -> Any:
        node.certify()
        return node.transaction(tx_id)

    node.wait = certified  # type: ignore[method-assign]
    status, form = await post(client, token, revocation(node, BROWSER))
    assert (status, form["state"]) == (200, "committed")


CASE = Case(
    id=factories.seed("case"),
    org="hosp-a",
    handle=HANDLE,
    opener="hosp-c",
    staff=factories.seed("clinician"),
    details=bytes(32),
    alone=True,
    late=True,
    opened_ms=DAY * DAY_MS,
    opened_height=4,
    cosign_until_ms=DAY * DAY_MS,
    open_until_ms=DAY * DAY_MS,
    justify_until_ms=DAY * DAY_MS,
    review_ms=DAY_MS,
    cosign=None,
    justification=None,
    justified_ms=None,
    dispute=None,
    disputed_ms=None,
    decided=None,
    overruled=None,
    panel=("hosp-b", "hosp-d"),
    holders=(),
    before=None,
)


async def test_emergencies_stand_in_the_patients_own_list(
    node: PatientNode, client: Browser
) -> None:
    asked: list[Any] = []

    def cases_of(arguments: Mapping[str, Any]) -> Any:
        asked.append(arguments["start"])
        follows = CASE.id.hex() if arguments["start"] == NEWEST else None
        return {"cases": [to_json(CASE)], "count": 2, "next": follows}

    node.contracts.answers["emergency", "cases_of"] = cases_of
    token = await token_of(client, VIEWER)
    _, page = await get(client, "/v1/me/emergencies", token)
    (one,) = page["items"]
    assert (one["by"], one["late"], one["verdict"], page["count"]) == ("hosp-c", True, None, 2)
    assert CASE.id.hex() not in page["next"]
    _, rest = await get(client, f"/v1/me/emergencies?after={page['next']}", token)
    assert rest["next"] is None
    assert asked == [NEWEST, CASE.id.hex()]


ERASED = [factories.seed(f"erasure {number}") for number in range(3)]


def erasure_of(number: int, handle: bytes = HANDLE) -> CaseAnswer:
    return CaseAnswer(
        ErasureCase(
            handle=handle,
            basis=Basis.REGULATOR if number == 1 else Basis.OWNER,
            asker=OWNER.public_key,
            stage=Stage.CANCELLED if number == 0 else Stage.WAITING,
            due_ms=DAY * DAY_MS + 9,
            records=bytes(32),
            reason=bytes(32),
            height=number + 3,
            time_ms=DAY * DAY_MS,
            before=ERASED[number - 1] if number else None,
            newest="hosp-a",
            holders=2,
            answered=1,
            closed=False,
        ),
        (),
    )


@pytest.fixture
def erasing(node: PatientNode) -> PatientNode:
    cases = {ERASED[number].hex(): erasure_of(number) for number in range(3)}
    cases[bytes(32).hex()] = erasure_of(2, factories.seed("another handle"))

    def case_of(arguments: Mapping[str, Any]) -> Any:
        found = cases.get(arguments["case"])
        return None if found is None else to_json(found)

    node.contracts.answers |= {
        ("erasure", "newest"): lambda _: {"newest": ERASED[2].hex(), "count": 3},
        ("erasure", "case_of"): case_of,
    }
    return node


async def test_what_is_to_be_erased_stands_in_the_patients_own_list(
    erasing: PatientNode, client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.api.my_erasures.ROWS", 2)
    token = await token_of(client, BROWSER)
    _, page = await get(client, "/v1/me/erasures", token)
    assert [(one["stage"], one["basis"], one["may_stop"]) for one in page["items"]] == [
        ("waiting", "owner", True),
        ("waiting", "regulator", False),
    ]
    assert (page["items"][0]["answered"], page["items"][0]["holders"], page["count"]) == (1, 2, 3)
    assert ERASED[1].hex() not in page["next"]
    _, rest = await get(client, f"/v1/me/erasures?after={page['next']}", token)
    assert ([one["stage"] for one in rest["items"]], rest["next"]) == (["cancelled"], None)
    _, seen = await get(client, "/v1/me/erasures", await token_of(client, VIEWER))
    assert [one["may_stop"] for one in seen["items"]] == [False, False]


async def test_a_stop_of_this_key_is_passed_on_and_nothing_else(
    erasing: PatientNode, client: Browser
) -> None:
    def stop(key: SigningKey, case: bytes = ERASED[2], org: str = "hosp-a") -> str:
        args = encode(WaitingArgs(org, case))
        return signed_by(erasing, key, Operation("erasure", "cancel", 1, args))

    path = "/v1/me/erasure-stops"
    token = await token_of(client, BROWSER)
    for refused, code in (
        (stop(OWNER), "FORBIDDEN"),
        (stop(BROWSER, org="hosp-b"), "FORBIDDEN"),
        (revocation(erasing, BROWSER), "FORBIDDEN"),
        (stop(BROWSER, bytes(32)), "UNKNOWN_CASE"),
        (stop(BROWSER, HANDLE), "UNKNOWN_CASE"),
        ("00", "NOT_CANONICAL"),
    ):
        assert (await post(client, token, refused, path))[1]["code"] == code
    viewer = await token_of(client, VIEWER)
    assert (await post(client, viewer, stop(VIEWER), path))[1]["code"] == "RIGHT_MISSING"
    assert erasing.pending == {}

    async def certified(tx_id: bytes, timeout_s: float) -> Any:
        erasing.certify()
        return erasing.transaction(tx_id)

    erasing.wait = certified  # type: ignore[method-assign]
    status, form = await post(client, token, stop(BROWSER), path)
    assert (status, form["state"]) == (200, "committed")


async def check(client: Browser, path: str, token: str, **body: Any) -> tuple[int, Any]:
    said = {"actor": "hosp-b", "scopes": ["Observation"], "purpose": "TREAT"} | body
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.post(path, json=said, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_what_somebody_would_get_is_told_to_patient_and_custodian(
    node: PatientNode, client: Browser
) -> None:
    dockets = {"hosp-b": Docket((permit(0),)), "hosp-c": Docket((permit(1, ended_height=None),))}
    node.contracts.answers["consent", "docket"] = lambda a: to_json(
        dockets.get(a["grantee"], Docket(()))
    )
    assert node.openings is not None
    await node.openings.keep(HANDLE, SALT, encode_terms(SAID.terms))
    token = await token_of(client, VIEWER)
    for path, who in (("/v1/me/check", {}), ("/v1/consents/check", {"handle": HANDLE.hex()})):
        _, found = await check(client, path, token, **who)
        assert (found["decision"], found["outer"]) == ("CONSENT_PERMIT", "PERMIT")
        assert found["consents"] == [IDS[0].hex()]
        _, found = await check(client, path, token, scopes=["Condition"], **who)
        assert (found["decision"], found["outer"]) == ("NO_CONSENT", "NO_PERMIT")
        _, found = await check(client, path, token, actor="hosp-a", **who)
        assert (found["decision"], found["outer"]) == ("CONSENT_PERMIT", "OWN_CARE")
        # What nobody has shown may deny: no answer is better than a wrong one.
        status, found = await check(client, path, token, actor="hosp-c", **who)
        assert (status, found["code"]) == (409, "OPENING_MISSING")
    status, found = await check(client, "/v1/consents/check", "", handle="00" * 32)
    assert (status, found["code"]) == (404, "UNKNOWN_RELATION")


async def test_a_patient_sees_what_he_was_told_and_whether_it_arrived(
    node: PatientNode, client: Browser
) -> None:
    token = await token_of(client, VIEWER)
    status, page = await get(client, "/v1/me/notices", token)
    assert (status, page["carrier"], page["notices"]) == (200, None, [])
    assert node.outbox is not None
    await node.outbox.set_contact(HANDLE, Contact(CarrierName.PRINT, "Main St 1", Language.EN))
    _, page = await get(client, "/v1/me/notices", token)
    assert [one["delivery"] for one in page["notices"]] == ["sent"]
    node.outbox = None
    status, problem = await get(client, "/v1/me/notices", token)
    assert problem["code"] == "NOT_ENABLED"
