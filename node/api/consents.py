"""Consents off the chain: the openings of inner terms, for the custodian's gate.

Law of the file: what terms say is a patient's; it stands in bodies only and is never shown here.
"""

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import JSON, Access, Body, Route, answer
from salus.forms import OpeningAnswer, OpeningRequest


async def keep_opening(call: Call, _: NoArguments) -> web.StreamResponse:
    if call.view.openings is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    wanted = await call.json(OpeningRequest, call.settings.json_body_bytes_max)
    commitment = await call.view.openings.keep(
        bytes.fromhex(wanted.handle), bytes.fromhex(wanted.salt), bytes.fromhex(wanted.terms)
    )
    return answer(call, OpeningAnswer(commitment.hex()), status=201)


ROUTES = (
    Route(
        method="POST",
        path="/v1/consents/openings",
        access=Access.PARTY,
        handler=keep_opening,
        doc="Keep the inner terms of a permit, sealed in the custodian's vault.\n"
        "Post them before the permit is sent: the gate denies where an opening is missing. "
        "Posting the same again changes nothing.",
        body=Body({JSON: OpeningRequest}, "salt and canonical terms (formats.md), of one handle"),
        answers={201: OpeningAnswer},
        errors=(
            "UNKNOWN_RELATION",
            "BAD_TERMS",
            "NOT_CANONICAL",
            "NOT_ENABLED",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
)
