"""Between node and keeper: one question and one answer over a Unix socket.

    frame = u32(length) ‖ encode(UnwrapRequest) one way, encode(Unwrapped) the other

Law of the file: nobody can connect before owner, group and mode of the socket are what they shall be;
sizes and times are bounded on both sides; a keeper that does not answer is down, and then nothing is
released.
"""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from node.keeper import Keeper, UnwrapRequest
from node.logs import log_event
from node.unix_socket import short
from salus.codec import Bytes32, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.ticket import RECORDS_PER_TICKET_MAX
from storage.errors import StorageError

log = logging.getLogger("salus.keeper")

LENGTH_BYTES = 4
REQUEST_BYTES_MAX = 64 * 2**20  # proof and docket with 30,000 ends of epochs each, at 1 kB
ANSWER_BYTES_MAX = 64 * 2**10
QUESTIONS_MAX = 4  # at once
LARGE_BYTES = 2**20  # of these one at a time: read and decoded, one of 64 MiB takes half a gigabyte
QUESTION_S_MAX = 10.0  # a judgement takes milliseconds; then somebody hangs


class Unwrapped(Wire, frozen=True):
    """Keys in the order of the request, or the word of the refusal and why."""

    keys: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)]
    code: Annotated[str, msgspec.Meta(pattern=r"^([A-Z][A-Z0-9_]{1,47})?$(?!\n)")]
    message: Annotated[str, msgspec.Meta(max_length=1_000)]


class KeeperServer:
    """The keeper's end."""

    def __init__(self, keeper: Keeper, path: Path, *, group: int | None = None) -> None:
        """`group`: whose members may ask too; without one only the keeper's own user."""
        self.keeper, self.path, self.group = keeper, path, group
        self._server: asyncio.Server | None = None
        self._questions = asyncio.Semaphore(QUESTIONS_MAX)
        self._large = asyncio.Lock()
        self._judging = asyncio.Lock()  # one log, one line after the other

    async def start(self) -> None:
        """Raises `SalusError` (CONFIG_INVALID) if something else has the name, or the group is not
        one of the keeper's own."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            with short(self.path) as name:
                self._bind(listener, name)
        except BaseException:
            listener.close()
            raise
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    def _bind(self, listener: socket.socket, name: str) -> None:
        try:
            # Ours, of a life that was killed: who calls this holds the folder's lock.
            if not stat.S_ISSOCK(os.lstat(name).st_mode):
                raise SalusError(f"{self.path} is no socket", code="CONFIG_INVALID")
            os.unlink(name)
        except FileNotFoundError:
            pass
        before = os.umask(0o177)
        try:
            listener.bind(name)
        finally:
            os.umask(before)
        if self.group is not None:
            try:
                os.chown(name, -1, self.group)
            except PermissionError:
                raise SalusError(
                    "the keeper's user is no member of the group that shall ask it",
                    code="CONFIG_INVALID",
                ) from None
            os.chmod(name, 0o660)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S_MAX), self._questions:
                length = await _length(reader, REQUEST_BYTES_MAX)
                if length <= LARGE_BYTES:
                    answer = await self._answer(await reader.readexactly(length))
                else:
                    async with self._large:
                        answer = await self._answer(await reader.readexactly(length))
                await _send(writer, encode(answer))
        except asyncio.IncompleteReadError as error:
            if error.partial:  # else somebody only looked whether it runs
                log_event(log, logging.WARNING, "question_cut_off")
        except (OSError, TimeoutError, BadMessage):
            log_event(log, logging.WARNING, "question_cut_off")
        finally:
            writer.close()

    async def _answer(self, raw: bytes) -> Unwrapped:
        try:
            request = decode(raw, UnwrapRequest)
            async with self._judging:
                return Unwrapped(await asyncio.to_thread(self.keeper.unwrap, request), "", "")
        except (SalusError, StorageError) as error:
            log_event(log, logging.WARNING, "refused", error=error.code)
            return Unwrapped((), error.code, error.message[:1_000])


class KeeperDesk:
    """The node's end: asks the keeper, and holds no key that could answer instead."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def unwrap(self, request: UnwrapRequest) -> tuple[bytes, ...]:
        """The document keys, in the order of the request. Raises `SalusError`: those of
        `Keeper.unwrap`, and KEEPER_DOWN."""
        try:
            async with asyncio.timeout(QUESTION_S_MAX):
                with short(self.path) as name:
                    reader, writer = await asyncio.open_unix_connection(name)
                try:
                    await _send(writer, encode(request))
                    answer = decode(await _receive(reader, ANSWER_BYTES_MAX), Unwrapped)
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError, BadMessage):
            raise SalusError("the keeper does not answer", code="KEEPER_DOWN") from None
        if answer.code:
            raise SalusError(answer.message, code=answer.code)
        if len(answer.keys) != len(request.keys):
            raise SalusError("the keeper gave another number of keys", code="KEEPER_DOWN")
        return answer.keys


async def _receive(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Raises `BadMessage` for a frame that is too long, `EOFError` for one that ends early."""
    return await reader.readexactly(await _length(reader, bytes_max))


async def _length(reader: asyncio.StreamReader, bytes_max: int) -> int:
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
    if length > bytes_max:
        raise BadMessage(f"a frame has at most {bytes_max} bytes", code="TOO_LARGE")
    return length


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(len(content).to_bytes(LENGTH_BYTES) + content)
    await writer.drain()
