"""The transport over real loopback sockets with TLS: who connects, what arrives, who is cut off."""

import asyncio
from dataclasses import replace

import pytest
import uvloop

from node.errors import PeerRefused
from node.net.clock import AHEAD_MS_MAX, READINGS, ClockReadings, skew_ms
from node.net.frames import Kind
from tests.node.net.net import QUICK, Node, make, mesh, running

PINGING = replace(QUICK, ping_interval_ms=100)  # who pings more often is banned in the end


async def test_four_nodes_connect_in_both_directions_and_talk() -> None:
    async with mesh(4) as nodes:
        first, *others = nodes
        assert first.network.broadcast(Kind.CONSENSUS, b"vote") == 3
        for other in others:
            assert await other.received() == ("n0", Kind.CONSENSUS, b"vote")
        assert first.network.send("n2", Kind.BODY, b"body")
        assert await nodes[2].received() == ("n0", Kind.BODY, b"body")


async def test_a_frame_of_a_megabyte_arrives_whole() -> None:
    async with mesh(2) as (a, b):
        body = bytes(range(256)) * 4096
        a.network.send("n1", Kind.PRE_PREPARE, body)
        assert await b.received() == ("n0", Kind.PRE_PREPARE, body)


async def test_frames_of_one_class_keep_their_order() -> None:
    async with mesh(2) as (a, b):
        for number in range(2000):
            a.network.send("n1", Kind.CONSENSUS, number.to_bytes(4))
        for number in range(2000):
            assert await b.received() == ("n0", Kind.CONSENSUS, number.to_bytes(4))


async def test_sending_to_a_stranger_or_nobody_is_counted_not_raised() -> None:
    async with mesh(2) as (a, _):
        assert not a.network.send("nobody", Kind.CONSENSUS, b"x")
        assert a.metrics.drops == [Kind.CONSENSUS]


async def test_a_peer_that_stops_says_so_and_is_found_again() -> None:
    async with mesh(3) as (a, b, c):
        await b.network.stop()
        await a.connected(1)
        await c.connected(1)
        (again,) = make([1])
        again.network._membership = a.network._membership
        again.network._listen = ("127.0.0.1", b.network.port)
        async with running(again):
            again.network.add_peer(a.address)
            again.network.add_peer(c.address)
            await a.connected(2)
            await c.connected(2)


async def test_stop_sends_what_is_queued() -> None:
    async with mesh(2) as (a, b):
        for number in range(500):
            a.network.send("n1", Kind.CONSENSUS, number.to_bytes(2))
        await a.network.stop()
        for number in range(500):
            assert await b.received() == ("n0", Kind.CONSENSUS, number.to_bytes(2))


async def test_nothing_is_left_behind_after_stop() -> None:
    async with mesh(3):
        pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_status_shows_address_directions_and_round_trip() -> None:
    async with mesh(2, PINGING) as (a, b):
        while a.peer("n1").rtt_ms is None:
            b.network.send("n0", Kind.CONSENSUS, b"x")
            await a.received()
        info = a.peer("n1")
        assert info.connected
        assert info.address == str(b.address)
        assert info.public_key == b.key.public_key
        assert 0 <= info.rtt_ms < 10_000
        assert info.last_seen_ms is not None
        assert info.queues == {"consensus": 0, "blocks": 0, "gossip": 0, "bulk": 0}
        assert (info.refused, info.problem, info.detail, info.banned_ms) == (None, None, "", 0)


async def test_a_member_that_is_not_configured_is_served_and_shown_as_such() -> None:
    a, b = make([0, 1])
    async with running(a, b):
        b.network.add_peer(a.address)
        await b.when(lambda peers: peers[0].connected_in)
        await a.when(lambda peers: peers[0].connected_out)
        info = a.peer("n1")
        assert (info.address, info.connected_in, info.connected) == (None, False, False)
        a.network.send("n1", Kind.CONSENSUS, b"x")
        assert await b.received() == ("n0", Kind.CONSENSUS, b"x")


async def test_a_dropped_member_is_disconnected_at_once_and_a_new_one_let_in() -> None:
    """Architecture, identity: the epoch change closes what the new set no longer holds."""
    async with mesh(3) as (a, b, c):
        everybody = a.network._membership
        a.network.set_membership({a.key.public_key: "n0", c.key.public_key: "n2"}.get)
        await b.when(lambda peers: peers[0].refused == "NOT_A_MEMBER")
        assert not a.network.send("n1", Kind.CONSENSUS, b"x")
        assert a.peer("n2").connected
        dropped = next(p for p in a.network.peers() if p.public_key == b.key.public_key)
        assert dropped.problem == "NOT_IN_MEMBERSHIP"
        assert dropped.member.startswith("sal1")
        a.network.set_membership(everybody)
        await a.connected(2)


