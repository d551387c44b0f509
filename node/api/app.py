"""The HTTP server: one wrapper around every handler, and the server's own life.

The way of a request: concurrency → host, origin, rate, token or session → arguments → ?min_height= →
handler → answer or problem → metrics. Law of the file: whatever happens, the client gets a
problem or an answer, the log names a route template and never an id, and another client's
connection is not touched.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from node.api import gauges
from node.api.guard import Guard
from node.api.problems import ApiError, from_http, incident, problem_response
from node.api.request import Call, Read, arguments
from node.api.route import Access, Route
from node.api.routes import ROUTES
from node.api.sessions import Sessions
from node.api.settings import ApiSettings
from node.api.tally_events import EventTally
from node.api.view import NodeView
from salus.errors import SalusError
from salus.height_headers import HEIGHT, SEEN_HEIGHT, named_height
from storage.errors import StorageError

log = logging.getLogger(__name__)

HEADER_BYTES_MAX = 8_190  # one line; a token, a cursor and a Last-Event-ID fit ten times
KEEPALIVE_S = 75.0
LINGER_S = 2.0  # so long a client that still sends may read why it was refused
SHUTDOWN_S = 5.0  # requests that wait longer are cut; what they asked for can be asked again

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Builds the application; one per node."""

    def __init__(
        self,
        view: NodeView,
        settings: ApiSettings,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.view, self.settings, self.clock = view, settings, clock
        self.guard = Guard(settings, clock)
        self.sessions = Sessions(view, clock, now_ms)
        self.tally = EventTally(view)
        self.in_flight = 0
        self.catching_up = 0  # of those
        view.metrics.on_scrape(self._gauges)

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[self._outermost], client_max_size=self.settings.body_bytes_max
        )
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._wrap(route))
        return app

    def _wrap(self, route: Route) -> Next:
        name, clock, counted = route.name, self.clock, self.view.metrics.request

        async def handle(request: web.Request) -> web.StreamResponse:
            began = clock()
            self.in_flight += 1
            status = 499  # the client left before an answer
            try:
                response = await self._answer(route, request)
                status = response.status
                return response
            finally:
                self.in_flight -= 1
                counted(name, status, clock() - began)

        return handle

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        try:
            if self.in_flight > self.settings.requests_in_flight_max:
                raise ApiError("BUSY")
            session = self.guard.check(request, route.access, self.sessions)
            seen = request.headers.get(SEEN_HEIGHT)
            if seen is not None:
                await self._catch_up(request, seen)
            args = arguments(request, route.arguments)
            if isinstance(args, Read) and args.min_height is not None:
                await self._reach(args.min_height)
            call = Call(
                request,
                self.view,
                self.settings,
                route.path,
                self.sessions,
                session,
                self.tally,
                self.guard.trusted,
            )
            return await route.handler(call, args)
        except SalusError as error:
            if error.code in ("BUSY", "RATE_LIMITED", "UNAUTHENTICATED", "NO_SESSION"):
                self.view.metrics.api_rejected_total.labels(error.code).inc()
            response = problem_response(error, route.path)
            response.headers[HEIGHT] = str(self.view.height())
            return response
        except StorageError as error:
            log.error("%s in %s: %s", error.code, route.name, error.message)
            self.view.metrics.damaged(error)
            return problem_response(ApiError(error.code), route.path)  # its text names files
        except (web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the last resort, logged with an incident id
            return problem_response(incident(error, route.name), route.path)

    async def _reach(self, height: int) -> None:
        if height <= self.view.height():
            return
        if self.catching_up >= self.settings.height_waits_max:
            raise ApiError("BUSY")
        if not await self._wait(height, self.settings.read_wait_seconds_max):
            raise ApiError("HEIGHT_NOT_REACHED", f"certified here is {self.view.height()}")

    async def _catch_up(self, request: web.Request, named: str) -> None:
        """A client that was told of a block by another node reads here no older state, if this node
        gets there soon. Whether it did, X-Height says; probes ask how the node is now."""
        seen = named_height(named)
        if seen <= self.view.height() or not request.path.startswith("/v1/"):
            return
        if self.catching_up >= self.settings.height_waits_max:
            return
        await self._wait(seen, self.settings.seen_wait_seconds_max)

    async def _wait(self, height: int, timeout_s: float) -> bool:
        self.catching_up += 1
        try:
            return await self.view.wait_height(height, timeout_s)
        finally:
            self.catching_up -= 1

    @web.middleware
    async def _outermost(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """What no route has handled: unknown paths and methods, CORS, security headers."""
        response: web.StreamResponse | None = self.guard.preflight(request)
        if response is None:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                try:
                    self.guard.check(request, Access.OPEN, self.sessions)
                    refusal: SalusError = from_http(error)
                except SalusError as stricter:
                    refusal = stricter
                response = problem_response(refusal, "")
        if not response.prepared:
            self.guard.cors(request, response)
            headers = response.headers
            headers[hdrs.X_CONTENT_TYPE_OPTIONS] = "nosniff"
            headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        return response

    def _gauges(self) -> None:
        metrics, feed = self.view.metrics, self.view.feed
        gauges.refresh(self.view)
        metrics.api_inflight.set(self.in_flight)
        metrics.events_subscribers.set(feed.subscribers)
        metrics.events_lag.set(feed.lag_blocks())


class ApiServer:
    """The API on its socket."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Port 0: the system chooses; `port` then tells. Raises `OSError` if it is taken."""
        self._runner = web.AppRunner(
            self._api.application(),
            access_log=None,  # metrics count requests; a log line could name an id
            handle_signals=False,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            shutdown_timeout=SHUTDOWN_S,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            handler_cancellation=True,  # who left waits for nothing
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, end event streams, let requests finish for a while."""
        self._api.view.feed.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
