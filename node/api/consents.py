"""Consents off the chain: the openings of inner terms for the custodian's gate, questions to it, and
what would become of a FHIR Consent.

Law of the file: what terms say is a patient's; it stands in bodies only and is never shown here.
"""

import asyncio

from aiohttp import web

from node.api.checking import CHECK_ERRORS, checked
from node.api.problems import ApiError
from node.api.request import Call, NoArguments
from node.api.route import JSON, Access, Body, Route, answer
from salus.consent.actor_map import staff_named, unknown_staff
from salus.consent.terms import encode_terms
from salus.forms_import import PlanAnswer, PlannedPermit, PlanRequest
from salus.forms_me import CheckAnswer, HandleCheckRequest
from salus.forms_records import OpeningAnswer, OpeningRequest
from salus.importing import plan_fhir


async def keep_opening(call: Call, _: NoArguments) -> web.StreamResponse:
    if call.view.openings is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    wanted = await call.json(OpeningRequest, call.settings.json_body_bytes_max)
    commitment = await call.view.openings.keep(
        bytes.fromhex(wanted.handle), bytes.fromhex(wanted.salt), bytes.fromhex(wanted.terms)
    )
    return answer(call, OpeningAnswer(commitment.hex()), status=201)


async def check(call: Call, _: NoArguments) -> web.StreamResponse:
    wanted = await call.json(HandleCheckRequest, call.settings.json_body_bytes_max)
    handle = bytes.fromhex(wanted.handle)
    return answer(
        call, checked(call, handle, wanted.actor, wanted.scopes, wanted.purpose, wanted.site)
    )


async def plan(call: Call, _: NoArguments) -> web.StreamResponse:
    org = call.view.status().member
    if org is None:
        raise ApiError("NOT_ENABLED", "this node is no member's")
    wanted = await call.json(PlanRequest, call.settings.json_body_bytes_max)
    listed = call.view.contracts.query("members", "list_members", {})[1]
    active = [one["id"] for one in listed["members"] if one["status"] == "active"]
    actors = [(one.actor, one.to) for one in wanted.actors]
    for number, one in staff_named(actors):
        where = {"org": one.org, "handle": one.staff}
        if one.org in active and call.view.contracts.query("members", "staff", where)[1] is None:
            raise unknown_staff(number, one)
    made = await asyncio.to_thread(
        plan_fhir,
        wanted.consent.encode(),
        [one.encode() for one in wanted.parties],
        org,
        active,
        actors,
        call.sessions.now_ms(),
    )
    permits = tuple(
        PlannedPermit(
            grantee=one.grantee,
            effect=one.effect.value,
            reach=one.said.reach.value,
            purpose=one.purpose.value,
            classes=tuple(kind.value for kind in one.said.classes),
            from_day=one.said.from_day,
            until_day=one.said.until_day,
            terms=encode_terms(one.said.terms).hex(),
        )
        for one in made.permits
    )
    return answer(
        call,
        PlanAnswer(name=made.name, in_force=made.in_force, permits=permits, notes=made.notes),
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/consents/check",
        access=Access.PARTY,
        handler=check,
        doc="What a request would get now, by the functions of the gate; asks for nothing.\n"
        "A DENY or NO_CONSENT is an answer. The gate decides again, by the state of that moment.",
        body=Body({JSON: HandleCheckRequest}, "whose records, who reads what, and why"),
        answers={200: CheckAnswer},
        errors=CHECK_ERRORS,
    ),
    Route(
        method="POST",
        path="/v1/consents/plan",
        access=Access.PARTY,
        handler=plan,
        doc="The permits that a FHIR R4 Consent would become at this custodian; keeps and sends nothing.\n"
        "Whoever has the owner key posts the terms of each to /v1/consents/openings and sends a grant for "
        "each. Never more is permitted than the Consent says; what is not carried is refused or noted.",
        body=Body({JSON: PlanRequest}, "the Consent, its parties, and who is whom here"),
        answers={200: PlanAnswer},
        errors=(
            "BAD_CONSENT",
            "CONSENT_UNSUPPORTED",
            "UNMAPPED_ACTOR",
            "BAD_MAP",
            "BAD_PARTY",
            "BAD_GRANTEE",
            "UNKNOWN_GRANTEE",
            "UNKNOWN_STAFF",
            "NOT_ENABLED",
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ),
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
