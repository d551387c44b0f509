"""Blocks, headers, certificates, state, accounts, contracts, status."""

import asyncio

import pytest

from node.api.forms import time_text
from node.api.settings import ApiSettings
from salus.forms_node import Readiness
from salus.genesis import from_json
from salus.keys import address
from tests import factories
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import HOSTS, FakeFaults, FakeNode


async def get(client: Browser, path: str, status: int = 200) -> dict[str, object]:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        answer: dict[str, object] = await response.json(content_type=None)
        return answer


async def test_a_block_is_found_by_height_hash_and_latest(node: FakeNode, client: Browser) -> None:
    tx = factories.transaction(node.genesis)
    node.certify(tx)
    hashed = node.chain.headers[1].hash().hex()
    by_height = await get(client, "/v1/blocks/1")
    assert by_height == await get(client, f"/v1/blocks/{hashed}")
    assert by_height == await get(client, "/v1/blocks/latest")
    assert by_height["transactions"] == [tx.id.hex()]
    header = await get(client, "/v1/blocks/1/header")
    assert header == by_height["header"]
    assert header["hash"] == hashed
    commit = await get(client, "/v1/blocks/1/commit")
    assert commit["header_hash"] == hashed
    assert len(commit["signatures"]) == 3  # type: ignore[arg-type]


async def test_the_genesis_block_has_no_certificate(client: Browser) -> None:
    block = await get(client, "/v1/blocks/0")
    assert block["certificate"] is None


