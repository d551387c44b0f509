"""Logging in and out (interfaces.md §9). The signature is salus/login.py's; what a session may do
is the route table's business and that of each handler."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from node.api.guard import own_origin
from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import JSON, Access, Body, Route, answer
from node.api.sessions import COOKIE, SESSION_S, Session
from salus.codec import Uint
from salus.forms import Form, Hex32, MemberText, Request
from salus.login import Login

Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
Hex64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]
OriginText = Annotated[str, Meta(pattern=r"^https?://[!-~]{1,255}$(?!\n)")]


class LoginRequest(Request, frozen=True, kw_only=True):
    """Fields of the signed login; chain id and node are this one's."""

    key: Hex32
    handle: Hex32 | None = None  # of the relation here; without one a member's key logs in
    origin: OriginText
    nonce: Hex16
    expires_ms: Uint
    signature: Hex64
    cookie: bool = False  # for a page: no token is shown then, and no script can read it


class SessionForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    token: str | None  # only in the answer to a login without a cookie
    kind: str  # patient, member or nobody
    rights: tuple[str, ...]  # a patient's: view, revoke, deny, owner
    member: MemberText | None  # the organisation whose key it is
    roles: tuple[str, ...]  # of that organisation
    ends_in_s: Uint


NOBODY = SessionForm(token=None, kind="nobody", rights=(), member=None, roles=(), ends_in_s=0)


async def log_in(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(LoginRequest, call.settings.json_body_bytes_max)
    status = call.view.status()
    if status.member is None:
        raise ApiError("NOT_ENABLED", "an observer's node has no patients")
    login = signed(wanted, status.chain_id, status.member)
    origins = set(call.settings.cors_origins)
    if call.settings.hosts:  # else the name is whatever somebody wrote who passes a login on
        origins.add(own_origin(call.request))
    token, session = call.sessions.open(login, bytes.fromhex(wanted.signature), frozenset(origins))
    response = answer(call, _form(call, session, None if wanted.cookie else token), status=201)
    if wanted.cookie:
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION_S),
            path="/",
            httponly=True,
            samesite="Strict",
            # As the browser sees it: before a plain node may stand a proxy that speaks TLS.
            secure=wanted.origin.startswith("https://"),
        )
    return response


def signed(wanted: LoginRequest, chain_id: str, node: str) -> Login:
    """What the key must have signed for this node. Raises `BadMessage`."""
    return Login(
        chain_id,
        node,
        wanted.origin,
        None if wanted.handle is None else bytes.fromhex(wanted.handle),
        bytes.fromhex(wanted.key),
        bytes.fromhex(wanted.nonce),
        wanted.expires_ms,
    )


async def who(call: Call, _: NoArguments) -> web.StreamResponse:
    if call.session is None:
        return answer(call, NOBODY)
    return answer(call, _form(call, call.session, None))


async def log_out(call: Call, _: NoArguments) -> web.StreamResponse:
    call.sessions.close(call.request)
    response = web.Response(status=204, headers={"X-Height": str(call.view.height())})
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return response


def _form(call: Call, session: Session, token: str | None) -> SessionForm:
    rights = [right.value for right in sorted(session.rights)]
    return SessionForm(
        token=token,
        kind="patient" if session.patient else "member",
        rights=(*rights, "owner") if session.owner else tuple(rights),
        member=session.member,
        roles=tuple(sorted(role.value for role in session.roles)),
        ends_in_s=max(0, int(session.ends_s - call.sessions.now_s())),
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/session",
        access=Access.OPEN,
        handler=log_in,
        doc="Log in by a signature over chain, node, origin, nonce and expiry (formats-care.md).\n"
        "With a handle: as a patient, by the relation's owner key or a delegate's. Without: as a "
        "member, by an operator's or a staff key. The session lasts 15 minutes, and no longer than "
        "the key is in force.",
        body=Body({JSON: LoginRequest}, "what was signed, and the signature"),
        answers={201: SessionForm},
        errors=(
            "LOGIN_REFUSED",
            "LOGIN_ELSEWHERE",
            "LOGIN_LATE",
            "NOT_ENABLED",
            "UNSUPPORTED_MEDIA_TYPE",
            "BUSY",
        ),
    ),
    Route(
        method="GET",
        path="/v1/session",
        access=Access.OPEN,
        handler=who,
        doc="As whom this request is logged in.",
        answers={200: SessionForm},
    ),
    Route(
        method="POST",
        path="/v1/session/end",
        access=Access.OPEN,
        handler=log_out,
        doc="Log out; without a session nothing happens.",
        answers={204: None},
        errors=("FOREIGN_ORIGIN",),
    ),
)
