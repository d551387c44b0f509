"""HTTP to several nodes as if they were one: fail-over, back-off, typed errors.

Law of the file: a request is repeated only if it is safe to (reads, and transactions, whose id
names their bytes). A node that fails is left alone for a capped, growing time; while another
one answers, the caller notices nothing. So is one beside the first that lets nobody in: the first is the
caller's own. All waiting ends at the caller's deadline, and then the caller hears why: what a node said is
worth more than that the time was up.
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

from salus.client_errors import (
    AuthError,
    ClientError,
    NotReadyError,
    RejectedError,
    UnreachableError,
    from_problem,
)
from salus.forms import Problem
from salus.height_headers import HEIGHT, SEEN_HEIGHT, named_height

T = TypeVar("T")

_TOKEN_OF_FIRST = ", for the token given here is of the first node and sent to no other"

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0  # a restarted node is noticed within this time
ATTEMPT_MIN_S = 1.0  # a node that is silent for so long is at fault, not the caller's haste
REPEAT_MIN_S = 0.1  # less is no time for an answer: the refusal that is known is worth more
WAIT_MIN_S = 0.1
ANSWER_S = 1.0  # a node that waits for us ends its wait so much before the attempt ends
CONNECT_S = 3.0
TURNED_AWAY = frozenset((401, 403, 429, 503))  # most of them before any waiting
# What msgspec raises for JSON that is none: text that is not UTF-8 and depth have their own kinds.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
ANSWER_BYTES_MAX = 64 * 2**20  # a proof, a page of blocks
HOME_ANSWER_BYTES_MAX = 256 * 2**20  # of one's own node: the proof file of a document of 128 MiB


@dataclass(slots=True)
class Endpoint:
    """One node's URL, until when it is being left alone, and why."""

    url: str
    failures: int = 0
    rest_until: float = 0.0
    refusal: ClientError | None = None  # what a call hears that finds no other node in its time
    in_vain: int = 0  # the height that it has waited for and did not reach: it is named no more

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
    unwelcome: ClientError | None = None  # a node that is not the caller's own lets nobody in

    @property
    def weightiest(self) -> ClientError | None:
        if self.transaction and self.unheard:  # it may have been taken: nobody may think it was not
            found: ClientError | None = self.unheard
        else:
            found = self.said or self.unheard or self.unreached
        return found if self.unwelcome is None else beside(found, self.unwelcome)


