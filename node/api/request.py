"""Reading a request strictly: typed arguments, bounded and timed bodies, durations.

Law of the file: what the route table does not declare is refused, and a refusal names the
argument and its form, never its content.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from node.api.problems import ApiError
from node.api.sessions import Session, Sessions
from node.api.settings import ApiSettings
from node.api.tally_events import EventTally
from node.api.view import NodeView
from salus.codec import Uint
from salus.forms import Request

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)

PIECE_BYTES = 2**20  # as documents are cut and encrypted
PIECE_SECONDS = 1.0  # whoever sends 100 MB has 130 s; slower ones hold a connection hostage
WAIT_SECONDS_MAX = 60.0  # one request does not hold a connection for longer
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m)?")
# Queries (`Brief`) and durations that are read once. Many requests may have the same arguments, which are frozen.
KNOWN_MAX, KNOWN_CHARS_MAX = 64, 64
_known: dict[tuple[type, str], Any] = {}  # (struct, query) → the arguments
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}

# «10s», «250ms»; a plain number is seconds.
Duration = Annotated[str, Meta(pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m)?$(?!\n)")]


class Brief(Request, frozen=True):
    """Parameters that name nobody and nothing: the same few come again and again, and stay in memory."""


class NoArguments(Brief, frozen=True):
    """The path takes no parameters."""


class Read(Request, frozen=True, kw_only=True):
    """Parameters of every read: wait until this node has certified a height (read your writes)."""

    min_height: Uint | None = None


class Call(msgspec.Struct, frozen=True):  # there is one for each request
    """What a handler is given."""

    request: web.Request
    view: NodeView
    settings: ApiSettings
    route: str  # the template, for problems and metrics: it names no id
    sessions: Sessions
    session: Session | None
    tally: EventTally
    trusts: Callable[[web.Request], bool]  # asked by the few who must know: it compares secrets

    @property
    def trusted(self) -> bool:
        """Did the request come with the node's token, or where none is needed?"""
        return self.trusts(self.request)

    def require_session(self) -> None:
        """For what outlives its request's beginning. Raises `ApiError` (UNAUTHENTICATED) once the session
        that it began with is over: by time, by logging out, or by what the chain says of its key now."""
        if self.session is not None and self.sessions.of(self.request) is None:
            raise ApiError("UNAUTHENTICATED", "the session of this stream is over")

    def session_left_s(self, seconds_max: float) -> float:
        """How long to wait at most, so that the session's end is not slept through."""
        if self.session is None:
            return seconds_max
        return min(seconds_max, max(0.0, self.session.ends_s - self.sessions.now_s()))

    async def body(self, bytes_max: int) -> bytes:
        """The whole body; raises TOO_LARGE or SLOW_BODY."""
        require_plain(self.request)
        length = self.request.content_length
        if length is not None and length > bytes_max:
            raise ApiError("TOO_LARGE", f"the body has at most {bytes_max} bytes")
        if length is not None and self.request.content.is_eof():
            came: bytes = self.request.content.read_nowait()  # with the headers
            return came
        try:
            async with asyncio.timeout(self.settings.body_seconds_max):
                if length is not None:
                    return await self.request.read()
                body = bytearray()
                async for chunk in self.request.content.iter_any():
                    body += chunk
                    if len(body) > bytes_max:
                        raise ApiError("TOO_LARGE", f"the body has at most {bytes_max} bytes")
                return bytes(body)
        except TimeoutError:
            raise ApiError(
                "SLOW_BODY", f"the body must arrive within {self.settings.body_seconds_max:g} s"
            ) from None
        except web.RequestPayloadError:
            raise ApiError("BAD_REQUEST", "the body ended early or is not encoded well") from None

    async def pieces(self, bytes_max: int) -> AsyncIterator[bytes]:
        """The body in pieces of 1 MiB, the last one shorter, as it comes; raises as `body`. The
        sender has the time of a body, and a second more for each piece that has come."""
        require_plain(self.request)
        length = self.request.content_length
        too_large = ApiError("TOO_LARGE", f"the body has at most {bytes_max} bytes")
        if length is not None and length > bytes_max:
            raise too_large
        stream, received, piece = self.request.content, 0, bytearray()
        left_s, clock = self.settings.body_seconds_max, asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with asyncio.timeout(left_s):
                    chunk = await stream.readany()
            except TimeoutError:
                raise ApiError(
                    "SLOW_BODY",
                    f"the body must arrive within {self.settings.body_seconds_max:g} s, and"
                    f" {PIECE_SECONDS:g} s more for each MiB",
                ) from None
            except web.RequestPayloadError:
                raise ApiError(
                    "BAD_REQUEST", "the body ended early or is not encoded well"
                ) from None
            left_s -= clock() - began  # what we do with a piece is not the sender's time
            received += len(chunk)
            if received > bytes_max:
                raise too_large
            piece += chunk
            while len(piece) >= PIECE_BYTES or (piece and not chunk):
                yield bytes(piece[:PIECE_BYTES])
                del piece[:PIECE_BYTES]
                left_s += PIECE_SECONDS
            if not chunk:
                return

    async def json(self, kind: type[T], bytes_max: int) -> T:
        require_type(self.request, "application/json")
        return from_json(await self.body(bytes_max), kind)


