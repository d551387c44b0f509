"""The events feed over server-sent events and WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from node.api import events as events_module
from node.api.app import Api
from node.api.sessions import SESSION_S
from node.api.settings import ApiSettings
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, FakeNode
from tests.node.api.patient import STAFF, PatientNode, login


async def read(response: ClientResponse, count: int) -> list[dict[str, Any]]:
    """The next events of a stream; comments and bare ids are passed over."""
    found: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    while len(found) < count:
        line = (await response.content.readline()).decode().rstrip("\n")
        if not line and "data" in fields:
            found.append({"id": fields.get("id"), "event": fields["event"], **_json(fields)})
        if not line:
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
    return found


def _json(fields: dict[str, str]) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(fields["data"])
    return decoded


def grow(node: FakeNode, blocks: int = 1) -> None:
    for _ in range(blocks):
        node.certify(factories.transaction(node.genesis))


async def test_events_come_live_with_their_ids(node: FakeNode, client: Browser) -> None:
    async with client.get("/v1/events") as response:
        assert response.content_type == "text/event-stream"
        grow(node)
        events = await read(response, 3)
    assert [event["id"] for event in events] == ["1.0", "1.1", "1.2"]
    assert [event["event"] for event in events] == [
        "block.certified",
        "tx.committed",
        "records.anchored",
    ]
    assert events[2]["data"] == {"leaves": 1, "org": "hosp-a", "root": "00" * 32}
    assert events[2]["time"] == "2023-11-14T22:13:20.100Z"
    assert events[1]["tx_id"] == events[2]["tx_id"]


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_a_reader_goes_on_behind_its_last_id(
    node: FakeNode, client: Browser, how: str
) -> None:
    grow(node, 3)
    headers = {"Last-Event-ID": "1.1"} if how == "header" else {}
    params = {"after": "1.1"} if how == "parameter" else {}
    async with client.get("/v1/events", headers=headers, params=params) as response:
        events = await read(response, 7)
    assert [event["id"] for event in events] == [
        "1.2", "2.0", "2.1", "2.2", "3.0", "3.1", "3.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("tx.committed", ["1.1", "2.1"]),
        ("records.*", ["1.2", "2.2"]),
        ("block.certified", ["1.0", "2.0"]),
    ],
)
async def test_a_filter_by_kind_or_prefix(
    node: FakeNode, client: Browser, kind: str, expected: list[str]
) -> None:
    grow(node, 2)
    params = {"after": "0", "kind": kind}
    async with client.get("/v1/events", params=params) as response:
        assert [event["id"] for event in await read(response, 2)] == expected


async def test_what_a_filter_hides_still_moves_the_resume_point(
    node: FakeNode, client: Browser
) -> None:
    grow(node, 66)
    params = {"after": "0", "kind": "members.*"}
    async with client.get("/v1/events", params=params) as response:
        while (line := await response.content.readline()) and not line.startswith(b"id:"):
            pass
    assert line == b"id: 65\n"


async def test_beyond_retention_is_410_with_the_first_id_that_is_left(
    node: FakeNode, client: Browser
) -> None:
    grow(node, 5)
    node.feed.prune(3)
    async with client.get("/v1/events", params={"after": "1.0"}) as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["code"]) == (410, "EVENTS_PRUNED")
    assert problem["facts"] == {"first": "3.0"}


async def test_the_number_of_subscribers_is_bounded(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(hosts=HOSTS, subscribers_max=1))
    async with client.get("/v1/events"):
        async with client.get("/v1/events") as second:
            assert second.status == 503
            assert second.headers["Retry-After"] == "10"
        async with client.get("/v1/ws") as third:
            assert third.status == 503
        assert b"salus_events_subscribers 1.0" in node.metrics.text()


async def test_a_stopping_node_ends_the_streams(node: FakeNode, client: Browser) -> None:
    async with client.get("/v1/events") as response:
        node.feed.close()
        assert b"retry" in await response.content.read()
    assert node.feed.subscribers == 0


async def receive(ws: ClientWebSocketResponse) -> dict[str, Any]:
    message: dict[str, Any] = await ws.receive_json(timeout=60)
    return message


async def test_a_websocket_subscribes_and_acknowledges(node: FakeNode, client: Browser) -> None:
    grow(node)
    async with client.ws_connect("/v1/ws") as ws:
        await ws.send_json({"op": "subscribe", "kind": "tx.*", "after": "0"})
        event = await receive(ws)
        assert (event["id"], event["kind"]) == ("1.1", "tx.committed")
        await ws.send_json({"op": "ack", "position": event["id"]})
        grow(node)
        assert (await receive(ws))["id"] == "2.1"
    async with asyncio.timeout(60):
        while node.feed.subscribers:  # noqa: ASYNC110 - the server notices the close in its turn
            await asyncio.sleep(0)


async def test_a_websocket_that_acknowledges_nothing_is_waited_for(
    node: FakeNode, client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "WS_UNACKED_MAX", 2)
    grow(node, 2)
    async with client.ws_connect("/v1/ws") as ws:
        await ws.send_json({"op": "subscribe", "after": "0"})
        assert [(await receive(ws))["id"] for _ in range(2)] == ["1.0", "1.1"]
        with pytest.raises(TimeoutError):
            await ws.receive_json(timeout=0.05)
        await ws.send_json({"op": "ack", "position": "1.0"})
        assert (await receive(ws))["id"] == "1.2", "one acknowledged, one more sent"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("garbage", "BAD_REQUEST"),
        ('{"op":"destroy"}', "BAD_REQUEST"),
        ('{"op":"subscribe","more":1}', "BAD_REQUEST"),
        ('{"op":"subscribe","after":"99.0"}', "BAD_POSITION"),
        ("[" * 4000, "BAD_REQUEST"),
    ],
)
async def test_a_websocket_that_talks_nonsense_is_told_and_closed(
    client: Browser, message: str, code: str
) -> None:
    async with client.ws_connect("/v1/ws") as ws:
        await ws.send_str(message)
        assert (await receive(ws))["error"]["code"] == code
        assert (await ws.receive(timeout=60)).type is WSMsgType.CLOSE
    async with client.get("/healthz") as response:
        assert response.status == 200


async def test_a_websocket_message_has_a_limit(client: Browser) -> None:
    async with client.ws_connect("/v1/ws") as ws:
        await ws.send_str("x" * 10_000)
        assert (await ws.receive(timeout=60)).type is WSMsgType.CLOSE


# -- a stream ends with its session (rule P-2) -------------------------------------------------

TOKEN = "a-token-of-the-node"  # without one in the settings a stream needs no session
REST = {"code": "UNAUTHENTICATED", "detail": "the session of this stream is over"}


class Staffed:
    """A node whose events a staff member's session opens; its clock is the test's."""

    def __init__(self) -> None:
        self.node, self.now_s = PatientNode(), 0.0
        settings = ApiSettings(token=TOKEN, hosts=HOSTS)
        self.api = Api(self.node, settings, clock=lambda: self.now_s)

    async def log_in(self, client: Browser) -> dict[str, str]:
        body = login(STAFF, f"http://127.0.0.1:{client.port}", handle=None)
        async with client.post("/v1/session", json=body) as response:
            token = (await response.json())["token"]
        return {"Authorization": f"Bearer {token}"}

    async def end(self, how: str, client: Browser, headers: dict[str, str]) -> None:
        match how:
            case "time":
                self.now_s += SESSION_S
            case "revoked":
                self.node.contracts.staff_until_ms = 0
            case "suspended":
                self.node.contracts.member_status = "suspended"
            case "logout":
                async with client.post("/v1/session/end", headers=headers) as response:
                    assert response.status == 204


@pytest.fixture
def staffed() -> Staffed:
    return Staffed()


@pytest.fixture
async def staff(staffed: Staffed) -> AsyncIterator[Browser]:
    server = TestServer(staffed.api.application())
    await server.start_server(lingering_time=0.01)
    async with TestClient(server) as client:
        yield client


ENDS = ("time", "revoked", "suspended", "logout")


@pytest.mark.parametrize("how", ENDS)
async def test_a_stream_of_events_ends_with_its_session(
    staffed: Staffed, staff: Browser, how: str
) -> None:
    headers = await staffed.log_in(staff)
    async with staff.get("/v1/events", headers=headers) as response:
        grow(staffed.node)
        assert len(await read(response, 3)) == 3
        await staffed.end(how, staff, headers)
        grow(staffed.node)
        (last,) = await read(response, 1)
        assert last == {"id": None, "event": "error"} | REST
        assert await response.content.read() == b"", "and nothing more"
    assert staffed.node.feed.subscribers == 0
    async with staff.get("/v1/events", headers=headers) as again:
        assert again.status == 401


@pytest.mark.parametrize("how", ENDS)
async def test_a_websocket_ends_with_its_session(
    staffed: Staffed, staff: Browser, how: str
) -> None:
    headers = await staffed.log_in(staff)
    async with staff.ws_connect("/v1/ws", headers=headers) as ws:
        await ws.send_json({"op": "subscribe", "kind": "tx.*", "after": "0"})
        grow(staffed.node)
        assert (await receive(ws))["id"] == "1.1"
        await staffed.end(how, staff, headers)
        grow(staffed.node)
        assert (await receive(ws))["error"] == REST
        assert (await ws.receive(timeout=60)).type is WSMsgType.CLOSE


async def test_a_websocket_subscribes_to_nothing_once_its_session_is_over(
    staffed: Staffed, staff: Browser
) -> None:
    headers = await staffed.log_in(staff)
    async with staff.ws_connect("/v1/ws", headers=headers) as ws:
        await staffed.end("logout", staff, headers)
        await ws.send_json({"op": "subscribe", "after": "0"})
        assert (await receive(ws))["error"] == REST


async def test_a_stream_where_nothing_happens_ends_with_its_session_too(
    staffed: Staffed, staff: Browser
) -> None:
    """No block comes by that would wake it."""
    headers = await staffed.log_in(staff)
    staffed.now_s += SESSION_S - 0.02
    async with staff.get("/v1/events", headers=headers) as response:
        staffed.now_s += 0.02
        (last,) = await read(response, 1)
    assert last["code"] == "UNAUTHENTICATED"


async def test_a_stream_with_the_nodes_token_ends_with_nobodys_session(
    staffed: Staffed, staff: Browser
) -> None:
    async with staff.get("/v1/events", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
        await staffed.end("time", staff, {})
        await staffed.end("suspended", staff, {})
        grow(staffed.node)
        assert len(await read(response, 3)) == 3
