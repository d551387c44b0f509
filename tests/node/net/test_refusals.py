"""Who does not get in, and that both sides can say why (interfaces.md §2, `doctor`)."""

import asyncio
import logging
import socket
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from node.net import tls
from node.net.frames import Kind, frame
from node.net.handshake import Chain, RefusalFrame
from node.net.peer import PeerAddress
from salus.codec import decode
from tests.node.net.net import CHAIN, QUICK, SECONDS_MAX, introduce, key, make, mesh, running
from tests.node.net.raw import raw_connection, raw_dialler, raw_session, web_server


async def turned_away(chain: Chain, code: str, caplog: pytest.LogCaptureFixture) -> None:
    (a,) = make([0])
    a.network._membership = {key(0).public_key: "n0", key(1).public_key: "n1"}.get
    (b,) = make([1], chain=chain)
    b.network._membership = a.network._membership
    async with running(a, b):
        with caplog.at_level(logging.INFO, "salus.net"):
            b.network.add_peer(a.address)
            await b.when(lambda peers: peers[0].refused is not None)
            info = b.peer("n0")
            assert (info.refused, info.problem, info.connected_in) == (code, code, False)
            if code != "VERSION":  # the dialler stops before it proves anything
                await a.rejected(code)
        words = [(r.msg, r.fields.get("reason")) for r in caplog.records if hasattr(r, "fields")]
        assert ("peer_not_connected", code) in words
        if code != "VERSION":
            assert ("peer_refused", code) in words


async def test_another_genesis_is_named_on_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    await turned_away(Chain(CHAIN.chain_id, bytes(32)), "WRONG_GENESIS", caplog)


async def test_another_version_is_named(caplog: pytest.LogCaptureFixture) -> None:
    await turned_away(replace(CHAIN, version=CHAIN.version + 1), "VERSION", caplog)


async def test_a_stranger_is_refused_and_learns_why() -> None:
    a, b = make([0, 1])
    a.network._membership = {a.key.public_key: "n0"}.get
    async with running(a, b):
        b.network.add_peer(a.address)
        await b.when(lambda peers: peers[0].refused == "NOT_A_MEMBER")
        assert a.network.peers() == []


async def test_a_node_that_dials_its_own_key_is_refused() -> None:
    a, b = make([0, 1])
    async with running(a, b), raw_dialler(a) as dialler:
        kind, payload = await dialler.prove(a.key)
        assert (kind, decode(payload, RefusalFrame).code) == (Kind.REFUSAL, "OWN_KEY")
        a.network.add_peer(a.address)
        assert a.peer("n0").problem == "OWN_KEY"
        assert not a.peer("n0").connected_in


async def test_another_key_at_the_address_is_noticed_before_anything_is_said() -> None:
    visits: list[str] = []

    async def listen(request: web.Request) -> web.Response:
        visits.append(request.path)
        raise web.HTTPNotFound

    (a,) = make([0])
    a.network._membership = {key(0).public_key: "n0", key(1).public_key: "n1"}.get
    async with running(a), web_server(key(2), listen) as port:
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        await a.when(lambda peers: peers[0].problem == "PEER_WRONG_KEY")
        info = a.peer("n1")
        assert info.refused is None
        assert "was expected" in info.detail
        assert not visits  # the impostor was not even told what we want


async def test_an_impostor_cannot_send_us_elsewhere() -> None:
    visits: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        visits.append(request.path)
        raise web.HTTPFound(f"https://127.0.0.1:{request.url.port}/elsewhere")

    (a,) = make([0])
    a.network._membership = {key(0).public_key: "n0", key(1).public_key: "n1"}.get
    async with running(a), web_server(key(1), redirect) as port:
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        await a.when(lambda peers: peers[0].problem == "PEER_UNREACHABLE")
        assert "/elsewhere" not in visits


async def test_a_key_that_is_no_member_here_is_not_even_dialled() -> None:
    a, b = make([0, 1])
    a.network._membership = {a.key.public_key: "n0"}.get
    async with running(a, b):
        a.network.add_peer(b.address)
        (info,) = a.network.peers()
        assert info.problem == "NOT_IN_MEMBERSHIP"
        assert b.metrics.rejections.empty()


