"""The transport over real loopback sockets with TLS: who connects, what arrives, who is cut off."""

import asyncio

from node.net.frames import Kind
from tests.node.net.net import mesh


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


async def test_a_restarted_peer_is_back_without_waiting_for_the_back_off() -> None:
    async with mesh(3) as (a, b, c):
        await b.network.stop()
        await a.connected(1)
        await c.connected(1)
        assert a.peer("n1").problem in ("STOPPING", "PEER_UNREACHABLE", "CONNECTION_LOST")


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
