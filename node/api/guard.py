"""Who may ask, and how much: host, origin, rate, then token or session, in that order.

Law of the file: these checks cost microseconds and come before the body is read. Tokens are
compared in constant time; addresses are counted, never logged.
"""

import hmac
import math
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import hdrs, web

from node.api.problems import ApiError
from node.api.route import Access
from node.api.sessions import Session, Sessions
from node.api.settings import ApiSettings
from salus.height_headers import SEEN_HEIGHT

READ_METHODS = frozenset({"GET", "HEAD"})


class Guard:
    def __init__(self, settings: ApiSettings, clock: Callable[[], float]) -> None:
        assert settings.token != "", "an empty bearer would equal an empty token"
        self._settings = settings
        self._token = None if settings.token is None else settings.token.encode()
        self._rate = RateLimit(
            settings.rate_per_s, settings.rate_burst, settings.rate_clients_max, clock
        )

    def check(self, request: web.Request, access: Access, sessions: Sessions) -> Session | None:
        """The session of the request, if it has one. Raises FOREIGN_HOST, FOREIGN_ORIGIN,
        RATE_LIMITED, UNAUTHENTICATED or NO_SESSION."""
        self._host(request)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            self._origin(request, origin)
        pause_s = self._rate.take(request.remote or "")
        if pause_s > 0:
            raise ApiError("RATE_LIMITED", retry_after_s=math.ceil(pause_s))
        session = sessions.of(request)
        bare = origin is None and request.method not in READ_METHODS
        if session is not None and session.by_cookie and bare:
            # A browser names the origin with every POST; what carries a cookie and no origin is
            # none of our pages.
            raise ApiError("FOREIGN_ORIGIN")
        if not self._admitted(request, access, session):
            raise ApiError("NO_SESSION" if access is Access.PATIENT else "UNAUTHENTICATED")
        return session

    def _admitted(self, request: web.Request, access: Access, session: Session | None) -> bool:
        match access:
            case Access.OPEN:
                return True
            case Access.PATIENT:
                return session is not None and session.patient
            case Access.MEMBER if session is not None and session.member is not None:
                return True  # what every member's node has anyway
            case _:
                return self.trusted(request)

    def trusted(self, request: web.Request) -> bool:
        """Has it the node's token, or is none needed?"""
        if self._token is None:
            return True
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        return scheme.lower() == "bearer" and same

    def _host(self, request: web.Request) -> None:
        hosts = self._settings.hosts
        if hosts and _without_port(request.host) not in hosts:
            raise ApiError("FOREIGN_HOST")

    def _origin(self, request: web.Request, origin: str) -> None:
        """Browsers name the page's origin with every POST and every WebSocket."""
        if origin in self._settings.cors_origins:
            return
        reads = request.method in READ_METHODS and "Upgrade" not in request.headers
        if not reads and origin != own_origin(request):
            raise ApiError("FOREIGN_ORIGIN")

    def cors(self, request: web.Request, response: web.StreamResponse) -> None:
        """Pages of the listed origins may read the answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin in self._settings.cors_origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
            response.headers["Access-Control-Expose-Headers"] = "X-Height, Link, Location, ETag"

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser's question before a POST from a listed origin."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if request.headers.get("Origin") not in self._settings.cors_origins:
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, "
                + SEEN_HEIGHT,
                "Access-Control-Max-Age": "600",
            },
        )


class RateLimit:
    """A token bucket per client address; the least recent address is forgotten first."""

    def __init__(
        self, rate_per_s: float, burst: int, clients_max: int, clock: Callable[[], float]
    ) -> None:
        assert rate_per_s > 0
        assert burst >= 1
        self._rate, self._burst, self._clients_max = rate_per_s, burst, clients_max
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (tokens, time)

    def take(self, client: str) -> float:
        """0 if the request may pass, else the seconds until the next one may."""
        now = self._clock()
        tokens, then = self._buckets.get(client, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - then) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._clients_max:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate


def own_origin(request: web.Request) -> str:
    """As a browser would name the page that it got from here."""
    return f"{request.scheme}://{request.host}"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
