"""Sessions: who a key logged in as, for a quarter of an hour (interfaces.md §9).

Law of the file: a session holds no more than its key does *now*, so its standing is read from the
certified state at every request: a delegate that was removed, or a staff key that was revoked,
opens nothing from the next certified block on. Tokens are kept as hashes; nothing is logged.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from contracts.context import Capacity
from contracts.member_queries import KeyAnswer, KeyStatus
from contracts.members import MemberStatus
from node.api.problems import ApiError
from node.api.view import NodeView
from node.seen_asks import KEPT_LONGER_MS
from salus.codec import Wire
from salus.errors import SalusError
from salus.genesis import Role
from salus.hashing import hasher
from salus.keys import verify
from salus.login import LOGIN_AHEAD_MS_MAX, Login
from salus.relation import RelationEntry, Right
from salus.wire_json import from_json

SESSION_S = 900.0  # a browser signs the next login by itself; a stolen cookie is soon worthless
SESSIONS_MAX = 4_096  # ≈ 2 MB; each needs a key in force
SESSIONS_PER_KEY_MAX = 8  # tabs and devices; the oldest one ends
# That have not expired, or a minute ago: a browser needs a few; else one key would use up all that there are (node/seen_asks.py).
LOGINS_PER_KEY_MAX = 64
COOKIE = "salus_session"
TOKEN_PREFIX = "salus1-"  # tells a session's bearer from the node's token
_TOKEN_BYTES = 32

_hash_alias = hasher("session-alias")

W = TypeVar("W", bound=Wire)


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `rights`: a patient's; `member`: the organisation of a member's key."""

    key: bytes
    handle: bytes | None
    rights: frozenset[Right]
    owner: bool
    member: str | None
    capacity: Capacity | None
    roles: frozenset[Role]
    ends_s: float  # monotonic
    by_cookie: bool
    alias: AESSIV  # of this session alone

    def hide(self, name: bytes) -> str:
        """A cursor in the place of an id of the chain, which would lead to the handle: paths are
        written down on their way (interfaces.md §9). The same id has the same cursor."""
        return urlsafe_b64encode(self.alias.encrypt(name, None)).decode().rstrip("=")

    def shown(self, cursor: str) -> bytes:
        """The id. Raises `ApiError` (BAD_ARGUMENT) for another session's cursor."""
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            return self.alias.decrypt(raw, None)
        except (ValueError, InvalidTag):
            raise ApiError("BAD_ARGUMENT", "the cursor is none of this session") from None

    @property
    def patient(self) -> bool:
        return self.handle is not None


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a key may do now."""

    rights: frozenset[Right] = frozenset()
    owner: bool = False
    member: str | None = None
    capacity: Capacity | None = None
    roles: frozenset[Role] = frozenset()


class Sessions:
    def __init__(
        self, view: NodeView, clock: Callable[[], float], now_ms: Callable[[], int]
    ) -> None:
        """`clock`: monotonic seconds; `now_ms`: the time of day."""
        self._view, self._clock, self._now_ms = view, clock, now_ms
        self._open: OrderedDict[bytes, tuple[bytes, bytes | None, float]] = OrderedDict()

    def now_ms(self) -> int:
        """The time of day here."""
        return self._now_ms()

    def now_s(self) -> float:
        return self._clock()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, login: Login, signature: bytes, origins: frozenset[str]) -> tuple[str, Session]:
        """The token and the session. Raises `ApiError` (LOGIN_ELSEWHERE, LOGIN_LATE, LOGIN_REFUSED,
        RATE_LIMITED, BUSY). `origins`: under which this node is reached."""
        status = self._view.status()
        if (login.chain_id, login.node) != (status.chain_id, status.member):
            raise ApiError("LOGIN_ELSEWHERE")
        if login.origin not in origins:
            raise ApiError("LOGIN_ELSEWHERE", "the login names another origin than this node's")
        now_ms = self._now_ms()
        if not now_ms < login.expires_ms <= now_ms + LOGIN_AHEAD_MS_MAX:
            raise ApiError("LOGIN_LATE", now_ms=now_ms)
        standing = self._standing(login.key, login.handle)
        if standing is None or not verify(login.key, login.payload(), signature):
            raise ApiError("LOGIN_REFUSED")
        self._use(login, now_ms)
        self._make_room(login.key)
        token = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        ends_s = self._clock() + SESSION_S
        self._open[_hash(token)] = (login.key, login.handle, ends_s)
        return token, _session(token, login.key, login.handle, standing, ends_s, by_cookie=False)

    def of(self, request: web.Request) -> Session | None:
        """Of this request, by bearer or cookie; None if it has none that is in force."""
        if not self._open:
            return None  # and no cookie need be read
        token, by_cookie = _token(request)
        found = None if token is None else self._open.get(_hash(token))
        if token is None or found is None:
            return None
        key, handle, ends_s = found
        standing = self._standing(key, handle) if self._clock() < ends_s else None
        if standing is None:
            del self._open[_hash(token)]
            return None
        return _session(token, key, handle, standing, ends_s, by_cookie=by_cookie)

    def close(self, request: web.Request) -> None:
        token, _ = _token(request)
        if token is not None:
            self._open.pop(_hash(token), None)

    def _use(self, login: Login, now_ms: int) -> None:
        ask = login.key, login.nonce, login.expires_ms, now_ms
        try:
            fresh = self._view.asks.use("login", *ask, per_key_max=LOGINS_PER_KEY_MAX)
        except SalusError as error:
            if error.code != "RATE_LIMITED":
                raise
            wait_s = (LOGIN_AHEAD_MS_MAX + KEPT_LONGER_MS) // 1_000
            raise ApiError(error.code, retry_after_s=wait_s) from None
        if not fresh:
            raise ApiError("LOGIN_LATE", "this login was used before", now_ms=now_ms)

    def _make_room(self, key: bytes) -> None:
        now_s = self._clock()
        while self._open and next(iter(self._open.values()))[2] <= now_s:
            self._open.popitem(last=False)
        own = [name for name, (other, _, _) in self._open.items() if other == key]
        for name in own[: max(0, len(own) + 1 - SESSIONS_PER_KEY_MAX)]:
            del self._open[name]
        if len(self._open) >= SESSIONS_MAX:
            raise ApiError("BUSY")

    def _standing(self, key: bytes, handle: bytes | None) -> _Standing | None:
        if handle is None:
            return self._of_member(key)
        org = self._view.status().member
        relation = self._ask(RelationEntry, "identity", "relation_of", org=org, handle=handle.hex())
        if relation is None:
            return None
        now_ms = self._now_ms()
        if key == relation.owner_at(now_ms):
            return _Standing(frozenset(Right), owner=True)
        rights = relation.rights_at(key, now_ms)
        return _Standing(frozenset(rights)) if rights else None

    def _of_member(self, key: bytes) -> _Standing | None:
        """An operator's, or a staff member's within its period; node keys log in nowhere."""
        answer = self._ask(KeyAnswer, "members", "key", public_key=key.hex())
        if answer is None or answer.status is not KeyStatus.ACTIVE:
            return None
        if answer.capacity is Capacity.NODE:
            return None
        if answer.until_ms is not None and not (
            (answer.from_ms or 0) <= self._now_ms() < answer.until_ms
        ):
            return None
        _, member = self._view.contracts.query("members", "member", {"id": answer.member})
        if member["status"] != MemberStatus.ACTIVE:
            return None
        roles = frozenset(Role(role) for role in member["roles"])
        return _Standing(member=answer.member, capacity=answer.capacity, roles=roles)

    def _ask(self, kind: type[W], contract: str, name: str, **arguments: object) -> W | None:
        _, found = self._view.contracts.query(contract, name, arguments)
        return None if found is None else from_json(kind, found)


def _session(
    token: str,
    key: bytes,
    handle: bytes | None,
    now: _Standing,
    ends_s: float,
    *,
    by_cookie: bool,
) -> Session:
    alias = AESSIV(_hash_alias(token.encode()))
    return Session(
        key,
        handle,
        now.rights,
        now.owner,
        now.member,
        now.capacity,
        now.roles,
        ends_s,
        by_cookie,
        alias,
    )


def _token(request: web.Request) -> tuple[str | None, bool]:
    """(token, did it come as a cookie)."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip().startswith(TOKEN_PREFIX):
        return given.strip(), False
    return request.cookies.get(COOKIE), True


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
