"""Openings of inner terms come in bodies, and nothing of them goes out again."""

from salus.consent.terms import Code, Effect, Rule, Terms, encode_terms, terms_commitment
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeNode, FakeOpenings

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
