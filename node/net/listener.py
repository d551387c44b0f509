"""The listening side: accept, bound who is not yet authenticated, speak TLS, hand over.

Whoever has not proved itself holds one of few slots, in total and per address, and only for the
time of a handshake; beyond that a connection is closed before any cryptography is spent on it.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from node.logs import log_event
from node.net.frames import HANDSHAKE_MESSAGE_BYTES_MAX
from node.net.hangup import cut_off
from node.net.limits import NetLimits

PEER_PATH = "/salus/v1/peer"  # Do not change: part of the handshake.

ACCEPT_BATCH = 32  # connections taken in one turn of the loop

_log = logging.getLogger("salus.net")


class Slot:
    """One unauthenticated connection; `done` when it is authenticated or gone."""

    __slots__ = ("done", "ip")

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.done = asyncio.Event()


Serve = Callable[[web.WebSocketResponse, web.BaseRequest, Slot], Awaitable[None]]


class Listener:
    """`serve(ws, request, slot)` runs for each WebSocket and sets `slot.done` once it trusts."""

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: NetLimits,
        serve: Serve,
        rejected: Callable[[str], None],
    ) -> None:
        self._context, self._limits = context, limits
        self._serve, self._rejected = serve, rejected
        self._slots: dict[object, Slot] = {}
        self._waiting: Counter[str] = Counter()
        self._sockets: list[socket.socket] = []
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: _Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Bind and accept; returns the port (the one chosen by the system for port 0)."""
        loop = asyncio.get_running_loop()
        self._server = _Server(self._handle, self._gone)
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in found:
            listening = socket.create_server((address[0], port), family=family, backlog=256)
            listening.setblocking(False)
            self._sockets.append(listening)
            port = port or listening.getsockname()[1]
            self._listen(listening)
        return port

    async def stop(self) -> None:
        """Close the sockets and whatever is still in its handshake."""
        for listening in self._sockets:
            if (pause := self._paused.pop(listening, None)) is not None:
                pause.cancel()
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()
        # A task that is cancelled before its first step would leave its connection open.
        await asyncio.sleep(0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.shutdown(self._limits.close_timeout_ms / 1000)

    def _accept(self, listening: socket.socket) -> None:
        """The socket is readable: take what waits, within limits."""
        for _ in range(ACCEPT_BATCH):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of file descriptors: the rest of the node goes on
                self._reject("ACCEPT_FAILED", "", errno=error.errno or 0)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._paused[listening] = loop.call_later(0.1, self._listen, listening)
                return
            ip = str(address[0])
            if self._waiting.total() >= self._limits.unauthenticated_max:
                self._reject("UNAUTHENTICATED_MAX", ip)
                connection.close()
            elif self._waiting[ip] >= self._limits.unauthenticated_per_ip_max:
                self._reject("UNAUTHENTICATED_PER_IP_MAX", ip)
                connection.close()
            else:
                connection.setblocking(False)
                self._waiting[ip] += 1
                self._spawn(self._admit(connection, Slot(ip)))

    def _listen(self, listening: socket.socket) -> None:
        self._paused.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def _admit(self, connection: socket.socket, slot: Slot) -> None:
        """From the accept to the proof: one deadline for all of it."""
        assert self._server is not None
        server = self._server

        def protocol() -> RequestHandler:
            handler = server()
            self._slots[handler] = slot
            return handler

        loop = asyncio.get_running_loop()
        transport: asyncio.BaseTransport | None = None
        timeout_s = self._limits.handshake_timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                transport, _ = await loop.connect_accepted_socket(
                    protocol, connection, ssl=self._context, ssl_handshake_timeout=timeout_s
                )
                await slot.done.wait()
        except TimeoutError:
            self._reject("HANDSHAKE_TIMEOUT", slot.ip)
            if isinstance(transport, asyncio.WriteTransport):
                cut_off(transport)
        except OSError:  # ssl.SSLError is one
            self._reject("TLS_FAILED", slot.ip)
        finally:
            self._waiting[slot.ip] -= 1
            if not self._waiting[slot.ip]:
                del self._waiting[slot.ip]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        slot = self._slots.get(request.protocol)
        if slot is None or request.path != PEER_PATH:
            self._reject("NOT_A_PEER", slot.ip if slot else "")
            return web.Response(status=404)
        ws = web.WebSocketResponse(
            compress=False, max_msg_size=HANDSHAKE_MESSAGE_BYTES_MAX, timeout=1.0
        )
        await ws.prepare(request)  # raises HTTPBadRequest for whoever speaks plain HTTP
        await self._serve(ws, request, slot)
        return ws

    def _gone(self, handler: object) -> None:
        slot = self._slots.pop(handler, None)
        if slot is not None:
            slot.done.set()

    def _reject(self, reason: str, ip: str, **facts: int) -> None:
        self._rejected(reason)
        log_event(_log, logging.WARNING, "connection_rejected", reason=reason, ip=ip, **facts)

    def _spawn(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Server(web.Server):
    """aiohttp's low-level server, which tells when a connection is gone."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        gone: Callable[[object], None],
    ) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=1.0, max_field_size=1024)
        self._gone = gone

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._gone(handler)
        super().connection_lost(handler, exc)
