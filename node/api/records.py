"""Documents: stage into the vault, list, read, prove. Only on the organisation's own node.

Law of the file: what identifies a person stands in bodies only; paths and parameters carry
opaque record ids, and neither bodies nor ids are logged.
"""

import re
from contextlib import nullcontext
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from node.api.problems import ApiError
from node.api.request import Call, Read
from node.api.route import BYTES, JSON, Access, Body, Route, answer
from node.api.transactions import proof_file
from node.api.view import RecordsView
from node.fhir_faults import FHIR_CODES
from salus.document import DOCUMENT_BYTES_MAX
from salus.forms import Cursor, Request
from salus.forms_records import RecordForm, RecordPage, RetractRequest, Staged

MediaType = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}$(?!\n)",
        description="e.g. application/fhir+json",
    ),
]
RecordId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16,64}$(?!\n)")]
Version = Annotated[int, Meta(ge=1, le=2**31)]


# A handle is public, but with a time beside it it says who was seen when: never in a URL.
HANDLE_HEADER = "Salus-Handle"
_HANDLE = re.compile(r"[0-9a-f]{64}")


DrawnId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{32}$(?!\n)",
        description="a new record's id, drawn at random by the caller: sent again, it stages nothing more",
    ),
]

SMALL_BYTES = 2**20  # what is read whole and larger waits for room in memory


class StageArguments(Request, frozen=True, kw_only=True):
    media_type: MediaType = "application/fhir+json"
    previous: RecordId | None = None  # the record that this is a new version of
    record_id: DrawnId | None = None
    batched: bool = False  # wait for the next fixed time, and share a root with the others


async def stage(call: Call, args: StageArguments) -> web.StreamResponse:
    handle = call.request.headers.get(HANDLE_HEADER)
    if handle is not None and _HANDLE.fullmatch(handle) is None:
        raise ApiError("BAD_ARGUMENT", f"{HANDLE_HEADER}: a handle has 64 hex digits, lower-case")
    whose = None if handle is None else bytes.fromhex(handle)
    records = _records(call)
    if records.streams(args.media_type):
        staged = await records.stage_stream(
            call.pieces(DOCUMENT_BYTES_MAX),
            args.media_type,
            args.previous,
            handle=whose,
            record_id=args.record_id,
            batched=args.batched,
        )
    else:
        length = call.request.content_length
        small = length is not None and length <= SMALL_BYTES
        async with nullcontext() if small else records.room():
            content = await call.body(call.settings.document_bytes_max)
            if not content:
                raise ApiError("BAD_REQUEST", "the document is empty")
            if args.batched:
                waits = await records.deposit(
                    content, args.media_type, args.previous, handle=whose, record_id=args.record_id
                )
                del content
            else:
                staged = await records.stage(
                    content, args.media_type, args.previous, handle=whose, record_id=args.record_id
                )
        if args.batched:
            staged = await waits  # without a place in memory
    return answer(call, staged, status=201, headers={"Location": f"/v1/records/{staged.record_id}"})


class RetractArguments(Request, frozen=True, kw_only=True):
    id: RecordId


async def retract(call: Call, args: RetractArguments) -> web.StreamResponse:
    wanted = await call.json(RetractRequest, call.settings.json_body_bytes_max)
    return answer(call, await _records(call).retract(args.id, wanted.reason), status=201)


class ResumeArguments(Request, frozen=True, kw_only=True):
    id: RecordId


async def operations(call: Call, args: ResumeArguments) -> web.StreamResponse:
    staged = _records(call).operations(args.id)
    if staged is None:
        raise ApiError("UNKNOWN_RECORD")
    return answer(call, staged)


class ListArguments(Read, frozen=True):
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


async def list_records(call: Call, args: ListArguments) -> web.StreamResponse:
    items, cursor = _records(call).list(args.after, args.limit)
    link = {"Link": f'</v1/records?after={cursor}>; rel="next"'} if cursor else {}
    return answer(call, RecordPage(items, cursor), headers=link)


class RecordArguments(Read, frozen=True):
    id: RecordId


async def show(call: Call, args: RecordArguments) -> web.StreamResponse:
    record = _records(call).show(args.id)
    if record is None:
        raise ApiError("UNKNOWN_RECORD")
    return answer(call, record)


class VersionArguments(Read, frozen=True):
    id: RecordId
    version: Version | None = None  # the newest one if left out


