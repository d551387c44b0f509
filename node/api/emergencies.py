"""Emergency summaries and what opens the commitments of a case.

Law of the file: handles, cases, reasons and texts stand in bodies only. What comes back of a summary
is sealed to the clinician's device.
"""

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import JSON, Access, Body, Route, answer
from node.api.view import EmergenciesView
from salus.emergency_forms import EmergencyRequest
from salus.emergency_json import (
    DEPOSIT_BODY_BYTES_MAX,
    DepositAnswer,
    DepositRequest,
    GivenShare,
    HolderAnswer,
    NoteForm,
    NoteRequest,
    NotesAnswer,
    ShareRequest,
    SharesAnswer,
)
from salus.emergency_wire import CaseNote, Deposit, ShareAsk
from salus.forms_records import CaseRequest


async def deposit(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(DepositRequest, DEPOSIT_BODY_BYTES_MAX)
    sealed = bytes.fromhex(wanted.sealed)
    deposits = {
        one.holder: Deposit(
            wanted.org,
            bytes.fromhex(wanted.handle),
            wanted.generation,
            bytes.fromhex(wanted.salt),
            sealed,
            bytes.fromhex(one.share),
        )
        for one in wanted.shares
    }
    said = await _emergencies(call).deposit(deposits)
    return answer(call, DepositAnswer(tuple(HolderAnswer(*one) for one in sorted(said.items()))))


async def shares(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(ShareRequest, call.settings.json_body_bytes_max)
    emergencies = _emergencies(call)
    request = EmergencyRequest(
        call.view.genesis.chain_id,
        wanted.org,
        bytes.fromhex(wanted.handle),
        emergencies.org,
        bytes.fromhex(wanted.staff),
        bytes.fromhex(wanted.nonce),
        bytes.fromhex(wanted.details),
        bytes.fromhex(wanted.release_key),
    )
    ask = ShareAsk(
        request,
        bytes.fromhex(wanted.key),
        bytes.fromhex(wanted.signature),
        bytes.fromhex(wanted.opening),
        True,
    )
    found = await emergencies.shares(ask, wanted.have)
    return answer(
        call,
        SharesAnswer(
            tuple(
                GivenShare(one.holder, one.code, 0, 0, False, "", "")
                if one.given is None
                else GivenShare(
                    one.holder,
                    one.code,
                    one.given.generation,
                    one.given.threshold,
                    one.given.late,
                    one.given.share.hex(),
                    one.given.sealed.hex(),
                )
                for one in found
            )
        ),
    )


async def keep_note(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(NoteRequest, call.settings.json_body_bytes_max)
    note = CaseNote(
        bytes.fromhex(wanted.case),
        wanted.kind,
        bytes.fromhex(wanted.salt),
        bytes.fromhex(wanted.content),
    )
    await _emergencies(call).keep_note(note)
    return web.Response(status=204)


async def notes(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(CaseRequest, call.settings.json_body_bytes_max)
    found, silent = await _emergencies(call).notes(bytes.fromhex(wanted.case))
    forms = tuple(NoteForm(one.kind, one.salt.hex(), one.content.hex()) for one in found)
    return answer(call, NotesAnswer(forms, tuple(silent)))


def _emergencies(call: Call) -> EmergenciesView:
    if call.view.emergencies is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.emergencies


ROUTES = (
    Route(
        method="POST",
        path="/v1/emergency/deposits",
        access=Access.PARTY,
        handler=deposit,
        doc="Bring a patient's sealed emergency summary to its holders, each with its share.\n"
        "After `emergency.deposit` is certified. Each holder checks it against the chain's commitment.",
        body=Body({JSON: DepositRequest}, "the ciphertext, and a sealed share for each holder"),
        answers={200: DepositAnswer},
        errors=("NOT_ENABLED", "TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"),
    ),
    Route(
        method="POST",
        path="/v1/emergency/shares",
        access=Access.PARTY,
        handler=shares,
        doc="Ask the holders of a summary for their shares, by a clinician's signed request.\n"
        "Answers with what each one said by now: EMERGENCY_WAIT until the case is certified, or until "
        "nothing was for so long that it is given late. Ask again for those that are missing.",
        body=Body({JSON: ShareRequest}, "the request, its signature, and the opening transaction"),
        answers={200: SharesAnswer},
        errors=("NOT_ENABLED", "NO_SUMMARY", "OPTED_OUT", "UNSUPPORTED_MEDIA_TYPE"),
    ),
    Route(
        method="POST",
        path="/v1/emergency/notes",
        access=Access.PARTY,
        handler=keep_note,
        doc="Keep what opens a commitment of a case (reason, justification, grounds, dispute).\n"
        "Sealed in this node's vault; shown to the members that have a part in the case.",
        body=Body({JSON: NoteRequest}, "salt and canonical content (formats-care.md)"),
        answers={204: None},
        errors=(
            "DUPLICATE_CASE",
            "ALREADY_JUSTIFIED",
            "ALREADY_DECIDED",
            "ALREADY_DISPUTED",
            "NOT_ENABLED",
            "NOT_CANONICAL",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
    Route(
        method="POST",
        path="/v1/emergency/notes/find",
        access=Access.PARTY,
        handler=notes,
        doc="What opens the commitments of a case, from the members that know it.\n"
        "Each is for the reader to check against the case on the chain.",
        body=Body({JSON: CaseRequest}, "the case; in a body, for the chain says whose it is"),
        answers={200: NotesAnswer},
        errors=("NOT_ENABLED", "UNKNOWN_CASE", "UNSUPPORTED_MEDIA_TYPE"),
    ),
)
