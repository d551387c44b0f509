"""Openings of inner terms come in bodies, and nothing of them goes out again; plans of FHIR Consents."""

import json
from typing import Any

from salus.consent.terms import (
    Code,
    Effect,
    Rule,
    Terms,
    decode_terms,
    encode_terms,
    terms_commitment,
)
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeNode, FakeOpenings
from tests.salus.consent.test_fhir import ORG, actor, consent

PATH = "/v1/consents/openings"
TERMS = Terms(categories=(Code("s", "c"),), rules=(Rule(effect=Effect.PERMIT),))
BODY = {"handle": "5a" * 32, "salt": "07" * 32, "terms": encode_terms(TERMS).hex()}


async def test_an_opening_is_answered_by_the_commitment_that_the_permit_names(
    node: FakeNode, client: Browser
) -> None:
    async with client.post(PATH, json=BODY) as response:
        assert response.status == 201
        assert await response.json() == {"commitment": terms_commitment(b"\x07" * 32, TERMS).hex()}
    assert isinstance(node.openings, FakeOpenings)
    assert node.openings.kept == [(b"\x5a" * 32, b"\x07" * 32, encode_terms(TERMS))]


async def test_what_is_no_opening(node: FakeNode, client: Browser) -> None:
    for changes, code in (
        ({"handle": "5a"}, "BAD_REQUEST"),
        ({"salt": "07" * 31}, "BAD_REQUEST"),
        ({"terms": ""}, "BAD_REQUEST"),
        ({"terms": "00" * 16_385}, "BAD_REQUEST"),
        ({"terms": "c0"}, "NOT_CANONICAL"),
        ({"permit": "5a" * 32}, "BAD_REQUEST"),
    ):
        async with client.post(PATH, json=BODY | changes) as response:
            assert (await response.json(content_type=None))["code"] == code
    assert isinstance(node.openings, FakeOpenings)
    assert node.openings.kept == []
    node.openings = None
    async with client.post(PATH, json=BODY) as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"


async def planned(client: Browser, provision: Any, *actors: tuple[str, str]) -> tuple[int, Any]:
    body = {
        "consent": json.dumps(consent(provision, id="c-1")),
        "parties": [json.dumps(ORG)],
        "actors": [{"actor": key, "to": target} for key, target in actors],
    }
    async with client.post("/v1/consents/plan", json=body) as response:
        return response.status, await response.json(content_type=None)


async def test_a_plan_says_what_a_fhir_consent_becomes_and_keeps_nothing(
    node: FakeNode, client: Browser
) -> None:
    who = ("Organization/1", "hosp-b")
    provision = {"type": "permit", "actor": [actor()]}
    status, found = await planned(client, provision, who)
    assert (status, found["name"], found["in_force"]) == (200, "c-1", True)
    assert {one["grantee"] for one in found["permits"]} == {"hosp-b"}
    terms = decode_terms(bytes.fromhex(found["permits"][0]["terms"]))
    assert Code("urn:salus:organisation", "hosp-b") in terms.root.actors
    assert isinstance(node.openings, FakeOpenings)
    assert node.openings.kept == []


async def test_what_cannot_be_planned_is_refused(client: Browser) -> None:
    denied = {"type": "permit", "provision": [{"type": "deny", "actor": [actor()]}]}
    for actors, code in (
        ((), "UNMAPPED_ACTOR"),
        ((("Organization/1", "hosp-z"),), "UNKNOWN_GRANTEE"),
        ((("Organization/1", "hosp-b/x"),), "BAD_GRANTEE"),
        ((("Organization/1", f"hosp-b/{'ab' * 32}"),), "BAD_MAP"),
        ((("Practitioner/1", f"hosp-b/{'cd' * 32}"),), "UNKNOWN_STAFF"),
        ((("Practitioner/1", f"hosp-a/{'ab' * 32}"),), "UNKNOWN_STAFF"),
    ):
        _, found = await planned(client, denied, *actors)
        assert found["code"] == code
    _, found = await planned(client, {"type": "permit", "misspelt": 1})
    assert found["code"] == "BAD_CONSENT"
