"""Single POSTs to a node, at the price of a lean program: the generator shares the processors that it measures.

Plain HTTP/1.1: one request at a time on a connection, which is kept for the next one. Law of the file: an
answer is an answer once its last byte is here, and a connection that ends before it is an error.
"""

import asyncio
import re
from collections.abc import Callable
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from cli.errors import CliError

HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
CLOSES = b"\r\nconnection: close"
LATER = b"\r\nretry-after: "
STATUS = slice(9, 12)  # HTTP/1.1 200 OK


class Answer(NamedTuple):
    status: int
    body: bytes
    later: bool  # with Retry-After


class Posts:
    """Of one body each, to one path of one node. What waits for its answer has a connection for itself."""

    def __init__(self, api: str, path: str, media: str) -> None:
        found = urlsplit(api)
        assert found.scheme == "http", "a network on this machine"
        assert found.hostname is not None
        assert found.port is not None
        self._api, self._host, self._port = api, found.hostname, found.port
        head = f"POST {path} HTTP/1.1\r\nHost: {found.netloc}\r\nContent-Type: {media}\r\n"
        self._head = head.encode() + b"Content-Length: %d\r\n\r\n"
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def post(self, body: bytes) -> Answer:
        """Raises `CliError`."""
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            answer = await connection.ask(self._head % len(body) + body)
        except ConnectionError as error:
            raise CliError("BENCH_FAILED", f"{self._api} gave no answer: {error}") from None
        if not connection.ended:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in tuple(self._open):
            connection.close()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._forget), self._host, self._port
            )
        except OSError as error:
            raise CliError("BENCH_FAILED", f"{self._api} takes no connection: {error}") from None
        self._open.add(connection)
        return connection

    def _forget(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, forget: Callable[["_Connection"], None]) -> None:
        self.ended = False
        self._forget = forget
        self._transport: asyncio.Transport
        self._buffer = b""
        self._answer: asyncio.Future[Answer] | None = None

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """To be awaited before the next; raises `ConnectionError`."""
        assert self._answer is None, "one request at a time"
        self._answer = asyncio.get_running_loop().create_future()
        if self.ended:
            self._answer.set_exception(ConnectionResetError("closed while idle"))
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self._transport.close()

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one but does not say so

    def data_received(self, data: bytes) -> None:
        self._buffer = data = self._buffer + data if self._buffer else data
        end = data.find(HEAD_END)
        if end < 0:
            return
        length = _LENGTH.search(data, 0, end + 2)
        if length is None:
            self._fail("an answer without its length")
        elif len(data) >= end + len(HEAD_END) + int(length[1]):
            head = data[:end].lower()
            self.ended = CLOSES in head
            self._buffer, answer, self._answer = b"", self._answer, None
            if answer is not None and not answer.done():  # whoever asked may have been cancelled
                body = data[end + len(HEAD_END) :]
                answer.set_result(Answer(int(data[STATUS]), body, LATER in head))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("closed before its answer")

    def _fail(self, why: str) -> None:
        self.ended = True
        self._forget(self)
        self._transport.close()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(ConnectionResetError(why))