async def test_a_peer_that_is_down_is_said_to_be_unreachable() -> None:
    a, b = make([0, 1])
    async with running(a):
        async with running(b):
            address = b.address
        a.network.add_peer(address)
        await a.when(lambda peers: peers[0].problem == "PEER_UNREACHABLE")
        assert a.peer("n1").refused is None
        assert a.peer("n1").address == str(address)


class TestUnauthenticated:
    async def test_silent_connections_are_few(self) -> None:
        """B25: whoever has proved nothing holds one of few places."""
        limits = replace(QUICK, unauthenticated_per_ip_max=2, handshake_timeout_ms=60_000)
        a, b = make([0, 1], limits)
        async with running(a, b):
            async with raw_connection(a), raw_connection(a), raw_connection(a) as (reader, _):
                await a.rejected("UNAUTHENTICATED_PER_IP_MAX")
                async with asyncio.timeout(SECONDS_MAX):
                    assert await reader.read() == b""  # closed at once
            introduce([a, b])
            await a.connected(1)

    async def test_a_silent_connection_is_short(self) -> None:
        """B25: it holds its place for a handshake's time."""
        (a,) = make([0], replace(QUICK, handshake_timeout_ms=10))
        async with running(a), raw_connection(a) as (reader, _):
            await a.rejected("HANDSHAKE_TIMEOUT")
            async with asyncio.timeout(SECONDS_MAX):
                assert await reader.read() == b""
            assert not a.network._listener._waiting

    async def test_the_total_is_bounded_too(self) -> None:
        limits = replace(QUICK, unauthenticated_max=1, handshake_timeout_ms=60_000)
        (a,) = make([0], limits)
        async with running(a), raw_connection(a), raw_connection(a):
            await a.rejected("UNAUTHENTICATED_MAX")

    async def test_one_that_is_accepted_in_the_moment_of_the_stop_is_closed(self) -> None:
        (a,) = make([0])
        async with running(a):
            listener = a.network._listener
            with socket.create_connection(("127.0.0.1", a.network.port)) as caller:
                listener._accept(listener._sockets[0])
                await a.network.stop()
                assert caller.recv(1) == b""

    async def test_authenticated_connections_do_not_count(self) -> None:
        limits = replace(QUICK, unauthenticated_max=2, unauthenticated_per_ip_max=2)
        async with mesh(4, limits) as nodes:
            assert all(info.connected for node in nodes for info in node.network.peers())

    async def test_a_connection_that_goes_frees_its_place_at_once(self) -> None:
        limits = replace(QUICK, unauthenticated_per_ip_max=1, handshake_timeout_ms=60_000)
        a, b = make([0, 1], limits)
        async with running(a, b):
            async with raw_connection(a, tls.client_context()):
                pass
            introduce([a, b])
            await a.connected(1)

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x16\x03\x01"])
    async def test_bytes_that_are_no_tls_end_only_their_own_connection(self, data: bytes) -> None:
        a, b = make([0, 1])
        async with running(a, b):
            introduce([a, b])
            await a.connected(1)
            # What looks like the beginning of TLS is waited for so long.
            a.network._listener._limits = replace(QUICK, handshake_timeout_ms=100)
            async with raw_connection(a) as (reader, writer):
                writer.write(data)
                async with asyncio.timeout(SECONDS_MAX):
                    while await reader.read(1024):
                        pass  # an alert, then the end
            assert a.peer("n1").connected
            assert a.network.send("n1", Kind.CONSENSUS, b"x")
            assert (await b.received())[2] == b"x"

    async def test_plain_http_inside_tls_finds_nothing(self) -> None:
        (a,) = make([0])
        async with running(a), raw_session() as session:
            url = f"https://127.0.0.1:{a.network.port}/v1/status"
            async with session.get(url) as response:
                assert response.status == 404

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\xff" * 40,
            frame(Kind.PING, b""),
            frame(Kind.PROOF, bytes(512)),
            bytes(100_000),
        ],
    )
    async def test_garbage_instead_of_a_proof_is_the_end(self, message: bytes) -> None:
        (a,) = make([0])
        async with running(a), raw_dialler(a) as dialler:
            await dialler.frames()
            await dialler.ws.send_bytes(message)
            answer = await dialler.message()
            while answer.type is aiohttp.WSMsgType.BINARY:
                answer = await dialler.message()
            assert answer.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert a.network.peers() == []
