"""The busy machine's event loop: it disorders what asyncio leaves open, the same for a seed, and loses nothing."""

import asyncio
import socket

import pytest

from tests.jitter import JitterLoop, JitterPolicy
from tests.node.network import eventually

MANY = 64


def on_such_a_loop(seed: str) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=lambda: JitterLoop(seed))


def test_sockets_that_are_ready_at_once_are_told_of_in_another_order() -> None:
    async def told() -> list[int]:
        loop, found = asyncio.get_running_loop(), list[int]()
        pairs = [socket.socketpair() for _ in range(MANY)]
        for number, (_, end) in enumerate(pairs):
            loop.add_reader(end, lambda at=number, end=end: found.extend(at for _ in end.recv(2)))
        for start, _ in pairs:
            start.send(b"1")
        await eventually(lambda: len(found) >= MANY)
        for start, end in pairs:
            loop.remove_reader(end)
            start.close()
            end.close()
        return found

    with on_such_a_loop("1") as runner:
        found = runner.run(told())
    assert sorted(found) == list(range(MANY))
    assert found != sorted(found)


async def bytes_through_a_server() -> None:
    sent = bytes(range(256)) * 64

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(99):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()
    server.close()


@pytest.mark.parametrize("seed", "123")
def test_a_connection_keeps_its_bytes_and_their_order(seed: str) -> None:
    with on_such_a_loop(seed) as runner:
        runner.run(bytes_through_a_server())


def test_timers_go_off_late_and_none_before_an_earlier_one() -> None:
    async def main() -> None:
        loop, fired = asyncio.get_running_loop(), list[int]()
        far = [10**6 + number / 1_000 for number in range(10 * MANY)]
        timers = [loop.call_at(when, print) for when in far]
        late = [timer.when() - when for timer, when in zip(timers, far, strict=True)]
        assert min(late) >= 0
        assert max(late) > 0
        assert sorted(timers, key=lambda timer: timer.when()) == timers
        for timer in timers:
            timer.cancel()
        began_s = loop.time()
        for number in range(MANY):
            loop.call_at(began_s + number / 1_000, fired.append, number)
        await eventually(lambda: len(fired) == MANY)
        assert fired == list(range(MANY))

    with on_such_a_loop("1") as runner:
        runner.run(main())


def test_what_is_ready_runs_in_its_order_and_every_thread_is_heard() -> None:
    async def main() -> None:
        loop, ran = asyncio.get_running_loop(), list[int]()
        for number in range(MANY):
            loop.call_soon(ran.append, number)
        done = [loop.run_in_executor(None, pow, number, 2) for number in range(MANY)]
        assert await asyncio.gather(*done) == [number**2 for number in range(MANY)]
        assert ran == list(range(MANY))

    with on_such_a_loop("1") as runner:
        runner.run(main())


def test_a_seed_and_a_test_name_a_disorder() -> None:
    def timers(seed: str, test: str) -> list[float]:
        policy = JitterPolicy(seed)
        policy.begin(test)
        loop = policy.new_event_loop()
        try:
            return [loop.call_at(10**6 + n / 100, print).when() for n in range(MANY)]
        finally:
            loop.close()

    assert timers("1", "a") == timers("1", "a")
    assert timers("1", "a") != timers("1", "b")
    assert timers("1", "a") != timers("2", "a")
