"""The route table: every path of the API, in the order of the reference."""

from functools import cache
from typing import Any

from aiohttp import web

from node.api import admin, blocks, consents, events, queries, records, transactions
from node.api.openapi import document
from node.api.request import Call, NoArguments
from node.api.route import Access, Route, answer


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
    *events.ROUTES,
    *admin.ROUTES,
    Route(
        method="GET",
        path="/v1/openapi.json",
        access=Access.OPEN,
        handler=openapi,
        doc="This API as an OpenAPI 3.1 document.",
        answers={200: dict[str, Any]},
    ),
)
