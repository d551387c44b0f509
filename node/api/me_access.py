"""A patient reads the own records through the gate, like everybody else: by a ticket on the chain.

The page signs the request with the session's key and opens what comes itself; this node passes words
on. Law of the file: only the patient's own request, at this custodian, for this session's relation.
"""

from aiohttp import web

from node.api.access import ASK_BYTES_MAX
from node.api.mine import Mine
from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import BYTES, JSON, Access, Body, Route, answer
from node.api.view import AccessView
from salus.codec import Uint, decode, encode
from salus.forms import Form
from salus.forms_access import OwnChunkRequest, OwnReceiptRequest
from salus.permit import Purpose
from salus.reading import Ask, Range


class ArrivedForm(Form, frozen=True, omit_defaults=False):
    height: Uint


async def ask(call: Call, _: NoArguments) -> web.StreamResponse:
    mine = Mine.of(call)
    wanted = decode(await call.body(ASK_BYTES_MAX), Ask)
    request = wanted.request
    if request.purpose is not Purpose.PATIENT_REQUEST:
        raise ApiError("FORBIDDEN", "a patient's session asks for the patient alone")
    asked = (request.custodian, request.requester, request.handle, request.key)
    if asked != (mine.org, mine.org, mine.handle, mine.session.key):
        raise ApiError("FORBIDDEN", "the request is of another relation, or another key's")
    decided = await _desk(call).ask(wanted)
    headers = {"X-Height": str(call.view.height()), "Cache-Control": "no-store"}
    return web.Response(body=encode(decided), content_type=BYTES, headers=headers)


async def chunk(call: Call, _: NoArguments) -> web.StreamResponse:
    mine = Mine.of(call)
    asked = await call.json(OwnChunkRequest, call.settings.json_body_bytes_max)
    request_id = bytes.fromhex(asked.request_id)
    mine.ticket(request_id)  # of this relation, or it is nobody's here
    wanted = Range(request_id, bytes.fromhex(asked.commitment), asked.chunk)
    sealed = await _desk(call).chunk(mine.org, wanted)
    headers = {"X-Height": str(call.view.height()), "Cache-Control": "no-store"}
    return web.Response(body=sealed, content_type=BYTES, headers=headers)


async def receipt(call: Call, _: NoArguments) -> web.StreamResponse:
    mine = Mine.of(call)
    said = await call.json(OwnReceiptRequest, call.settings.json_body_bytes_max)
    request_id = bytes.fromhex(said.request_id)
    mine.ticket(request_id)
    await _desk(call).confirm(mine.org, request_id, bytes.fromhex(said.digest))
    return answer(call, ArrivedForm(call.view.height()), status=202)


def _desk(call: Call) -> AccessView:
    if call.view.access is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.access


_GATE = ("NODE_BUSY", "NOT_SERVED", "NOT_ENABLED", "RIGHT_MISSING", "UNKNOWN_RECORD", "ERASED")

ROUTES = (
    Route(
        method="POST",
        path="/v1/me/access/requests",
        access=Access.PATIENT,
        handler=ask,
        doc="Ask for own records: answered when the ticket is certified.\n"
        "`encode(Ask)` with the purpose patient_request, signed by this session's key; the answer is "
        "`encode(Decided)` (docs/formats-care.md).",
        body=Body({BYTES: None}, "`encode(Ask)`"),
        answers={200: BYTES},
        errors=(
            "FORBIDDEN",
            "NOT_CANONICAL",
            "UNKNOWN_READER",
            "UNKNOWN_RELATION",
            "BAD_ASK",
            "CLASSES_MISSING",
            "REQUEST_SEEN",
            "REQUEST_LATE",
            "TICKET_RATE",
            "KEEPER_DOWN",
            "KEEPER_REFUSED",
            "TICKET_OLD",
            "CLOCK_AHEAD",
            "CLOCK_BEHIND",
            *_GATE,
        ),
    ),
    Route(
        method="POST",
        path="/v1/me/access/chunks",
        access=Access.PATIENT,
        handler=chunk,
        doc="One sealed chunk of a version under an own ticket; changes nothing.",
        body=Body({JSON: OwnChunkRequest}, "which ticket, which version, which chunk"),
        answers={200: BYTES},
        errors=("TICKET_OLD", "ACCESS_ENDED", "UNKNOWN_TICKET", "UNSUPPORTED_MEDIA_TYPE", *_GATE),
    ),
    Route(
        method="POST",
        path="/v1/me/access/receipts",
        access=Access.PATIENT,
        handler=receipt,
        doc="Confirm what arrived; this node sends the receipt.",
        body=Body({JSON: OwnReceiptRequest}, "which ticket, and the digest of what arrived"),
        answers={202: ArrivedForm},
        errors=("UNKNOWN_TICKET", "UNSUPPORTED_MEDIA_TYPE", *_GATE),
    ),
)
