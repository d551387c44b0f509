"""One peer as this node knows it: address, both connections, conduct, what it is told.

Two connections join two nodes, one in each direction. On each the listener sends frames and
the dialler receives them, so `Feed` (we listen, we send) and `node/net/dialler.py` (we dial, we
receive) are the two halves.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from node.errors import BadFrame
from node.logs import describe_error, log_event
from node.net.clock import ClockReadings
from node.net.frames import (
    PING_BYTES,
    QUEUE_CLASS,
    Kind,
    QueueClass,
    binary_message,
    frame,
    split,
)
from node.net.hangup import cut_off
from node.net.limits import Conduct, NetLimits, ReceiveLimits, TokenBucket
from node.net.queues import Pushed, SendQueue

_log = logging.getLogger("salus.net")


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer listens and which key must answer there."""

    public_key: bytes
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What `status`, `doctor` and the peers page show of a peer."""

    member: str  # the member id, or the address of a key that is no member
    public_key: bytes
    address: str | None  # None: not in p2p.peers; it found us
    connected_in: bool  # its frames reach us (we dialled)
    connected_out: bool  # our frames reach it (it dialled)
    rtt_ms: int | None
    clock_ahead_ms: int | None  # this node's clock minus the peer's
    last_seen_ms: int | None  # so long ago
    queues: dict[str, int]  # frames waiting, by class
    dropped_total: int
    refused: str | None  # the word with which the peer turned us away (handshake.Refusal)
    problem: str | None  # why its frames do not reach us; the same word if it refused us
    detail: str  # the same for people
    banned_ms: int  # so long still, 0 if not

    @property
    def connected(self) -> bool:
        """Both directions: what it takes to count as reachable."""
        return self.connected_in and self.connected_out


class Peer:
    """The state of one key, for as long as it is a member or configured."""

    def __init__(
        self, public_key: bytes, member: str, address: PeerAddress | None, limits: NetLimits
    ) -> None:
        self.public_key, self.member, self.address = public_key, member, address
        self.admitted = True  # in the current membership
        self.conduct = Conduct(limits)
        self.receive_limits = ReceiveLimits(0)
        self.feed: Feed | None = None
        self.connected_in = False
        self.dial_now = asyncio.Event()
        self.hang_up: Callable[[str], None] | None = None  # closes our dialled connection
        self.rtt_ms: int | None = None
        self.clock = ClockReadings()
        self.seen_ms: int | None = None
        self.refused: str | None = None
        self.problem: str | None = None
        self.detail = ""
        self.dropped_total = 0
        self.blocked = False
        self.delay_ms = 0

    def info(self, now_ms: int) -> PeerInfo:
        feed = self.feed
        return PeerInfo(
            member=self.member,
            public_key=self.public_key,
            address=str(self.address) if self.address else None,
            connected_in=self.connected_in and not self.blocked,
            connected_out=feed is not None and not self.blocked,
            rtt_ms=self.rtt_ms,
            clock_ahead_ms=self.clock.ahead_ms if feed is not None else None,
            last_seen_ms=None if self.seen_ms is None else now_ms - self.seen_ms,
            queues=feed.queue.depths() if feed else {},
            dropped_total=self.dropped_total + (feed.queue.dropped_total if feed else 0),
            refused=self.refused,
            problem=self.problem,
            detail=self.detail,
            banned_ms=max(0, self.conduct.banned_until_ms - now_ms),
        )

    def close(self, word: str, problem: str) -> None:
        """End both connections: `word` is what the peer hears, `problem` what we note."""
        if self.feed is not None:
            self.feed.close(word)
        if self.hang_up is not None:
            self.hang_up(problem)


class Feed:
    """A connection that the peer dialled: we send, it only proves that it is alive."""

    def __init__(
        self,
        peer: Peer,
        ws: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
        limits: NetLimits,
        unix_ms: Callable[[], int],
    ) -> None:
        self.peer, self.queue = peer, SendQueue()
        self._ws, self._transport, self._limits = ws, transport, limits
        self._unix_ms = unix_ms
        peer.clock.forget()
        self._loop = asyncio.get_running_loop()
        self._flushing = False  # `_flush` or the sender will come to what is queued
        self._stuck = asyncio.Event()  # the sender's turn
        self._ended = False
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._idle: asyncio.Event | None = None  # somebody waits until all has been written
        self._over = asyncio.Event()

    def push(self, lane: QueueClass, data: bytes) -> bool:
        """Queue a frame; False if it was not taken. Never blocks.

        It is sent in the next turn of the loop, so that what is queued in this turn travels in
        one message. A peer too slow for consensus is disconnected: it re-syncs."""
        pushed = self.queue.push(lane, data)
        if pushed is Pushed.OVERFLOW:
            self.close("SLOW")
            return False
        if pushed is Pushed.REFUSED:
            return False
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return True

    def _flush(self) -> None:
        """One message straight to the transport, as long as that has room. A callback, not a
        task: this runs for every vote and peer, and a task that wakes up for it costs as much as
        the encryption. A transport that is full is the sender's business: it can wait."""
        transport = self._transport
        if self._ended or transport.is_closing():
            return  # Nothing is sent behind a goodbye.
        if transport.get_write_buffer_size() > 0:
            self._stuck.set()
            return
        batch = self.queue.pop_batch()
        if batch and not self.peer.blocked:
            transport.write(binary_message(batch))
        if self.queue.waiting:
            self._loop.call_soon(self._flush)  # everybody else's work first
        elif self._idle is None:
            self._flushing = False
        else:
            self._flushed()

    def _flushed(self) -> None:
        self._flushing = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def close(self, reason: str) -> None:
        if not self._closed.done():
            self._closed.set_result(reason)

    async def flushed(self) -> None:
        """Until everything queued has been written, or never will be."""
        if self._flushing:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def ended(self) -> None:
        await self._over.wait()

    async def run(self) -> str:
        """Send until the connection ends; returns why. Never raises what a peer can cause."""
        sender = asyncio.create_task(self._send(), name=f"send {self.peer.member}")
        reader = asyncio.create_task(self._read(), name=f"read {self.peer.member}")
        tasks, reason = {sender, reader}, "CLOSED"
        try:
            await asyncio.wait({*tasks, self._closed}, return_when=asyncio.FIRST_COMPLETED)
            if self._closed.done():
                reason = self._closed.result()
            else:
                reason = _ending(sender if sender.done() else reader)
        finally:
            flushed, self._ended = not self._flushing, True
            self.close("CLOSED")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._flushed()
            if flushed:  # else the peer does not read, and would not read a goodbye
                await self._say_goodbye(reason)
            cut_off(self._transport)
            self._over.set()
        return reason

    async def _send(self) -> str:
        """Takes over while the peer reads more slowly than we send: `send_bytes` waits for it."""
        while True:
            await self._stuck.wait()
            self._stuck.clear()
            while batch := self.queue.pop_batch():
                if not self.peer.blocked:
                    await self._ws.send_bytes(b"".join(batch))
                # A peer that reads fast must not keep the loop from everybody else's work.
                await asyncio.sleep(0)
            self._flushed()

    async def _read(self) -> str:
        """PINGs, and nothing else; their absence means that nobody is there."""
        loop = asyncio.get_running_loop()
        pings = TokenBucket(20, 40, 0)
        while True:
            try:
                message = await self._ws.receive(timeout=self._limits.idle_timeout_ms / 1000)
            except TimeoutError:
                return "IDLE"
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                return "CLOSED"
            now_ms = int(loop.time() * 1000)
            try:
                if message.type is not WSMsgType.BINARY:
                    return "GARBAGE"
                frames = split(message.data)
            except BadFrame:
                return "GARBAGE"
            for kind, payload in frames:
                if kind is not Kind.PING or not pings.take(1, now_ms):
                    return "GARBAGE"
                self.peer.seen_ms = now_ms
                if len(payload) == PING_BYTES:
                    theirs_ms = int.from_bytes(payload)
                    self.peer.clock.heard(theirs_ms, self._unix_ms(), self.peer.rtt_ms)
                if not self.peer.blocked:
                    self.push(QUEUE_CLASS[Kind.PONG], frame(Kind.PONG, payload))

    async def _say_goodbye(self, reason: str) -> None:
        """In a task of its own: aiohttp's `close` may raise a cancellation that is not ours."""
        word = self._ws.close(code=WSCloseCode.GOING_AWAY, message=reason.encode())
        closing = asyncio.create_task(word)
        await asyncio.wait({closing}, timeout=self._limits.close_timeout_ms / 1000)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


def _ending(task: "asyncio.Task[str]") -> str:
    error = task.exception()
    if error is None:
        return task.result()
    if not isinstance(error, OSError):  # ours, and no reason to fall for everybody else
        log_event(_log, logging.ERROR, "peer_task_failed", error=describe_error(error))
    return "CONNECTION_LOST"
