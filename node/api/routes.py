"""The route table: every path of the API, in the order of the reference."""

from functools import cache
from typing import Any

from aiohttp import web

from node.api import (
    access,
    admin,
    audit,
    blocks,
    consents,
    contacts,
    emergencies,
    erasures,
    events,
    identity,
    me,
    me_access,
    my_erasures,
    public,
    queries,
    records,
    session_routes,
    transactions,
)
from node.api.openapi import document
from node.api.request import Call, NoArguments
from node.api.route import Access, Route, answer
from node.web import me_page, public_pages, static_files


async def openapi(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, described(call.view.status().version))


@cache  # one version per process
def described(version: str) -> dict[str, Any]:
    return document(ROUTES, version)


ROUTES: tuple[Route, ...] = (
    *queries.ROUTES,
    *blocks.ROUTES,
    *transactions.ROUTES,
    *records.ROUTES,
    *consents.ROUTES,
    *emergencies.ROUTES,
    *erasures.ROUTES,
    *identity.ROUTES,
    *audit.ROUTES,
    *contacts.ROUTES,
    *access.ROUTES,
    *session_routes.ROUTES,
    *me.ROUTES,
    *me_access.ROUTES,
    *my_erasures.ROUTES,
    *events.ROUTES,
    *admin.ROUTES,
    *public.ROUTES,
    *me_page.ROUTES,
    *public_pages.ROUTES,
    *static_files.ROUTES,
    Route(
        method="GET",
        path="/v1/openapi.json",
        access=Access.OPEN,
        handler=openapi,
        doc="This API as an OpenAPI 3.1 document.",
        answers={200: dict[str, Any]},
    ),
)
