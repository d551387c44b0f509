"""HTTP to several nodes as if they were one: fail-over, back-off, typed errors.

Law of the file: a request is repeated only if it is safe to (reads, and transactions, whose id
names their bytes). A node that fails is left alone for a capped, growing time; while another
one answers, the caller notices nothing. All waiting ends at the caller's deadline, and then the
caller hears why: what a node said is worth more than that the time was up.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, TypeVar

import aiohttp
import msgspec

from salus.client_errors import ClientError, NotReadyError, UnreachableError, from_problem
from salus.codec import UINT_MAX
from salus.forms import Problem

T = TypeVar("T")

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0  # a restarted node is noticed within this time
ATTEMPT_MIN_S = 1.0  # a node that is silent for so long is at fault, not the caller's haste
REPEAT_MIN_S = 0.1  # less is no time for an answer: the refusal that is known is worth more
WAIT_MIN_S = 0.1
ANSWER_S = 1.0  # a node that waits for us ends its wait so much before the attempt ends
CONNECT_S = 3.0
# What msgspec raises for JSON that is none: text that is not UTF-8 and depth have their own kinds.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
ANSWER_BYTES_MAX = 64 * 2**20  # a document of the vault is the largest answer


@dataclass(slots=True)
class Endpoint:
    """One node's URL, until when it is being left alone, and why."""

    url: str
    failures: int = 0
    rest_until: float = 0.0
    refusal: ClientError | None = None  # what a call hears that finds no other node in its time

    def failed(self, now: float, refusal: ClientError, pause_s: float = 0.0) -> None:
        """`pause_s`: what the node itself asks for."""
        self.failures += 1
        backoff_s = BACKOFF_FIRST_S * 2 ** min(self.failures - 1, 10)
        self.rest_until = now + min(BACKOFF_MAX_S, max(pause_s, backoff_s))
        self.refusal = refusal

    def answered(self) -> None:
        self.failures, self.rest_until, self.refusal = 0, 0.0, None


@dataclass(slots=True)
class Reasons:
    """Why one call has found no answer so far; at its end the caller hears the weightiest."""

    transaction: bool
    unheard: ClientError | None = None  # it was sent, and no answer came
    said: ClientError | None = None  # a node that is not ready
    unreached: ClientError | None = None  # nothing was sent

    @property
    def weightiest(self) -> ClientError | None:
        if self.transaction and self.unheard:  # it may have been taken: nobody may think it was not
            return self.unheard
        return self.said or self.unheard or self.unreached


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def decode(self, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self.body, type=kind)
        except UNREADABLE as error:
            reason = unreadable_reason(error)
            raise ClientError(f"{self.url}: not the answer of a Salus node: {reason}") from None

    def json(self) -> Any:
        """The same for a caller that only shows it: an object or a list, whatever is in it."""
        return self.decode(dict[str, Any] | list[Any])  # type: ignore[arg-type]


