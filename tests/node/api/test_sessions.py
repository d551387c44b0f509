"""Sessions: a key logs in for here and now, and may no more than the chain says it may."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.api.problems import ApiError
from node.api.session_routes import LoginRequest, signed
from node.api.sessions import (
    COOKIE,
    LOGINS_PER_KEY_MAX,
    SESSION_S,
    SESSIONS_PER_KEY_MAX,
    Sessions,
)
from node.api.settings import ApiSettings
from node.seen_asks import KEPT_LONGER_MS, SeenAsks
from salus.keys import SigningKey
from salus.login import LOGIN_AHEAD_MS_MAX
from salus.relation import PendingRotation
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS
from tests.node.api.patient import (
    BROWSER,
    FULL,
    HANDLE,
    NODE_KEY,
    OWNER,
    STAFF,
    STRANGER,
    VIEWER,
    PatientNode,
    entry,
    login,
)


@pytest.fixture
def node() -> PatientNode:
    return PatientNode()


def origin(client: Browser) -> str:
    return f"http://127.0.0.1:{client.port}"


async def log_in(client: Browser, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    async with client.post("/v1/session", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def kind(client: Browser, token: str) -> str:
    async with client.get("/v1/session", headers={"Authorization": f"Bearer {token}"}) as response:
        return str((await response.json())["kind"])


async def test_owner_delegate_and_staff_log_in(client: Browser) -> None:
    here = origin(client)
    for key, handle, rights in (
        (OWNER, HANDLE, ["deny", "revoke", "view", "owner"]),
        (BROWSER, HANDLE, ["deny", "revoke", "view"]),
        (VIEWER, HANDLE, ["view"]),
        (STAFF, None, []),
    ):
        status, form = await log_in(client, login(key, here, handle=handle))
        assert (status, form.get("rights")) == (201, rights), form
        assert form["kind"] == ("patient" if handle else "member")
        assert form["ends_in_s"] <= SESSION_S
        assert await kind(client, form["token"]) == form["kind"]
    assert await kind(client, "salus1-nothing") == "nobody"


async def test_a_cookie_no_script_can_read_and_no_token_beside_it(client: Browser) -> None:
    body = login(BROWSER, origin(client), cookie=True)
    async with client.post("/v1/session", json=body) as response:
        assert (await response.json())["token"] is None
        cookie = response.cookies[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    async with client.get("/v1/session") as response:
        assert (await response.json())["kind"] == "patient"
    # A cookie travels by itself: what changes something must come from a page of this origin.
    async with client.post("/v1/session/end") as response:
        assert (await response.json(content_type=None))["code"] == "FOREIGN_ORIGIN"
    async with client.post("/v1/session/end", headers={"Origin": origin(client)}) as response:
        assert response.status == 204
    async with client.get("/v1/session", headers={"Cookie": f"{COOKIE}={cookie.value}"}) as again:
        assert (await again.json())["kind"] == "nobody", "it ended here, not only in the browser"


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"chain_id": "another-chain"}, "LOGIN_REFUSED"),  # the node reads it with its own names
        ({"node": "hosp-b"}, "LOGIN_REFUSED"),
        ({"origin": "https://evil.example"}, "LOGIN_ELSEWHERE"),
        ({"expires_ms": 1}, "LOGIN_LATE"),
        ({"expires_ms": 2**50}, "LOGIN_LATE"),
        ({"handle": bytes(32)}, "LOGIN_REFUSED"),
        ({"handle": None}, "LOGIN_REFUSED"),
    ],
)
async def test_a_login_serves_at_one_place_and_time(
    client: Browser, other: dict[str, Any], code: str
) -> None:
    status, problem = await log_in(
        client, login(OWNER, other.pop("origin", None) or origin(client), **other)
    )
    assert (status, problem["code"]) == (401, code)


async def test_who_is_not_in_force_gets_no_session(client: Browser) -> None:
    here = origin(client)
    for body in (
        login(STRANGER, here),
        login(STRANGER, here, handle=None),
        login(NODE_KEY, here, handle=None),
        login(STAFF, here),
        login(OWNER, here) | {"key": BROWSER.public_key.hex()},
    ):
        status, problem = await log_in(client, body)
        assert (status, problem["code"]) == (401, "LOGIN_REFUSED")


async def test_a_login_is_used_once(client: Browser) -> None:
    body = login(OWNER, origin(client))
    assert (await log_in(client, body))[0] == 201
    assert (await log_in(client, body))[1]["code"] == "LOGIN_LATE"


async def test_a_session_ends_with_the_standing_of_its_key(
    node: PatientNode, client: Browser
) -> None:
    here = origin(client)
    tokens = {}
    for key, handle in ((OWNER, HANDLE), (BROWSER, HANDLE), (STAFF, None)):
        tokens[key.public_key] = (await log_in(client, login(key, here, handle=handle)))[1]["token"]
    node.contracts.relation = entry()  # the delegate was removed
    assert await kind(client, tokens[BROWSER.public_key]) == "nobody"
    assert await kind(client, tokens[OWNER.public_key]) == "patient"
    now_ms = time.time_ns() // 1_000_000
    rotation = PendingRotation(STRANGER.public_key, bytes(32), now_ms - 1, ())
    node.contracts.relation = msgspec.structs.replace(entry(FULL), rotation=rotation)
    assert await kind(client, tokens[OWNER.public_key]) == "nobody"
    assert await kind(client, tokens[BROWSER.public_key]) == "nobody", "what ended stays so"
    node.contracts.staff_until_ms = now_ms
    assert await kind(client, tokens[STAFF.public_key]) == "nobody"


async def test_a_suspended_organisation_has_no_sessions(node: PatientNode, client: Browser) -> None:
    _, form = await log_in(client, login(STAFF, origin(client), handle=None))
    node.contracts.member_status = "suspended"
    assert await kind(client, form["token"]) == "nobody"


async def test_members_sessions_open_what_members_may_read_and_no_more(
    node: PatientNode, serve: Serve
) -> None:
    client = await serve(node, ApiSettings(token="a-token-of-the-node", hosts=HOSTS))
    here = origin(client)
    member = (await log_in(client, login(STAFF, here, handle=None)))[1]["token"]
    patient = (await log_in(client, login(OWNER, here)))[1]["token"]
    for path, opens in (
        ("/v1/mempool", {"member"}),
        ("/v1/records", set()),
        ("/v1/dev/faults", set()),
        ("/v1/status", {"member", "patient", "nobody"}),
    ):
        for who, token in (("member", member), ("patient", patient), ("nobody", "x")):
            headers = {"Authorization": f"Bearer {token}"}
            async with client.get(path, headers=headers) as response:
                assert (response.status == 200) == (who in opens), (path, who)


def opened(sessions: Sessions, key: SigningKey) -> None:
    body = login(key, "http://here", expires_ms=sessions.now_ms() + 60_000)
    wanted = msgspec.convert(body, LoginRequest)
    fields = signed(wanted, factories.CHAIN_ID, "hosp-a")
    sessions.open(fields, bytes.fromhex(wanted.signature), frozenset({"http://here"}))


def test_sessions_end_by_time_and_their_number_is_bounded() -> None:
    now = [0.0]
    sessions = Sessions(PatientNode(), lambda: now[0], lambda: time.time_ns() // 1_000_000)
    for _ in range(SESSIONS_PER_KEY_MAX + 3):
        opened(sessions, OWNER)
    assert len(sessions) == SESSIONS_PER_KEY_MAX
    now[0] += SESSION_S
    opened(sessions, OWNER)
    assert len(sessions) == 1


def test_one_key_that_logs_in_all_the_time_leaves_room_for_the_others() -> None:
    at_ms = [time.time_ns() // 1_000_000]
    sessions = Sessions(PatientNode(), lambda: 0.0, lambda: at_ms[0])
    for _ in range(LOGINS_PER_KEY_MAX):
        opened(sessions, OWNER)
    with pytest.raises(ApiError) as caught:
        opened(sessions, OWNER)
    assert caught.value.code == "RATE_LIMITED"
    opened(sessions, BROWSER)
    at_ms[0] += LOGIN_AHEAD_MS_MAX + KEPT_LONGER_MS
    opened(sessions, OWNER)


def test_a_login_opens_one_session_also_after_a_restart(tmp_path: Path) -> None:
    """P-1: who copied it on its way opens none, for as long as it lives."""
    body = login(OWNER, "http://here", expires_ms=now_ms() + 60_000)
    wanted = msgspec.convert(body, LoginRequest)
    fields = signed(wanted, factories.CHAIN_ID, "hosp-a")
    for code in (None, "LOGIN_LATE"):
        node = PatientNode()
        node.asks = SeenAsks(tmp_path / "asks")
        sessions = Sessions(node, lambda: 0.0, now_ms)
        if code is None:
            sessions.open(fields, bytes.fromhex(wanted.signature), frozenset({"http://here"}))
            continue
        with pytest.raises(ApiError) as caught:
            sessions.open(fields, bytes.fromhex(wanted.signature), frozenset({"http://here"}))
        assert caught.value.code == code


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_the_cookie_of_a_page_over_https_travels_by_https_alone(
    node: PatientNode, serve: Serve
) -> None:
    """Behind a proxy that speaks TLS the node itself sees plain HTTP."""
    page = "https://records.hosp-a.example"
    client = await serve(node, ApiSettings(hosts=HOSTS, cors_origins=frozenset({page})))
    async with client.post("/v1/session", json=login(BROWSER, page, cookie=True)) as response:
        assert response.status == 201
        assert response.cookies[COOKIE]["secure"] is True


async def test_where_any_host_is_answered_the_host_that_is_asked_for_is_no_proof_of_the_place(
    node: PatientNode, serve: Serve
) -> None:
    """Else a server of somebody else's passes a login on under its own name, and has a session."""
    client = await serve(node, ApiSettings(token="a-token-of-the-node", hosts=frozenset()))
    body = login(OWNER, "http://evil.example")
    status, problem = await log_in(client, body, Host="evil.example")
    assert (status, problem["code"]) == (401, "LOGIN_ELSEWHERE")
