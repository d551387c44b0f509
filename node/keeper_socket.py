"""Between node and keeper: one question and one answer over a Unix socket.

    frame = u32(length) ‖ encode(UnwrapRequest) one way, encode(Unwrapped) the other

Law of the file: the socket lies in a folder that only its owner may enter; sizes and times are
bounded on both sides; a keeper that does not answer is down, and then nothing is released.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import msgspec

from node.keeper import Keeper, UnwrapRequest
from node.logs import log_event
from salus.codec import Bytes32, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.ticket import RECORDS_PER_TICKET_MAX
from storage.errors import StorageError

log = logging.getLogger("salus.keeper")

LENGTH_BYTES = 4
REQUEST_BYTES_MAX = 64 * 2**20  # a proof with 60,000 ends of epochs, at 1 kB each
ANSWER_BYTES_MAX = 64 * 2**10
QUESTIONS_MAX = 4  # at once: each may hold a request in memory
QUESTION_S_MAX = 10.0  # a judgement takes milliseconds; then somebody hangs
SOCKET_PATH_BYTES_MAX = 100  # sun_path has 104 to 108, by system


class Unwrapped(Wire, frozen=True):
    """Keys in the order of the request, or the word of the refusal and why."""

    keys: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)]
    code: Annotated[str, msgspec.Meta(pattern=r"^([A-Z][A-Z0-9_]{1,47})?$(?!\n)")]
    message: Annotated[str, msgspec.Meta(max_length=1_000)]


class KeeperServer:
    """The keeper's end."""

    def __init__(self, keeper: Keeper, path: Path) -> None:
        self.keeper, self.path = keeper, path
        self._server: asyncio.Server | None = None
        self._questions = asyncio.Semaphore(QUESTIONS_MAX)
        self._judging = asyncio.Lock()  # one log, one line after the other

    async def start(self) -> None:
        """Raises `SalusError` (CONFIG_INVALID) if the path is too long for a socket."""
        if len(os.fsencode(self.path)) > SOCKET_PATH_BYTES_MAX:
            raise SalusError(
                f"{self.path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes",
                code="CONFIG_INVALID",
            )
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S_MAX), self._questions:
                answer = await self._answer(await _receive(reader, REQUEST_BYTES_MAX))
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
                reader, writer = await asyncio.open_unix_connection(self.path)
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
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
    if length > bytes_max:
        raise BadMessage(f"a frame has at most {bytes_max} bytes", code="TOO_LARGE")
    return await reader.readexactly(length)


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(len(content).to_bytes(LENGTH_BYTES) + content)
    await writer.drain()
