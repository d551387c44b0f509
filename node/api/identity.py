"""Identifiers at a hospital's desk, for its own staff: checks at registration, cases, finding a person.

Law of the file: an identifier stands in a body only, and only a signed ask is answered, whoever holds
the node's token (decision 0017).
"""

from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import BYTES, Access, Body, Route, answer
from node.api.view import IdentityView
from salus.desk_asks import ASK_BYTES_MAX
from salus.desk_json import CaseForm, CasesAnswer, CheckAnswer, FindAnswer, SearchesAnswer
from salus.errors import SalusError

T = TypeVar("T")

BODY_BYTES_MAX = ASK_BYTES_MAX + 128  # and its signature


async def check(call: Call, _: NoArguments) -> web.StreamResponse:
    body = await call.body(BODY_BYTES_MAX)
    return answer(call, await _counted(_desk(call).check(body)))


async def find(call: Call, _: NoArguments) -> web.StreamResponse:
    body = await call.body(BODY_BYTES_MAX)
    return answer(call, await _counted(_desk(call).find(body)))


async def cases(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, await _desk(call).cases(await call.body(BODY_BYTES_MAX)))


async def close(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, await _desk(call).close(await call.body(BODY_BYTES_MAX)))


async def searches(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, await _desk(call).searches(await call.body(BODY_BYTES_MAX)))


async def _counted(asked: Awaitable[T]) -> T:
    """With the time after which this key may ask again."""
    try:
        return await asked
    except SalusError as error:
        if error.code != "TOO_MANY_SEARCHES":
            raise
        wait_s = int(error.facts["retry_after_s"])
        raise ApiError(error.code, error.message, retry_after_s=wait_s) from None


def _desk(call: Call) -> IdentityView:
    if call.view.identity is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.identity


_ASK = "`encode(Signed)` of {}: docs/formats-care.md"
_REFUSED = ("DESK_REFUSED", "DESK_LATE", "NOT_CANONICAL", "TOO_LARGE", "NOT_ENABLED")
_TAGS = ("BAD_IDENTIFIER", "TOO_MANY_SEARCHES", "NO_PEPPER", "WRONG_PEPPER", "BAD_PEPPER_FILE")

ROUTES = (
    Route(
        method="POST",
        path="/v1/identity/checks",
        access=Access.PARTY,
        handler=check,
        doc="The identity tags of a registration, and whether the person is registered anywhere.\n"
        "What is met opens a case in this hospital's vault before it is said. Nobody is refused care.",
        body=Body({BYTES: None}, _ASK.format("CheckAsk")),
        answers={200: CheckAnswer},
        errors=(*_REFUSED, *_TAGS),
    ),
    Route(
        method="POST",
        path="/v1/identity/finds",
        access=Access.PARTY,
        handler=find,
        doc="In an emergency: where a person has a relation, by an identifier.\n"
        "For staff with the role emergency; kept in this hospital's vault before it is answered, at most "
        "20 an hour for a key.",
        body=Body({BYTES: None}, _ASK.format("FindAsk")),
        answers={200: FindAnswer},
        errors=(*_REFUSED, *_TAGS, "NOBODY_FOUND"),
    ),
    Route(
        method="POST",
        path="/v1/identity/cases",
        access=Access.PARTY,
        handler=cases,
        doc="Possible duplicates: of this hospital's vault, newest first, or one of them.",
        body=Body({BYTES: None}, _ASK.format("CasesAsk")),
        answers={200: CasesAnswer},
        errors=(*_REFUSED, "UNKNOWN_CASE"),
    ),
    Route(
        method="POST",
        path="/v1/identity/cases/close",
        access=Access.PARTY,
        handler=close,
        doc="What came of a possible duplicate: one person, two, or a theft of identity.",
        body=Body({BYTES: None}, _ASK.format("CloseAsk")),
        answers={200: CaseForm},
        errors=(*_REFUSED, "UNKNOWN_CASE"),
    ),
    Route(
        method="POST",
        path="/v1/identity/searches",
        access=Access.PARTY,
        handler=searches,
        doc="Who of this hospital's staff looked for people by an identifier, why, and what was found.",
        body=Body({BYTES: None}, _ASK.format("SearchesAsk")),
        answers={200: SearchesAnswer},
        errors=_REFUSED,
    ),
)
