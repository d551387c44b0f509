"""Documents go in and out as bytes; paths carry opaque ids only."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from node.api.records import SMALL_BYTES
from node.api.settings import ApiSettings
from tests.node.api.conftest import Browser, Serve
from tests.node.api.fakes import DOCUMENT, HOSTS, RECORD, FakeNode, FakeRecords

MIB = 2**20


async def test_staging_answers_with_the_operations_to_sign(node: FakeNode, client: Browser) -> None:
    headers = {"Content-Type": "application/fhir+json"}
    async with client.post("/v1/records", data=DOCUMENT, headers=headers) as response:
        assert response.status == 201
        assert response.headers["Location"] == f"/v1/records/{RECORD}"
        staged = await response.json()
    assert staged["operations"] == [
        {"contract": "records", "method": "anchor", "version": 1, "args": "aa"}
    ]
    assert isinstance(node.records, FakeRecords)
    assert node.records.staged == [(DOCUMENT, "application/fhir+json", None)]
    params = {"previous": RECORD, "media_type": "text/plain"}
    async with client.post("/v1/records", data=b"new", params=params) as response:
        assert (await response.json())["version"] == 2


async def test_whose_record_it_is_travels_in_a_header_and_in_no_url(
    node: FakeNode, client: Browser
) -> None:
    assert isinstance(node.records, FakeRecords)
    async with client.post(
        "/v1/records", data=b"x", headers={"Salus-Handle": "5a" * 32}
    ) as response:
        assert response.status == 201
    assert node.records.handles == [b"\x5a" * 32]
    for wrong in ("5a", "5A" * 32, "5a" * 33, "ada"):
        async with client.post(
            "/v1/records", data=b"x", headers={"Salus-Handle": wrong}
        ) as response:
            assert (await response.json(content_type=None))["code"] == "BAD_ARGUMENT"
    assert len(node.records.handles) == 1


async def test_an_id_that_the_caller_has_drawn_is_handed_on(
    node: FakeNode, client: Browser
) -> None:
    assert isinstance(node.records, FakeRecords)
    for media_type in ("application/fhir+json", "image/png"):
        params = {"record_id": "5a" * 16, "media_type": media_type}
        async with client.post("/v1/records", data=b"{}", params=params) as response:
            assert response.status == 201
    assert node.records.drawn == ["5a" * 16] * 2
    for wrong in ("5a" * 15, "5A" * 16, "MRN-4711"):
        async with client.post("/v1/records", data=b"x", params={"record_id": wrong}) as response:
            assert response.status == 400
    assert len(node.records.drawn) == 2


async def test_what_waits_for_its_batch_holds_no_place_in_memory(
    node: FakeNode, client: Browser
) -> None:
    assert isinstance(node.records, FakeRecords)
    large = io.BytesIO(b"x" * (SMALL_BYTES + 1))  # aiohttp warns of large bytes
    for body, batched in ((b"x", "false"), (b"x", "true"), (large, "true")):
        parameters = {"media_type": "application/json", "batched": batched}
        async with client.post("/v1/records", data=body, params=parameters) as response:
            assert response.status == 201, await response.text()
    assert node.records.batched == [True, True]
    both = {"batched": "true", "record_id": "5a" * 16}
    async with client.post("/v1/records", data=b"{}", params=both) as response:
        assert response.status == 201, await response.text()
    assert node.records.batched == [True, True, True]


async def test_what_cannot_be_staged(node: FakeNode, client: Browser) -> None:
    async with client.post("/v1/records", data=b"") as response:
        assert response.status == 400
    async with client.post("/v1/records", data=b"x", params={"previous": "00" * 16}) as response:
        assert response.status == 404
    async with client.post("/v1/records", data=b"x", params={"media_type": "a b"}) as response:
        assert response.status == 400
    node.records = None
    async with client.post("/v1/records", data=b"x") as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"


async def sent(*sizes: int) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for size in sizes:
        yield b"x" * size


async def test_a_body_that_streams_is_handed_on_in_pieces_of_one_mebibyte(
    node: FakeNode, client: Browser
) -> None:
    assert isinstance(node.records, FakeRecords)
    params = {"media_type": "application/dicom"}
    for sizes in ((5,), (MIB,), (MIB + 1,), (MIB // 2, MIB, MIB // 2), (700_000,) * 6):
        async with client.post("/v1/records", data=sent(*sizes), params=params) as response:
            assert response.status == 201
        whole, rest = divmod(sum(sizes), MIB)
        assert node.records.pieces == [MIB] * whole + [rest] * (rest > 0)
    async with client.post("/v1/records", data=sent(), params=params) as response:
        assert (await response.json(content_type=None))["code"] == "BAD_REQUEST"
    whole_type = {"media_type": "application/json"}
    async with client.post("/v1/records", data=b"[]", params=whole_type) as response:
        assert response.status == 201
    assert node.records.pieces == []


async def test_a_large_body_that_is_read_whole_waits_for_room_and_a_small_one_does_not(
    node: FakeNode, client: Browser
) -> None:
    """Else as many as came at once would lie in memory together."""
    assert isinstance(node.records, FakeRecords)

    async def post(data: object) -> int:
        async with client.post("/v1/records", data=data) as response:
            return response.status

    async with node.records.places:
        large = [
            asyncio.create_task(post(body)) for body in (io.BytesIO(b"x" * (MIB + 1)), sent(5))
        ]
        assert await post(b"small") == 201
        assert [len(content) for content, _, _ in node.records.staged] == [5]
        assert not any(one.done() for one in large)
    assert await asyncio.gather(*large) == [201, 201]
    assert sorted(len(content) for content, _, _ in node.records.staged) == [5, 5, MIB + 1]


async def test_a_body_that_streams_is_bounded_in_size_and_time(
    node: FakeNode, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.api.records.DOCUMENT_BYTES_MAX", MIB)
    client = await serve(node, ApiSettings(hosts=HOSTS))
    params = {"media_type": "application/dicom"}
    for body in (io.BytesIO(b"x" * (MIB + 1)), sent(MIB, 1)):
        async with client.post("/v1/records", data=body, params=params) as response:
            assert (await response.json(content_type=None))["code"] == "TOO_LARGE"
    hasty = await serve(node, ApiSettings(hosts=HOSTS, body_seconds_max=0.01))
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(
        b"POST /v1/records?media_type=application/dicom HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1000\r\n\r\nabc"
    )
    answer = await reader.read()
    writer.close()
    assert b'"code":"SLOW_BODY"' in answer


async def test_a_document_comes_back_as_a_download_with_its_type(client: Browser) -> None:
    async with client.get(f"/v1/records/{RECORD}/document") as response:
        assert await response.read() == DOCUMENT
        assert response.content_type == "application/fhir+json"
        assert response.headers["Content-Disposition"] == "attachment"
        assert response.headers["Cache-Control"] == "no-store"
    async with client.get(f"/v1/records/{RECORD}/document?version=2") as response:
        assert response.status == 404


async def test_lists_records_and_proofs(client: Browser) -> None:
    async with client.get("/v1/records") as response:
        assert [item["record_id"] for item in (await response.json())["items"]] == [RECORD]
    async with client.get(f"/v1/records/{RECORD}") as response:
        assert (await response.json())["versions"][0]["state"] == "staged"
    async with client.get(f"/v1/records/{RECORD}/proof", params={"as_of": "true"}) as response:
        assert await response.read() == b"proof"
    for path in ("", "/document", "/operations", "/proof"):
        async with client.get(f"/v1/records/{'00' * 16}{path}") as response:
            assert (await response.json(content_type=None))["code"] == "UNKNOWN_RECORD"


async def test_retraction_answers_with_the_operation_to_sign(client: Browser) -> None:
    url = f"/v1/records/{RECORD}/retract"
    async with client.post(url, json={"reason": "wrong patient"}) as response:
        assert response.status == 201
        staged = await response.json()
    assert [operation["method"] for operation in staged["operations"]] == ["retract"]
    async with client.post(url, json={}) as response:
        assert response.status == 400


async def test_who_lost_the_answer_to_a_staging_gets_the_operations_once_more(
    client: Browser,
) -> None:
    async with client.get(f"/v1/records/{RECORD}/operations") as response:
        assert response.status == 200
        staged = await response.json()
    assert [operation["method"] for operation in staged["operations"]] == ["anchor"]
