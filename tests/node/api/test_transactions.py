"""Submitting, following and listing transactions (interfaces.md §5)."""

import asyncio

import msgspec
import pytest

from salus.keys import address
from salus.transaction import ParsedTransaction
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeNode

BYTES = {"Content-Type": "application/octet-stream"}
PACKED = {"Content-Type": "application/msgpack"}


def new(node: FakeNode) -> ParsedTransaction:
    return factories.transaction(node.genesis)


async def post(client: Browser, raw: bytes, **params: str) -> tuple[int, dict[str, object]]:
    async with client.post("/v1/txs", data=raw, params=params, headers=BYTES) as response:
        return response.status, await response.json(content_type=None)


async def test_a_new_transaction_is_pending_and_says_where_to_follow_it(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    response = await client.post("/v1/txs", data=tx.raw, headers=BYTES)
    assert response.status == 202
    assert response.headers["Location"] == f"/v1/txs/{tx.id.hex()}"
    assert response.headers["X-Height"] == "0"
    answer = await response.json()
    assert (answer["tx_id"], answer["state"]) == (tx.id.hex(), "pending")


async def test_the_same_bytes_again_give_the_same_state_never_an_error(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    first = await post(client, tx.raw)
    assert await post(client, tx.raw) == first
    node.certify()
    status, answer = await post(client, tx.raw)
    assert (status, answer["state"], answer["height"]) == (200, "committed", 1)


async def test_known_bytes_that_were_refused_on_chain_are_no_error_either(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    await post(client, tx.raw)
    node.certify(code="NOT_AUTHORISED")
    for params in ({}, {"wait": "commit"}):
        status, answer = await post(client, tx.raw, **params)
        assert (status, answer["state"], answer["code"]) == (200, "rejected", "NOT_AUTHORISED")


async def test_wait_answers_when_the_block_is_certified(node: FakeNode, client: Browser) -> None:
    tx = new(node)
    waiting = asyncio.create_task(post(client, tx.raw, wait="commit", timeout="30s"))
    await node.arrived.wait()
    node.certify()
    status, answer = await waiting
    assert (status, answer["state"], answer["height"], answer["code"]) == (
        200,
        "committed",
        1,
        "OK",
    )
    assert answer["links"] == {
        "self": f"/v1/txs/{tx.id.hex()}",
        "proof": f"/v1/txs/{tx.id.hex()}/proof",
        "block": "/v1/blocks/1",
    }


async def test_wait_that_runs_out_answers_pending(node: FakeNode, client: Browser) -> None:
    status, answer = await post(client, new(node).raw, wait="commit", timeout="1ms")
    assert (status, answer["state"]) == (202, "pending")


async def test_a_refusal_that_was_waited_for_is_a_problem_with_the_id(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    waiting = asyncio.create_task(post(client, tx.raw, wait="commit", timeout="30s"))
    await node.arrived.wait()
    node.certify(code="CONTRACT_FAULT")
    status, problem = await waiting
    assert (status, problem["code"], problem["tx_id"]) == (422, "CONTRACT_FAULT", tx.id.hex())
    assert problem["retryable"] is False


async def test_errors_carry_the_id_as_soon_as_the_bytes_have_one(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    forged = tx.raw[:-1] + bytes([tx.raw[-1] ^ 1])
    status, problem = await post(client, forged)
    assert (status, problem["code"]) == (422, "BAD_SIGNATURE")
    assert isinstance(problem["tx_id"], str)
    assert problem["tx_id"] != tx.id.hex(), "the id names the signature too"
    node.refuse = "POOL_FULL"
    async with client.post("/v1/txs", data=tx.raw, headers=BYTES) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert (await response.json(content_type=None))["tx_id"] == tx.id.hex()


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x99", b"{}", bytes(70_000), b"\x91" * 3000])
async def test_bytes_that_are_no_transaction_change_nothing(
    node: FakeNode, client: Browser, raw: bytes
) -> None:
    status, problem = await post(client, raw)
    assert status in (400, 413)
    assert problem["code"] in ("NOT_CANONICAL", "TOO_LARGE")
    assert problem["tx_id"] is None
    assert not node.pending


async def test_an_array_without_room_for_any_is_429_and_for_some_says_when_to_come_again(
    node: FakeNode, client: Browser
) -> None:
    """Overload refuses in the words of HTTP, whatever the number of transactions (B25)."""
    raws = [new(node).raw for _ in range(3)]
    node.refuse = "POOL_FULL"
    body = msgspec.msgpack.encode(raws)
    async with client.post("/v1/txs", data=body, headers=PACKED) as response:
        assert response.status == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert (await response.json(content_type=None))["code"] == "POOL_FULL"
    mixed = msgspec.msgpack.encode([b"junk", *raws])  # junk is refused for good: no 429
    async with client.post("/v1/txs", data=mixed, headers=PACKED) as response:
        assert response.status == 202
        assert int(response.headers["Retry-After"]) >= 1
        assert (await response.json())["refused"] == 4
    node.refuse = None
    async with client.post("/v1/txs", data=body, headers=PACKED) as response:
        assert response.status == 202
        assert "Retry-After" not in response.headers


async def test_an_array_is_one_call_with_one_item_each(node: FakeNode, client: Browser) -> None:
    good, other = new(node), new(node)
    bad = good.raw[:-1] + bytes([good.raw[-1] ^ 1])
    body = msgspec.msgpack.encode([good.raw, b"junk", bad, other.raw])
    async with client.post(
        "/v1/txs", data=body, headers={"Content-Type": "application/msgpack"}
    ) as response:
        assert response.status == 202
        answer = await response.json()
    assert node.submissions == 1
    assert (answer["accepted"], answer["refused"]) == (2, 2)
    assert [item["state"] for item in answer["items"]] == [
        "pending",
        "rejected",
        "rejected",
        "pending",
    ]
    assert answer["items"][0] == {"state": "pending", "tx_id": good.id.hex()}
    assert answer["items"][1]["code"] == "NOT_CANONICAL"


async def test_an_array_of_hex_in_json_does_the_same(node: FakeNode, client: Browser) -> None:
    tx = new(node)
    async with client.post("/v1/txs", json={"transactions": [tx.raw.hex()]}) as response:
        assert (await response.json())["items"] == [{"state": "pending", "tx_id": tx.id.hex()}]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/msgpack", b"\x90"),  # empty
        ("application/msgpack", msgspec.msgpack.encode([b"x"] * 501)),
        ("application/msgpack", msgspec.msgpack.encode(["text"])),
        ("application/msgpack", b"\xdd\xff\xff\xff\xff"),
        ("application/json", b'{"transactions":[]}'),
        ("application/json", b'{"transactions":["zz"]}'),
        ("application/json", b'{"transactions":["00"],"more":1}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b'"\xff"'),
    ],
)
async def test_malformed_arrays_are_refused_whole(
    node: FakeNode, client: Browser, kind: str, body: bytes
) -> None:
    async with client.post("/v1/txs", data=body, headers={"Content-Type": kind}) as response:
        assert response.status == 400
        assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"
    assert node.submissions == 0


async def test_other_content_types_are_refused(client: Browser) -> None:
    async with client.post("/v1/txs", data=b"x", headers={"Content-Type": "text/plain"}) as r:
        assert (r.status, (await r.json(content_type=None))["code"]) == (
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        )


async def test_a_node_that_takes_none_says_so_with_retry_after(
    node: FakeNode, client: Browser
) -> None:
    node.refuse = "NOT_READY"
    async with client.post("/v1/txs", data=new(node).raw, headers=BYTES) as response:
        assert response.status == 503
        assert "Retry-After" in response.headers
        assert (await response.json(content_type=None))["retryable"] is True


async def test_an_unknown_transaction_has_a_state_too(client: Browser) -> None:
    async with client.get("/v1/txs/" + "00" * 32) as response:
        assert (response.status, (await response.json())["state"]) == (200, "unknown")
    async with client.get("/v1/txs/" + "00" * 32 + "/proof") as response:
        assert response.status == 404


async def test_a_certified_transaction_shows_content_and_receipts(
    node: FakeNode, client: Browser
) -> None:
    tx = new(node)
    await post(client, tx.raw)
    async with client.get(f"/v1/txs/{tx.id.hex()}/proof") as response:
        assert response.status == 409, "nothing can be proved before it is certified"
    node.certify()
    async with client.get(f"/v1/txs/{tx.id.hex()}") as response:
        answer = await response.json()
    assert answer["operations"][0]["contract"] == "records"
    assert answer["operations"][0]["decoded"] == {"length": 0}
    assert answer["receipts"][0]["events"][0]["kind"] == "records.anchored"
    assert answer["time"] == "2023-11-14T22:13:20.100Z"
    async with client.get(f"/v1/txs/{tx.id.hex()}/proof") as response:
        assert await response.read() == b"proof of " + tx.id[:4]
    async with client.get(f"/v1/txs/{tx.id.hex()}/proof", params={"operation": "1"}) as response:
        assert response.status == 404


async def test_simulation_changes_nothing(node: FakeNode, client: Browser) -> None:
    tx = new(node)
    async with client.post("/v1/txs/simulate", data=tx.raw, headers=BYTES) as response:
        answer = await response.json()
    assert (answer["tx_id"], answer["code"]) == (tx.id.hex(), "OK")
    assert not node.pending


async def test_lists_go_back_page_by_page_and_filter(node: FakeNode, client: Browser) -> None:
    mine = factories.key("operator hosp-b")
    sent = []
    for number in range(5):
        signer = mine if number % 2 else None
        tx = factories.transaction(node.genesis, signer=signer)
        sent.append(tx.id.hex())
        node.certify(tx, new(node))
    found: list[str] = []
    cursor = ""
    while True:
        params = {"limit": "3", **({"after": cursor} if cursor else {})}
        async with client.get("/v1/txs", params=params) as response:
            page = await response.json()
            assert ('rel="next"' in response.headers.get("Link", "")) == (page["next"] is not None)
        found += [item["tx_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert len(found) == len(set(found)) == 10
    assert [tx_id for tx_id in found if tx_id in sent] == sent[::-1]
    params = {"sender": address(mine.public_key), "kind": "records.anchor"}
    async with client.get("/v1/txs", params=params) as response:
        items = (await response.json())["items"]
    assert [item["tx_id"] for item in items] == [sent[3], sent[1]]
    async with client.get("/v1/txs", params={"kind": "members"}) as response:
        assert (await response.json())["items"] == []
