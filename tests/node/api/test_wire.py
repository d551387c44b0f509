"""What stands on the wire, byte for byte: clients and proxies read heads too, and in their order.

Only the time and the versions of the server's libraries are left out.
"""

import asyncio
import re

import pytest

from node.api.settings import ApiSettings
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, FakeNode

PAGE = "https://page.example"


async def ask(client: Browser, line: str, *headers: str, body: bytes = b"") -> tuple[str, bytes]:
    """Head and body of the answer, over a connection that would be kept."""
    lines = [f"{line} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"\r\nContent-Length: ([0-9]+)\r\n", head)
    answer = await reader.readexactly(int(length[1])) if length else b""
    writer.close()
    await writer.wait_closed()
    assert "\r\nDate: " in head
    assert "\r\nServer: " in head
    return re.sub(r"\r\n(Date|Server): [^\r]+", "", head).replace("\r\n", "\n"), answer


async def post(client: Browser, path: str, body: bytes, *headers: str) -> tuple[str, bytes]:
    kind = "Content-Type: application/octet-stream"
    return await ask(client, f"POST {path}", kind, *headers, body=body)


def certify_soon(node: FakeNode) -> None:
    asyncio.get_running_loop().call_soon(node.certify)


async def test_a_transaction_that_waits(node: FakeNode, client: Browser) -> None:
    tx = factories.transaction(node.genesis)
    tx_id = tx.id.hex()
    head, body = await post(client, "/v1/txs", tx.raw)
    assert body.decode() == (
        f'{{"tx_id":"{tx_id}","state":"pending","height":null,"index":null,"time":null,'
        '"code":null,"expiry_height":null,"sender":null,"operations":[],"receipts":[],'
        f'"links":{{"self":"/v1/txs/{tx_id}"}}}}'
    )
    assert head == (
        "HTTP/1.1 202 Accepted\n"
        "X-Height: 0\n"
        f"Location: /v1/txs/{tx_id}\n"
        "Content-Type: application/json\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )


@pytest.mark.parametrize("query", ["", "&timeout=2s"])
async def test_a_transaction_whose_block_was_waited_for(
    node: FakeNode, client: Browser, query: str
) -> None:
    tx = factories.transaction(node.genesis)
    tx_id = tx.id.hex()
    node.on_submit = lambda: certify_soon(node)
    head, body = await post(client, f"/v1/txs?wait=commit{query}", tx.raw)
    assert body.startswith(
        f'{{"tx_id":"{tx_id}","state":"committed","height":1,"index":0,"time":"'.encode()
    )
    assert head == (
        "HTTP/1.1 200 OK\n"
        "X-Height: 1\n"
        f"Location: /v1/txs/{tx_id}\n"
        "Content-Type: application/json\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )


async def test_a_refusal(node: FakeNode, client: Browser) -> None:
    head, body = await post(client, "/v1/txs?wait=commit", b"no transaction")
    assert head == (
        "HTTP/1.1 400 Bad Request\n"
        "Content-Type: application/problem+json\n"
        "X-Height: 0\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )


async def test_for_a_page_of_a_listed_origin(node: FakeNode, serve: Serve) -> None:
    client = await serve(node, ApiSettings(hosts=HOSTS, cors_origins=frozenset({PAGE})))
    tx = factories.transaction(node.genesis)
    head, body = await post(client, "/v1/txs", tx.raw, f"Origin: {PAGE}")
    assert head == (
        "HTTP/1.1 202 Accepted\n"
        "X-Height: 0\n"
        f"Location: /v1/txs/{tx.id.hex()}\n"
        "Content-Type: application/json\n"
        f"Access-Control-Allow-Origin: {PAGE}\n"
        "Vary: Origin\n"
        "Access-Control-Expose-Headers: X-Height, Link, Location, ETag\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )


async def test_an_unknown_path_and_an_unknown_method(client: Browser) -> None:
    head, body = await ask(client, "GET /v1/nothing")
    assert head == (
        "HTTP/1.1 404 Not Found\n"
        "Content-Type: application/problem+json\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )
    head, body = await ask(client, "DELETE /v1/txs")
    assert head == (
        "HTTP/1.1 405 Method Not Allowed\n"
        "Allow: GET,POST\n"
        "Content-Type: application/problem+json\n"
        "X-Content-Type-Options: nosniff\n"
        "Cache-Control: no-store\n"
        f"Content-Length: {len(body)}\n\n"
    )
