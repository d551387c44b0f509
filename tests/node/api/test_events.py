"""The events feed over server-sent events and WebSocket."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientWebSocketResponse, WSMsgType

from node.api import events as events_module
from node.api.settings import ApiSettings
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, FakeNode


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
