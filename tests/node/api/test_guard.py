"""Who may ask, and how much (interfaces.md §9, «Who may read what»)."""

import re
from collections.abc import Callable

import pytest

from node.api.guard import RateLimit
from node.api.route import Access, Route
from node.api.routes import ROUTES
from node.api.settings import ApiSettings
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, RECORD, FakeNode

TOKEN = "a-token-of-the-node"
ACCESS = {
    "open": {
        "GET /healthz",
        "GET /readyz",
        "GET /v1/status",
        "GET /v1/genesis",
        "GET /v1/params",
        "GET /v1/validators",
        "GET /v1/contracts",
        "GET /v1/blocks",
        "GET /v1/blocks/{which}/header",
        "GET /v1/blocks/{which}/commit",
        "GET /v1/openapi.json",
        "GET /errors/{code}",
        "POST /v1/session",
        "GET /v1/session",
        "POST /v1/session/end",
        "GET /v1/directory",
        "GET /v1/oversight",
        "GET /me",
        "GET /directory",
        "GET /cases",
        "GET /oversight",
        "GET /static/{name}",
    },
    "party": {
        "POST /v1/records",
        "POST /v1/records/{id}/retract",
        "GET /v1/records",
        "GET /v1/records/{id}",
        "GET /v1/records/{id}/document",
        "GET /v1/records/{id}/operations",
        "GET /v1/records/{id}/proof",
        "POST /v1/consents/openings",
        "POST /v1/consents/check",
        "POST /v1/consents/plan",
        "POST /v1/erasures",
        "POST /v1/contacts",
        "POST /v1/contacts/notices",
        "POST /v1/audit/openings",
        "POST /v1/emergency/deposits",
        "POST /v1/emergency/shares",
        "POST /v1/emergency/notes",
        "POST /v1/emergency/notes/find",
        "POST /v1/identity/checks",
        "POST /v1/identity/finds",
        "POST /v1/identity/cases",
        "POST /v1/identity/cases/close",
        "POST /v1/identity/searches",
        "GET /v1/access/sites",
        "POST /v1/access/locate",
        "POST /v1/access/requests",
        "POST /v1/access/chunks",
        "POST /v1/access/receipts",
        "GET /v1/access/receipts",
        "POST /v1/access/permits",
    },
    "admin": {"GET /v1/dev/faults", "POST /v1/dev/faults", "POST /v1/erasures/carry-out"},
    "patient": {
        "GET /v1/me",
        "GET /v1/me/consents",
        "GET /v1/me/notices",
        "GET /v1/me/openings",
        "GET /v1/me/access-log",
        "GET /v1/me/records",
        "POST /v1/me/revocations",
        "POST /v1/me/check",
        "GET /v1/me/emergencies",
        "GET /v1/me/erasures",
        "POST /v1/me/erasure-stops",
        "POST /v1/me/access/requests",
        "POST /v1/me/access/chunks",
        "POST /v1/me/access/receipts",
    },
}


OPEN_POSTS = {"POST /v1/session": 415, "POST /v1/session/end": 204}  # with an empty body


def url(route: Route) -> str:
    values = {"which": "latest", "code": "EXPIRED", "key": "00", "contract": "x", "query": "y"}
    values |= {"case": "00" * 32, "request_id": "00" * 16, "chunk": "0"}
    values |= {"name": "salus.css"}
    if route.path.startswith("/v1/accounts"):
        values["key"] = "00" * 32
    values["id"] = RECORD if "records" in route.path else "00" * 32
    return re.sub(r"{(\w+)}", lambda name: values[name[1]], route.path)


