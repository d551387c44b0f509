"""Emergency summaries by the API: bodies carry what is a patient's, paths a random case id."""

from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeEmergencies, FakeNode

CASE, HANDLE = "5c" * 32, "5a" * 32
DEPOSIT = {
    "org": "hosp-a",
    "handle": HANDLE,
    "generation": 1,
    "salt": "07" * 32,
    "sealed": "aa" * 100,
    "shares": [{"holder": "hosp-a", "share": "bb" * 80}, {"holder": "hosp-b", "share": "cc" * 80}],
}
ASK = {
    "org": "hosp-a",
    "handle": HANDLE,
    "staff": "01" * 32,
    "nonce": "02" * 32,
    "details": "03" * 32,
    "release_key": "04" * 32,
    "key": "05" * 32,
    "signature": "06" * 64,
    "opening": "aabb",
}
NOTE = {"case": CASE, "kind": "justification", "salt": "08" * 32, "content": "91a36f6e65"}


def emergencies(node: FakeNode) -> FakeEmergencies:
    assert isinstance(node.emergencies, FakeEmergencies)
    return node.emergencies


async def test_a_deposit_goes_to_each_holder_and_says_who_keeps_it(
    node: FakeNode, client: Browser
) -> None:
    async with client.post("/v1/emergency/deposits", json=DEPOSIT) as response:
        assert response.status == 200
        assert await response.json() == {
            "holders": [
                {"holder": "hosp-a", "code": "OK"},
                {"holder": "hosp-b", "code": "PEER_UNREACHABLE"},
            ]
        }
    kept = emergencies(node).deposits
    assert {holder: one.share for holder, one in kept.items()} == {
        "hosp-a": b"\xbb" * 80,
        "hosp-b": b"\xcc" * 80,
    }


async def test_shares_are_asked_in_the_name_of_the_nodes_own_organisation(
    node: FakeNode, client: Browser
) -> None:
    async with client.post("/v1/emergency/shares", json=ASK) as response:
        answers = (await response.json())["answers"]
    assert [(one["holder"], one["code"], one["late"]) for one in answers] == [
        ("hosp-a", "OK", True),
        ("hosp-b", "EMERGENCY_WAIT", False),
    ]
    assert (answers[0]["share"], answers[0]["sealed"]) == (b"share".hex(), b"sealed".hex())
    (ask,) = emergencies(node).asked
    assert (ask.request.opener, ask.request.chain_id) == ("hosp-a", node.genesis.chain_id)
    async with client.post("/v1/emergency/shares", json=ASK | {"have": ["hosp-a"]}) as response:
        assert [one["holder"] for one in (await response.json())["answers"]] == ["hosp-b"]


async def test_what_opens_a_commitment_is_kept_and_shown(node: FakeNode, client: Browser) -> None:
    find = "/v1/emergency/notes/find"
    async with client.post(find, json={"case": CASE}) as response:
        assert (await response.json(content_type=None))["code"] == "UNKNOWN_CASE"
    async with client.post("/v1/emergency/notes", json=NOTE) as response:
        assert response.status == 204
    async with client.post(find, json={"case": CASE}) as response:
        assert await response.json() == {
            "notes": [{name: NOTE[name] for name in ("kind", "salt", "content")}],
            "silent": ["hosp-c"],
        }


async def test_what_is_no_request(client: Browser) -> None:
    for path, body in (
        ("deposits", DEPOSIT | {"shares": []}),
        ("deposits", DEPOSIT | {"handle": "x"}),
        ("shares", ASK | {"signature": "06" * 63}),
        ("shares", ASK | {"opening": "aa" * 4097}),
        ("notes", NOTE | {"kind": "gossip"}),
        ("notes", NOTE | {"more": 1}),
        ("notes/find", {"case": "5c"}),
    ):
        async with client.post(f"/v1/emergency/{path}", json=body) as response:
            assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"


async def test_a_node_without_a_vault_has_none(node: FakeNode, client: Browser) -> None:
    node.emergencies = None
    async with client.post("/v1/emergency/notes", json=NOTE) as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"
