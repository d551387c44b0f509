"""A patient's trail: what the state proves of it, to any member; what opens it, to who may see it.

Law of the file: handles stand in bodies only; a ticket is opened to a signed ask alone, whoever
holds the node's token.
"""

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import BYTES, JSON, Access, Body, Route
from node.api.view import AuditView
from salus.codec import decode, encode
from salus.forms_records import PermitListRequest, TrailRequest, TrailStart
from salus.looks import SignedAsk
from salus.trail import Start

ASK_BYTES_MAX = 1_024  # sixteen request ids, a handle, a key and a signature take 600


async def trail(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(TrailRequest, call.settings.json_body_bytes_max)
    start = None if wanted.start is None else _start(wanted.start)
    file = await _audit(call).trail(wanted.org, bytes.fromhex(wanted.handle), start)
    return _bytes(call, file)


async def permits(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(PermitListRequest, call.settings.json_body_bytes_max)
    start = None if wanted.start is None else bytes.fromhex(wanted.start)
    return _bytes(call, await _audit(call).permits(wanted.org, bytes.fromhex(wanted.handle), start))


def _start(form: TrailStart) -> Start:
    ticket, emergency, erasure = (
        None if at is None else bytes.fromhex(at)
        for at in (form.ticket, form.emergency, form.erasure)
    )
    return Start(ticket, emergency, erasure)


async def openings(call: Call, _: NoArguments) -> web.StreamResponse:
    signed = decode(await call.body(ASK_BYTES_MAX), SignedAsk)
    return _bytes(call, encode(await _audit(call).openings(signed)))


def _bytes(call: Call, body: bytes) -> web.Response:
    headers = {"X-Height": str(call.view.height()), "Cache-Control": "no-store"}
    return web.Response(body=body, content_type=BYTES, headers=headers)


def _audit(call: Call) -> AuditView:
    if call.view.audit is None:
        raise ApiError("NOT_ENABLED", "this node is no member's yet")
    return call.view.audit


ROUTES = (
    Route(
        method="POST",
        path="/v1/audit/trail",
        access=Access.MEMBER,
        handler=trail,
        doc="A state file of a relation's trail: tickets, emergencies and erasures at one certified height.\n"
        "Checked offline (salus/trail.py): a trail that was cut is seen. Any node has it.",
        body=Body(
            {JSON: TrailRequest},
            "custodian, handle, and where the lists go on that the file before has not ended",
        ),
        answers={200: BYTES},
        errors=("BUSY", "TOO_LARGE", "NOT_ENABLED", "UNSUPPORTED_MEDIA_TYPE", "BAD_ARGUMENT"),
    ),
    Route(
        method="POST",
        path="/v1/audit/permits",
        access=Access.MEMBER,
        handler=permits,
        doc="A state file of a relation's permits: which stand, at one certified height.\n"
        "Checked offline (salus/permit_list.py): a list that was cut is seen. Any node has it.",
        body=Body({JSON: PermitListRequest}, "custodian, handle, and the permit to go on with"),
        answers={200: BYTES},
        errors=("BUSY", "TOO_LARGE", "NOT_ENABLED", "UNSUPPORTED_MEDIA_TYPE", "BAD_ARGUMENT"),
    ),
    Route(
        method="POST",
        path="/v1/audit/openings",
        access=Access.PARTY,
        handler=openings,
        doc="What opens the commitments of tickets, from the custodian's vault.\n"
        "To an ask that is signed by the owner, a delegate who may view, or the custodian's own auditor.",
        body=Body({BYTES: None}, "`encode(SignedAsk)`: docs/formats-care.md"),
        answers={200: BYTES},
        errors=("AUDIT_REFUSED", "AUDIT_LATE", "UNKNOWN_RELATION", "NOT_CANONICAL", "NOT_ENABLED"),
    ),
)