async def test_a_members_old_key_does_not_take_its_new_one_along() -> None:
    """Decision 0006: n2 had the last key, and now an earlier one; what the first look at it enters,
    the look at the old key must not take away."""
    async with mesh(3) as (a, b, _):
        a.network.set_membership({b.key.public_key: "n2"}.get)
        assert a.network.send("n2", Kind.CONSENSUS, b"x")
        assert await b.received() == ("n0", Kind.CONSENSUS, b"x")


class TestFaultInjection:
    async def test_a_blocked_peer_hears_and_says_nothing_until_it_is_healed(self) -> None:
        async with mesh(3) as (a, b, c):
            a.network.block("n1")
            assert not a.network.send("n1", Kind.CONSENSUS, b"lost")
            assert not a.peer("n1").connected
            b.network.send("n0", Kind.CONSENSUS, b"lost")
            b.network.send("n2", Kind.CONSENSUS, b"passes")
            assert await c.received() == ("n1", Kind.CONSENSUS, b"passes")
            a.network.unblock("n1")
            await a.connected(2)
            await b.connected(2)
            b.network.send("n0", Kind.CONSENSUS, b"healed")
            while (received := (await a.received())[2]) == b"lost":
                pass  # it may have been under way when the block ended
            assert received == b"healed"

    async def test_a_delayed_line_keeps_its_order_and_takes_its_time(self) -> None:
        async with mesh(2) as (a, b):
            a.network.delay_ms("n1", 50)
            started = asyncio.get_running_loop().time()
            for number in range(20):
                a.network.send("n1", Kind.CONSENSUS, bytes([number]))
            assert [(await b.received())[2][0] for _ in range(20)] == list(range(20))
            assert asyncio.get_running_loop().time() - started >= 0.05

    async def test_it_is_for_development_only(self) -> None:
        async with mesh(2) as (a, _):
            a.network._fault_injection = False
            with pytest.raises(PeerRefused) as caught:
                a.network.block("n1")
            assert caught.value.code == "FAULTS_DISABLED"

    async def test_an_unknown_peer_is_named(self) -> None:
        async with mesh(2) as (a, _):
            with pytest.raises(PeerRefused) as caught:
                a.network.delay_ms("n7", 5)
            assert caught.value.code == "UNKNOWN_PEER"


def test_it_runs_on_uvloop_as_well() -> None:
    """The loop of production; asyncio's own serves where it is missing."""

    async def talk() -> None:
        async with mesh(3) as (a, b, _):
            a.network.send("n1", Kind.PRE_PREPARE, bytes(2**20))
            assert len((await b.received())[2]) == 2**20
            await b.network.stop()
            await a.connected(1)

    uvloop.run(talk())


async def test_a_ping_tells_how_far_the_clocks_stand_apart() -> None:
    async with mesh(3, PINGING) as nodes:
        nodes[0].ahead_ms = 60_000

        def told(node: Node, peer: str, ahead_ms: int) -> bool:
            heard_ms = node.peer(peer).clock_ahead_ms
            return heard_ms is not None and abs(heard_ms - ahead_ms) < 5_000

        while not (
            told(nodes[0], "n1", 60_000)
            and told(nodes[0], "n2", 60_000)
            and told(nodes[1], "n0", -60_000)
            and told(nodes[1], "n2", 0)
        ):
            nodes[1].network.send("n0", Kind.CONSENSUS, b"x")
            await nodes[0].received()


def test_late_pings_and_liars_do_not_set_the_clock() -> None:
    """The least delayed reading counts, and of the peers the median."""
    clock = ClockReadings()
    assert clock.ahead_ms is None
    for late_ms in (900, 40, 350):
        clock.heard(1_000_000, 1_000_000 + late_ms, 20)
    assert clock.ahead_ms == 30
    for _ in range(READINGS):
        clock.heard(0, 2_500, None)
    assert clock.ahead_ms == 2_500
    clock.heard(2**64 - 1, 1_000, None)
    assert clock.ahead_ms == -AHEAD_MS_MAX
    clock.forget()
    assert clock.ahead_ms is None
    assert skew_ms([None, None]) is None
    assert skew_ms([None, 3, -AHEAD_MS_MAX, 5]) == 3
    assert skew_ms([2, 9]) == 2
