"""Questions between members and their answers, over the frames of the transport.

A call asks one member about one topic and waits; what comes back is bytes, or the code with which
the other side refused. Law of the file: both sides of every call are bounded (how many at once,
how many bytes, how long), and the frames are of the lowest class, so that votes wait for one of
them at the most.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum

from node.errors import BadFrame, NetworkError, NodeBusy
from node.logs import describe_error, log_event
from node.net.frames import CALL_BYTES_MAX, REASON_CHARS_MAX, CallFrame, Kind, ReplyFrame
from salus.codec import UINT_MAX, decode, encode
from salus.codes import CODES
from salus.errors import SalusError

# By one node of one peer; with a chunk each, what a line of 1 Gbit/s and 60 ms keeps under way.
ASKED_AT_ONCE_MAX = 8
WAITING_MAX = 64  # further ones of one peer, waiting for their turn; a node asks for few readers
SERVED_AT_ONCE_MAX = 8  # for one peer: as many as it asks
SERVED_IN_ALL_MAX = 32  # for all of them: an answer of each is held in memory; and one for each
# member that has none, so that some together keep no other out
SERVED_SECONDS_MAX = 60  # a handler that hangs must not keep its place for ever

Handler = Callable[[str, bytes], Awaitable[bytes]]

_log = logging.getLogger("salus.net")


class Topic(IntEnum):
    """What a call is about; the numbers are on the wire, do not change them."""

    LOCATE = 1  # which handle and version has this record?
    READ = 2  # a signed request: decide, and make the ticket
    RANGE = 3  # one chunk of what a ticket permits
    SUMMARY = 4  # emergency summaries: replicas, shares of their keys
    NOTICE = 5  # one member tells another: erasures and the like


@dataclass(slots=True)
class _Line:
    """What goes on with one member."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKED_AT_ONCE_MAX))
    waiting: int = 0  # asked or waiting for a place
    served: int = 0


class Calls:
    """`send`: as `Network.send`. `me`: this node's member; a call to itself takes no frame.
    `first`: the first number; random, so that a late answer to an earlier life meets no call."""

    def __init__(
        self,
        send: Callable[[str, Kind, bytes], bool],
        me: Callable[[], str | None],
        first: int,
    ) -> None:
        self._send, self._me, self._next = send, me, first
        self._handlers: dict[int, Handler] = {}  # by topic
        self._asked: dict[tuple[str, int], asyncio.Future[bytes]] = {}
        self._lines: dict[str, _Line] = {}  # by member, while anything goes on
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False

    def serve(self, topic: Topic, handler: Handler) -> None:
        """From now on `handler(member, payload)` answers; it refuses by raising `SalusError`."""
        assert topic not in self._handlers, topic
        self._handlers[topic] = handler

    async def ask(self, member: str, topic: Topic, payload: bytes, *, timeout_s: float) -> bytes:
        """The member's answer. Raises `SalusError`: PEER_UNREACHABLE, PEER_TIMEOUT, NODE_BUSY
        (too many wait already), or the code with which the member refused."""
        assert len(payload) <= CALL_BYTES_MAX, f"{topic.name}: {len(payload)} bytes"
        if member == self._me():
            return await self._handler(topic)(member, payload)
        line = self._lines.setdefault(member, _Line())
        if line.waiting >= ASKED_AT_ONCE_MAX + WAITING_MAX:
            raise NodeBusy("too many questions wait for this member")
        line.waiting += 1
        try:
            async with asyncio.timeout(timeout_s), line.places:
                return await self._answer(member, topic, payload)
        except TimeoutError:
            raise NetworkError("the member did not answer in time", code="PEER_TIMEOUT") from None
        finally:
            line.waiting -= 1
            self._hang_up(member, line)

    async def _answer(self, member: str, topic: Topic, payload: bytes) -> bytes:
        number, self._next = self._next, (self._next + 1) % UINT_MAX
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[member, number] = answer
        try:
            call = encode(CallFrame(number, int(topic), payload))
            if self._closed or not self._send(member, Kind.CALL, call):
                raise NetworkError("there is no connection to this member")
            return await answer
        finally:
            del self._asked[member, number]

    # -- frames ---------------------------------------------------------------------------------

    def receive(self, member: str, kind: Kind, payload: bytes) -> None:
        """A CALL or REPLY frame of a member. Raises `BadMessage`, `BadFrame`."""
        if kind is Kind.REPLY:
            self._replied(member, payload)
        else:
            self._called(member, decode(payload, CallFrame))

    def _replied(self, member: str, payload: bytes) -> None:
        reply = decode(payload, ReplyFrame)
        answer = self._asked.get((member, reply.call))
        if answer is None or answer.done():
            return  # Too late, or to an earlier life of this node.
        if not reply.code:
            answer.set_result(reply.payload)
        elif reply.code not in CODES:  # a newer node's word: ours would not know what it means
            answer.set_exception(NetworkError(f"refused: {reply.code}", code="PEER_REFUSED"))
        else:
            answer.set_exception(SalusError(_reason(reply.payload), code=reply.code))

    def _called(self, member: str, call: CallFrame) -> None:
        if self._closed:
            return
        line = self._lines.setdefault(member, _Line())
        full = bool(line.served) and len(self._serving) >= SERVED_IN_ALL_MAX
        if full or line.served >= SERVED_AT_ONCE_MAX:
            self._refuse(member, call.call, NodeBusy("too many questions at once"))
            return
        line.served += 1
        task = asyncio.create_task(self._serve(member, line, call), name=f"call of {member}")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, member: str, line: _Line, call: CallFrame) -> None:
        try:
            async with asyncio.timeout(SERVED_SECONDS_MAX):
                answer = await self._handler(call.topic)(member, call.payload)
            assert len(answer) <= CALL_BYTES_MAX, f"topic {call.topic}: {len(answer)} bytes"
            self._send(member, Kind.REPLY, encode(ReplyFrame(call.call, "", answer)))
        except SalusError as error:
            self._refuse(member, call.call, error)
        except TimeoutError:
            self._refuse(member, call.call, NetworkError("it took too long", code="PEER_TIMEOUT"))
        except Exception as error:  # noqa: BLE001 - ours; whoever asked is told that it is
            what = describe_error(error)
            log_event(_log, logging.ERROR, "call_failed", topic=call.topic, error=what)
            self._refuse(member, call.call, SalusError("a fault of the node", code="INTERNAL"))
        finally:
            line.served -= 1
            self._hang_up(member, line)

    def _hang_up(self, member: str, line: _Line) -> None:
        if not line.waiting and not line.served:
            self._lines.pop(member, None)  # who asks may name whom he likes

    def _handler(self, topic: int) -> Handler:
        handler = self._handlers.get(topic)
        if handler is None:
            raise BadFrame(f"nobody answers topic {int(topic)} here", code="NOT_SERVED")
        return handler

    def _refuse(self, member: str, number: int, error: SalusError) -> None:
        why = error.message[:REASON_CHARS_MAX].encode()
        self._send(member, Kind.REPLY, encode(ReplyFrame(number, error.code, why)))

    def stop(self) -> None:
        """From now on nobody is asked, and nobody answered."""
        self._closed = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(NetworkError("the node is stopping", code="NOT_READY"))

    async def close(self) -> None:
        """`stop`, and what is under way is given up."""
        self.stop()
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _reason(payload: bytes) -> str:
    """A peer's words for people: cut, and nothing that could steer a terminal."""
    text = payload[: 4 * REASON_CHARS_MAX].decode(errors="replace")[:REASON_CHARS_MAX]
    return "".join(char if char.isprintable() else " " for char in text)