class Transport:
    """Owns the connections; `Client` speaks through it."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str | None,
        ssl: SSLContext | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        assert urls, "a client needs at least one URL"
        self.endpoints = [Endpoint(url.rstrip("/")) for url in urls]
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._ssl = ssl
        self.clock, self._sleep = clock, sleep
        self._session: aiohttp.ClientSession | None = None
        self.height = 0  # the newest certified height that any answer has named

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, ssl=self._ssl or True)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, auto_decompress=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        home: bool = False,
        transaction: bool = False,
        wait_s: float | None = None,
    ) -> Answer:
        """The first proper answer of any node; raises a `ClientError`.

        `home`: the first URL only (documents lie in that node's vault). `wait_s`: how long the
        node may wait for the outcome; it is asked to answer before its attempt ends, for it
        knows why there is none."""
        deadline = self.clock() + timeout_s
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = content_type
        met = Reasons(transaction)
        while True:
            endpoint = self._choose(home)
            now = self.clock()
            starts = max(now, endpoint.rest_until)
            if deadline - starts <= (REPEAT_MIN_S if met.weightiest else 0):
                reason = met.weightiest or (endpoint.refusal if starts > now else None)
                if reason is None:
                    reason = UnreachableError(f"{endpoint.url}: no answer in {timeout_s:g} s")
                raise reason.with_traceback(None)
            if starts > now:
                await self._sleep(starts - now)
                continue
            attempt_s = self._attempt_s(deadline - now, home)
            if wait_s is not None:
                patience_s = max(WAIT_MIN_S, min(wait_s, attempt_s - ANSWER_S))
                params = {**(params or {}), "timeout": f"{patience_s:.3f}s"}
            try:
                answer = await self._once(endpoint, method, path, params, body, sent, attempt_s)
            except aiohttp.ClientConnectorError as error:  # nothing was sent: always repeatable
                met.unreached = UnreachableError(f"{endpoint.url}: {_os_reason(error)}")
                endpoint.failed(self.clock(), met.unreached)
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                met.unheard = UnreachableError(f"{endpoint.url}: {_reason(error)}")
                hasty = isinstance(error, TimeoutError) and attempt_s < ATTEMPT_MIN_S
                if not hasty:  # else the caller's time was up, and the node is not to blame
                    endpoint.failed(self.clock(), met.unheard)
                if not repeatable:
                    raise met.unheard from None
                continue
            if answer.status < 400:
                endpoint.answered()
                return answer
            failure = problem_of(answer, transaction)
            if not (repeatable and isinstance(failure, NotReadyError)):
                endpoint.answered()
                raise failure
            met.said = failure
            endpoint.failed(
                self.clock(), failure, retry_after(answer.headers.get("Retry-After", ""))
            )

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A long answer (the events feed) of the node whose turn it is; raises a `ClientError`."""
        endpoint = self._choose(home=False)
        wait_s = endpoint.rest_until - self.clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        # The feed sends a comment every 15 s; three missed ones mean the node is gone.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=45)
        try:
            async with self.session.get(
                endpoint.url + path, params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    body = await response.content.read(ANSWER_BYTES_MAX)
                    answer = Answer(response.status, response.headers, body, endpoint.url)
                    raise problem_of(answer, False)
                endpoint.answered()
                yield response
        except NotReadyError as refusal:
            endpoint.failed(self.clock(), refusal)
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            unheard = UnreachableError(f"{endpoint.url}: {_reason(error)}")
            endpoint.failed(self.clock(), unheard)
            raise unheard from None

    def _choose(self, home: bool) -> Endpoint:
        """The first that may be asked now in the order given, else the one soonest rested."""
        if home:
            return self.endpoints[0]
        now = self.clock()
        for endpoint in self.endpoints:
            if endpoint.rest_until <= now:
                return endpoint
        return min(self.endpoints, key=lambda endpoint: endpoint.rest_until)

    def _attempt_s(self, remaining: float, home: bool) -> float:
        """A node that hangs must leave time for the others."""
        others = 0 if home else sum(1 for e in self.endpoints if e.failures == 0) - 1
        return max(min(ATTEMPT_MIN_S, remaining), remaining / (1 + max(0, others)))

    async def _once(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        async with self.session.request(
            method,
            endpoint.url + path,
            params=params,
            # As a stream: the library warns of large bytes, since it would send them in one piece.
            data=None if body is None else io.BytesIO(body),
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            content = await _bounded(response)
            self.height = max(self.height, certified_height(response.headers.get("X-Height", "")))
            return Answer(response.status, response.headers, content, endpoint.url)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body; a node that lies may send without end."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ClientError(f"{response.url}: an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def problem_of(answer: Answer, transaction: bool) -> ClientError:
    """The typed error of an answer ≥ 400, also when it is not a problem of ours."""
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except UNREADABLE:
        # A proxy in between: 5xx may pass, the rest will not.
        kind = NotReadyError if answer.status >= 500 else ClientError
        return kind(f"{answer.url}: HTTP {answer.status} and no problem document")
    return from_problem(problem, sent_transaction=transaction)


def certified_height(header: str) -> int:
    """What an answer says in X-Height; 0 for what is no height."""
    said = int(header) if header.isascii() and header.isdigit() and len(header) <= 16 else 0
    return said if said <= UINT_MAX else 0


def retry_after(header: str) -> float:
    """Seconds; 0 for what is no number of them."""
    plain = header.isascii() and header.isdigit() and len(header) <= 16
    return float(header) if plain else 0.0


def unreadable_reason(error: Exception) -> str:
    """Why JSON was not read, in words that show nothing of it."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "text is not UTF-8"
    return str(error)


def _os_reason(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or str(error.os_error) or type(error).__name__


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or repr(error)
