"""What anybody may know of the consortium, and the regulator's view of it (health.md §4.15).

Law of the file: no handle and no person; numbers of events in persons' care are shown exactly to a
regulator, and to everybody else from ten on.
"""

from typing import Any

from aiohttp import web

from contracts.offers import OfferList
from node.api.forms import time_text
from node.api.mine import NEWEST
from node.api.request import Call, Read
from node.api.route import Access, Route, answer
from salus.answers import Cases
from salus.emergency import Case
from salus.errors import BadMessage
from salus.forms_public import (
    CELL_MIN,
    CountsForm,
    Directory,
    EmergencyForm,
    OfferForm,
    OrganisationForm,
    Oversight,
)
from salus.genesis import Role
from salus.keys import address
from salus.offer import Offer, site_text
from salus.wire_json import from_json

_TALLIED = (
    "reads",
    "denials",
    "emergencies",
    "emergencies_late",
    "justified_late",
    "disputed",
    "abuse",
    "erasures",
)
COUNTED = (*_TALLIED, "erasures_open")


async def directory(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, organisations(call))


async def oversight(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, await overseen(call))


def organisations(call: Call) -> Directory:
    height, found = _query(call, "members", "list_members")
    _, said = _query(call, "members", "offers")
    offers = {one.org: _offer(one.offer) for one in from_json(OfferList, said).offers}
    return Directory(
        tuple(
            OrganisationForm(
                one["id"],
                one["name"],
                tuple(one["roles"]),
                one["validator"],
                one["status"],
                one["since_height"],
                address(bytes.fromhex(one["operator_key"])),
                offers.get(one["id"]),
            )
            for one in found["members"]
        ),
        height,
    )


def _offer(offer: Offer) -> OfferForm:
    return OfferForm(
        tuple(one.value for one in offer.services),
        tuple(site_text(one) for one in offer.sites),
        tuple(one.value for one in offer.surfaces),
        offer.height,
    )


def regulator(call: Call) -> bool:
    """Is this request a regulator's: by a session of its key, or at its own node?"""
    if call.session is not None:
        return Role.REGULATOR in call.session.roles
    mine = call.view.status().member
    return call.trusted and any(
        one.id == mine and Role.REGULATOR in one.roles for one in organisations(call).items
    )


async def overseen(call: Call) -> Oversight:
    """Counts, and the open cases for a regulator."""
    await call.tally.advance()
    exact = regulator(call)
    cases, more = _open_cases(call) if exact else ((), False)
    return Oversight(
        items=tuple(_counts(call, one, exact) for one in organisations(call).items),
        exact=exact,
        open_cases=cases,
        more_cases=more,
        counted_height=call.tally.height,
        height=call.view.height(),
    )


def _counts(call: Call, org: OrganisationForm, exact: bool) -> CountsForm:
    counted = {name: call.tally.counts[org.id, name] for name in _TALLIED}
    counted["erasures_open"] = call.tally.unanswered(org.id)
    shown = {
        name: number if exact or number >= CELL_MIN else None for name, number in counted.items()
    }
    return CountsForm(organisation=org.id, name=org.name, **shown)


def _open_cases(call: Call) -> tuple[tuple[EmergencyForm, ...], bool]:
    try:
        _, found = _query(call, "emergency", "undecided", start=NEWEST)
    except BadMessage as error:
        if error.code == "UNKNOWN_QUERY":
            return (), False  # a chain whose contracts do not include it
        raise
    page = from_json(Cases, found)
    return tuple(_case(one) for one in page.cases), page.next is not None


def _case(case: Case) -> EmergencyForm:
    return EmergencyForm(
        case_id=case.id.hex(),
        opener=case.opener,
        custodian=case.org,
        opened=time_text(case.opened_ms),
        cosigned_by=None if case.cosign is None else case.cosign.org,
        justified=case.justification is not None,
        justify_until=time_text(case.justify_until_ms),
        disputed=case.dispute is not None,
        late=case.late,
        panel=case.panel,
    )


def _query(call: Call, contract: str, name: str, **arguments: object) -> tuple[int, Any]:
    return call.view.contracts.query(contract, name, arguments)


ROUTES = (
    Route(
        method="GET",
        path="/v1/directory",
        access=Access.OPEN,
        handler=directory,
        doc="The organisations of the consortium: names, kinds, standing, and what each says that it offers.\n"
        "Nothing of patients.",
        arguments=Read,
        answers={200: Directory},
    ),
    Route(
        method="GET",
        path="/v1/oversight",
        access=Access.OPEN,
        handler=oversight,
        doc="Reads, denials, emergencies and erasures per organisation, since genesis.\n"
        "For a regulator (a session of its key, or its own node) exact, with the emergency cases that "
        "nobody has decided; for everybody else numbers below ten are null. `counted_height` says how "
        "far the counting has come: a node that has just started is behind for some requests.",
        arguments=Read,
        answers={200: Oversight},
    ),
)
