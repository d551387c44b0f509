"""The dialler's end of a connection: whole messages, in order, no faster than they are taken."""

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import BadFrame, NetworkError, PeerRefused
from node.net.frames import HANDSHAKE_MESSAGE_BYTES_MAX, binary_message
from node.net.link import PINGS_BYTES_MAX, UNREAD_BYTES_MAX, Ending, Link
from node.net.websocket import HEAD_BYTES_MAX

GOODBYE = b"\x88\x06\x03\xe9IDLE"


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.paused = self.closed = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Inbox:
    """A receiver; as long as `gates` holds some, each message waits for the next of them."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.gates: list[asyncio.Event] = []
        self.fault: Exception | None = None

    def take(self, message: bytes) -> Awaitable[None] | None:
        self.messages.append(message)
        return self._wait(self.gates.pop(0)) if self.gates else None

    async def _wait(self, gate: asyncio.Event) -> None:
        await gate.wait()
        if self.fault is not None:
            raise self.fault


def connected() -> tuple[Link, Wire, Inbox]:
    link, wire, inbox = Link(), Wire(), Inbox()
    transport: Any = wire
    link.connection_made(transport)
    return link, wire, inbox


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=8),
    st.lists(st.integers(min_value=1, max_value=400), max_size=12),
    st.sets(st.integers(min_value=0, max_value=7)),
)
def test_messages_come_whole_and_in_order_however_they_are_cut(
    messages: list[bytes], cuts: list[int], slow: set[int]
) -> None:
    """And whichever of them has to wait for something."""

    async def talk() -> None:
        link, wire, inbox = connected()
        inbox.gates = [asyncio.Event() for number in range(len(messages)) if number in slow]
        gates = list(inbox.gates)
        link.receive(inbox.take)
        data = b"".join(binary_message([message]) for message in messages)
        for cut in cuts:
            link.data_received(data[:cut])
            data = data[cut:]
        link.data_received(data)
        for gate in gates:
            gate.set()
            await turns()
        assert inbox.messages == messages
        assert not wire.paused
        assert not link.ended.done()

    asyncio.run(talk())


async def test_while_a_receiver_waits_nothing_is_read() -> None:
    link, wire, inbox = connected()
    inbox.gates = [asyncio.Event()]
    (gate,) = inbox.gates
    link.receive(inbox.take)
    link.data_received(binary_message([b"1"]) + binary_message([b"2"]))
    link.data_received(binary_message([b"3"]))
    await turns()
    assert wire.paused
    assert inbox.messages == [b"1"]
    gate.set()
    await turns()
    assert not wire.paused
    assert inbox.messages == [b"1", b"2", b"3"]


async def test_garbage_ends_it_and_nothing_behind_it_counts() -> None:
    link, _, inbox = connected()
    link.receive(inbox.take)
    link.data_received(binary_message([b"1"]) + b"\x81\x01x" + binary_message([b"2"]))
    link.data_received(binary_message([b"3"]))
    with pytest.raises(BadFrame):
        await link.ended
    assert inbox.messages == [b"1"]


async def test_what_a_receiver_raises_is_how_it_ended() -> None:
    for gates in ([], [asyncio.Event()]):
        link, _, inbox = connected()
        inbox.gates, inbox.fault = list(gates), KeyError("ours")

        def take(message: bytes, inbox: Inbox = inbox) -> Awaitable[None] | None:
            waiting = inbox.take(message)
            if waiting is None:
                raise KeyError("ours")
            return waiting

        link.receive(take)
        link.data_received(binary_message([b"1"]) + binary_message([b"2"]))
        for gate in gates:
            gate.set()
        with pytest.raises(KeyError):
            await link.ended
        await turns()
        assert inbox.messages == [b"1"]


@pytest.mark.parametrize(
    ("goodbye", "code"),
    [(GOODBYE, "IDLE"), (b"\x88\x00", "CLOSED"), (b"\x88\x07\x03\xe9no wd", "CLOSED")],
)
async def test_a_goodbye_says_why(goodbye: bytes, code: str) -> None:
    link, _, inbox = connected()
    link.receive(inbox.take)
    link.data_received(goodbye + binary_message([b"late"]))
    assert await link.ended == Ending(code, by_peer=True)
    assert not inbox.messages


async def test_a_connection_that_breaks_is_lost() -> None:
    link, _, _ = connected()
    reading = asyncio.create_task(link.message())
    await turns()
    link.connection_lost(OSError())
    with pytest.raises(NetworkError):
        await reading
    assert await link.ended == Ending("CONNECTION_LOST")


async def test_frames_that_come_with_the_welcome_are_not_lost() -> None:
    link, wire, inbox = connected()
    link.data_received(binary_message([b"hello"]) + binary_message([b"welcome"]))
    assert await link.message() == b"hello"
    link.data_received(binary_message([b"1"]) + binary_message([b"2"])[:1])
    assert await link.message() == b"welcome"
    link.receive(inbox.take)
    link.data_received(binary_message([b"2"])[1:])
    assert inbox.messages == [b"1", b"2"]
    assert not wire.paused


async def test_a_flood_in_the_handshake_is_not_read() -> None:
    """B25."""
    link, wire, inbox = connected()
    frames = [binary_message([bytes(1024)])] * (UNREAD_BYTES_MAX // 1024)
    link.data_received(binary_message([b"welcome"]) + b"".join(frames))
    assert wire.paused
    assert await link.message() == b"welcome"
    link.receive(inbox.take)
    assert len(inbox.messages) == len(frames)
    assert not wire.paused


async def test_what_is_too_long_for_a_handshake_is_not_waited_for() -> None:
    link, _, _ = connected()
    link.data_received(binary_message([bytes(HANDSHAKE_MESSAGE_BYTES_MAX + 1)])[:8])
    with pytest.raises(BadFrame):
        await link.message()
    link, _, _ = connected()
    link.data_received(b"HTTP/1.1 200 OK\r\nX: " + bytes(HEAD_BYTES_MAX))
    with pytest.raises(NetworkError):
        await link.upgrade("host", "/")


async def test_a_goodbye_in_the_handshake_is_a_refusal() -> None:
    link, _, _ = connected()
    link.data_received(GOODBYE)
    with pytest.raises(PeerRefused) as caught:
        await link.message()
    assert caught.value.code == "IDLE"


async def test_pings_that_the_peer_does_not_read_are_not_heaped_up() -> None:
    link, wire, _ = connected()
    assert link.send(b"ping")
    wire.unsent = PINGS_BYTES_MAX + 1
    said = wire.written
    assert not link.send(b"ping")
    assert wire.written == said


async def test_closing_says_goodbye_once_and_lets_nobody_wait() -> None:
    link, wire, inbox = connected()
    inbox.gates = [asyncio.Event()]
    link.receive(inbox.take)
    link.data_received(binary_message([b"1"]) + binary_message([b"2"]))
    link.close()
    said = wire.written
    assert said[:2] == b"\x88\x82"
    assert wire.closed
    link.close()
    link.data_received(binary_message([b"3"]))
    await turns()
    assert wire.written == said
    assert inbox.messages == [b"1"]
    assert await link.ended == Ending("CLOSED")


async def test_a_fault_on_a_line_that_is_hung_up_already_is_not_left_lying() -> None:
    """asyncio would log it, with all that it has on its stack, when the link is forgotten."""
    left: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: left.append(told["message"]))
    link, _, inbox = connected()
    inbox.gates.append(asyncio.Event())
    inbox.gates[0].set()
    inbox.fault = BadFrame("not a frame", code="FRAME_KIND")
    link.receive(inbox.take)
    link.data_received(binary_message([b"one"]))
    await turns()
    assert link.ended.done()
    link.close()
    del link, inbox
    gc.collect()
    await turns()
    assert not left
