"""The loop of the tests ends with nothing of it left."""

import asyncio
import socket
import ssl

from node.net import tls
from tests import factories
from tests.tidy import TidyLoop


async def closed_and_not_answered() -> tuple[asyncio.trsock.TransportSocket, ssl.SSLSocket]:
    """TLS has said goodbye, and the other end, shown too, reads nothing more."""
    here, there = socket.socketpair()
    context = tls.server_context(factories.key("node a"))
    other = asyncio.to_thread(context.wrap_socket, there, server_side=True)
    (_, writer), peer = await asyncio.gather(
        asyncio.open_connection(sock=here, ssl=tls.client_context(), server_hostname=""), other
    )
    writer.close()
    return writer.get_extra_info("socket"), peer


def test_a_connection_to_whom_nobody_has_said_goodbye_leaves_no_socket() -> None:
    with asyncio.Runner(loop_factory=TidyLoop) as runner:
        closed, peer = runner.run(closed_and_not_answered())
        assert closed.fileno() != -1
    assert closed.fileno() == -1
    peer.close()
