"""The events feed over HTTP: server-sent events and WebSocket.

Law of the file: every event has its id (height.index) and is sent exactly once per connection,
in order; a reader that is slow makes this side wait, and a reader that comes back with its last
id goes on behind it. Nothing is queued per subscriber: a position is all there is to keep. A stream that
began with a session ends with it (rule P-2): that is looked at before each event leaves.
"""

import asyncio
from typing import Annotated, Any

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Meta

from node.api import forms
from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import Access, Route
from node.feed import FeedEvent, Position, Pruned, Subscription
from salus.errors import SalusError
from salus.forms import Request

HEARTBEAT_S = 15.0  # below the idle time-out of common proxies
WS_PING_S = 20.0
STALL_SECONDS_MAX = 300.0  # a reader that takes nothing for so long is cut; it can resume
WS_UNACKED_MAX = 1_024  # events that a WebSocket reader has not acknowledged
WS_MESSAGE_BYTES_MAX = 4_096

Kind = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?)$(?!\n)",
        max_length=128,
        description="an event kind, or a prefix like «records.*»",
    ),
]
EventId = Annotated[str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,15})?$(?!\n)")]


class EventArguments(Request, frozen=True):
    after: EventId | None = None
    kind: Kind | None = None


class Matcher:
    """Does an event belong to the subscription?"""

    def __init__(self, kind: str | None) -> None:
        self._all = kind is None or kind == "*"
        self._prefix = kind[:-1] if kind is not None and kind.endswith(".*") else None
        self._kind = kind

    def __call__(self, event: FeedEvent) -> bool:
        if self._all:
            return True
        if self._prefix is not None:
            return event.kind.startswith(self._prefix)
        return event.kind == self._kind


async def stream(call: Call, args: EventArguments) -> web.StreamResponse:
    after = call.request.headers.get("Last-Event-ID") or args.after
    subscription = _subscribe(call, after)
    matches = Matcher(args.kind)
    with subscription:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Height": str(call.view.height()),
            }
        )
        await response.prepare(call.request)
        try:
            await _stream(call, response, subscription, matches)
        except (ConnectionError, TimeoutError):
            pass  # the reader left, or took nothing for too long; it has its last id
        except (Pruned, ApiError) as error:
            await response.write(_lost(error))
    return response


async def _stream(
    call: Call, response: web.StreamResponse, subscription: Subscription, matches: Matcher
) -> None:
    silent_blocks = 0
    await response.write(b"retry: 1000\n\n")
    while (events := await subscription.next(call.session_left_s(HEARTBEAT_S))) is not None:
        call.require_session()
        wanted = [event for event in events if matches(event)]
        if wanted:
            chunk, silent_blocks = b"".join(map(_sse, wanted)), 0
        elif events and silent_blocks < 64:
            silent_blocks += 1
            continue
        else:
            # The id alone moves the reader's resume point past what its filter hides.
            chunk, silent_blocks = f": alive\nid: {_id(subscription.position)}\n\n".encode(), 0
        async with asyncio.timeout(STALL_SECONDS_MAX):
            await response.write(chunk)


def _sse(event: FeedEvent) -> bytes:
    data = msgspec.json.encode(forms.event(event))
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        str(event.position).encode(),
        event.kind.encode(),
        data,
    )


def _id(position: Position) -> str:
    """A position behind a whole block is written as its height alone."""
    return str(position) if position.index < 2**53 - 1 else str(position.height)


def _lost(error: SalusError) -> bytes:
    data = msgspec.json.encode({"code": error.code, "detail": error.message, **error.facts})
    return b"event: error\ndata: " + data + b"\n\n"


def _subscribe(call: Call, after: str | None) -> Subscription:
    feed = call.view.feed
    if feed.subscribers >= call.settings.subscribers_max:
        raise ApiError("TOO_MANY_SUBSCRIBERS", retry_after_s=10)
    return feed.subscribe(Position.parse(after) if after else None)


class Subscribe(Request, frozen=True, tag_field="op", tag="subscribe"):
    kind: Kind | None = None
    after: EventId | None = None


class Ack(Request, frozen=True, tag_field="op", tag="ack"):
    position: EventId


_message = msgspec.json.Decoder(Subscribe | Ack)


