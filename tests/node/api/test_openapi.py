"""The OpenAPI document is true: generated, valid, and kept to by the handlers."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings
from schemathesis import CheckContext, Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from node.api.openapi import document, reference
from node.api.routes import ROUTES
from salus.codes import CODES
from tests import factories
from tests.node.api.fakes import FakeNode, api_of

ROOT = Path(__file__).parents[3]

# Streams that never end and upgrades have tests of their own (test_events.py).
ENDLESS = ("/v1/events", "/v1/ws")
EXAMPLES = 8  # per operation; 30 operations


def test_the_reference_page_is_the_generated_one() -> None:
    page = (ROOT / "docs/api.md").read_text()
    assert page == reference(ROUTES), "run scripts/docs (or write node.api.openapi.reference)"


def test_every_route_names_registered_errors_only() -> None:
    for route in ROUTES:
        assert set(route.errors) <= set(CODES), route.name


def test_operation_ids_and_paths_are_unique() -> None:
    described = document(ROUTES, "1")
    ids = [op["operationId"] for path in described["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The API on a socket of its own thread: schemathesis is synchronous."""
    loop = asyncio.new_event_loop()
    runner: web.AppRunner

    async def start() -> str:
        nonlocal runner
        node = FakeNode()
        for _ in range(3):
            node.certify(factories.transaction(node.genesis))
        runner = web.AppRunner(api_of(node).application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


schema = schemathesis.openapi.from_dict(document(ROUTES, "1")).exclude(path=list(ENDLESS))


def errors_are_problems(ctx: CheckContext, response: Response, case: schemathesis.Case) -> None:
    if response.status_code >= 400:
        problem: Any = response.json()
        assert problem["code"] in CODES
        assert problem["status"] == response.status_code


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_the_document_says(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(
        base_url=url,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            errors_are_problems,
        ],
    )
