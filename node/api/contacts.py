"""How patients are told what happened: their contact, and which messages arrived.

Law of the file: addresses and messages stand in bodies only; whose they are says a body too, or the
session; no path names a person.
"""

from aiohttp import web

from node.api.mine import Mine
from node.api.problems import ApiError
from node.api.request import Call, NoArguments, Read
from node.api.route import JSON, Access, Body, Route, answer
from node.api.view import OutboxView
from node.contacts import Box, CarrierName, Contact
from node.notices import Language, text
from salus.forms_records import ContactRequest, NoticeForm, NoticePage, NoticesRequest


async def set_contact(call: Call, _: NoArguments) -> web.StreamResponse:
    outbox = _outbox(call)
    wanted = await call.json(ContactRequest, call.settings.json_body_bytes_max)
    await outbox.set_contact(bytes.fromhex(wanted.handle), _contact(wanted))
    return web.Response(status=204)


async def notices(call: Call, _: NoArguments) -> web.StreamResponse:
    outbox = _outbox(call)
    wanted = await call.json(NoticesRequest, call.settings.json_body_bytes_max)
    return answer(call, page(outbox.of_handle(bytes.fromhex(wanted.handle))))


async def my_notices(call: Call, _: Read) -> web.StreamResponse:
    mine = Mine.of(call)
    return answer(call, page(_outbox(call).of_handle(mine.handle)))


def page(box: Box | None) -> NoticePage:
    """The newest first; the words are those that were sent."""
    if box is None:
        return NoticePage(None, None, None, ())
    contact = box.contact
    found = tuple(
        NoticeForm(
            kind=one.notice.kind.value,
            count=one.notice.count,
            time_ms=one.notice.time_ms,
            height=one.height,
            delivery=one.delivery.value,
            attempts=one.attempts,
            due_ms=one.due_ms,
            changed_ms=one.changed_ms,
            text=text(one.notice, _language(one.to or contact)),
        )
        for one in reversed(box.messages)
    )
    if contact is None:
        return NoticePage(None, None, None, found)
    return NoticePage(contact.carrier.value, contact.address, contact.language.value, found)


def _language(contact: Contact | None) -> Language:
    return Language.EN if contact is None else contact.language


def _contact(wanted: ContactRequest) -> Contact | None:
    if wanted.carrier is None and wanted.address is None:
        return None
    if wanted.carrier is None or wanted.address is None:
        raise ApiError("BAD_CONTACT", "carrier and address belong together")
    return Contact(CarrierName(wanted.carrier), wanted.address, Language(wanted.language))


def _outbox(call: Call) -> OutboxView:
    if call.view.outbox is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    return call.view.outbox


ROUTES = (
    Route(
        method="POST",
        path="/v1/contacts",
        access=Access.PARTY,
        handler=set_contact,
        doc="Where a patient wants to be told what happens to his relation; sealed in the custodian's vault.\n"
        "The contact before is told that it was changed. With carrier and address null he is told no more, "
        "and what was told is forgotten.",
        body=Body({JSON: ContactRequest}, "handle, carrier, address, language"),
        answers={204: None},
        errors=("UNKNOWN_RELATION", "BAD_CONTACT", "NOT_ENABLED", "UNSUPPORTED_MEDIA_TYPE"),
    ),
    Route(
        method="POST",
        path="/v1/contacts/notices",
        access=Access.PARTY,
        handler=notices,
        doc="A patient's contact, and the messages to him with their delivery, newest first.",
        body=Body({JSON: NoticesRequest}, "the handle"),
        answers={200: NoticePage},
        errors=("NOT_ENABLED", "UNSUPPORTED_MEDIA_TYPE"),
    ),
    Route(
        method="GET",
        path="/v1/me/notices",
        access=Access.PATIENT,
        handler=my_notices,
        doc="The patient's own contact, and the messages to him with their delivery, newest first.",
        arguments=Read,
        answers={200: NoticePage},
        errors=("RIGHT_MISSING", "NOT_ENABLED"),
    ),
)
