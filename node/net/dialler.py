"""The dialling side: one task per peer that keeps a connection up and reads frames from it.

The dialler pins the listener's key before it says a word, proves its own in its first frame,
then only receives (and pings). Whatever the peer does ends this connection, never the task.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from node.errors import BadFrame, NetworkError, PeerRefused, WrongKey
from node.logs import describe_error, log_event
from node.net.backoff import Backoff
from node.net.frames import PING_BYTES, Kind, frame, split
from node.net.handshake import Chain, prove, read_verdict, single
from node.net.limits import NetLimits
from node.net.link import Ending, Link
from node.net.listener import PEER_PATH
from node.net.peer import Peer
from node.net.tls import peer_key
from salus.errors import BadMessage
from salus.keys import SigningKey, address

PINGS_MAX = 16  # without an answer; more than the idle time-out leaves room for, by default

_log = logging.getLogger("salus.net")


@dataclass(frozen=True, slots=True)
class DialContext:
    """What all diallers of a network share."""

    identity: SigningKey
    chain: Chain
    limits: NetLimits
    tls: ssl.SSLContext
    receive: Callable[[Peer, Kind, bytes, int], Awaitable[None] | None]  # … , now_ms
    garbage: Callable[[Peer, str], None]
    now_ms: Callable[[], int]  # monotonic
    unix_ms: Callable[[], int]
    changed: Callable[[], None]  # a connection came or went


class Dialler:
    def __init__(self, peer: Peer, context: DialContext, backoff: Backoff) -> None:
        assert peer.address is not None
        self._peer, self._context, self._backoff = peer, context, backoff
        self._address = peer.address
        self._delivering = False  # we are slow, not the peer
        self._pings: dict[bytes, int] = {}  # those without an answer, and when they left

    async def run(self) -> None:
        """Dial, read until it ends, wait, dial again; until cancelled."""
        peer = self._peer
        while True:
            await self._allowed()
            peer.dial_now.clear()
            lived_ms = 0
            try:
                lived_ms = await self._connection()
            except PeerRefused as error:
                self._failed(error.code, error.message, by_peer=True)
            except NetworkError as error:
                self._failed(error.code, error.message)
            except BadMessage as error:
                self._failed("BAD_FRAME", error.message)
            except TimeoutError:
                self._failed("PEER_UNREACHABLE", "no answer in time")
            except (OSError, ValueError) as error:
                self._failed("PEER_UNREACHABLE", describe_error(error))
            except Exception as error:  # noqa: BLE001 - ours; this peer must stay reachable
                self._failed("DIAL_FAULT", describe_error(error))
            await self._pause(self._backoff.after(lived_ms))

    async def _allowed(self) -> None:
        """Wait while there is no point or no right to dial."""
        peer = self._peer
        while True:
            banned_ms = peer.conduct.banned_until_ms - self._context.now_ms()
            if banned_ms > 0:
                await asyncio.sleep(banned_ms / 1000)
            elif not peer.admitted or peer.blocked:
                peer.dial_now.clear()
                await peer.dial_now.wait()
            else:
                return

    async def _pause(self, pause_ms: int) -> None:
        """Until the time is over, or there is news of the peer: it has dialled us."""
        try:
            async with asyncio.timeout(pause_ms / 1000):
                await self._peer.dial_now.wait()
        except TimeoutError:
            pass

    async def _connection(self) -> int:
        """One connection from dial to end; returns how many ms it was up."""
        limits, address = self._context.limits, self._address
        link: Link | None = None
        try:
            async with asyncio.timeout(limits.handshake_timeout_ms / 1000):
                link = await Link.dial(
                    address.host, address.port, self._context.tls, limits.close_timeout_ms
                )
                member = await self._handshake(link)
            return await self._while_up(link, member)
        finally:
            self._peer.connected_in, self._peer.hang_up = False, None
            if link is not None:
                link.close()

    async def _handshake(self, link: Link) -> str:
        found = peer_key(link.tls)
        if found != self._peer.public_key:
            raise WrongKey(
                f"{self._address} answered with key {address(found) if found else 'of no kind'}, "
                f"but {address(self._peer.public_key)} was expected"
            )
        await link.upgrade(str(self._address), PEER_PATH)
        _, hello = single(await link.message(), Kind.HELLO)
        proof = prove(hello, found, self._context.identity, self._context.chain)
        link.send(frame(Kind.PROOF, proof))
        return read_verdict(*single(await link.message(), Kind.WELCOME, Kind.REFUSAL))

    async def _while_up(self, link: Link, known_as: str) -> int:
        peer, context = self._peer, self._context
        started_ms = context.now_ms()
        hung_up: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

        def hang_up(reason: str) -> None:
            if not hung_up.done():
                hung_up.set_result(Ending(reason))

        self._pings.clear()  # What an older connection was asked, this one does not answer.
        peer.connected_in, peer.hang_up = True, hang_up
        peer.refused = peer.problem = None
        peer.detail, peer.seen_ms = "", started_ms
        context.changed()
        log_event(_log, logging.INFO, "peer_connected", member=peer.member, known_as=known_as)
        pinger = asyncio.create_task(self._ping(link), name=f"ping {peer.member}")
        try:
            link.receive(self._received)
            await asyncio.wait({link.ended, pinger, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            ended = next(one for one in (hung_up, link.ended, pinger) if one.done())
            try:
                ending = ended.result()
            except BadFrame as error:
                context.garbage(peer, error.code)
                ending = Ending("BANNED_BY_US")
        finally:
            pinger.cancel()
            await asyncio.gather(pinger, return_exceptions=True)
            lived_ms = context.now_ms() - started_ms
        detail = peer.conduct.reason if ending.code == "BANNED_BY_US" else ""
        self._failed(ending.code, detail, by_peer=ending.by_peer)
        return lived_ms

    def _received(self, message: bytes) -> Awaitable[None] | None:
        """All frames of a message, at once as long as none of them has to wait for something.
        Raises `BadFrame`."""
        peer, context = self._peer, self._context
        frames = split(message)
        now_ms = context.now_ms()
        if not peer.blocked:
            peer.seen_ms = now_ms
        for number, (kind, payload) in enumerate(frames, 1):
            if kind is Kind.PONG:
                self._pong(payload)
                continue
            waiting = context.receive(peer, kind, payload, now_ms)
            if waiting is not None:
                return self._slowly(waiting, frames[number:])
        return None

    async def _slowly(self, waiting: Awaitable[None], frames: list[tuple[Kind, bytes]]) -> None:
        """The rest of a message of which a frame has to wait for something of ours."""
        self._delivering = True
        try:
            await waiting
            for kind, payload in frames:
                if kind is Kind.PONG:
                    self._pong(payload)
                    continue
                now_ms = self._context.now_ms()
                more = self._context.receive(self._peer, kind, payload, now_ms)
                if more is not None:
                    await more
        finally:
            self._delivering = False

    async def _ping(self, link: Link) -> Ending:
        peer, context = self._peer, self._context
        while True:
            now_ms = context.now_ms()
            silent_ms = now_ms - (peer.seen_ms or now_ms)
            if silent_ms > context.limits.idle_timeout_ms and not self._delivering:
                return Ending("IDLE")
            if not peer.blocked:
                ping = context.unix_ms().to_bytes(PING_BYTES)
                self._pings[ping] = now_ms
                while len(self._pings) > PINGS_MAX:
                    del self._pings[next(iter(self._pings))]
                if not link.send(frame(Kind.PING, ping)):
                    return Ending("IDLE")  # It sends, perhaps, but it does not read.
            await asyncio.sleep(context.limits.ping_interval_ms / 1000)

    def _pong(self, payload: bytes) -> None:
        left_ms = self._pings.pop(payload, None)
        if not self._peer.blocked and left_ms is not None:
            # No longer than a silent peer is waited for: else one that answers late and says
            # something else meanwhile could name any number.
            took_ms = self._context.now_ms() - left_ms
            self._peer.rtt_ms = min(took_ms, self._context.limits.idle_timeout_ms)

    def _failed(self, code: str, detail: str, *, by_peer: bool = False) -> None:
        peer = self._peer
        changed = peer.problem != code
        peer.problem, peer.detail = code, detail
        peer.refused = code if by_peer else None
        self._context.changed()
        log_event(
            _log,
            logging.WARNING if changed else logging.DEBUG,
            "peer_not_connected",
            member=peer.member,
            address=str(self._address),
            reason=code,
            by_peer=by_peer,
            detail=detail,
        )
