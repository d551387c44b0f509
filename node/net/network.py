"""The transport between members: who is connected, what is sent, what is received.

Two nodes are joined by two connections: each dials the other, and frames flow from the listener
to the dialler (performance.md: the sender is the WebSocket server and need not mask). `send`
never blocks; `deliver` is awaited, so a busy node reads more slowly and its peers' queues fill.
Law of the file: nothing that one peer does raises, blocks or slows anything for another.
"""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Protocol

from aiohttp import WSMsgType, web

from node.errors import BadFrame, NodeBusy, PeerRefused
from node.logs import describe_error, log_event
from node.net import tls
from node.net.backoff import Backoff
from node.net.dialler import DialContext, Dialler
from node.net.frames import FRAME_HEADER_BYTES, QUEUE_CLASS, Kind, frame
from node.net.handshake import (
    NONCE_BYTES,
    Chain,
    Hello,
    Refusal,
    RefusalFrame,
    Welcome,
    check_proof,
    single,
)
from node.net.limits import NetLimits
from node.net.listener import Listener, Slot
from node.net.peer import Feed, Peer, PeerAddress, PeerInfo
from salus.codec import encode
from salus.errors import SalusError
from salus.keys import SigningKey, address

Membership = Callable[[bytes], str | None]
Deliver = Callable[[str, Kind, bytes], Awaitable[None] | None]

# Why we do not dial a peer, in `PeerInfo.problem`; the peer's own words are `Refusal`.
NOT_IN_MEMBERSHIP = "NOT_IN_MEMBERSHIP"
BANNED_BY_US = "BANNED_BY_US"

GARBAGE_POINTS = 100  # no frame at all: nobody honest does that, disconnect at once
BAD_CONTENT_POINTS = 60  # a frame whose content was refused: a second one within 2 s is a ban
RATE_POINTS = 1  # a flood runs up the score within milliseconds, a burst does not

_log = logging.getLogger("salus.net")


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


class NetMetrics(Protocol):
    """What the transport counts; node/metrics.py implements it."""

    def frame(self, kind: Kind, direction: str, payload_bytes: int) -> None:
        """`direction`: in | out."""

    def rejected(self, reason: str) -> None:
        """A connection, a peer or a frame was turned away."""

    def dropped(self, kind: Kind) -> None:
        """A frame of ours found no place in a queue, or no connection."""


class NoMetrics:
    def frame(self, kind: Kind, direction: str, payload_bytes: int) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def dropped(self, kind: Kind) -> None: ...


