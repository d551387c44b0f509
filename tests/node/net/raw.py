"""Peers that break the rules: they speak TLS and WebSocket, and then whatever a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from node.net import tls
from node.net.frames import Kind, frame, split
from node.net.handshake import Hello, Welcome, prove
from node.net.listener import PEER_PATH
from salus.codec import encode
from salus.keys import SigningKey
from tests.node.net.net import CHAIN, SECONDS_MAX, Node


class RawDialler:
    """A WebSocket to a node's listener; `prove` does the handshake as it should be done."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, node: Node) -> None:
        self.ws, self.node = ws, node

    async def frames(self) -> list[tuple[Kind, bytes]]:
        message = await self.message()
        assert message.type is aiohttp.WSMsgType.BINARY, message
        return split(message.data)

    async def message(self) -> aiohttp.WSMessage:
        async with asyncio.timeout(SECONDS_MAX):
            return await self.ws.receive()

    async def prove(self, identity: SigningKey) -> tuple[Kind, bytes]:
        """The verdict."""
        ((_, hello),) = await self.frames()
        proof = prove(hello, self.node.key.public_key, identity, CHAIN)
        await self.ws.send_bytes(frame(Kind.PROOF, proof))
        (verdict,) = await self.frames()
        return verdict


@asynccontextmanager
async def raw_session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=tls.client_context(), force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@asynccontextmanager
async def raw_dialler(node: Node) -> AsyncIterator[RawDialler]:
    url = f"https://127.0.0.1:{node.network.port}{PEER_PATH}"
    async with raw_session() as session, session.ws_connect(url) as ws:
        yield RawDialler(ws, node)


@asynccontextmanager
async def raw_connection(node: Node, context: ssl.SSLContext | None = None) -> AsyncIterator:
    """Reader and writer on the bare socket, or on TLS with nothing above it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.network.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def raw_listener(
    identity: SigningKey, speak: Callable[[web.WebSocketResponse], Awaitable[None]]
) -> AsyncIterator[int]:
    """A listener that welcomes everybody and then does what `speak` says; yields its port."""

    async def handle(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await ws.send_bytes(frame(Kind.HELLO, encode(Hello(CHAIN.version, bytes(32)))))
        await ws.receive()
        await ws.send_bytes(frame(Kind.WELCOME, encode(Welcome("x"))))
        await speak(ws)
        return ws

    async with web_server(identity, handle) as port:
        yield port


@asynccontextmanager
async def web_server(identity: SigningKey, handle) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server_context(identity))
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