def test_the_access_of_every_path_is_the_one_that_was_decided() -> None:
    found: dict[str, set[str]] = {}
    for route in ROUTES:
        found.setdefault(route.access.value, set()).add(route.name)
    assert {access: found[access] for access in ACCESS} == ACCESS
    # Everything else is for members; a new path is closed until it is listed above.
    assert set(found) == {*ACCESS, "member"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_without_the_token_only_open_paths_answer(
    node: FakeNode, serve: Serve, route: Route
) -> None:
    node.certify(factories.transaction(node.genesis))
    client = await serve(node, ApiSettings(token=TOKEN, hosts=HOSTS))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        async with client.request(route.method, url(route), headers=headers) as response:
            if route.access is Access.OPEN:
                assert response.status == (200 if route.method == "GET" else OPEN_POSTS[route.name])
            else:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                patient = route.access is Access.PATIENT
                code = "NO_SESSION" if patient else "UNAUTHENTICATED"
                assert (await response.json(content_type=None))["code"] == code


async def test_with_the_token_the_others_answer_too(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(token=TOKEN, hosts=HOSTS))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/v1/mempool", "/v1/records", "/metrics"):
        async with client.get(path, headers=headers) as response:
            assert response.status == 200


async def test_a_page_whose_name_was_bound_to_loopback_gets_nothing(client: Browser) -> None:
    for path in ("/v1/status", "/v1/records", "/nowhere"):
        async with client.get(path, headers={"Host": "evil.example:80"}) as response:
            assert response.status == 403
            assert (await response.json(content_type=None))["code"] == "FOREIGN_HOST"


async def test_pages_of_other_origins_may_not_change_anything(
    node: FakeNode, client: Browser
) -> None:
    evil = {"Origin": "https://evil.example", "Content-Type": "application/octet-stream"}
    async with client.post("/v1/txs", data=b"x", headers=evil) as response:
        assert (response.status, node.submissions) == (403, 0)
    upgrade = {**evil, "Upgrade": "websocket", "Connection": "Upgrade"}
    async with client.get("/v1/ws", headers=upgrade) as response:
        assert response.status == 403
    async with client.get("/v1/status", headers=evil) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    own = {**evil, "Origin": f"http://127.0.0.1:{client.port}"}
    async with client.post("/v1/txs", data=b"x", headers=own) as response:
        assert response.status == 400


async def test_listed_origins_are_answered_with_cors(node: FakeNode, serve: Serve) -> None:
    page = "https://app.example"
    client = await serve(node, ApiSettings(hosts=HOSTS, cors_origins=frozenset({page})))
    ask = {"Origin": page, "Access-Control-Request-Method": "POST"}
    async with client.options("/v1/txs", headers=ask) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == page
        assert "Salus-Seen-Height" in response.headers["Access-Control-Allow-Headers"]
    async with client.get("/v1/status", headers={"Origin": page}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == page


async def test_a_flood_meets_429_with_retry_after(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(hosts=HOSTS, rate_per_s=0.1, rate_burst=2))
    for _ in range(2):
        async with client.get("/healthz") as response:
            assert response.status == 200
    async with client.get("/healthz") as response:
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 10
        assert (await response.json(content_type=None))["code"] == "RATE_LIMITED"
    assert b'salus_api_rejected_total{code="RATE_LIMITED"} 1.0' in node.metrics.text()


async def test_too_many_requests_at_once_meet_503(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(hosts=HOSTS, requests_in_flight_max=0))
    async with client.get("/healthz") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")


def buckets(clients_max: int) -> tuple[RateLimit, Callable[[float], None]]:
    now = [0.0]

    def advance(seconds: float) -> None:
        now[0] += seconds

    return RateLimit(2.0, 4, clients_max, lambda: now[0]), advance


def test_a_bucket_refills_with_time_and_never_above_its_burst() -> None:
    rate, advance = buckets(10)
    assert [rate.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rate.take("b") == 0, "clients do not share"
    advance(0.5)
    assert [rate.take("a"), rate.take("a")] == [0, 0.5]
    advance(1000)
    assert [rate.take("a") > 0 for _ in range(5)] == [False] * 4 + [True]


def test_the_number_of_remembered_clients_is_bounded() -> None:
    rate, _ = buckets(3)
    for number in range(100):
        rate.take(str(number))
    assert len(rate._buckets) == 3