class Network:
    """All connections of one node.

    `membership`: node key → member id, or None. `listen`: host and port (0: any). `random`:
    jitter for re-dialling. `unix_ms`: the clock that pings tell. `fault_injection`: allows `block` and `delay_ms` (dev profile).
    """

    def __init__(
        self,
        identity: SigningKey,
        chain: Chain,
        listen: tuple[str, int],
        peers: Sequence[PeerAddress],
        membership: Membership,
        deliver: Deliver,
        *,
        random: Random,
        limits: NetLimits | None = None,
        metrics: NetMetrics | None = None,
        unix_ms: Callable[[], int] = unix_ms,
        fault_injection: bool = False,
    ) -> None:
        self._identity, self._chain, self._listen = identity, chain, listen
        self._membership, self._deliver = membership, deliver
        self._random, self._limits = random, limits or NetLimits()
        self._metrics: NetMetrics = metrics or NoMetrics()
        self._unix_ms, self._fault_injection = unix_ms, fault_injection
        self._peers: dict[bytes, Peer] = {}  # by node key; bounded by peers_max
        self._by_member: dict[str, Peer] = {}
        self._addresses = tuple(peers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        self._stopping = False
        self._changed = asyncio.Event()
        self.port = listen[1]
        self._listener = Listener(
            tls.server_context(identity), self._limits, self._serve, self._metrics.rejected
        )

    # ---- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, then dial everybody. Raises `OSError` if the address cannot be bound."""
        self.port = await self._listener.start(*self._listen)
        self._tls = tls.client_context()
        for peer_address in self._addresses:
            self.add_peer(peer_address)
        log_event(_log, logging.INFO, "listening", host=self._listen[0], port=self.port)

    def add_peer(self, peer_address: PeerAddress) -> None:
        """Dial this peer from now on, or from `start` on (a SIGHUP may come before it)."""
        if self._tls is None:
            self._addresses += (peer_address,)
            return
        peer = self._peers.get(peer_address.public_key)
        if peer is None:
            peer = self._new_peer(peer_address.public_key)
        if peer.address is not None:
            return
        peer.address = peer_address
        if peer_address.public_key == self._identity.public_key:
            # Most likely a peers list that was copied to all nodes; harmless, but said.
            peer.admitted, peer.problem = False, Refusal.OWN_KEY
            return
        limits = self._limits
        context = DialContext(
            self._identity,
            self._chain,
            limits,
            self._tls,
            self._receive,
            self._garbage,
            self._now_ms,  # the one clock, also when a test has stopped it
            self._unix_ms,
            self._notify,
        )
        backoff = Backoff(
            self._random,
            min_ms=limits.dial_min_ms,
            max_ms=limits.dial_max_ms,
            stable_ms=limits.dial_stable_ms,
        )
        task = asyncio.create_task(
            Dialler(peer, context, backoff).run(), name=f"dial {peer.member}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    async def stop(self) -> None:
        """Flush what is queued for at most `close_timeout_ms`, say goodbye, close everything."""
        self._stopping = True
        feeds = [peer.feed for peer in self._peers.values() if peer.feed is not None]
        try:
            async with asyncio.timeout(self._limits.close_timeout_ms / 1000):
                await asyncio.gather(*(feed.flushed() for feed in feeds))
        except TimeoutError:
            log_event(_log, logging.INFO, "stopped_without_flush", peers_count=len(feeds))
        for feed in feeds:
            feed.close(Refusal.STOPPING)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(feed.ended() for feed in feeds))
        await self._listener.stop()

    # ---- sending ----------------------------------------------------------------------------

    def send(self, member: str, kind: Kind, payload: bytes) -> bool:
        """Queue a frame for a member. False: not connected, or its queue is full. Never blocks."""
        peer = self._by_member.get(member)
        return self._push(peer, kind, frame(kind, payload))

    def broadcast(self, kind: Kind, payload: bytes, members: Iterable[str] | None = None) -> int:
        """Queue one frame for these members, or for all; returns for how many."""
        data, count, peers = frame(kind, payload), 0, self._by_member
        for member in peers if members is None else members:
            if self._push(peers.get(member), kind, data):
                count += 1
        return count

    def _push(self, peer: Peer | None, kind: Kind, data: bytes) -> bool:
        feed = peer.feed if peer is not None else None
        if peer is None or feed is None or peer.blocked:
            self._metrics.dropped(kind)
            return False
        if peer.delay_ms:  # fault injection: a line of constant length
            later = asyncio.get_running_loop().call_later
            later(peer.delay_ms / 1000, feed.push, QUEUE_CLASS[kind], data)
            return True
        if not feed.push(QUEUE_CLASS[kind], data):
            self._metrics.dropped(kind)
            return False
        self._metrics.frame(kind, "out", len(data) - FRAME_HEADER_BYTES)
        return True

    # ---- who is a peer ----------------------------------------------------------------------

    def peers(self) -> list[PeerInfo]:
        """Every known peer, ascending by member id."""
        now_ms = self._now_ms()
        return sorted((peer.info(now_ms) for peer in self._peers.values()), key=lambda p: p.member)

    def set_membership(self, membership: Membership) -> None:
        """Of the new epoch: connections of keys that are members no more are closed."""
        self._membership = membership
        self._by_member.clear()  # at once: a member's old key must not take its new one along
        for peer in tuple(self._peers.values()):
            member = membership(peer.public_key)
            peer.member = member or address(peer.public_key)
            peer.admitted = member is not None and peer.public_key != self._identity.public_key
            if peer.admitted:
                self._by_member[peer.member] = peer
                peer.dial_now.set()
            else:
                peer.close(Refusal.NOT_A_MEMBER, NOT_IN_MEMBERSHIP)
                peer.problem = peer.problem or NOT_IN_MEMBERSHIP
                if peer.address is None and peer.feed is None:
                    del self._peers[peer.public_key]
        self._notify()

    def penalise(self, member: str, points: int, reason: str) -> None:
        """Somebody above found fault with a frame of this member; enough points are a ban."""
        peer = self._by_member.get(member)
        if peer is not None:
            self._penalise(peer, points, reason)

    async def wait_for(self, condition: Callable[[list[PeerInfo]], bool]) -> None:
        """Until the peers satisfy `condition`; checked whenever a connection comes or goes."""
        while not condition(self.peers()):
            self._changed.clear()
            await self._changed.wait()

    # ---- fault injection (dev profile) ------------------------------------------------------

    def block(self, member: str) -> None:
        """From now on nothing reaches the member and nothing of it reaches us; both connections
        stay open until they time out, as if the packets were lost."""
        self._faulty(member).blocked = True
        self._notify()

    def unblock(self, member: str) -> None:
        peer = self._faulty(member)
        peer.blocked = False
        peer.dial_now.set()
        self._notify()

    def delay_ms(self, member: str, delay_ms: int) -> None:
        """Everything sent to the member leaves so much later; 0 ends it."""
        assert delay_ms >= 0
        self._faulty(member).delay_ms = delay_ms

    def _faulty(self, member: str) -> Peer:
        if not self._fault_injection:
            raise PeerRefused("fault injection needs the dev profile", code="FAULTS_DISABLED")
        peer = self._by_member.get(member)
        if peer is None:
            raise PeerRefused("no such peer", code="UNKNOWN_PEER")
        return peer

    # ---- receiving --------------------------------------------------------------------------

    def _receive(
        self, peer: Peer, kind: Kind, payload: bytes, now_ms: int
    ) -> Awaitable[None] | None:
        """One frame from a connection that we dialled; to be awaited if it has to wait for
        something. Raises nothing that a peer can cause."""
        if peer.blocked or not peer.admitted or now_ms < peer.conduct.banned_until_ms:
            return None
        if not peer.receive_limits.admit(kind, len(payload), now_ms):
            self._penalise(peer, RATE_POINTS, f"RATE_{kind.name}")
            return None
        self._metrics.frame(kind, "in", len(payload))
        try:
            delivered = self._deliver(peer.member, kind, payload)
        except Exception as error:  # noqa: BLE001 - sorted below
            self._not_delivered(peer, kind, error)
            return None
        return None if delivered is None else self._delivering(peer, kind, delivered)

    async def _delivering(self, peer: Peer, kind: Kind, delivered: Awaitable[None]) -> None:
        try:
            await delivered
        except Exception as error:  # noqa: BLE001 - sorted below
            self._not_delivered(peer, kind, error)

    def _not_delivered(self, peer: Peer, kind: Kind, error: Exception) -> None:
        if isinstance(error, NodeBusy):
            self._metrics.rejected("NODE_BUSY")  # our limit, not the peer's fault
        elif isinstance(error, SalusError):
            self._penalise(peer, BAD_CONTENT_POINTS, error.code)
        else:  # ours; the connection must not end of it
            self._metrics.rejected("DELIVER_FAULT")
            log_event(
                _log,
                logging.ERROR,
                "deliver_failed",
                member=peer.member,
                kind=kind.name,
                error=describe_error(error),
            )

    def _garbage(self, peer: Peer, reason: str) -> None:
        self._penalise(peer, GARBAGE_POINTS, reason)

    def _penalise(self, peer: Peer, points: int, reason: str) -> None:
        self._metrics.rejected(reason)
        now_ms = self._now_ms()
        if peer.conduct.penalise(points, reason, now_ms):
            banned_ms = peer.conduct.banned_until_ms - now_ms
            log_event(
                _log,
                logging.WARNING,
                "peer_banned",
                member=peer.member,
                reason=reason,
                banned_ms=banned_ms,
            )
            peer.close(Refusal.BANNED, BANNED_BY_US)

    # ---- being dialled ----------------------------------------------------------------------

    async def _serve(self, ws: web.WebSocketResponse, request: web.BaseRequest, slot: Slot) -> None:
        """One connection to our listener: handshake, then feed it until it ends."""
        try:
            key = await self._authenticate(ws)
        except PeerRefused as error:
            self._metrics.rejected(error.code)
            log_event(
                _log,
                logging.WARNING,
                "peer_refused",
                reason=error.code,
                detail=error.message,
                key=error.facts.get("key", ""),
                ip=slot.ip,
            )
            await _answer(ws, Kind.REFUSAL, encode(RefusalFrame(str(error.code))))
            return
        except BadFrame as error:
            self._metrics.rejected(error.code)
            log_event(_log, logging.WARNING, "peer_refused", reason=error.code, ip=slot.ip)
            return
        transport = request.transport
        if transport is None or not await _answer(
            ws, Kind.WELCOME, encode(Welcome(self._membership(key) or ""))
        ):
            return
        slot.done.set()
        await self._feed(key, ws, transport)

    async def _authenticate(self, ws: web.WebSocketResponse) -> bytes:
        """The dialler's key. Raises `PeerRefused` or `BadFrame`; the slot bounds the time."""
        nonce = os.urandom(NONCE_BYTES)
        await _answer(ws, Kind.HELLO, encode(Hello(self._chain.version, nonce)))
        message = await ws.receive()
        if message.type is not WSMsgType.BINARY:
            raise BadFrame("no proof", code="HANDSHAKE_ABORTED")
        _, proof = single(message.data, Kind.PROOF)
        key, _ = check_proof(proof, nonce, self._identity.public_key, self._chain, self._membership)
        peer, who = self._peers.get(key), address(key)
        if self._stopping:
            raise PeerRefused("we are stopping", code=Refusal.STOPPING, key=who)
        if peer is None and len(self._peers) >= self._limits.peers_max:
            raise PeerRefused("too many peers", code=Refusal.TOO_MANY_PEERS, key=who)
        if peer is not None and peer.conduct.banned(self._now_ms()):
            raise PeerRefused("banned", code=Refusal.BANNED, key=who)
        if peer is not None and peer.blocked:
            raise PeerRefused("partitioned", code=Refusal.PARTITIONED, key=who)
        return key

    async def _feed(
        self, key: bytes, ws: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        if self._membership(key) is None or self._stopping:
            return  # it changed while we said welcome
        peer = self._peers.get(key) or self._new_peer(key)
        feed = Feed(peer, ws, transport, self._limits, self._unix_ms)
        if peer.feed is not None:
            peer.feed.close("REPLACED")  # one live connection per direction: the newer one
        peer.feed = feed
        if not peer.connected_in:
            peer.dial_now.set()  # it is there: no reason to wait for our own next try
        self._notify()
        log_event(_log, logging.INFO, "peer_dialled_us", member=peer.member)
        try:
            reason = await feed.run()
            log_event(_log, logging.INFO, "peer_gone", member=peer.member, reason=reason)
            if reason == "GARBAGE":
                self._garbage(peer, "GARBAGE_ON_FEED")
        finally:
            peer.dropped_total += feed.queue.dropped_total
            if peer.feed is feed:
                peer.feed = None
                if peer.address is None and not peer.conduct.banned(self._now_ms()):
                    self._forget(peer)
            self._notify()

    # ---- bookkeeping ------------------------------------------------------------------------

    def _new_peer(self, key: bytes) -> Peer:
        member = self._membership(key)
        peer = Peer(key, member or address(key), None, self._limits)
        peer.admitted = member is not None
        if not peer.admitted:
            peer.problem = NOT_IN_MEMBERSHIP
        self._peers[key] = peer
        if peer.admitted:
            self._by_member[peer.member] = peer
        return peer

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.public_key, None)
        if self._by_member.get(peer.member) is peer:
            del self._by_member[peer.member]

    def _notify(self) -> None:
        self._changed.set()

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log_event(_log, logging.ERROR, "peer_task_failed", error=describe_error(error))

    @staticmethod
    def _now_ms() -> int:
        return int(time.monotonic() * 1000)  # what the loop's clock shows, without the loop


async def _answer(ws: web.WebSocketResponse, kind: Kind, payload: bytes) -> bool:
    """Send a handshake frame; False if the other side is gone already."""
    try:
        await ws.send_bytes(frame(kind, payload))
    except OSError:
        return False
    return True