async def socket(call: Call, _: NoArguments) -> web.StreamResponse:
    """One subscription per connection; it starts with the first `subscribe`."""
    if call.view.feed.subscribers >= call.settings.subscribers_max:
        raise ApiError("TOO_MANY_SUBSCRIBERS", retry_after_s=10)
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        raise ApiError("BAD_REQUEST", "this path speaks WebSocket", status=426)
    ws = web.WebSocketResponse(
        heartbeat=WS_PING_S, max_msg_size=WS_MESSAGE_BYTES_MAX, compress=False
    )
    await ws.prepare(call.request)
    reader = _SocketReader(call, ws)
    try:
        async for message in ws:
            if message.type is not WSMsgType.TEXT:
                await reader.refuse(SalusError("text messages only", code="BAD_REQUEST"))
                break
            if not await reader.receive(message.data):
                break
    finally:
        await reader.stop()
    return ws


class _SocketReader:
    """Sends events to one WebSocket while at most WS_UNACKED_MAX of them are unacknowledged."""

    def __init__(self, call: Call, ws: web.WebSocketResponse) -> None:
        self._call, self._ws = call, ws
        self._task: asyncio.Task[None] | None = None
        self._unacked: list[Position] = []
        self._room = asyncio.Event()

    async def receive(self, text: str) -> bool:
        """False when the connection must end."""
        try:
            message = _message.decode(text)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return await self.refuse(
                SalusError('expected {"op":"subscribe"} or {"op":"ack"}', code="BAD_REQUEST")
            )
        try:
            if isinstance(message, Ack):
                self._acknowledge(Position.parse(message.position))
            elif self._task is not None:
                raise SalusError("this connection has its subscription", code="BAD_REQUEST")
            else:
                self._call.require_session()
                subscription = _subscribe(self._call, message.after)
                self._task = asyncio.create_task(self._send(subscription, Matcher(message.kind)))
        except SalusError as error:
            return await self.refuse(error)
        return True

    def _acknowledge(self, position: Position) -> None:
        self._unacked = [sent for sent in self._unacked if sent > position]
        if len(self._unacked) < WS_UNACKED_MAX:
            self._room.set()

    async def _send(self, subscription: Subscription, matches: Matcher) -> None:
        try:
            with subscription:
                wait_s = self._call.session_left_s
                while (events := await subscription.next(wait_s(HEARTBEAT_S))) is not None:
                    self._call.require_session()
                    for event in filter(matches, events):
                        while len(self._unacked) >= WS_UNACKED_MAX:
                            await self._wait_for_room()
                        self._unacked.append(event.position)
                        form: dict[str, Any] = {"id": str(event.position), **forms.event(event)}
                        async with asyncio.timeout(STALL_SECONDS_MAX):
                            await self._ws.send_str(msgspec.json.encode(form).decode())
            await self._ws.close(code=1001, message=b"the node is shutting down")
        except SalusError as error:
            await self.refuse(error)
        except (ConnectionError, TimeoutError):
            await self._ws.close()

    async def _wait_for_room(self) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout(self._call.session_left_s(HEARTBEAT_S)):
                await self._room.wait()
        except TimeoutError:
            pass
        self._call.require_session()

    async def refuse(self, error: SalusError) -> bool:
        form = {"error": {"code": error.code, "detail": error.message, **error.facts}}
        if not self._ws.closed:
            await self._ws.send_str(msgspec.json.encode(form).decode())
            await self._ws.close(code=1008)
        return False

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


ROUTES = (
    Route(
        method="GET",
        path="/v1/events",
        access=Access.MEMBER,
        handler=stream,
        doc="Events of certified blocks as server-sent events.\n"
        "Ids are height.index; resume with Last-Event-ID or ?after. A slow reader is waited for "
        "and misses nothing; beyond retention the answer is 410 with the first position kept.",
        arguments=EventArguments,
        answers={200: "text/event-stream"},
        errors=("BAD_POSITION", "EVENTS_PRUNED", "TOO_MANY_SUBSCRIBERS"),
    ),
    Route(
        method="GET",
        path="/v1/ws",
        access=Access.MEMBER,
        handler=socket,
        doc='The same over WebSocket: send {"op":"subscribe","kind":…,"after":…}, then '
        f'{{"op":"ack","position":…}} at least every {WS_UNACKED_MAX} events.',
        answers={101: None},
        errors=("TOO_MANY_SUBSCRIBERS",),
    ),
)
