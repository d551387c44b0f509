"""A peer that lies, floods, sleeps or vanishes harms its own connection and nobody else's."""

import asyncio
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from node.errors import BadFrame, NodeBusy
from node.net.backoff import Backoff
from node.net.dialler import Dialler
from node.net.frames import MIB, Kind, QueueClass, frame, split
from node.net.limits import RECEIVE_RATES
from node.net.network import Network
from node.net.peer import PeerAddress
from tests.node.net.net import QUICK, SECONDS_MAX, key, make, mesh, running
from tests.node.net.raw import raw_dialler, raw_listener
from tests.ports import free_ports


def inject(node, member: str, data: bytes) -> None:
    """Put bytes on the wire that `send` would never send."""
    node.network._by_member[member].feed.push(QueueClass.CONSENSUS, data)


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff\xff", b"\x01\xff\xff\xff\xff", frame(Kind.HELLO, b"x")[:-1]]
)
async def test_garbage_bans_the_sender_for_a_while_and_nobody_else(garbage: bytes) -> None:
    limits = replace(QUICK, ban_min_ms=100, ban_max_ms=100)
    async with mesh(3, limits) as (a, b, c):
        inject(b, "n0", garbage)
        await a.when(lambda peers: not peers[0].connected_in)
        c.network.send("n0", Kind.CONSENSUS, b"still here")
        assert await a.received() == ("n2", Kind.CONSENSUS, b"still here")
        await a.connected(2)  # the ban ends


async def test_a_text_message_is_garbage() -> None:
    async def speak(ws: web.WebSocketResponse) -> None:
        await ws.send_str("hello")
        await ws.receive()

    (a,) = make([0])
    a.network._membership = {key(1).public_key: "n1"}.get
    async with running(a), raw_listener(key(1), speak) as port:
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        await a.rejected("FRAME_KIND")
        await a.when(lambda peers: peers[0].problem == "BANNED_BY_US")
        assert a.peer("n1").banned_ms > 0


async def test_handshake_frames_after_the_handshake_never_reach_the_node() -> None:
    async with mesh(2) as (a, b):
        inject(b, "n0", frame(Kind.HELLO, b"x"))
        await a.rejected("RATE_HELLO")
        b.network.send("n0", Kind.CONSENSUS, b"x")
        assert await a.received() == ("n1", Kind.CONSENSUS, b"x")


async def test_a_dialler_may_only_ping() -> None:
    """Frames flow from the listener to the dialler; the other way is garbage and counted."""
    a, b = make([0, 1])
    async with running(a, b), raw_dialler(a) as dialler:
        assert (await dialler.prove(b.key))[0] is Kind.WELCOME
        await dialler.ws.send_bytes(frame(Kind.PING, b"12345678"))
        assert await dialler.frames() == [(Kind.PONG, b"12345678")]
        await dialler.ws.send_bytes(frame(Kind.CONSENSUS, b"vote"))
        assert (await dialler.message()).type is aiohttp.WSMsgType.CLOSE
        await a.rejected("GARBAGE_ON_FEED")
        assert a.inbox.empty()


async def test_a_flood_is_cut_off_and_the_others_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """B25, B26: limits per peer and kind."""
    # Time stands still, else the allowance grows while the frames are read.
    monkeypatch.setattr(Network, "_now_ms", staticmethod(lambda: 1_000_000))
    async with mesh(3) as (a, b, c):
        for _ in range(1_000):
            inject(b, "n0", frame(Kind.GET_BLOCKS, b"x"))
        await a.rejected("RATE_GET_BLOCKS")
        await a.when(lambda peers: not peers[0].connected)
        burst = 2 * RECEIVE_RATES[Kind.GET_BLOCKS].frames_per_s
        assert a.inbox.qsize() <= burst
        c.network.send("n0", Kind.CONSENSUS, b"vote")
        while (received := await a.received())[0] == "n1":
            pass
        assert received == ("n2", Kind.CONSENSUS, b"vote")


async def test_a_banned_peer_that_dials_is_told_so() -> None:
    async with mesh(2) as (a, b):
        a.network.penalise("n1", 100, "TEST")
        await b.when(lambda peers: peers[0].refused == "BANNED")
        assert a.peer("n1").problem == "BANNED_BY_US"
        assert a.peer("n1").detail == "TEST"


async def test_content_that_the_node_refuses_scores_and_in_the_end_bans() -> None:
    async with mesh(2) as (a, b):

        async def refuse(member: str, kind: Kind, payload: bytes) -> None:
            raise BadFrame("not legal here", code="FRAME_KIND")

        a.network._deliver = refuse
        b.network.send("n0", Kind.CONSENSUS, b"1")
        await a.rejected("FRAME_KIND")
        assert a.peer("n1").connected
        b.network.send("n0", Kind.CONSENSUS, b"2")
        await a.when(lambda peers: not peers[0].connected_in)


@pytest.mark.parametrize("error", [KeyError("ours"), NodeBusy("full"), RecursionError()])
async def test_our_own_faults_are_not_the_peers(error: Exception) -> None:
    async with mesh(2) as (a, b):
        faults = [error] * 10

        def deliver(member: str, kind: Kind, payload: bytes):
            if faults:
                raise faults.pop()
            return a.deliver(member, kind, payload)

        a.network._deliver = deliver
        for number in range(11):
            b.network.send("n0", Kind.CONSENSUS, bytes([number]))
        assert await a.received() == ("n1", Kind.CONSENSUS, b"\x0a")
        assert a.peer("n1").connected


