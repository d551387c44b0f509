"""Whatever is wrong comes back as an RFC 9457 problem, and nobody else notices."""

import asyncio
import json
import logging
import zlib

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.api.problems import ApiError, problem_response
from node.api.settings import ApiSettings
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, FakeNode, api_of

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"


async def test_a_problem_looks_like_this(client: Browser) -> None:
    async with client.get("/v1/blocks/7") as response:
        assert response.content_type == "application/problem+json"
        assert await response.json(content_type=None) == {
            "type": "/errors/UNKNOWN_BLOCK",
            "title": "There is no certified block of this height or hash",
            "status": 404,
            "detail": "There is no certified block of this height or hash",
            "instance": "/v1/blocks/{which}",
            "code": "UNKNOWN_BLOCK",
            "retryable": False,
            "tx_id": None,
            "hint": "GET /v1/blocks/latest names the newest one.",
            "facts": {},
        }


def test_a_contracts_own_refusal_is_no_fault_of_the_node(caplog: pytest.LogCaptureFixture) -> None:
    """Its word stands in no table of ours; one without a transaction is a mistake of ours."""
    problem_response(ApiError("CONSENT_OF_ANOTHER", tx_id=bytes(32), status=422), "/v1/txs")
    assert not caplog.records
    problem_response(ApiError("CONSENT_OF_ANOTHER"), "/v1/txs")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_its_type_is_a_page_that_explains_the_word(client: Browser) -> None:
    async with client.get("/errors/EXPIRED") as response:
        assert response.content_type == "text/plain"
        assert "can never commit" in await response.text()
    async with client.get("/errors/NO_SUCH_WORD") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "NO_ROUTE"),
        ("GET", "/v1/blocks/latest/more", 404, "NO_ROUTE"),
        ("DELETE", "/v1/txs", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/status", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/blocks/-1", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks/007", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks/" + "F" * 64, 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks/99999999999999999999", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/txs/123", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/txs/" + "00" * 32 + "?timeout=forever", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/txs/" + "00" * 32 + "?wait=a&wait=b", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks?limit=0", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks?limit=ten", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks?limit=1000000000000000000000", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks?after=zzz", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/txs?after=1-x", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/blocks?patient=12345", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/state/zz", 400, "BAD_ARGUMENT"),
        ("GET", "/v1/state/00?height=999", 410, "HEIGHT_NOT_KEPT"),
        ("GET", "/v1/accounts/sal1" + "q" * 58, 400, "BAD_ADDRESS"),
        ("GET", "/v1/status?min_height=9", 503, "HEIGHT_NOT_REACHED"),
        ("GET", "/v1/blocks/0/commit", 404, "NOT_FOUND"),
        ("GET", "/v1/dev/faults", 404, "NOT_ENABLED"),
        ("GET", "/v1/ws", 426, "BAD_REQUEST"),
        ("GET", "/v1/events?after=99", 400, "BAD_POSITION"),
        ("GET", "/v1/events?kind=A..b", 400, "BAD_ARGUMENT"),
    ],
)
async def test_requests_that_cannot_be_answered(
    client: Browser, method: str, path: str, status: int, code: str
) -> None:
    async with client.request(method, path) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (status, code)
        assert response.content_type == "application/problem+json"


async def test_an_error_never_echoes_what_was_sent(client: Browser) -> None:
    secret = "Erika-Mustermann-1971"
    for path in (
        f"/v1/blocks?{secret}=1",
        f"/v1/blocks?limit={secret}",
        f"/v1/txs/{secret}",
        f"/{secret}",
    ):
        async with client.get(path) as response:
            assert secret not in await response.text()
    async with client.post("/v1/txs", json={"transactions": [secret]}) as response:
        assert secret not in await response.text()
    async with client.post("/v1/txs", json={secret: 1}) as response:
        assert secret not in await response.text()


async def test_our_own_mistake_has_an_incident_id_and_no_stack_trace(
    node: FakeNode, client: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise KeyError("planted: what nobody may see")

    node.mempool = broken  # type: ignore[assignment, method-assign]
    with caplog.at_level(logging.ERROR):
        async with client.get("/v1/mempool") as response:
            text = await response.text()
    problem = json.loads(text)
    assert (response.status, problem["code"]) == (500, "INTERNAL")
    assert "planted" not in text
    assert problem["facts"]["incident"] in caplog.text
    async with client.get("/v1/status") as response:
        assert response.status == 200, "the next one is answered"


async def test_a_body_above_the_limit_is_refused_before_it_is_read(
    node: FakeNode, serve: Serve
) -> None:
    client = await serve(
        node, ApiSettings(hosts=HOSTS, transactions_body_bytes_max=1000, document_bytes_max=2000)
    )
    kind = {"Content-Type": "application/octet-stream"}

    async def chunks() -> object:
        for _ in range(100):
            yield bytes(100)  # type: ignore[misc]

    for body in (bytes(1001), chunks()):
        async with client.post("/v1/txs", data=body, headers=kind) as response:
            assert response.status == 413
            assert (await response.json(content_type=None))["code"] == "TOO_LARGE"
    assert node.submissions == 0


@pytest.mark.parametrize("path", ["/v1/txs", "/v1/records"])
@pytest.mark.parametrize("with_headers", [True, False])
async def test_a_compressed_body_is_refused(
    node: FakeNode, serve: Serve, path: str, with_headers: bool
) -> None:
    """Of 1,000 bytes at most: these are fewer, and would be 100,000."""
    client = await serve(
        node, ApiSettings(hosts=HOSTS, transactions_body_bytes_max=1000, document_bytes_max=1000)
    )
    body = zlib.compress(bytes(100_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Encoding: Deflate\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
        % (path.encode(), len(body))
        + (body if with_headers else b"")
    )
    if not with_headers:
        writer.write(body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"without Content-Encoding" in answer
    assert node.submissions == 0


async def test_a_body_that_does_not_come_is_not_waited_for(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(hosts=HOSTS, body_seconds_max=0.01))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
        b"Content-Type: application/octet-stream\r\n\r\nabc"
    )
    answer = await reader.read()  # until the server has closed the connection
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"SLOW_BODY"' in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS to a plain port
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n%s" % CHUNKED,
        b"POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_http_end_that_connection_only(
    client: Browser, caplog: pytest.LogCaptureFixture, raw: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 40"))
    assert b"Traceback" not in answer
    assert b"smuggled" not in answer
    async with client.get("/healthz") as response:
        assert response.status == 200


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=600), index=st.integers(0, 5))
def test_no_body_makes_the_node_fail(body: bytes, index: int) -> None:
    """Any bytes to any path that takes some: 2xx or a problem, never a 5xx."""

    async def run() -> None:
        node = FakeNode()
        async with TestClient(TestServer(api_of(node).application())) as client:
            path, kind = (
                ("/v1/txs", "application/octet-stream"),
                ("/v1/txs", "application/msgpack"),
                ("/v1/txs", "application/json"),
                ("/v1/txs/simulate", "application/octet-stream"),
                ("/v1/verify", "application/octet-stream"),
                ("/v1/contracts/records/queries/anchor_of", "application/json"),
            )[index]
            async with client.post(path, data=body, headers={"Content-Type": kind}) as response:
                assert response.status < 500
                assert not node.pending

    asyncio.run(run())
