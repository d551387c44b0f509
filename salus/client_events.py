"""Subscribing to a node's events: at least once, in order, resumed after every loss.

Law of the file: the position is the event's own id (height.index), the same at every node, so
a subscription survives a crash of the node (fail-over) and of the reader (checkpoint). What is
acknowledged is never delivered again; what is not may be.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec

from salus.client_errors import ClientError, NotReadyError, UnreachableError
from salus.client_http import UNREADABLE, Transport, unreadable_reason

EVENT_BYTES_MAX = 256 * 1024  # one event: kind, ids and public facts of at most 256 bytes each
PAUSE_S = 0.2

_POSITION = re.compile(r"[0-9]{1,16}(\.[0-9]{1,16})?")


class Checkpoint(Protocol):
    """Remembers the last acknowledged position of one reader."""

    def load(self) -> str | None: ...
    def save(self, position: str) -> None: ...


class FileCheckpoint:
    """A position in a small file, replaced atomically."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self) -> str | None:
        """Raises `ClientError` (BAD_POSITION) for a file that holds no position."""
        try:
            text = self._path.read_bytes().decode("ascii").strip()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise ClientError(f"{self._path} holds no position", code="BAD_POSITION") from None
        if text and _POSITION.fullmatch(text) is None:
            raise ClientError(f"{self._path} holds no position", code="BAD_POSITION")
        return text or None

    def save(self, position: str) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        with temporary.open("w", encoding="ascii") as file:
            file.write(position + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class _Data(msgspec.Struct):
    kind: str
    time: str
    data: dict[str, Any]
    tx_id: str | None = None
    operation: int | None = None


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """One event of a certified block."""

    id: str  # height.index
    kind: str
    time: str
    tx_id: str | None
    operation: int | None
    data: dict[str, Any]
    _checkpoint: Checkpoint | None = field(default=None, repr=False, compare=False)

    @property
    def height(self) -> int:
        return int(self.id.partition(".")[0])

    async def ack(self) -> None:
        """Done with it: a reader that restarts begins behind this event."""
        if self._checkpoint is not None:
            await asyncio.to_thread(self._checkpoint.save, self.id)


async def subscribe(
    transport: Transport,
    *,
    kind: str | None,
    after: str | None,
    checkpoint: Checkpoint | None,
) -> AsyncGenerator[ChainEvent, None]:
    """Events for ever; raises only for what waiting cannot heal (e.g. EVENTS_PRUNED)."""
    position = after
    if checkpoint is not None:
        position = await asyncio.to_thread(checkpoint.load) or after
    if position is None:
        # Pin the start, or a loss before the first event would skip what came in between.
        answer = await transport.request("GET", "/readyz", timeout_s=30)
        position = answer.headers.get("X-Height", "0")
    while True:
        params = {"kind": kind} if kind is not None else {}
        try:
            async with transport.stream(
                "/v1/events", params=params, headers={"Last-Event-ID": position}
            ) as response:
                async for event_id, data in _server_sent(response.content):
                    position = event_id
                    if data:
                        yield _event(event_id, data, checkpoint)
        except (UnreachableError, NotReadyError):
            pass
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        await asyncio.sleep(PAUSE_S)


def _event(event_id: str, data: bytes, checkpoint: Checkpoint | None) -> ChainEvent:
    try:
        fields = msgspec.json.decode(data, type=_Data)
    except UNREADABLE as error:
        raise ClientError(f"not an event of this API: {unreadable_reason(error)}") from None
    if _POSITION.fullmatch(event_id) is None:
        raise ClientError("not an event of this API: its id is no position")
    return ChainEvent(
        event_id, fields.kind, fields.time, fields.tx_id, fields.operation, fields.data, checkpoint
    )


async def _server_sent(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    """(id, data) of each event; the API sends `id:` with every one and one line of data."""
    event_id, data, buffer = "", b"", bytearray()
    async for chunk in stream.iter_any():
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end]).rstrip(b"\r")
            del buffer[: end + 1]
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                if event_id:
                    yield event_id, data
                event_id, data = "", b""
            elif name == b"id":
                event_id = value.decode("ascii", "replace")
            elif name == b"data":
                data = value
        if len(buffer) > EVENT_BYTES_MAX:
            raise ClientError("a line of the events feed exceeds its limit")