async def test_a_peer_that_does_not_read_is_disconnected_and_the_others_go_on() -> None:
    """A full consensus queue: the slow peer re-syncs, the sender never waits for it."""
    async with mesh(3) as (a, b, c):
        gate = asyncio.Event()

        async def stuck(member: str, kind: Kind, payload: bytes) -> None:
            await gate.wait()

        b.network._deliver = stuck
        body, sent = bytes(MIB), 0
        while a.network.send("n1", Kind.BODY, body):
            sent += 1
            assert sent < 1_000, "a bounded queue fills"
            await asyncio.sleep(0)
        await a.when(lambda peers: not peers[0].connected_out)
        a.network.send("n2", Kind.CONSENSUS, b"vote")
        assert await c.received() == ("n0", Kind.CONSENSUS, b"vote")
        gate.set()
        await a.connected(2)


async def test_back_pressure_slows_only_the_connection_whose_frame_waits() -> None:
    async with mesh(3) as (a, b, c):
        gate = asyncio.Event()

        async def deliver(member: str, kind: Kind, payload: bytes) -> None:
            if member == "n1":
                await gate.wait()
            await a.deliver(member, kind, payload)

        a.network._deliver = deliver
        b.network.send("n0", Kind.CONSENSUS, b"b")
        c.network.send("n0", Kind.CONSENSUS, b"c")
        assert await a.received() == ("n2", Kind.CONSENSUS, b"c")
        gate.set()
        assert await a.received() == ("n1", Kind.CONSENSUS, b"b")


async def test_a_newer_connection_takes_the_place_of_the_older() -> None:
    """Exactly one live connection per direction and peer."""
    a, b = make([0, 1])
    async with running(a, b), raw_dialler(a) as old, raw_dialler(a) as new:
        await old.prove(b.key)
        await new.prove(b.key)
        closed = await old.message()
        assert (closed.type, closed.extra) == (aiohttp.WSMsgType.CLOSE, "REPLACED")
        await a.when(lambda peers: peers[0].connected_out)
        a.network.send("n1", Kind.CONSENSUS, b"x")
        assert await new.frames() == [(Kind.CONSENSUS, b"x")]


async def test_a_peer_that_is_silent_is_given_up() -> None:
    """A stopped process keeps its sockets open; only pings tell."""
    limits = replace(QUICK, ping_interval_ms=50, idle_timeout_ms=200)

    async def speak(ws: web.WebSocketResponse) -> None:
        while not ws.closed:
            await ws.receive()  # reads the pings, answers none

    (a,) = make([0], limits)
    a.network._membership = {key(1).public_key: "n1"}.get
    async with running(a), raw_listener(key(1), speak) as port:
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        await a.when(lambda peers: peers[0].connected_in)
        await a.when(lambda peers: peers[0].problem == "IDLE")


async def test_an_answer_to_a_ping_of_an_older_connection_sets_no_round_trip() -> None:
    pings: list[bytes] = []

    async def speak(ws: web.WebSocketResponse) -> None:
        ((_, ping),) = split((await ws.receive()).data)
        pings.append(ping)
        if len(pings) > 1:
            await ws.send_bytes(frame(Kind.PONG, pings[0]) + frame(Kind.CONSENSUS, b"x"))
            await ws.receive()

    (a,) = make([0], replace(QUICK, ping_interval_ms=600_000))
    a.network._membership = {key(1).public_key: "n1"}.get
    async with running(a), raw_listener(key(1), speak) as port:
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        assert await a.received() == ("n1", Kind.CONSENSUS, b"x")
        assert pings[0] != pings[1]
        assert a.peer("n1").rtt_ms is None


def test_a_round_trip_is_never_longer_than_a_silent_peer_is_waited_for() -> None:
    peer: Any = SimpleNamespace(address="", blocked=False, rtt_ms=None)
    context: Any = SimpleNamespace(now_ms=lambda: 10**9, limits=QUICK)
    dialler = Dialler(peer, context, Backoff(Random(1), min_ms=1, max_ms=1, stable_ms=1))
    dialler._pings[b"ping"] = 0
    dialler._pong(b"ping")
    assert peer.rtt_ms == QUICK.idle_timeout_ms


async def test_a_dialler_that_never_pings_is_given_up() -> None:
    limits = replace(QUICK, idle_timeout_ms=200)
    a, b = make([0, 1], limits)
    async with running(a, b), raw_dialler(a) as dialler:
        await dialler.prove(b.key)
        closed = await dialler.message()
        assert (closed.type, closed.extra) == (aiohttp.WSMsgType.CLOSE, "IDLE")


async def test_stop_does_not_wait_for_a_peer_that_does_not_read() -> None:
    limits = replace(QUICK, close_timeout_ms=200)
    a, b = make([0, 1], limits)
    async with running(a, b), raw_dialler(a) as dialler:
        await dialler.prove(b.key)
        await a.when(lambda peers: peers[0].connected_out)
        for _ in range(30):
            a.network.send("n1", Kind.BODY, bytes(MIB))
        async with asyncio.timeout(SECONDS_MAX):
            await a.network.stop()


async def test_a_peer_is_back_at_once_when_it_dials_us() -> None:
    """Not after the back-off: here that would be ten minutes."""
    slow = replace(QUICK, dial_min_ms=600_000, dial_max_ms=600_000)
    (port,) = free_ports(1)  # nobody listens there yet
    (a,) = make([0], slow)
    (b,) = make([1])
    a.network._membership = b.network._membership = {
        key(0).public_key: "n0",
        key(1).public_key: "n1",
    }.get
    async with running(a):
        a.network.add_peer(PeerAddress(key(1).public_key, "127.0.0.1", port))
        await a.when(lambda peers: peers[0].problem == "PEER_UNREACHABLE")
        b.network._listen = ("127.0.0.1", port)
        async with running(b):
            b.network.add_peer(a.address)
            await a.connected(1)