def beside(reason: ClientError | None, other: ClientError) -> ClientError:
    """`reason`, and what another node has said."""
    if reason is None:
        return other
    told = f"{reason.message}; {other.message}"
    return type(reason)(told, code=reason.code, problem=reason.problem, tx_id=reason.tx_id)


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
        seen_height: int = 0,
    ) -> None:
        assert urls, "a client needs at least one URL"
        self.endpoints = [Endpoint(url.rstrip("/")) for url in urls]
        self._headers = {"Accept": "application/json"}
        # Of the first URL's node: a member has one node, so the others are other organisations'.
        self._token = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._ssl = ssl
        self.clock, self._sleep = clock, sleep
        self._session: aiohttp.ClientSession | None = None
        self.height = 0  # the newest certified height that any answer has named
        self._seen = seen_height  # … and what was seen before, by whoever made this client

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
                reason = self._why(met, endpoint.refusal if starts > now else None)
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
            # Who waits for an outcome waits for its block: another wait before it is in no account,
            # and would cost the answer.
            seen = self._to_name(endpoint) if wait_s is None else 0
            try:
                bytes_max = HOME_ANSWER_BYTES_MAX if home else ANSWER_BYTES_MAX
                answer = await self._once(
                    endpoint, method, path, params, body, sent | _named(seen), attempt_s, bytes_max
                )
            except aiohttp.ClientConnectorError as error:  # nothing was sent: always repeatable
                met.unreached = UnreachableError(f"{endpoint.url}: {_os_reason(error)}")
                endpoint.failed(self.clock(), met.unreached)
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if isinstance(error, TimeoutError):
                    endpoint.in_vain = max(endpoint.in_vain, seen)
                met.unheard = UnreachableError(f"{endpoint.url}: {_reason(error)}")
                hasty = isinstance(error, TimeoutError) and attempt_s < ATTEMPT_MIN_S
                if not hasty:  # else the caller's time was up, and the node is not to blame
                    endpoint.failed(self.clock(), met.unheard)
                if not repeatable:
                    raise met.unheard from None
                continue
            said = answer.headers.get(HEIGHT)
            if said and named_height(said) < seen and answer.status not in TURNED_AWAY:
                endpoint.in_vain = seen
            if answer.status < 400:
                endpoint.answered()
                return answer
            failure = problem_of(answer, transaction)
            if self._unwelcome(endpoint, answer, failure) and repeatable:
                met.unwelcome = self._told(endpoint, failure)
                endpoint.failed(self.clock(), met.unwelcome, BACKOFF_MAX_S)
                continue
            if not (repeatable and isinstance(failure, NotReadyError)):
                endpoint.answered()
                if transaction and met.unheard and not isinstance(failure, RejectedError):
                    # This node has not taken it; the silent one may have.
                    raise beside(met.unheard, self._told(endpoint, failure))
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
                endpoint.url + path,
                params=params,
                headers=self._for(endpoint, dict(headers) | _named(self._to_name(endpoint))),
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    body = await response.content.read(ANSWER_BYTES_MAX)
                    answer = Answer(response.status, response.headers, body, endpoint.url)
                    failure = problem_of(answer, False)
                    if self._unwelcome(endpoint, answer, failure):
                        told = self._told(endpoint, failure)
                        endpoint.failed(self.clock(), told, BACKOFF_MAX_S)
                        raise UnreachableError(told.message)
                    raise failure
                endpoint.answered()
                yield response
        except NotReadyError as refusal:
            endpoint.failed(self.clock(), refusal)
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            unheard = UnreachableError(f"{endpoint.url}: {_reason(error)}")
            endpoint.failed(self.clock(), unheard)
            raise unheard from None

    def _for(self, endpoint: Endpoint, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        return {**(self._token if endpoint is self.endpoints[0] else {}), **(headers or {})}

    def _to_name(self, endpoint: Endpoint) -> int:
        """The height that this node shall wait for; 0 for none. A node that is cut off, or that another
        has lied about, must not make every call slow."""
        seen = max(self._seen, self.height)
        return seen if seen > endpoint.in_vain else 0

    def _why(self, met: Reasons, resting: ClientError | None) -> ClientError | None:
        """What a call hears at its end. `resting`: why the next node rests, if it does."""
        known = met.weightiest
        if known is None:
            return resting
        # Strangers alone were asked: why its own node rests, an earlier call has met.
        return beside(self.endpoints[0].refusal, known) if known is met.unwelcome else known

    def _unwelcome(self, endpoint: Endpoint, answer: Answer, failure: ClientError) -> bool:
        """Is it a door that is shut to strangers, and not the caller's own? A proxy may keep it."""
        shut = answer.status in (401, 403) and (
            isinstance(failure, AuthError) or failure.problem is None
        )
        return shut and endpoint is not self.endpoints[0]

    def _told(self, endpoint: Endpoint, failure: ClientError) -> ClientError:
        """The same with the node's name, since another one stands beside it."""
        own = "" if endpoint is self.endpoints[0] or not self._token else _TOKEN_OF_FIRST
        told = f"{endpoint.url} refuses ({failure.code}): {failure.message}{own}"
        return type(failure)(told, code=failure.code, problem=failure.problem, tx_id=failure.tx_id)

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
        bytes_max: int,
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        async with self.session.request(
            method,
            endpoint.url + path,
            params=params,
            # As a stream: the library warns of large bytes, since it would send them in one piece.
            data=None if body is None else io.BytesIO(body),
            headers=self._for(endpoint, headers),
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            content = await _bounded(response, bytes_max)
            self.height = max(self.height, named_height(response.headers.get(HEIGHT, "")))
            return Answer(response.status, response.headers, content, endpoint.url)


def _named(seen: int) -> dict[str, str]:
    return {SEEN_HEIGHT: str(seen)} if seen else {}


async def _bounded(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body; a node that lies may send without end."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise ClientError(f"{response.url}: an answer of more than {bytes_max} bytes")
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
