"""A read-only FHIR R4 server on this machine: what its user may read, through the custodians' gates.

It runs where the key is, for a patient's app or a hospital's engine: keys that open a release are
never at a node, so no node could answer this. Law of the file: loopback, a bearer of its own,
every document under a ticket; what was read is kept in memory for as long as a ticket lives.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from salus import fhir_api
from salus.consent.instant import parse_span
from salus.errors import BadMessage, SalusError
from salus.ips.document import summary
from salus.ips.joined import JoinedView
from salus.ips.results import ResultCode, results
from salus.report import utc

FHIR = "application/fhir+json"
HELD_S = 300.0  # as long as a ticket lives (rule T-4): then it is read anew, under a new one
ENTRIES_MAX = 10_000  # of one answer; a client asks for a type then

_STATUS = {
    "READ_DENIED": 403,
    "BAD_ARGUMENT": 400,
    "NOT_AUTHORISED": 403,
    "ERASED": 410,
    "UNKNOWN_RECORD": 404,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Holdings(Protocol):
    """What the user of the bridge may read; each call makes tickets."""

    async def view(self) -> JoinedView:
        """All documents, joined. Raises `SalusError`."""

    async def consents(self) -> list[dict[str, Any]]:
        """FHIR Consents of the patient."""

    async def trail(self) -> list[dict[str, Any]]:
        """AuditEvents and Provenances: who read what."""


class Bridge:
    """The routes; `application` serves them."""

    def __init__(
        self,
        holdings: Holdings,
        token: str,
        software: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        assert token
        self._holdings, self._token, self._software = holdings, token.encode(), software
        self._clock, self._now_ms = clock, now_ms
        self._view: JoinedView | None = None
        self._until_s = 0.0
        self._reading = asyncio.Lock()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/fhir/metadata", self._metadata)
        app.router.add_get("/fhir/Patient/me", self._patient)
        app.router.add_get("/fhir/Patient/me/$everything", self._everything)
        app.router.add_get("/fhir/Patient/me/$summary", self._summary)
        app.router.add_get("/fhir/{kind}", self._search)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # A page of somebody else's in the same browser has no token; and no name but ours leads here.
        host = request.host.rpartition(":")[0] or request.host
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            return _fault(403, "FOREIGN_HOST", "this server is for its own machine")
        if scheme.lower() != "bearer" or not same:
            return _fault(
                401, "UNAUTHENTICATED", "send the bearer token that was printed at the start"
            )
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _fault(error.status, "NOT_FOUND", "no such path, or not by this method")
        except SalusError as error:
            return _fault(_STATUS.get(error.code, 502), error.code, error.message)

    async def _metadata(self, request: web.Request) -> web.Response:
        return _answer(fhir_api.capability(self._software, utc(self._now_ms())[:10]))

    async def _patient(self, request: web.Request) -> web.Response:
        patients = list((await self._joined()).of_kinds("Patient"))
        if not patients:
            return _fault(404, "UNKNOWN_RECORD", "no document says who the patient is")
        return _answer(patients[-1].content)

    async def _everything(self, request: web.Request) -> web.Response:
        view = await self._joined()
        entries = [(held.url, held.content) for held in view.all()]
        return self._found(request, entries)

    async def _summary(self, request: web.Request) -> web.Response:
        made = summary(await self._joined(), utc(self._now_ms()))
        return _response(made.document)

    async def _search(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind == "Consent":
            return self._found(request, _named(await self._holdings.consents()))
        if kind in ("AuditEvent", "Provenance"):
            trail = [one for one in await self._holdings.trail() if one["resourceType"] == kind]
            return self._found(request, _named(trail))
        if kind not in (*fhir_api.RESOURCES, "Patient"):
            return _fault(404, "NOT_FOUND", "this type is not served; see metadata")
        view = await self._joined()
        code, since = request.query.get("code"), request.query.get("_lastUpdated")
        if unknown := set(request.query) - {"code", "_lastUpdated"}:
            return _fault(
                400, "BAD_ARGUMENT", f"parameters are code and _lastUpdated, not {min(unknown)}"
            )
        since_ms = _since(since)
        if code is None:
            if since is not None:
                return _fault(400, "BAD_ARGUMENT", "_lastUpdated goes with code")
            return self._found(request, [(held.url, held.content) for held in view.of_kinds(kind)])
        entries = [
            (result.url, result.content)
            for result in results(view, ResultCode.parse(code), since_ms)
            if result.kind == kind
        ]
        return self._found(request, entries)

    def _found(
        self, request: web.Request, entries: list[tuple[str, dict[str, Any]]]
    ) -> web.Response:
        if len(entries) > ENTRIES_MAX:
            return _fault(413, "TOO_LARGE", f"more than {ENTRIES_MAX} resources: ask for a type")
        base = f"{request.scheme}://{request.host}/fhir"
        query = request.path_qs.removeprefix("/fhir/")
        return _answer(fhir_api.found(entries, base, query))

    async def _joined(self) -> JoinedView:
        async with self._reading:  # who asks meanwhile waits: each reading is a line of the trail
            if self._view is None or self._clock() >= self._until_s:
                self._view = await self._holdings.view()
                self._until_s = self._clock() + HELD_S
            return self._view


def _since(text: str | None) -> int:
    """`ge2020-01-01`, the only comparison that makes sense of «what is there since»."""
    if text is None:
        return 0
    try:
        return parse_span(text.removeprefix("ge")).first_ms
    except BadMessage:
        raise BadMessage("_lastUpdated: ge and a FHIR date", code="BAD_ARGUMENT") from None


def _named(resources: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"urn:salus:{one['resourceType']}:{one.get('id', '')}", one) for one in resources]


def _answer(resource: dict[str, Any]) -> web.Response:
    # Numbers keep the letters that they came with.
    return _response(msgspec.json.encode(resource))


def _fault(status: int, code: str, message: str) -> web.Response:
    body = json.dumps(fhir_api.outcome(status, code, message)).encode()
    return _response(body, status)


def _response(body: bytes, status: int = 200) -> web.Response:
    # What an app's HTTP cache keeps lies on a disk, and outlives the ticket.
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, content_type=FHIR, headers=headers)
