"""Reads of patients' records: this organisation's readers ask here, wherever the record is kept.

Requests and answers are the canonical bytes of salus/reading.py, as the members exchange them: what
a person signed is passed on as it is. Law of the file: handles, record ids and requests' ids stand in bodies only;
what comes back is sealed to the reader's own key, and this node could not open it.
"""

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments, Read
from node.api.route import BYTES, JSON, Access, Body, Route, answer
from node.api.view import AccessView
from salus.codec import Wire, decode, encode
from salus.forms import Request
from salus.forms_access import (
    ChunkRequest,
    KnownPermits,
    MissingReceipts,
    PermitsRequest,
    ReceiptRequest,
    SitesAnswer,
)
from salus.reading import Ask, Locate, Range
from salus.validators import MemberId

ASK_BYTES_MAX = 128 * 1024  # 256 versions and the openings of a request take 30 kB
LOCATE_BYTES_MAX = 256


class LocateArguments(Request, frozen=True):
    custodian: MemberId | None = None  # ask this member alone


async def locate(call: Call, args: LocateArguments) -> web.StreamResponse:
    wanted = decode(await call.body(LOCATE_BYTES_MAX), Locate)
    return _words(call, await _desk(call).locate(wanted, args.custodian))


async def ask(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = decode(await call.body(ASK_BYTES_MAX), Ask)
    return _words(call, await _desk(call).ask(wanted))


async def chunk(call: Call, _: NoArguments) -> web.StreamResponse:
    asked = await call.json(ChunkRequest, call.settings.json_body_bytes_max)
    wanted = Range(bytes.fromhex(asked.request_id), bytes.fromhex(asked.commitment), asked.chunk)
    sealed = await _desk(call).chunk(asked.custodian, wanted)
    return web.Response(body=sealed, content_type=BYTES, headers={"Cache-Control": "no-store"})


async def receipt(call: Call, _: NoArguments) -> web.StreamResponse:
    said = await call.json(ReceiptRequest, call.settings.json_body_bytes_max)
    desk = _desk(call)
    await desk.confirm(said.custodian, bytes.fromhex(said.request_id), bytes.fromhex(said.digest))
    return answer(call, MissingReceipts(desk.missing(), call.view.height()), status=202)


async def sites(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, SitesAnswer(_desk(call).sites))


async def receipts(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, MissingReceipts(_desk(call).missing(), call.view.height()))


async def permits(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(PermitsRequest, call.settings.json_body_bytes_max)
    return answer(call, _desk(call).permits_of(bytes.fromhex(wanted.handle)))


def _words(call: Call, words: Wire) -> web.Response:
    headers = {"X-Height": str(call.view.height()), "Cache-Control": "no-store"}
    return web.Response(body=encode(words), content_type=BYTES, headers=headers)


def _desk(call: Call) -> AccessView:
    if call.view.access is None:
        raise ApiError("NOT_ENABLED", "this node is no member's yet: it reads nobody's records")
    return call.view.access


_PEER = ("PEER_UNREACHABLE", "PEER_TIMEOUT", "PEER_REFUSED", "NODE_BUSY", "NOT_ENABLED")

ROUTES = (
    Route(
        method="POST",
        path="/v1/access/locate",
        access=Access.PARTY,
        handler=locate,
        doc="Who keeps a record, and which relation and classes a request for it must name.\n"
        "Asks this node, then members whose patients let this organisation read, then all others. "
        "Only who knows the record's random id learns anything.",
        arguments=LocateArguments,
        body=Body({BYTES: None}, "`encode(Locate)`: docs/formats-care.md"),
        answers={200: BYTES},
        errors=("UNKNOWN_RECORD", "NOT_CANONICAL", "TOO_LARGE", "SLOW_BODY", "NOT_SERVED", *_PEER),
    ),
    Route(
        method="GET",
        path="/v1/access/sites",
        access=Access.PARTY,
        handler=sites,
        doc="The places from where this organisation's staff may say that they read.\n"
        "A request that names another is refused by this node; the custodian takes its word.",
        arguments=Read,
        answers={200: SitesAnswer},
        errors=("NOT_ENABLED",),
    ),
    Route(
        method="POST",
        path="/v1/access/requests",
        access=Access.PARTY,
        handler=ask,
        doc="Ask the custodian to read: answered when the ticket is certified.\n"
        "A denial is an answer like a permit. The request is signed by a person's key; this node "
        "passes it on and can change nothing of it.",
        body=Body({BYTES: None}, "`encode(Ask)`: docs/formats-care.md"),
        answers={200: BYTES},
        errors=(
            "NOT_CANONICAL",
            "TOO_LARGE",
            "SLOW_BODY",
            "NOT_SERVED",
            "BAD_SIGNATURE",
            "UNKNOWN_RECORD",
            "UNKNOWN_RELATION",
            "UNKNOWN_SITE",
            "REQUEST_SEEN",
            "REQUEST_LATE",
            "TICKET_RATE",
            "KEEPER_DOWN",
            "KEEPER_REFUSED",
            "TICKET_OLD",
            "CLOCK_AHEAD",
            "CLOCK_BEHIND",
            "ERASED",
            *_PEER,
        ),
    ),
    Route(
        method="POST",
        path="/v1/access/chunks",
        access=Access.PARTY,
        handler=chunk,
        doc="One sealed chunk of a version under a permitted ticket; changes nothing.\n"
        "Each chunk asks again whether the ticket lives and the permit stands.",
        body=Body({JSON: ChunkRequest}, "whose ticket, which version, which chunk"),
        answers={200: BYTES},
        errors=(
            "UNSUPPORTED_MEDIA_TYPE",
            "TICKET_OLD",
            "UNKNOWN_TICKET",
            "UNKNOWN_RECORD",
            "NOT_SERVED",
            "ERASED",
            *_PEER,
        ),
    ),
    Route(
        method="POST",
        path="/v1/access/receipts",
        access=Access.PARTY,
        handler=receipt,
        doc="Confirm what arrived; this node sends the receipt in its own name.\n"
        "It is kept until the chain shows it. Answers with what is missing still.",
        body=Body({JSON: ReceiptRequest}, "custodian, request, and the digest of what arrived"),
        answers={202: MissingReceipts},
        errors=("UNKNOWN_TICKET", "UNSUPPORTED_MEDIA_TYPE", "NOT_ENABLED"),
    ),
    Route(
        method="POST",
        path="/v1/access/permits",
        access=Access.PARTY,
        handler=permits,
        doc="What a patient of this organisation has permitted it elsewhere: whom to ask, and how.\n"
        "Known from the sealed field of permits; the chain shows nobody that the two are one patient.",
        body=Body({JSON: PermitsRequest}, "the handle that the patient has here"),
        answers={200: KnownPermits},
        errors=("UNSUPPORTED_MEDIA_TYPE", "NOT_ENABLED"),
    ),
    Route(
        method="GET",
        path="/v1/access/receipts",
        access=Access.PARTY,
        handler=receipts,
        doc="Permitted reads of this organisation whose receipts the chain does not show.",
        arguments=Read,
        answers={200: MissingReceipts},
        errors=("NOT_ENABLED",),
    ),
)