def arguments(request: web.Request, kind: type[A]) -> A:
    """Path and query parameters as the route's struct; raises BAD_ARGUMENT."""
    path, query = request.match_info, request.rel_url.raw_query_string
    if path or not issubclass(kind, Brief) or len(query) > KNOWN_CHARS_MAX:
        return _read_arguments(path, request.query, kind)
    found: A | None = _known.get((kind, query))
    if found is None:
        found = _read_arguments(path, request.query, kind)  # what is refused is read anew
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        _known[kind, query] = found
    return found


def _read_arguments(path: Mapping[str, str], query: Mapping[str, str], kind: type[A]) -> A:
    values = dict(path)
    known = kind.__struct_encode_fields__
    for name, value in query.items():
        if name in values:
            raise ApiError("BAD_ARGUMENT", "a parameter stands twice")
        if name not in known:
            listed = ", ".join(sorted(set(known) - set(path))) or "none"
            raise ApiError("BAD_ARGUMENT", f"unknown parameter; this path knows: {listed}")
        values[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise ApiError("BAD_ARGUMENT", plain_reason(error)) from None


def from_json(body: bytes, kind: type[T]) -> T:
    """Raises BAD_REQUEST with the path of the fault, never its content."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError("BAD_REQUEST", plain_reason(error)) from None


def plain_reason(error: Exception) -> str:
    """msgspec's words name types and paths; only unknown fields would echo their name."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeError):
        return "text is not UTF-8"
    text = str(error).split("\n", 1)[0][:200]
    if "unknown field" in text:
        return "an unknown field stands in the object"
    if "invalid value" in text.lower() or "Invalid enum" in text:
        return "a value is not one of those that are allowed"
    return text


def require_plain(request: web.Request) -> None:
    """Limits are of what was sent: a compressed body would unfold to a thousand times as much, and
    past its route's limit. Raises BAD_REQUEST."""
    if hdrs.CONTENT_ENCODING in request.headers:
        raise ApiError("BAD_REQUEST", "a body is sent without Content-Encoding")


def require_type(request: web.Request, *allowed: str) -> str:
    """The content type of the body; raises UNSUPPORTED_MEDIA_TYPE."""
    raw = request.headers.get(hdrs.CONTENT_TYPE)
    kind = raw if raw in allowed else request.content_type  # without parameters it is the type
    if kind not in allowed:
        raise ApiError("UNSUPPORTED_MEDIA_TYPE", f"expected {' or '.join(allowed)}")
    return kind


@lru_cache(maxsize=KNOWN_MAX)
def seconds(duration: str) -> float:
    """«10s» → 10.0, capped at what one request may wait."""
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ApiError("BAD_ARGUMENT", "a duration is written like 10s or 250ms")
    return min(WAIT_SECONDS_MAX, float(match[1]) * _DURATION_UNITS[match[2]])
