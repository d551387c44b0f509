"""Requests of erasure are opened in bodies; no path or answer names a patient."""

from tests.node.api.conftest import Browser
from tests.node.api.fakes import RECORD, FakeErasures, FakeNode

PATH = "/v1/erasures"
CASE = "5c" * 32
BODY = {
    "case": CASE,
    "handle": "5a" * 32,
    "records": [RECORD],
    "records_salt": "07" * 32,
    "reason": "moved away",
    "reason_salt": "08" * 32,
}


async def test_a_request_is_opened_and_answered_by_the_leaves_to_commit_to(
    node: FakeNode, client: Browser
) -> None:
    async with client.post(PATH, json=BODY) as response:
        assert response.status == 201
        assert await response.json() == {"leaves": ["00" * 16 + RECORD]}
    assert isinstance(node.erasures, FakeErasures)
    (kept,) = node.erasures.kept
    assert kept[3] == "moved away"
    async with client.post(f"{PATH}/carry-out", json={"case": CASE}) as response:
        assert response.status == 204
    assert node.erasures.carried_out == [bytes.fromhex(CASE)]
    async with client.post(f"{PATH}/carry-out", json={"case": "07" * 32}) as response:
        assert (await response.json(content_type=None))["code"] == "UNKNOWN_CASE"


async def test_what_is_no_request_of_erasure(node: FakeNode, client: Browser) -> None:
    for changes, code in (
        ({"records": []}, "BAD_REQUEST"),
        ({"records": [RECORD] * 257}, "BAD_REQUEST"),
        ({"records": ["07" * 16]}, "UNKNOWN_RECORD"),
        ({"records": ["../../../etc/passwd"]}, "BAD_REQUEST"),
        ({"reason": "x" * 201}, "BAD_REQUEST"),
        ({"case": "5c"}, "BAD_REQUEST"),
        ({"patient": "ada"}, "BAD_REQUEST"),
    ):
        async with client.post(PATH, json=BODY | changes) as response:
            assert (await response.json(content_type=None))["code"] == code, changes
    node.erasures = None
    async with client.post(PATH, json=BODY) as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"
