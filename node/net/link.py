"""The dialler's end of a connection: TLS, the upgrade, then whole messages as they arrive.

A protocol and no stream: a message is handled in the turn of the loop that received it. Through
queue, future and task it would take two more turns, five times between a transaction and its
block. Law of the file: while a receiver asks us to wait, nothing more is read.
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self, cast

from node.errors import BadFrame, NetworkError, PeerRefused
from node.net.frames import HANDSHAKE_MESSAGE_BYTES_MAX, KIB
from node.net.websocket import (
    HEAD_BYTES_MAX,
    HEAD_END,
    KEY_BYTES,
    MASK_BYTES,
    check_upgrade,
    client_message,
    close_reason,
    find_message,
    upgrade_request,
)

UNREAD_BYTES_MAX = 64 * KIB  # of frames that come while we still shake hands
PINGS_BYTES_MAX = 4 * KIB  # some hundred pings that the peer does not read
NORMAL_CLOSURE = 1000  # RFC 6455, 7.4.1

# Takes a message; what comes back has to be awaited before the next one.
Receiver = Callable[[bytes], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection that was up ended, and whether that is the peer's word."""

    code: str
    by_peer: bool = False


class Link(asyncio.Protocol):
    """Made by `dial`; `ended` tells how it ended: an `Ending`, or what a receiver raised."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._buffer = bytearray()  # what has come and is no whole message yet
        self._needed = 0  # so many bytes of it are worth a look
        self._receiver: Receiver | None = None  # None: we still shake hands
        self._waiting: asyncio.Future[None] | None = None  # the receiver's wish
        self._more = asyncio.Event()

    @classmethod
    async def dial(
        cls, host: str, port: int, context: ssl.SSLContext, close_timeout_ms: int
    ) -> Self:
        """TCP and TLS. Raises `OSError`; the caller sets the time-out."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            cls, host, port, ssl=context, ssl_shutdown_timeout=close_timeout_ms / 1000
        )
        return link

    @property
    def tls(self) -> ssl.SSLObject | None:
        found: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return found

    # -- shaking hands --------------------------------------------------------------------------

    async def upgrade(self, host: str, path: str) -> None:
        """From HTTP to WebSocket; raises `NetworkError`."""
        key = os.urandom(KEY_BYTES)
        self._transport.write(upgrade_request(host, path, key))
        while (end := self._buffer.find(HEAD_END)) < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise NetworkError("what answers there is no node")
            await self._wait_for_more()
        check_upgrade(bytes(self._buffer[:end]), key)
        del self._buffer[: end + len(HEAD_END)]

    async def message(self) -> bytes:
        """The next message of the handshake; raises `PeerRefused` (a goodbye), `NetworkError`."""
        while True:
            found = find_message(self._buffer, 0)
            if found is not None:
                if found.end - found.start > HANDSHAKE_MESSAGE_BYTES_MAX:
                    raise BadFrame("too long for a handshake", code="FRAME_TOO_LARGE")
                if found.end <= len(self._buffer):
                    payload = bytes(self._buffer[found.start : found.end])
                    del self._buffer[: found.end]
                    if found.closes:
                        word = _word(close_reason(payload))
                        raise PeerRefused("the peer closed during the handshake", code=word)
                    return payload
            await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        if self.ended.done():
            raise NetworkError("the connection ended during the handshake")
        self._more.clear()
        await self._more.wait()

    # -- messages -------------------------------------------------------------------------------

    def receive(self, receiver: Receiver) -> None:
        """From now on every message goes there, at once; those that have come already, too."""
        self._receiver = receiver
        self._resume()

    def send(self, payload: bytes) -> bool:
        """One short message; False if the peer has long ceased to read. Never blocks."""
        transport = self._transport
        if transport.get_write_buffer_size() > PINGS_BYTES_MAX:
            return False
        if not transport.is_closing():
            transport.write(client_message(payload, os.urandom(MASK_BYTES)))
        return True

    def close(self) -> None:
        """Say goodbye, and read nothing more."""
        self._end(Ending("CLOSED"))
        self.ended.exception()  # seen, also if the connection was given up for another reason
        if self._waiting is not None:
            self._waiting.cancel()
        if not self._transport.is_closing():
            code = NORMAL_CLOSURE.to_bytes(2)
            self._transport.write(client_message(code, os.urandom(MASK_BYTES), closes=True))
            self._transport.close()

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one but does not say so

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Ending("CONNECTION_LOST"))

    def data_received(self, data: bytes) -> None:
        if self.ended.done():
            return
        if self._buffer or self._receiver is None or self._waiting is not None:
            self._buffer += data
            if self._receiver is None:
                self._more.set()
                if len(self._buffer) > UNREAD_BYTES_MAX:
                    self._transport.pause_reading()
                return
            if self._waiting is not None or len(self._buffer) < self._needed:
                return
            data = self._unread()
        self._take(data)

    def _take(self, data: bytes) -> None:
        """All whole messages in `data`; the rest waits for more."""
        at = 0
        try:
            receiver, size = self._receiver, len(data)
            assert receiver is not None
            while at < size and self._waiting is None and not self.ended.done():
                found = find_message(data, at)
                if found is None or found.end > size:
                    self._needed = 0 if found is None else found.end - at
                    break
                closes, start, at = found
                if closes:
                    self._end(Ending(_word(close_reason(data[start:at])), by_peer=True))
                elif (waiting := receiver(data[start:at])) is not None:
                    self._wait_for(waiting)
        except Exception as error:  # noqa: BLE001 - the dialler knows whose fault it is
            self._fail(error)
        if at < len(data):
            self._buffer += data[at:]

    def _wait_for(self, waiting: Awaitable[None]) -> None:
        self._transport.pause_reading()
        self._needed = 0
        self._waiting = asyncio.ensure_future(waiting)
        self._waiting.add_done_callback(self._waited)

    def _waited(self, waiting: asyncio.Future[None]) -> None:
        self._waiting = None
        if not waiting.cancelled() and (error := waiting.exception()) is not None:
            self._fail(error)
        if not self.ended.done():
            self._resume()

    def _resume(self) -> None:
        """What has come meanwhile, and then more of it."""
        if self._buffer:
            self._take(self._unread())
        if self._waiting is None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _unread(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _fail(self, error: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    def _end(self, ending: Ending) -> None:
        if not self.ended.done():
            self.ended.set_result(ending)
        self._more.set()


def _word(text: str) -> str:
    """A peer's reason for closing, if it is a word; it goes into logs and `status`."""
    if text.isascii() and text.replace("_", "").isupper():
        return text[:32]
    return "CLOSED"
