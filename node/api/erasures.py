"""Requests of erasure, before they are sent: what they are about goes to the custodian's node.

Law of the file: record ids, cases and reasons stand in bodies only; nothing is erased by a call of this
API, but by what the chain certifies.
"""

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import JSON, Access, Body, Route, answer
from node.api.view import ErasuresView
from salus.forms_records import CaseRequest, ErasureAnswer, ErasureRequest


async def keep(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(ErasureRequest, call.settings.json_body_bytes_max)
    leaves = await _erasures(call).want(
        bytes.fromhex(wanted.case),
        bytes.fromhex(wanted.handle),
        [bytes.fromhex(one) for one in wanted.records],
        bytes.fromhex(wanted.records_salt),
        wanted.reason,
        bytes.fromhex(wanted.reason_salt),
    )
    return answer(call, ErasureAnswer(tuple(leaf.hex() for leaf in leaves)), status=201)


async def carry_out(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(CaseRequest, call.settings.json_body_bytes_max)
    await _erasures(call).carry_out(bytes.fromhex(wanted.case))
    return web.Response(status=204)


def _erasures(call: Call) -> ErasuresView:
    if call.view.erasures is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.erasures


ROUTES = (
    Route(
        method="POST",
        path="/v1/erasures",
        access=Access.PARTY,
        handler=keep,
        doc="Say what a request of erasure is about, before it is sent; sealed in the custodian's vault.\n"
        "Answers with the leaves that the request commits to. Nothing is erased before the request is certified.",
        body=Body({JSON: ErasureRequest}, "records of one handle, and salts"),
        answers={201: ErasureAnswer},
        errors=(
            "UNKNOWN_RECORD",
            "ERASED",
            "DUPLICATE_CASE",
            "TOO_LARGE",
            "BUSY",
            "NOT_ENABLED",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
    Route(
        method="POST",
        path="/v1/erasures/carry-out",
        access=Access.ADMIN,
        handler=carry_out,
        doc="Carry out a certified request, where `storage.erase_on_request` is false.",
        body=Body({JSON: CaseRequest}, "the case"),
        answers={204: None},
        errors=("UNKNOWN_CASE", "NOT_ENABLED", "UNSUPPORTED_MEDIA_TYPE"),
    ),
)
