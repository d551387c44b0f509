"""Garbage and oversized input to every port: an answer or a closed door, and the node goes on."""

import asyncio
import io
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from salus.codec import encode
from salus.transaction import Operation
from tests.e2e.network import Network, network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LARGE_BYTES = 40 * 2**20


async def send_raw(host: str, port: int, data: bytes, *, tls: bool) -> None:
    """Write bytes, read until the other side closes or says enough; never an error here."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(data)
        async with asyncio.timeout(10):
            await writer.drain()
            await reader.read(65_536)
    except (OSError, TimeoutError, ssl.SSLError):
        pass  # refused, reset or ignored: all of them are fine
    else:
        writer.close()


async def post(api: str, path: str, body: bytes, kind: str) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(api + path, data=io.BytesIO(body), headers={"Content-Type": kind}) as response,
    ):
        return response.status, await response.json(content_type=None)


async def attack_transactions(net: Network) -> None:
    api = net.node("hosp-a").api
    async with net.client("hosp-a") as client:
        good = await net.transaction(client)
        unknown = await client.build([Operation("no_such", "method", 1, b"")])
    cases = {
        "random": os.urandom(300),
        "empty": b"",
        "truncated": good.raw[:-1],
        "trailing": good.raw + b"\0",
        "signature": good.raw[:-1] + bytes((good.raw[-1] ^ 1,)),
        "nested": b"\x91" * 100_000,
        "huge length": b"\xdd\xff\xff\xff\xff",
        "unknown contract": unknown.raw,
        "float": encode([1, "x", 1.5]) if False else b"\x93\x01\xcb?\xf8\0\0\0\0\0\0\x01",
    }
    for name, raw in cases.items():
        status, problem = await post(api, "/v1/txs", raw, "application/octet-stream")
        assert 400 <= status < 500, (name, status, problem)
        assert problem["code"], name
        assert problem["title"], name
        assert "Traceback" not in str(problem), name
    status, problem = await post(api, "/v1/txs", b"\0" * LARGE_BYTES, "application/octet-stream")
    assert status == 413


async def attack_records(net: Network) -> None:
    api = net.node("hosp-a").api
    for body in (
        b'{"resourceType": "Patient", "birthDate": "never"}',
        b'{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"a": 1}}]}',
        b"{" * 50_000,
        b'{"resourceType": "Nonsense"}',
    ):
        status, problem = await post(api, "/v1/records", body, "application/fhir+json")
        assert 400 <= status < 500, (status, problem)
        assert "never" not in str(problem), "an error repeats no content"


async def test_every_port_survives_garbage(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        await net.up()
        ports = []
        for node in net.nodes:
            api, (host, _, port) = urlsplit(node.api), node.p2p.rpartition(":")
            ports += [(api.hostname or "", api.port or 0, False), (host, int(port), True)]
        garbage = [
            os.urandom(2_000),
            b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
            b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n" + os.urandom(500),
            b"POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
            b"POST /v1/txs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ]
        await asyncio.gather(
            *(
                send_raw(host, port, data, tls=tls)
                for host, port, encrypted in ports
                for tls in {False, encrypted}
                for data in garbage
            )
        )
        await attack_transactions(net)
        await attack_records(net)
        for node in net.nodes:  # nobody noticed
            await net.anchor(node.name)
        await net.agree()
