"""The read-only FHIR server of one's own machine."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from cli.fhir_bridge import HELD_S, Bridge
from node.fhir import check_fhir
from salus import fhir_api
from salus.errors import SalusError
from salus.ips.joined import JoinedView
from tests.salus.test_ips import A, bundle, observation, patient

BEARER = {"Authorization": "Bearer t0ken"}


class Few:
    """Two observations, a consent, an audit event."""

    def __init__(self) -> None:
        self.read = 0
        self.error: SalusError | None = None
        self.asked: asyncio.Event | None = None  # set when the first reading has begun
        self.goes_on: asyncio.Event | None = None  # and waits for this one

    async def view(self) -> JoinedView:
        self.read += 1
        if self.asked is not None and self.goes_on is not None:
            self.asked.set()
            await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        view = JoinedView()
        raw = bundle(
            patient("p1"),
            observation("o1", "p1", "1-1", "2020-01-01", 1),
            observation("o2", "p1", "2-2", "2021-01-01", 2),
        )
        view.add(raw.replace(b'"value": 1}', b'"value": 1.10}'), A)
        return view

    async def consents(self) -> list[dict[str, Any]]:
        return [{"resourceType": "Consent", "id": "c1"}]

    async def trail(self) -> list[dict[str, Any]]:
        return [
            {"resourceType": "AuditEvent", "id": "a1"},
            {"resourceType": "Provenance", "id": "p"},
        ]


class Desk:
    def __init__(self) -> None:
        self.few, self.clock = Few(), 0.0
        self.bridge = Bridge(
            self.few, "t0ken", "0.1.0", clock=lambda: self.clock, now_ms=lambda: 1_790_000_000_000
        )
        self.app = self.bridge.application()

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any], bytes]:
        async with TestClient(TestServer(self.app)) as client:
            answer = await client.get(path, headers=headers or BEARER)
            body = await answer.read()
            assert answer.content_type == "application/fhir+json"
            assert answer.headers["Cache-Control"] == "no-store", "an app's cache lies on a disk"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            return answer.status, json.loads(body), body


@pytest.mark.parametrize(
    "path",
    [
        "metadata", "Patient/me", "Patient/me/$everything", "Patient/me/$summary", "Observation",
        "Observation?code=1-1",
    ],
)  # fmt: skip
async def test_what_it_answers_is_valid_r4(path: str) -> None:
    status, _, body = await Desk().get(f"/fhir/{path}")
    assert status == 200
    assert check_fhir(body, "application/fhir+json") is not None


async def test_it_says_what_it_can_and_serves_what_it_says() -> None:
    desk = Desk()
    _, said, _ = await desk.get("/fhir/metadata")
    kinds = {one["type"] for one in said["rest"][0]["resource"]}
    assert kinds == {"Patient", *fhir_api.RESOURCES, *fhir_api.RECORDS}
    for kind in kinds:
        status, found, _ = await desk.get(f"/fhir/{kind}")
        assert (status, found["type"]) == (200, "searchset")
        assert all(entry["resource"]["resourceType"] == kind for entry in found.get("entry", ()))


async def test_a_result_is_found_by_its_code_and_time() -> None:
    desk = Desk()
    _, found, body = await desk.get("/fhir/Observation?code=http://loinc.org|1-1")
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["o1"]
    assert b"1.10" in body  # numbers keep their letters
    _, none, _ = await desk.get("/fhir/Observation?code=1-1&_lastUpdated=ge2020-06-01")
    assert none["total"] == 0
    assert "entry" not in none


async def test_who_asks_at_the_same_time_waits_for_one_reading() -> None:
    """A client's first screen asks for six types at once: that is one look, not six, in the trail."""
    desk = Desk()
    desk.few.asked, desk.few.goes_on = asyncio.Event(), asyncio.Event()
    waiting = [asyncio.create_task(desk.bridge._joined()) for _ in range(3)]
    await desk.few.asked.wait()  # each of them has come as far as it can
    desk.few.goes_on.set()
    await asyncio.gather(*waiting)
    assert desk.few.read == 1


async def test_documents_are_read_once_in_the_life_of_a_ticket() -> None:
    desk = Desk()
    await desk.get("/fhir/Observation")
    await desk.get("/fhir/Patient/me")
    assert desk.few.read == 1
    desk.clock = HELD_S
    await desk.get("/fhir/Observation")
    assert desk.few.read == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X": "y"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic t0ken"}, 401),
        ({**BEARER, "Host": "evil.example"}, 403),
    ],
)
async def test_others_get_nothing(headers: dict[str, str], status: int) -> None:
    desk = Desk()
    got, said, _ = await desk.get("/fhir/Patient/me/$everything", **headers)
    assert (got, said["resourceType"]) == (status, "OperationOutcome")
    assert desk.few.read == 0


@pytest.mark.parametrize(
    ("code", "status"), [("READ_DENIED", 403), ("ERASED", 410), ("KEEPER_DOWN", 502)]
)
async def test_what_the_gate_says_is_passed_on(code: str, status: int) -> None:
    desk = Desk()
    desk.few.error = SalusError("not this time", code=code)
    got, said, body = await desk.get("/fhir/Observation")
    assert got == status
    assert said["issue"][0]["details"]["coding"][0]["code"] == code
    assert check_fhir(body, "application/fhir+json") is not None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Observation?name=x", 400),
        ("Observation?_lastUpdated=ge2020", 400),
        ("Observation?code=1-1&_lastUpdated=soon", 400),
        ("Basic", 404),
        ("Patient/somebody", 404),
        ("../etc", 404),
    ],
)
async def test_what_cannot_be_asked_is_told(path: str, status: int) -> None:
    got, said, _ = await Desk().get(f"/fhir/{path}")
    assert (got, said["resourceType"]) == (status, "OperationOutcome")
