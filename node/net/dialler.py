"""The dialling side: one task per peer that keeps a connection up and reads frames from it.

The dialler pins the listener's key before it says a word, proves its own in its first frame,
then only receives (and pings). Whatever the peer does ends this connection, never the task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from node.errors import BadFrame, NetworkError, PeerRefused, WrongKey
from node.logs import describe_error, log_event
from node.net.backoff import Backoff
from node.net.frames import MESSAGE_BYTES_MAX, PING_BYTES, Kind, frame, split
from node.net.handshake import Chain, prove, read_verdict, single
from node.net.limits import NetLimits
from node.net.listener import PEER_PATH
from node.net.peer import Peer
from node.net.tls import peer_key
from salus.errors import BadMessage
from salus.keys import SigningKey, address

PINGS_MAX = 16  # without an answer; more than the idle time-out leaves room for, by default

_log = logging.getLogger("salus.net")


def client_session(context: object) -> aiohttp.ClientSession:
    """One session for all dials: no proxies, no cookies, no redirects, no connection reuse."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_no_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context, force_close=True),  # type: ignore[arg-type]
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
    )


async def _no_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object
) -> None:
    """An impostor at a peer's address must not make us knock at other doors."""
    raise NetworkError("the peer redirects", code="PEER_UNREACHABLE")


@dataclass(frozen=True, slots=True)
class DialContext:
    """What all diallers of a network share."""

    identity: SigningKey
    chain: Chain
    limits: NetLimits
    session: aiohttp.ClientSession
    receive: Callable[[Peer, Kind, bytes, int], Awaitable[None] | None]  # … , now_ms
    garbage: Callable[[Peer, str], None]
    now_ms: Callable[[], int]  # monotonic
    unix_ms: Callable[[], int]
    changed: Callable[[], None]  # a connection came or went


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a connection that was up ended, and whether that is the peer's word."""

    code: str
    by_peer: bool = False


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
            except (aiohttp.ClientError, OSError, ValueError) as error:
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
        context, peer = self._context, self._peer
        async with asyncio.timeout(context.limits.handshake_timeout_ms / 1000):
            ws = await context.session.ws_connect(
                f"https://{self._address}{PEER_PATH}",
                max_msg_size=MESSAGE_BYTES_MAX,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(
                    ws_receive=None, ws_close=context.limits.close_timeout_ms / 1000
                ),
            )
        try:
            async with asyncio.timeout(context.limits.handshake_timeout_ms / 1000):
                member = await self._handshake(ws)
            return await self._while_up(ws, member)
        finally:
            peer.connected_in, peer.hang_up = False, None
            # In a task of its own: its drain may raise a cancellation that is not ours.
            await asyncio.gather(asyncio.create_task(ws.close()), return_exceptions=True)

    async def _handshake(self, ws: aiohttp.ClientWebSocketResponse) -> str:
        found = peer_key(ws.get_extra_info("ssl_object"))
        if found != self._peer.public_key:
            raise WrongKey(
                f"{self._address} answered with key {address(found) if found else 'of no kind'}, "
                f"but {address(self._peer.public_key)} was expected"
            )
        _, hello = single(await _message(ws), Kind.HELLO)
        proof = prove(hello, found, self._context.identity, self._context.chain)
        await ws.send_bytes(frame(Kind.PROOF, proof))
        return read_verdict(*single(await _message(ws), Kind.WELCOME, Kind.REFUSAL))

    async def _while_up(self, ws: aiohttp.ClientWebSocketResponse, known_as: str) -> int:
        peer, context = self._peer, self._context
        started_ms = context.now_ms()
        hung_up: asyncio.Future[_Ending] = asyncio.get_running_loop().create_future()

        def hang_up(reason: str) -> None:
            if not hung_up.done():
                hung_up.set_result(_Ending(reason))

        self._pings.clear()  # What an older connection was asked, this one does not answer.
        peer.connected_in, peer.hang_up = True, hang_up
        peer.refused = peer.problem = None
        peer.detail, peer.seen_ms = "", started_ms
        context.changed()
        log_event(_log, logging.INFO, "peer_connected", member=peer.member, known_as=known_as)
        reader = asyncio.create_task(self._read(ws), name=f"receive {peer.member}")
        pinger = asyncio.create_task(self._ping(ws), name=f"ping {peer.member}")
        try:
            await asyncio.wait({reader, pinger, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            ended = next(task for task in (hung_up, reader, pinger) if task.done())
            try:
                ending = ended.result()
            except OSError:
                ending = _Ending("CONNECTION_LOST")
        finally:
            reader.cancel()
            pinger.cancel()
            await asyncio.gather(reader, pinger, return_exceptions=True)
            lived_ms = context.now_ms() - started_ms
        detail = peer.conduct.reason if ending.code == "BANNED_BY_US" else ""
        self._failed(ending.code, detail, by_peer=ending.by_peer)
        return lived_ms

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> _Ending:
        peer, context = self._peer, self._context
        while True:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return _Ending(_word(message.extra), by_peer=True)
            if lost(message):
                return _Ending("CONNECTION_LOST")
            try:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    raise BadFrame("not a binary message", code="FRAME_KIND")
                frames = split(message.data)
            except BadFrame as error:
                context.garbage(peer, error.code)
                return _Ending("BANNED_BY_US")
            now_ms = context.now_ms()
            if not peer.blocked:
                peer.seen_ms = now_ms
            self._delivering = True
            for kind, payload in frames:
                if kind is Kind.PONG:
                    self._pong(payload)
                    continue
                waiting = context.receive(peer, kind, payload, now_ms)
                if waiting is not None:
                    await waiting
                    now_ms = context.now_ms()
            self._delivering = False

    async def _ping(self, ws: aiohttp.ClientWebSocketResponse) -> _Ending:
        peer, context = self._peer, self._context
        while True:
            now_ms = context.now_ms()
            silent_ms = now_ms - (peer.seen_ms or now_ms)
            if silent_ms > context.limits.idle_timeout_ms and not self._delivering:
                return _Ending("IDLE")
            if not peer.blocked:
                ping = context.unix_ms().to_bytes(PING_BYTES)
                self._pings[ping] = now_ms
                while len(self._pings) > PINGS_MAX:
                    del self._pings[next(iter(self._pings))]
                await ws.send_bytes(frame(Kind.PING, ping))
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


async def _message(ws: aiohttp.ClientWebSocketResponse) -> bytes:
    message = await ws.receive()
    if message.type is aiohttp.WSMsgType.BINARY:
        return bytes(message.data)
    if message.type is aiohttp.WSMsgType.CLOSE:
        raise PeerRefused("the peer closed during the handshake", code=_word(message.extra))
    raise NetworkError("the connection ended during the handshake")


def lost(message: aiohttp.WSMessage) -> bool:
    """The connection ended, as opposed to: the peer sent something that is no WebSocket."""
    if message.type is aiohttp.WSMsgType.ERROR:
        return not isinstance(message.data, aiohttp.WebSocketError)
    return message.type in (aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


def _word(text: object) -> str:
    """A peer's reason for closing, if it is a word; it goes into logs and `status`."""
    if isinstance(text, str) and text.isascii() and text.replace("_", "").isupper():
        return text[:32]
    return "CLOSED"
