"""The route table: every path of the API, in the order of the reference."""

from node.api import admin, blocks, events, openapi, queries, records, transactions
from node.api.route import Route

ROUTES: tuple[Route, ...] = (
    *queries.ROUTES,
    *blocks.ROUTES,
    *transactions.ROUTES,
    *records.ROUTES,
    *events.ROUTES,
    *admin.ROUTES,
    *openapi.ROUTES,
)