async def test_certified_things_are_cached_for_ever_and_latest_is_not(
    node: FakeNode, client: Browser
) -> None:
    node.certify(factories.transaction(node.genesis))
    async with client.get("/v1/blocks/1") as response:
        tag = response.headers["ETag"]
        assert "immutable" in response.headers["Cache-Control"]
    async with client.get("/v1/blocks/1", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with client.get("/v1/blocks/latest") as response:
        assert response.headers["Cache-Control"] == "no-store"
    async with client.get("/v1/genesis") as response:
        tag = response.headers["ETag"]
    async with client.get("/v1/genesis", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


async def test_headers_come_newest_first_page_by_page(node: FakeNode, client: Browser) -> None:
    for _ in range(5):
        node.certify(factories.transaction(node.genesis))
    heights: list[int] = []
    path = "/v1/blocks?limit=2"
    while path:
        async with client.get(path) as response:
            page = await response.json()
            assert len(page["items"]) <= 2
            heights += [item["height"] for item in page["items"]]
            link = response.headers.get("Link", "")
        path = f"/v1/blocks?limit=2&after={page['next']}" if page["next"] else ""
        assert bool(link) == bool(path)
    assert heights == [5, 4, 3, 2, 1, 0]


async def test_pruned_heights_are_gone_and_say_what_is_left(
    node: FakeNode, client: Browser
) -> None:
    for _ in range(3):
        node.certify(factories.transaction(node.genesis))
    node.first = 2
    problem = await get(client, "/v1/blocks/1", 410)
    assert (problem["code"], problem["facts"]) == ("PRUNED", {"first": 2})
    page = await get(client, "/v1/blocks")
    assert page["next"] is None
    assert len(page["items"]) == 2  # type: ignore[arg-type]


async def test_the_genesis_document_leads_to_the_hash(node: FakeNode, client: Browser) -> None:
    async with client.get("/v1/genesis") as response:
        assert from_json(await response.text()).hash() == node.genesis_hash


async def test_every_read_names_its_height(node: FakeNode, client: Browser) -> None:
    node.certify(factories.transaction(node.genesis))
    for path in ("/v1/status", "/v1/params", "/v1/validators", "/v1/state/00", "/readyz"):
        async with client.get(path) as response:
            assert (response.status, response.headers["X-Height"]) == (200, "1")
    await get(client, "/v1/status?min_height=1")


async def test_a_node_that_is_behind_what_a_client_has_seen_waits_a_moment(
    node: FakeNode, client: Browser
) -> None:
    node.on_wait = lambda: node.certify(factories.transaction(node.genesis))
    for path, height in (("/v1/status", "1"), ("/v1/mempool", "2")):
        async with client.get(path, headers={"Salus-Seen-Height": height}) as response:
            assert (response.status, response.headers["X-Height"]) == (200, height)
    assert node.awaited == [(1, 2.0), (2, 2.0)]


async def test_it_answers_what_it_has_when_the_moment_is_over(
    node: FakeNode, client: Browser
) -> None:
    async with client.get("/v1/status", headers={"Salus-Seen-Height": "7"}) as response:
        assert (response.status, response.headers["X-Height"]) == (200, "0")
    assert node.awaited == [(7, 2.0)]


async def test_those_who_wait_for_what_they_have_seen_leave_room_for_others(
    node: FakeNode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may send the header, also without a token: else some hundred a second held every place."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def wait_height(height: int, timeout_s: float) -> bool:
        node.awaited.append((height, timeout_s))
        waiting.set()
        await go_on.wait()
        return False

    monkeypatch.setattr(node, "wait_height", wait_height)
    client = await serve(node, ApiSettings(hosts=HOSTS, height_waits_max=1))
    first = asyncio.create_task(get_seen(client, 7))
    async with asyncio.timeout(60):
        await waiting.wait()
        assert await get_seen(client, 8) == 200
        async with client.get("/v1/status?min_height=8") as response:
            assert (await response.json(content_type=None))["code"] == "BUSY"
        async with client.get("/v1/status?min_height=0") as response:
            assert response.status == 200  # what is there already is not waited for
        assert node.awaited == [(7, 2.0)]
        go_on.set()
        assert await first == 200
        assert await get_seen(client, 9) == 200
    assert node.awaited == [(7, 2.0), (9, 2.0)], "a place that was left is given again"


async def get_seen(client: Browser, height: int) -> int:
    async with client.get("/v1/status", headers={"Salus-Seen-Height": str(height)}) as response:
        return response.status


@pytest.mark.parametrize("said", ["", "-1", "1.5", "٣", "9" * 400, "one"])
async def test_what_is_no_height_is_not_waited_for(
    node: FakeNode, client: Browser, said: str
) -> None:
    async with client.get("/v1/status", headers={"Salus-Seen-Height": said}) as response:
        assert response.status == 200
    assert node.awaited == []


async def test_a_probe_asks_how_the_node_is_now(node: FakeNode, client: Browser) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        async with client.get(path, headers={"Salus-Seen-Height": "7"}) as response:
            assert response.status == 200
    assert node.awaited == []


async def test_status_params_validators_peers_consensus_mempool(
    node: FakeNode, client: Browser
) -> None:
    assert (await get(client, "/v1/status"))["quorum"] == {"needed": 3, "online": 4}
    parameters = await get(client, "/v1/params")
    assert parameters["hash"] == node.genesis.parameters.hash().hex()
    active = {entry.contract: entry.version for entry in node.genesis.parameters.contracts}
    assert {"governance", "members", "records"} <= set(active)
    assert parameters["parameters"]["contracts"] == active  # type: ignore[index]
    validators = await get(client, "/v1/validators")
    assert (validators["n"], validators["f"], validators["quorum"]) == (4, 1, 3)
    assert (await get(client, "/v1/peers"))["items"][0]["member"] == "hosp-b"  # type: ignore[index]
    assert (await get(client, "/v1/consensus"))["phase"] == "normal"
    assert (await get(client, "/v1/mempool"))["transactions_max"] == 20_000


async def test_a_node_that_is_not_ready_says_why(node: FakeNode, client: Browser) -> None:
    assert await get(client, "/readyz") == {"ready": True}
    node.ready = Readiness(False, "NO_QUORUM", "2 of 4 validators are reachable, 3 are needed")
    problem = await get(client, "/readyz", 503)
    assert problem["code"] == "NO_QUORUM"
    assert problem["detail"] == "2 of 4 validators are reachable, 3 are needed"
    assert await get(client, "/healthz") == {"alive": True}


async def test_state_by_key_with_and_without_proof(client: Browser) -> None:
    key = b"known".hex()
    plain = await get(client, f"/v1/state/{key}?height=0")
    assert (plain["value"], plain["height"]) == (b"value".hex(), 0)
    assert "proof" not in plain or plain["proof"] is None
    assert (await get(client, f"/v1/state/{key}/proof"))["proof"] == b"proof".hex()
    assert (await get(client, "/v1/state/00"))["value"] is None


async def test_an_account_by_address_or_key(node: FakeNode, client: Browser) -> None:
    key = node.genesis.members[1].operator_key
    by_key = await get(client, f"/v1/accounts/{key.hex()}")
    assert by_key == await get(client, f"/v1/accounts/{address(key)}")
    assert (by_key["member"], by_key["capacity"]) == ("hosp-b", "operator")
    assert (await get(client, "/v1/accounts/" + "01" * 32))["member"] is None


async def test_contracts_declare_their_queries_and_answer_them(client: Browser) -> None:
    [contract] = (await get(client, "/v1/contracts"))["items"]  # type: ignore[misc]
    assert contract["queries"][0]["name"] == "anchor_of"
    path = "/v1/contracts/records/queries/anchor_of"
    async with client.post(path, json={"arguments": {"root": "00"}}) as response:
        assert await response.json() == {"height": 1, "result": {"org": "hosp-a"}}
    async with client.post(path, json={"arguments": {}}) as response:
        assert (await response.json(content_type=None))["code"] == "BAD_ARGUMENTS"
    async with client.post(path.replace("anchor_of", "nothing"), json={}) as response:
        assert response.status == 404


async def test_faults_only_where_they_are_enabled(node: FakeNode, client: Browser) -> None:
    node.faults = FakeFaults()
    async with client.post("/v1/dev/faults", json={"blocked": ["hosp-b"], "delay_ms": 5}) as r:
        assert await r.json() == {"blocked": ["hosp-b"], "delay_ms": 5}
    assert await get(client, "/v1/dev/faults") == {"blocked": ["hosp-b"], "delay_ms": 5}
    async with client.post("/v1/dev/faults", json={"blocked": ["stranger"]}) as r:
        assert r.status == 400
    async with client.post("/v1/dev/faults", json={}) as r:
        assert await r.json() == {"blocked": [], "delay_ms": 0}


async def test_a_file_that_is_no_proof_is_not_verified(client: Browser) -> None:
    kind = {"Content-Type": "application/octet-stream"}
    async with client.post("/v1/verify", data=b"SALUSPROOF1\nno", headers=kind) as response:
        answer = await response.json()
    assert (response.status, answer["verified"], answer["claim"]) == (200, False, "")
    assert answer["checks"][-1]["ok"] is False


async def test_metrics_count_requests_by_route_template(node: FakeNode, client: Browser) -> None:
    await get(client, "/v1/txs/" + "00" * 32)
    async with client.get("/metrics") as response:
        text = await response.text()
    assert 'salus_api_request_seconds_count{route="GET /v1/txs/{id}",status="200"} 1.0' in text
    assert "00" * 32 not in text


async def test_a_scrape_reads_the_gauges_off_the_node(node: FakeNode, client: Browser) -> None:
    node.certify(factories.transaction(node.genesis))
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    for line in (
        "salus_consensus_height 1.0",
        "salus_consensus_quorum_online 4.0",
        "salus_consensus_quorum_needed 3.0",
        'salus_consensus_phase{phase="normal"} 1.0',
        'salus_p2p_peers{direction="in"} 1.0',
        'salus_p2p_rtt_seconds{peer="hosp-b"} 0.0004',
        'salus_storage_bytes{part="state"} 1.0',
        "salus_consensus_timeout_seconds 1.0",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
        (2**53 - 1, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(time_ms: int, text: str) -> None:
    assert time_text(time_ms) == text
