"""A trail is asked for in bodies; a ticket is opened to a signed ask."""

from msgspec.structs import replace

from salus.codec import decode, encode
from salus.looks import Openings, OpeningsAsk, SignedAsk
from salus.trail import Start
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeAudit, FakeNode

TRAIL, OPENINGS = "/v1/audit/trail", "/v1/audit/openings"
BODY = {"org": "hosp-a", "handle": "5a" * 32}
ASK = SignedAsk(
    OpeningsAsk(factories.CHAIN_ID, "hosp-a", bytes(32), (bytes(16),), bytes(32), 9, bytes(16)),
    bytes(64),
)


async def test_a_trail_comes_as_a_file(node: FakeNode, client: Browser) -> None:
    async with client.post(TRAIL, json=BODY) as response:
        assert (response.status, await response.read()) == (200, b"a state file")
        assert response.headers["Cache-Control"] == "no-store"
    start = {"ticket": "07" * 16, "emergency": None, "erasure": "09" * 32}
    async with client.post(TRAIL, json=BODY | {"start": start}) as response:
        assert response.status == 200
    assert isinstance(node.audit, FakeAudit)
    handle = b"\x5a" * 32
    onward = Start(b"\x07" * 16, None, b"\x09" * 32)
    assert node.audit.asked == [("hosp-a", handle, None), ("hosp-a", handle, onward)]
    wrong = [{"handle": "5a"}, {"org": "No Member"}, {"start": "x"}, {"more": 1}]
    wrong += [{"start": start | {"ticket": "07" * 32}}, {"start": {"ticket": "07" * 16}}]
    for changes in wrong:
        async with client.post(TRAIL, json=BODY | changes) as response:
            assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"


async def test_a_list_of_permits_comes_as_a_file(node: FakeNode, client: Browser) -> None:
    for changes in ({}, {"start": "07" * 32}):
        async with client.post("/v1/audit/permits", json=BODY | changes) as response:
            assert (response.status, await response.read()) == (200, b"a state file")
            assert response.headers["Cache-Control"] == "no-store"
    assert isinstance(node.audit, FakeAudit)
    asked = [(org, start) for org, _, start in node.audit.permits_asked]
    assert asked == [("hosp-a", None), ("hosp-a", b"\x07" * 32)]
    for wrong in ({"handle": "5a"}, {"org": "No Member"}, {"start": "07"}, {"more": 1}):
        async with client.post("/v1/audit/permits", json=BODY | wrong) as response:
            assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"


async def test_openings_are_asked_for_in_canonical_bytes(node: FakeNode, client: Browser) -> None:
    async with client.post(OPENINGS, data=encode(ASK)) as response:
        assert decode(await response.read(), Openings) == Openings((None,))
    stranger = replace(ASK, ask=replace(ASK.ask, key=b"\1" * 32))
    for body, code in (
        (encode(stranger), "AUDIT_REFUSED"),
        (encode(ASK) + b"\0", "NOT_CANONICAL"),
        (b"{}", "NOT_CANONICAL"),
        (bytes(2_000), "TOO_LARGE"),
    ):
        async with client.post(OPENINGS, data=body) as response:
            assert (await response.json(content_type=None))["code"] == code
    node.audit = None
    async with client.post(OPENINGS, data=encode(ASK)) as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"
