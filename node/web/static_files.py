"""The scripts and styles of the pages: our own files, read once, named by their content's hash."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from node.api.problems import ApiError
from node.api.request import Call
from node.api.route import Access, Route
from node.web.pages import SECURITY
from salus.forms import Request

_TYPES = {".mjs": "text/javascript", ".css": "text/css"}
FILES = {
    path.name: (path.read_bytes(), _TYPES[path.suffix])
    for path in sorted((Path(__file__).parent / "static").iterdir())
    if path.suffix in _TYPES
}
_TAGS = {name: sha256(content).hexdigest()[:32] for name, (content, _) in FILES.items()}


class FileArguments(Request, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z]{1,32}\.(mjs|css)$(?!\n)")]


async def static(call: Call, args: FileArguments) -> web.StreamResponse:
    found = FILES.get(args.name)
    if found is None:
        raise ApiError("NOT_FOUND", "no such file of a page")
    content, kind = found
    tag = _TAGS[args.name]
    # Asked for each time and seldom sent: a page and its scripts must be of one version.
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", **SECURITY}
    headers["X-Height"] = str(call.view.height())
    if any(known.value == tag for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


ROUTES = (
    Route(
        method="GET",
        path="/static/{name}",
        access=Access.OPEN,
        handler=static,
        doc="A script or style sheet of the pages.",
        arguments=FileArguments,
        answers={200: "*/*", 304: None},
        errors=("NOT_FOUND",),
    ),
)
