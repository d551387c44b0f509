"""Documents go in and out as bytes; paths carry opaque ids only."""

from tests.node.api.conftest import Browser
from tests.node.api.fakes import DOCUMENT, RECORD, FakeNode, FakeRecords


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