async def document(call: Call, args: VersionArguments) -> web.StreamResponse:
    found = await _records(call).document(args.id, args.version)
    if found is None:
        raise ApiError("UNKNOWN_RECORD")
    return web.Response(
        body=found.content,
        headers={
            "Content-Type": found.media_type,
            "Content-Disposition": "attachment",  # a document is never shown as a page of ours
            "X-Height": str(call.view.height()),
        },
    )


class RecordProofArguments(Read, frozen=True):
    id: RecordId
    version: Version | None = None
    as_of: bool = False


async def proof(call: Call, args: RecordProofArguments) -> web.StreamResponse:
    raw = await _records(call).proof(args.id, args.version, args.as_of)
    if raw is None:
        raise ApiError("UNKNOWN_RECORD")
    return proof_file(call, raw, args.id[:16])


def _records(call: Call) -> RecordsView:
    if call.view.records is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.records


_COMMON = ("UNKNOWN_RECORD", "NOT_ENABLED")

ROUTES = (
    Route(
        method="POST",
        path="/v1/records",
        access=Access.PARTY,
        handler=stage,
        doc="Store a document encrypted in the vault; answers with the operations to sign.\n"
        "Nothing is on the chain until those operations are submitted in a transaction.\n"
        "FHIR and JSON are read whole; all other types stream, up to 128 MiB.\n"
        "With a record_id whoever lost the answer sends all of it again, and one record is kept.\n"
        "With `batched` the answer comes with the next batch (`records.batch_period`); one of a batch gets the\n"
        "operations of all, the others none: they ask for the record until it is anchored.",
        arguments=StageArguments,
        headers={HANDLE_HEADER: "the patient's handle, if the record is somebody's"},
        body=Body({"*/*": None}, "the document's bytes"),
        answers={201: Staged},
        errors=(
            "BAD_DOCUMENT",
            "TOO_LARGE",
            "SLOW_BODY",
            "UNKNOWN_RELATION",
            "OTHER_PATIENT",
            "KEEPER_MISSING",
            "BAD_BOX_KEY",
            "BAD_ARGUMENT",
            "NOT_FOUND",
            "NODE_BUSY",
            *FHIR_CODES,
            *_COMMON,
        ),
    ),
    Route(
        method="GET",
        path="/v1/records",
        access=Access.PARTY,
        handler=list_records,
        doc="Records that this node keeps, newest first.",
        arguments=ListArguments,
        answers={200: RecordPage},
        errors=("NOT_ENABLED",),
    ),
    Route(
        method="GET",
        path="/v1/records/{id}",
        access=Access.PARTY,
        handler=show,
        doc="A record and its versions.",
        arguments=RecordArguments,
        answers={200: RecordForm},
        errors=_COMMON,
    ),
    Route(
        method="POST",
        path="/v1/records/{id}/retract",
        access=Access.PARTY,
        handler=retract,
        doc="The operation that ends a record without a successor, for the caller to sign.\n"
        "The reason stays in the vault; the chain gets a salted hash of it.",
        arguments=RetractArguments,
        body=Body({JSON: RetractRequest}, "why it is withdrawn"),
        answers={201: Staged},
        errors=("NOT_CERTIFIED", "UNSUPPORTED_MEDIA_TYPE", *_COMMON),
    ),
    Route(
        method="GET",
        path="/v1/records/{id}/operations",
        access=Access.PARTY,
        handler=operations,
        doc="The operations of the newest version once more, while it is not anchored.\n"
        "For whoever lost the answer to POST /v1/records: sign and submit them.",
        arguments=ResumeArguments,
        answers={200: Staged},
        errors=("NOT_FOUND", "VERSION_ENDED", "NOT_ANCHORED", *_COMMON),
    ),
    Route(
        method="GET",
        path="/v1/records/{id}/document",
        access=Access.PARTY,
        handler=document,
        doc="The document itself, decrypted; of a patient's record only the gate gives it.",
        arguments=VersionArguments,
        answers={200: "*/*"},
        errors=("GATE_ONLY", *_COMMON),
    ),
    Route(
        method="GET",
        path="/v1/records/{id}/proof",
        access=Access.PARTY,
        handler=proof,
        doc="The proof file of a version with the opening of its document.",
        arguments=RecordProofArguments,
        answers={200: BYTES},
        errors=("NOT_CERTIFIED", "GATE_ONLY", *_COMMON),
    ),
)
