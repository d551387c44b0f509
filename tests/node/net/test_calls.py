"""Questions between members: answered, refused, bounded on both sides."""

import asyncio

import pytest

from node.errors import BadFrame, NetworkError, NodeBusy
from node.net.calls import (
    ASKED_AT_ONCE_MAX,
    SERVED_AT_ONCE_MAX,
    SERVED_IN_ALL_MAX,
    WAITING_MAX,
    Calls,
    Topic,
)
from node.net.frames import CALL_BYTES_MAX, PAYLOAD_BYTES_MAX, CallFrame, Kind, ReplyFrame
from salus.codec import UINT_MAX, decode, encode
from salus.errors import BadMessage, SalusError
from tests.node.net.net import SECONDS_MAX, mesh


class Pair:
    """Two members whose frames the test hands over."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Kind, bytes]] = []  # from, to, …
        self.connected = True
        self.a, self.b = self._end("a"), self._end("b")

    def _end(self, me: str) -> Calls:
        def send(member: str, kind: Kind, payload: bytes) -> bool:
            if self.connected:
                self.sent.append((me, member, kind, payload))
            return self.connected

        return Calls(send, lambda: me, 7)

    async def carry(self) -> None:
        """Everything under way, until nothing is."""
        for _ in range(200):
            await asyncio.sleep(0)
            while self.sent:
                sender, to, kind, payload = self.sent.pop(0)
                (self.a if to == "a" else self.b).receive(sender, kind, payload)

    def ask(self, payload: bytes = b"?", topic: Topic = Topic.LOCATE) -> "asyncio.Task[bytes]":
        return asyncio.create_task(self.a.ask("b", topic, payload, timeout_s=SECONDS_MAX))


async def echo(member: str, payload: bytes) -> bytes:
    return member.encode() + b":" + payload


async def test_a_question_reaches_its_handler_and_the_answer_comes_back() -> None:
    pair = Pair()
    pair.b.serve(Topic.LOCATE, echo)
    asked = pair.ask(b"where")
    await pair.carry()
    assert await asked == b"a:where"


async def test_answers_find_their_questions_in_any_order() -> None:
    pair, gates = Pair(), {b"1": asyncio.Event(), b"2": asyncio.Event()}

    async def later(member: str, payload: bytes) -> bytes:
        await gates[payload].wait()
        return payload

    pair.b.serve(Topic.RANGE, later)
    first, second = pair.ask(b"1", Topic.RANGE), pair.ask(b"2", Topic.RANGE)
    await pair.carry()
    gates[b"2"].set()
    await pair.carry()
    assert (first.done(), second.result()) == (False, b"2")
    gates[b"1"].set()
    await pair.carry()
    assert first.result() == b"1"


async def test_a_refusal_keeps_its_code_and_its_words() -> None:
    pair = Pair()

    async def refuse(member: str, payload: bytes) -> bytes:
        raise SalusError("no record\x1b[31m here", code="UNKNOWN_RECORD")

    pair.b.serve(Topic.LOCATE, refuse)
    asked = pair.ask()
    await pair.carry()
    with pytest.raises(SalusError) as caught:
        await asked
    assert caught.value.code == "UNKNOWN_RECORD"
    assert caught.value.message == "no record [31m here"


async def test_a_word_that_this_version_does_not_know_is_a_refusal_all_the_same() -> None:
    pair = Pair()
    asked = pair.ask()
    await asyncio.sleep(0)
    [(_, _, _, raw)] = pair.sent
    reply = ReplyFrame(decode(raw, CallFrame).call, "NEWER_WORD", b"")
    pair.a.receive("b", Kind.REPLY, encode(reply))
    with pytest.raises(NetworkError) as caught:
        await asked
    assert caught.value.code == "PEER_REFUSED"


async def test_nobody_serves_an_unknown_topic() -> None:
    pair = Pair()
    asked = pair.ask(topic=Topic.NOTICE)
    await pair.carry()
    with pytest.raises(SalusError) as caught:
        await asked
    assert caught.value.code == "NOT_SERVED"


async def test_our_own_fault_is_told_and_ends_nothing_else() -> None:
    pair = Pair()

    async def broken(member: str, payload: bytes) -> bytes:
        raise KeyError(payload)

    pair.b.serve(Topic.LOCATE, broken)
    pair.b.serve(Topic.READ, echo)
    asked, other = pair.ask(), pair.ask(topic=Topic.READ)
    await pair.carry()
    with pytest.raises(SalusError) as caught:
        await asked
    assert caught.value.code == "INTERNAL"
    assert await other == b"a:?"


async def test_without_a_connection_nobody_waits() -> None:
    pair = Pair()
    pair.connected = False
    with pytest.raises(NetworkError) as caught:
        await pair.ask()
    assert caught.value.code == "PEER_UNREACHABLE"


async def test_of_names_that_are_nobodys_nothing_is_kept() -> None:
    """Whoever reads names the custodian; a line of each is kept for as long as it is in use."""
    calls = Calls(lambda member, kind, payload: False, lambda: "me", 0)
    for number in range(9):
        with pytest.raises(SalusError):
            await calls.ask(f"nobody-{number}", Topic.LOCATE, b"", timeout_s=1)
    assert calls._lines == {}


async def test_silence_is_a_time_out_and_what_comes_later_is_dropped() -> None:
    pair = Pair()
    with pytest.raises(NetworkError) as caught:
        await pair.a.ask("b", Topic.LOCATE, b"", timeout_s=0)
    assert caught.value.code == "PEER_TIMEOUT"
    pair.a.receive("b", Kind.REPLY, encode(ReplyFrame(7, "", b"late")))


async def test_only_the_member_that_was_asked_can_answer() -> None:
    pair = Pair()
    asked = pair.ask()
    await asyncio.sleep(0)
    call = decode(pair.sent[0][3], CallFrame).call
    pair.a.receive("c", Kind.REPLY, encode(ReplyFrame(call, "", b"a lie")))
    assert not asked.done()
    pair.a.receive("b", Kind.REPLY, encode(ReplyFrame(call, "", b"true")))
    assert await asked == b"true"


async def test_a_node_asks_itself_without_a_frame() -> None:
    pair = Pair()
    pair.connected = False
    pair.a.serve(Topic.LOCATE, echo)
    assert await pair.a.ask("a", Topic.LOCATE, b"x", timeout_s=1) == b"a:x"


async def test_so_many_are_under_way_and_so_many_wait() -> None:
    """A reader's node that is asked for too much says so: it keeps no queue without an end."""
    pair = Pair()
    tasks = [pair.ask() for _ in range(ASKED_AT_ONCE_MAX + WAITING_MAX)]
    await asyncio.sleep(0)
    assert len(pair.sent) == ASKED_AT_ONCE_MAX
    with pytest.raises(NodeBusy):
        await pair.ask()
    pair.b.serve(Topic.LOCATE, echo)
    await pair.carry()
    assert {await task for task in tasks} == {b"a:?"}


