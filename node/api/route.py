"""One row of the route table: what a path takes, who may call it, what it answers.

Law of the file: OpenAPI, docs/api.md, argument parsing, access and metrics all come from this
row; a handler that answers something else is wrong, and schemathesis says so.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from aiohttp import hdrs, web

from node.api.request import Call, NoArguments
from salus.height_headers import HEIGHT

Handler = Callable[[Call, Any], Awaitable[web.StreamResponse]]

JSON = "application/json"
BYTES = "application/octet-stream"
MSGPACK = "application/msgpack"


class Access(StrEnum):
    """Who may read what (interfaces.md §9). Without a token in the settings, all is open but what
    is a patient's: that needs a session, which says whose."""

    OPEN = "open"  # health, status, headers, certificates
    MEMBER = "member"  # raw transactions, state, mempool, events
    PARTY = "party"  # documents and decoded views of one organisation
    ADMIN = "admin"
    PATIENT = "patient"  # a session of a relation's owner or delegate; the node's token is none


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: media type → struct, or None for bytes."""

    media: dict[str, type | None]
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    path: str
    access: Access
    handler: Handler
    doc: str  # first line: summary
    arguments: type[Any] = NoArguments
    headers: dict[str, str] = field(default_factory=dict)  # request headers: name → what it says
    body: Body | None = None
    answers: dict[int, Any]  # status → struct or structs, or a media type for what is not JSON
    errors: tuple[str, ...] = ()  # code words, besides those that any path may answer
    section: str = ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def answer(
    call: Call, form: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer that names the certified height it speaks of."""
    named = {HEIGHT: str(call.view.height())}
    if headers is not None:
        named.update(headers)
    named[hdrs.CONTENT_TYPE] = JSON
    return web.Response(status=status, body=msgspec.json.encode(form), headers=named)


def unchanging(call: Call, tag: str, form: Callable[[], object]) -> web.Response:
    """Something certified, which never changes again: cached for ever, 304 where it is known."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if any(known.value == tag for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return answer(call, form(), headers=headers)
