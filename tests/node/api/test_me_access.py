"""A patient's session asks for the patient's own records, of its own relation and with its own key."""

from typing import Any

import msgspec
import pytest

from salus.codec import decode, encode
from salus.permit import Purpose, RecordClass
from salus.reading import Ask, Asked, Decided
from salus.ticket import Request
from salus.wire_json import to_json
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.patient import BROWSER, HANDLE, OWNER, STAFF, PatientNode, login
from tests.node.api.test_me import REQUESTS, ticket, token_of

REQUEST = Request(
    factories.CHAIN_ID,
    "hosp-a",
    HANDLE,
    bytes(32),
    Purpose.PATIENT_REQUEST,
    (RecordClass.RESULTS,),
    REQUESTS[0],
    9,
    bytes(32),
    None,
    "hosp-a",
    BROWSER.public_key,
)
ASK = Ask(
    REQUEST,
    bytes(64),
    bytes(32),
    bytes(32),
    (Asked(bytes(16), 1, bytes(32)),),
    bytes(32),
    b"",
    bytes(64),
)
OTHERS: tuple[dict[str, Any], ...] = (
    {"purpose": Purpose.TREATMENT},
    {"handle": bytes(32)},
    {"key": OWNER.public_key},
    {"custodian": "hosp-b"},
    {"requester": "hosp-b"},
)


@pytest.fixture
def node() -> PatientNode:
    node = PatientNode()
    tickets = {
        REQUESTS[0].hex(): ticket(0, True),
        REQUESTS[1].hex(): ticket(1, True, bytes(32)),
    }
    node.contracts.answers["access", "ticket_of"] = lambda a: (
        to_json(tickets[a["request_id"]]) if a["request_id"] in tickets else None
    )
    return node


async def call(
    client: Browser, method: str, path: str, token: str, **body: Any
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"}
    async with client.request(method, path, headers=headers, **body) as response:
        return response.status, await response.read()


def word(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["code"])


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
async def test_a_request_of_somebody_else_is_not_passed_on(
    node: PatientNode, client: Browser, other: dict[str, Any]
) -> None:
    token = await token_of(client, BROWSER)
    asked = msgspec.structs.replace(ASK, request=msgspec.structs.replace(REQUEST, **other))
    status, raw = await call(client, "POST", "/v1/me/access/requests", token, data=encode(asked))
    assert (status, word(raw)) == (403, "FORBIDDEN")
    assert node.access is not None
    assert node.access.asked == []


async def test_the_own_request_goes_to_the_gate_as_it_was_signed(
    node: PatientNode, client: Browser
) -> None:
    token = await token_of(client, BROWSER)
    status, raw = await call(client, "POST", "/v1/me/access/requests", token, data=encode(ASK))
    assert status == 200
    assert not decode(raw, Decided).permitted, "what the gate said"
    assert node.access is not None
    assert node.access.asked == [ASK]


async def test_chunks_and_receipts_are_of_own_tickets_alone(
    node: PatientNode, client: Browser
) -> None:
    token = await token_of(client, BROWSER)
    for request_id, status in ((REQUESTS[0], 200), (REQUESTS[1], 404), (REQUESTS[2], 404)):
        ticket = {"request_id": request_id.hex()}
        body = ticket | {"commitment": "00" * 32, "chunk": 0}
        found = await call(client, "POST", "/v1/me/access/chunks", token, json=body)
        assert found[0] == status
        body = ticket | {"digest": "11" * 32}
        confirmed = await call(client, "POST", "/v1/me/access/receipts", token, json=body)
        assert confirmed[0] == (202 if status == 200 else 404)
    assert node.access is not None
    assert node.access.confirmed == [("hosp-a", REQUESTS[0], b"\x11" * 32)]


async def test_a_members_session_is_no_patients(client: Browser) -> None:
    body = login(STAFF, f"http://127.0.0.1:{client.port}", handle=None)
    async with client.post("/v1/session", json=body) as response:
        token = str((await response.json())["token"])
    status, raw = await call(client, "POST", "/v1/me/access/requests", token, data=encode(ASK))
    assert (status, word(raw)) == (401, "NO_SESSION")
