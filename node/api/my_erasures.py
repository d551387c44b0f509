"""A patient's own cases of erasure: what was asked for, who has answered, and stopping one that waits.

Law of the file: as of node/api/me.py; a case of another relation is none.
"""

from aiohttp import web

from contracts.erasure import WaitingArgs
from node.api.forms import time_text
from node.api.me import passed_on
from node.api.mine import Mine
from node.api.problems import ApiError
from node.api.request import Call, Read
from node.api.route import JSON, Access, Body, Route, answer
from salus.answers import CaseAnswer
from salus.erasure import Basis, ErasureHead, Stage
from salus.forms import Cursor, TransactionForm
from salus.forms_me import ErasureLook, ErasurePage, SignedRequest
from salus.relation import Right
from salus.wire_json import from_json

ROWS = 20  # each item is a walk over its holders


class ErasuresArguments(Read, frozen=True):
    after: Cursor | None = None


def erasures_of(mine: Mine, after: str | None) -> ErasurePage:
    """Newest first. `after`: a page's `next`, of this session. Raises `ApiError` (BAD_ARGUMENT,
    UNKNOWN_CASE)."""
    height, found = mine.ask("erasure", "newest", org=mine.org, handle=mine.handle.hex())
    if found is None:
        return ErasurePage((), None, 0, height)
    head = from_json(ErasureHead, found)
    at = head.newest if after is None else _case(mine, mine.session.shown(after)).case.before
    items: list[ErasureLook] = []
    last = None
    while at is not None and len(items) < ROWS:
        one = _case(mine, at)
        items.append(_look(mine, at, one))
        last, at = at, one.case.before
    follows = None if last is None or at is None else mine.session.hide(last)
    return ErasurePage(tuple(items), follows, head.count, height)


def _case(mine: Mine, case: bytes) -> CaseAnswer:
    _, found = mine.ask("erasure", "case_of", org=mine.org, case=case.hex())
    known = None if found is None else from_json(CaseAnswer, found)
    if known is None or known.case.handle != mine.handle:
        raise ApiError("UNKNOWN_CASE", "this relation has no such case")
    return known


def _look(mine: Mine, case_id: bytes, known: CaseAnswer) -> ErasureLook:
    case = known.case
    waits = case.stage is Stage.WAITING and case.basis is Basis.OWNER
    return ErasureLook(
        case_id=case_id.hex(),
        basis=case.basis.value,
        stage=case.stage.value,
        asked=time_text(case.time_ms),
        begins=time_text(case.due_ms),
        height=case.height,
        holders=case.holders,
        answered=case.answered,
        may_stop=waits and Right.DENY in mine.session.rights,
    )


async def erasures(call: Call, args: ErasuresArguments) -> web.StreamResponse:
    return answer(call, erasures_of(Mine.of(call), args.after))


async def stop(call: Call, _: Read) -> web.StreamResponse:
    mine = Mine.of(call, right=Right.DENY)

    def require_own(args: WaitingArgs) -> None:
        if args.org != mine.org:
            raise ApiError("FORBIDDEN", "the case is of another custodian")
        _case(mine, args.case)

    return await passed_on(call, mine, "erasure", "cancel", WaitingArgs, require_own)


ROUTES = (
    Route(
        method="GET",
        path="/v1/me/erasures",
        access=Access.PATIENT,
        handler=erasures,
        doc="What somebody wants erased of this relation, newest first: how far it is, who has answered.",
        arguments=ErasuresArguments,
        answers={200: ErasurePage},
        errors=("RIGHT_MISSING", "UNKNOWN_CASE"),
    ),
    Route(
        method="POST",
        path="/v1/me/erasure-stops",
        access=Access.PATIENT,
        handler=stop,
        doc="Pass on a signed erasure.cancel of this session's key, and wait until it is certified.",
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
            "UNKNOWN_CASE",
            "NOT_WAITING",
            "NOT_READY",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
)
