"""A client over a real socket against the real application in front of the fake node."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from node.api.settings import ApiSettings
from tests.node.api.fakes import FakeNode, api_of

Browser = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Browser]]


@pytest.fixture
async def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start the API of a node with given settings; stopped at the end of the test."""
    clients: list[Browser] = []

    async def start(node: FakeNode, settings: ApiSettings | None = None) -> Browser:
        app = api_of(node, settings).application()
        server = TestServer(app)
        await server.start_server(lingering_time=0.01)
        client = TestClient(server)
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def client(node: FakeNode, serve: Serve) -> Browser:
    return await serve(node)