async def test_a_member_that_asks_too_much_at_once_is_refused_and_others_are_served() -> None:
    gate, frames = asyncio.Event(), list[tuple[str, ReplyFrame]]()

    async def slow(member: str, payload: bytes) -> bytes:
        await gate.wait()
        return b"done"

    def send(member: str, kind: Kind, payload: bytes) -> bool:
        frames.append((member, decode(payload, ReplyFrame)))
        return True

    calls = Calls(send, lambda: "me", 0)
    calls.serve(Topic.RANGE, slow)
    members = [f"m{number}" for number in range(SERVED_IN_ALL_MAX // SERVED_AT_ONCE_MAX + 1)]
    for member in members:
        for number in range(SERVED_AT_ONCE_MAX + 1):
            calls.receive(member, Kind.CALL, encode(CallFrame(number, Topic.RANGE, b"")))
    refused = [member for member, reply in frames if reply.code == "NODE_BUSY"]
    # One too many of each. The node's own limit is reached by then: of the last one a single question
    # is served, so that some members together keep no other out.
    assert refused == members[:-1] + members[-1:] * SERVED_AT_ONCE_MAX
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert sum(reply.payload == b"done" for _, reply in frames) == SERVED_IN_ALL_MAX + 1
    calls.receive(members[-1], Kind.CALL, encode(CallFrame(99, Topic.RANGE, b"")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert frames[-1] == (members[-1], ReplyFrame(99, "", b"done"))


async def test_a_node_that_stops_answers_nobody_and_lets_nobody_wait() -> None:
    pair, cancelled = Pair(), asyncio.Event()

    async def endless(member: str, payload: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    pair.b.serve(Topic.LOCATE, endless)
    asked = pair.ask()
    await pair.carry()
    await pair.b.close()
    assert cancelled.is_set()
    await pair.a.close()
    with pytest.raises(SalusError) as caught:
        await asked
    assert caught.value.code == "NOT_READY"


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.REPLY])
def test_bytes_that_are_no_call_are_the_members_fault(kind: Kind) -> None:
    with pytest.raises(BadMessage):
        Pair().a.receive("b", kind, b"\xc1")


def test_the_largest_question_and_answer_fit_their_frames() -> None:
    most = bytes(CALL_BYTES_MAX)
    assert len(encode(CallFrame(UINT_MAX, 255, most))) <= PAYLOAD_BYTES_MAX[Kind.CALL]
    assert len(encode(ReplyFrame(UINT_MAX, "A" * 32, most))) <= PAYLOAD_BYTES_MAX[Kind.REPLY]


async def test_answers_of_the_largest_size_cross_a_real_line() -> None:
    async with mesh(2) as (one, two):
        ends = [
            Calls(node.network.send, lambda name=node.name: name, 1)  # type: ignore[misc]
            for node in (one, two)
        ]

        async def large(member: str, payload: bytes) -> bytes:
            return payload * CALL_BYTES_MAX

        ends[1].serve(Topic.RANGE, large)

        async def pump(number: int) -> None:
            while True:
                ends[number].receive(*await (one, two)[number].received())

        pumps = [asyncio.create_task(pump(number)) for number in range(2)]
        async with asyncio.timeout(SECONDS_MAX):
            answers = await asyncio.gather(
                *(
                    ends[0].ask("n1", Topic.RANGE, bytes([number]), timeout_s=SECONDS_MAX)
                    for number in range(2 * ASKED_AT_ONCE_MAX)
                )
            )
        assert answers == [bytes([n]) * CALL_BYTES_MAX for n in range(2 * ASKED_AT_ONCE_MAX)]
        for task in pumps:
            task.cancel()
        assert not one.metrics.drops
        assert not two.metrics.drops


def test_a_reply_frame_is_not_legal_as_a_call() -> None:
    with pytest.raises((BadMessage, BadFrame)):
        Pair().a.receive("b", Kind.CALL, encode(ReplyFrame(1, "", b"")))
