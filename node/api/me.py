"""A patient's own relation: who may see what, who looked, which records, and ending a permit.

Law of the file: whose it is says the session alone; no path and no parameter names a person. What
changes anything is a transaction that the patient's own key signed; the node passes it on.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

from aiohttp import web
from msgspec import Meta

from contracts.consent import RevokeArgs
from node.api.checking import CHECK_ERRORS, checked
from node.api.mine import Mine
from node.api.problems import ApiError
from node.api.request import Call, NoArguments, Read
from node.api.route import JSON, Access, Body, Route, answer
from node.api.transactions import SubmitArguments, submit_one
from salus.codec import Wire, decode
from salus.forms import Cursor, TransactionForm
from salus.forms_me import (
    CheckAnswer,
    CheckRequest,
    EmergencyPage,
    LookPage,
    Me,
    MyRecords,
    OpeningPage,
    PermitPage,
    SignedRequest,
)
from salus.relation import Right
from salus.transaction import Operation, Transaction

W = TypeVar("W", bound=Wire)

PAGE_MAX = 100  # each item is a read of the state


class PermitsArguments(Read, frozen=True):
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 20


class LooksArguments(Read, frozen=True):
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 20


class EmergenciesArguments(Read, frozen=True):
    after: Cursor | None = None


async def me(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, Mine.of(call, right=None).me())


async def consents(call: Call, args: PermitsArguments) -> web.StreamResponse:
    return answer(call, Mine.of(call).permits(args.after, args.limit))


async def openings(call: Call, args: PermitsArguments) -> web.StreamResponse:
    return answer(call, Mine.of(call).openings(args.after, args.limit))


async def access_log(call: Call, args: LooksArguments) -> web.StreamResponse:
    return answer(call, Mine.of(call).looks(args.after, args.limit))


async def records(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, MyRecords(Mine.of(call).records()))


async def revoke(call: Call, _: Read) -> web.StreamResponse:
    mine = Mine.of(call, right=Right.REVOKE)

    def require_own(args: RevokeArgs) -> None:
        if (args.org, args.handle) != (mine.org, mine.handle):
            raise ApiError("FORBIDDEN", "the permit is of another relation")

    return await passed_on(call, mine, "consent", "revoke", RevokeArgs, require_own)


async def passed_on(
    call: Call,
    mine: Mine,
    contract: str,
    method: str,
    kind: type[W],
    require_own: Callable[[W], None],
) -> web.StreamResponse:
    """Pass on what this session's key has signed, of one method alone (rule P-7). Raises `ApiError`
    (FORBIDDEN), `BadMessage`."""
    wanted = await call.json(SignedRequest, call.settings.json_body_bytes_max)
    raw = bytes.fromhex(wanted.transaction)
    tx = decode(raw, Transaction)
    if tx.sender != mine.session.key:
        raise ApiError("FORBIDDEN", "the transaction is another key's than this session's")
    for encoded in tx.operations:
        operation = decode(encoded, Operation)
        if (operation.contract, operation.method) != (contract, method):
            raise ApiError("FORBIDDEN", f"this path takes {contract}.{method} alone")
        require_own(decode(operation.args, kind))
    return await submit_one(call, SubmitArguments(wait="commit"), raw)


async def check(call: Call, _: NoArguments) -> web.StreamResponse:
    mine = Mine.of(call)
    wanted = await call.json(CheckRequest, call.settings.json_body_bytes_max)
    return answer(
        call, checked(call, mine.handle, wanted.actor, wanted.scopes, wanted.purpose, wanted.site)
    )


async def emergencies(call: Call, args: EmergenciesArguments) -> web.StreamResponse:
    return answer(call, Mine.of(call).emergencies(args.after))


def _get(path: str, handler: object, doc: str, kind: object, arguments: type) -> Route:
    return Route(
        method="GET",
        path=path,
        access=Access.PATIENT,
        handler=handler,  # type: ignore[arg-type]
        doc=doc,
        arguments=arguments,
        answers={200: kind},
        errors=("RIGHT_MISSING", *(("UNKNOWN_RELATION",) if kind is Me else ())),
    )


ROUTES = (
    _get("/v1/me", me, "The relation of this session: keys, delegates, what waits.", Me, Read),
    _get(
        "/v1/me/consents",
        consents,
        "Who may see what: permits and denials, newest first, with their terms in full.",
        PermitPage,
        PermitsArguments,
    ),
    _get(
        "/v1/me/openings",
        openings,
        "What opens the terms of one's permits, for a device that has lost them; check each against the chain.",
        OpeningPage,
        PermitsArguments,
    ),
    _get(
        "/v1/me/access-log",
        access_log,
        "Who looked, or tried to: the trail of tickets, newest first.",
        LookPage,
        LooksArguments,
    ),
    _get(
        "/v1/me/records",
        records,
        "The patient's records that this node keeps, newest first; without their contents.",
        MyRecords,
        Read,
    ),
    _get(
        "/v1/me/emergencies",
        emergencies,
        "Emergency cases of the relation, newest first, and how each stands.",
        EmergencyPage,
        EmergenciesArguments,
    ),
    Route(
        method="POST",
        path="/v1/me/check",
        access=Access.PATIENT,
        handler=check,
        doc="What somebody's request for the own records would get now; asks for nothing.",
        body=Body({JSON: CheckRequest}, "who reads what, and why"),
        answers={200: CheckAnswer},
        errors=("RIGHT_MISSING", *CHECK_ERRORS),
    ),
    Route(
        method="POST",
        path="/v1/me/revocations",
        access=Access.PATIENT,
        handler=revoke,
        doc="Pass on a signed consent.revoke of this session's key, and wait until it is certified.",
        arguments=Read,
        body=Body({JSON: SignedRequest}, "the signed transaction as hex"),
        answers={200: TransactionForm, 202: TransactionForm},
        errors=(
            "RIGHT_MISSING",
            "FORBIDDEN",
            "NOT_CANONICAL",
            "WRONG_CHAIN",
            "EXPIRED",
            "BAD_SIGNATURE",
            "ALREADY_ENDED",
            "UNKNOWN_PERMIT",
            "NOT_READY",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
)
