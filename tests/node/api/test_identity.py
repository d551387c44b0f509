"""A hospital's desk over HTTP: bodies go to the desk as they come, and answers show the wait and no input."""

import pytest

from node.identity_desk import HOUR_MS
from salus.client import Client
from salus.desk_asks import ASK_BYTES_MAX, CaseState, CheckAsk, FindAsk, Typed, opened, signed
from salus.errors import SalusError
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeIdentity, FakeNode

NUMBER = Typed("urn:oid:1.2.3", "943-476 5919")
HANDLE = b"\x5a" * 32
PATHS = ("checks", "finds", "cases", "cases/close", "searches")


def desk_of(node: FakeNode) -> FakeIdentity:
    assert node.identity is not None
    return node.identity


async def test_the_sdk_asks_as_the_desk_reads(node: FakeNode, client: Browser) -> None:
    key = factories.key("amy")
    async with Client(str(client.server.make_url("/")), signer=key) as sdk:
        desk = sdk.desk
        checked = await desk.check(HANDLE, (NUMBER,))
        assert (checked.tags, checked.possible_duplicate) == (("7a" * 32,), "ca" * 32)
        assert (await desk.find("unconscious", (NUMBER,))).found[0].org == "hosp-b"
        assert (await desk.cases(state=CaseState.OPEN)).items[0].state == "open"
        assert (await desk.close(HANDLE, CaseState.THEFT, "why")).case_id == "ca" * 32
        assert (await desk.searches()).items[0].reason == "why"
    bodies = desk_of(node).bodies
    ask = opened(bodies[0], CheckAsk)
    assert (ask.handle, ask.identifiers, ask.key) == (HANDLE, (NUMBER,), key.public_key)
    assert opened(bodies[1], FindAsk).reason == "unconscious"


async def test_who_asked_too_often_is_told_when_to_ask_again(
    node: FakeNode, client: Browser
) -> None:
    wait_s = HOUR_MS // 1_000
    desk_of(node).refuse = SalusError("too many", code="TOO_MANY_SEARCHES", retry_after_s=wait_s)
    key = factories.key("eve")
    body = signed(FindAsk("c-1", "hosp-a", key.public_key, 1, bytes(16), "why", (NUMBER,)), key)
    for path in ("checks", "finds"):
        async with client.post(f"/v1/identity/{path}", data=body) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, str(wait_s))


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_no_ask_is_refused(node: FakeNode, client: Browser, path: str) -> None:
    async with client.post(f"/v1/identity/{path}", data=b"943-476 5919") as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["code"]) == (400, "NOT_CANONICAL")
        assert "943" not in str(problem)
    async with client.post(f"/v1/identity/{path}", data=b"x" * (ASK_BYTES_MAX + 129)) as response:
        assert response.status == 413
    node.identity = None
    async with client.post(f"/v1/identity/{path}", data=b"x") as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"
