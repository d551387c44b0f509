"""Reads through the API: canonical words in bodies, and no person in a path."""

import pytest

from node.api.access import ASK_BYTES_MAX
from node.api.routes import ROUTES
from salus.codec import decode, encode
from salus.errors import SalusError
from salus.permit import Reason
from salus.reading import Ask, Decided, Found, Locate
from tests.fuzz.shapes import simplest
from tests.node.api.conftest import Browser
from tests.node.api.fakes import RECORD, FakeAccess, FakeNode

BYTES = {"Content-Type": "application/octet-stream"}
TICKET = {"custodian": "hosp-b", "request_id": "5a" * 16}
CHUNK = TICKET | {"commitment": "11" * 32, "chunk": 0}


def desk(node: FakeNode) -> FakeAccess:
    assert node.access is not None
    return node.access


async def test_a_record_is_found_by_its_id_alone(client: Browser) -> None:
    for words, status in ((bytes.fromhex(RECORD), 200), (bytes(16), 404)):
        body = encode(Locate(words, None, None))
        async with client.post("/v1/access/locate", data=body, headers=BYTES) as response:
            assert response.status == status
            raw = await response.read()
        if status == 200:
            assert decode(raw, Found).custodian == "hosp-b"
            assert response.headers["Cache-Control"] == "no-store"
    body = encode(Locate(bytes.fromhex(RECORD), None, None))
    path = "/v1/access/locate?custodian=hosp-c"
    async with client.post(path, data=body, headers=BYTES) as response:
        assert decode(await response.read(), Found).custodian == "hosp-c"


async def test_what_was_signed_is_passed_on_as_it_is_and_a_denial_is_an_answer(
    node: FakeNode, client: Browser
) -> None:
    ask = simplest(Ask)
    async with client.post("/v1/access/requests", data=encode(ask), headers=BYTES) as response:
        assert response.status == 200
        decided = decode(await response.read(), Decided)
    assert (decided.permitted, decided.reason) == (False, Reason.NO_PERMIT)
    assert desk(node).asked == [ask]


async def test_whoever_asks_for_too_much_is_told_when_to_come_again(
    node: FakeNode, client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G-18: the custodian's word, passed on; one second is when its gate has another ticket."""

    async def refuse(ask: Ask) -> Decided:
        raise SalusError("too many tickets", code="TICKET_RATE")

    monkeypatch.setattr(desk(node), "ask", refuse)
    body = encode(simplest(Ask))
    async with client.post("/v1/access/requests", data=body, headers=BYTES) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert (await response.json(content_type=None))["retryable"] is True


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "NOT_CANONICAL"), (b"\xc1", "NOT_CANONICAL"), (bytes(ASK_BYTES_MAX + 1), "TOO_LARGE")],
)
async def test_what_is_no_request(node: FakeNode, client: Browser, body: bytes, code: str) -> None:
    async with client.post("/v1/access/requests", data=body, headers=BYTES) as response:
        assert (await response.json(content_type=None))["code"] == code
    assert desk(node).asked == []


async def test_chunks_come_as_they_are_sealed_until_the_ticket_is_over(client: Browser) -> None:
    async with client.post("/v1/access/chunks", json=CHUNK) as response:
        assert (response.status, await response.read()) == (200, b"sealed")
    async with client.post("/v1/access/chunks", json=CHUNK | {"chunk": 1}) as response:
        assert (await response.json(content_type=None))["code"] == "TICKET_OLD"
    for wrong in ({"custodian": "NO ONE"}, {"commitment": "11"}, {"chunk": -1}, {"more": 1}):
        async with client.post("/v1/access/chunks", json=CHUNK | wrong) as response:
            assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"


async def test_a_reader_confirms_and_what_is_missing_can_be_seen(
    node: FakeNode, client: Browser
) -> None:
    said = TICKET | {"digest": "22" * 32}
    async with client.post("/v1/access/receipts", json=said) as response:
        assert response.status == 202
    assert desk(node).confirmed == [("hosp-b", b"\x5a" * 16, b"\x22" * 32)]
    async with client.get("/v1/access/receipts") as response:
        (missing,) = (await response.json())["items"]
    assert missing["state"] == "awaited"


async def test_an_observer_reads_nobodys_records(node: FakeNode, client: Browser) -> None:
    node.access = None
    async with client.get("/v1/access/receipts") as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"


def test_no_path_and_no_parameter_names_what_the_chain_has_beside_a_handle() -> None:
    """Paths are written down on their way. A request's id, a case and a permit are random, and the
    chain says whose they are: whoever has it and such a list would know who asked from where."""
    for route in ROUTES:
        in_path = {piece[1:-1] for piece in route.path.split("/") if piece.startswith("{")}
        assert in_path <= NAMED_IN_PATHS, route.name
        named = {*route.arguments.__struct_fields__} - in_path
        if route.path.startswith("/v1/access"):
            assert named <= {"custodian", "min_height"}, route.name
        if route.path.startswith("/v1/me/"):
            assert named <= {"after", "limit", "min_height"}, route.name  # sealed cursors
        assert not named & {"handle", "case", "request_id", "permit", "commitment"}, route.name


# A record's id is on no chain. The others are of explorers of the chain (transactions, blocks, keys of the
# state, accounts): that no command for patients and staff takes such a path, tests/privacy holds.
NAMED_IN_PATHS = {"id", "which", "contract", "query", "name", "key", "code"}


async def test_the_places_of_a_node_are_told_to_its_own_people(client: Browser) -> None:
    async with client.get("/v1/access/sites") as response:
        assert await response.json() == {"sites": ["urn:example:wards|3-north"]}
