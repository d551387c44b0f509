"""Consents as FHIR for others: read back they are what they were."""

import json
from typing import Any

import pytest
from hypothesis import given

from node.fhir import check_fhir
from salus.consent.decide import Standing
from salus.consent.fhir import import_consents
from salus.consent.fhir_export import to_fhir
from salus.consent.terms import Code, Effect, Rule, Terms
from salus.errors import BadMessage
from salus.granting import Grantee, say
from salus.permit import Purpose
from tests.salus.consent.world import terms as any_terms

GIVEN_MS = 1_790_000_000_123


def exported(terms: Terms, standing: Standing = Standing.ACTIVE) -> dict[str, Any]:
    return to_fhir("c1", terms, standing, GIVEN_MS)


def read_back(resource: dict[str, Any]) -> Any:
    (imported,) = import_consents([json.dumps(resource).encode()], [])
    return imported


@given(any_terms)
def test_read_back_it_says_the_same(terms: Terms) -> None:
    imported = read_back(exported(terms))
    if not imported.notes:
        assert said(imported.consent.terms) == said(terms)


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "urn:salus:consent-condition:moods"},
        {"url": "urn:other:consent-condition:sites"},
        {"valueCoding": {"system": "urn:test"}},
        {"extension": []},
        {"valueCoding": "north"},
    ],
)
def test_only_our_own_conditions_are_understood(changed: dict[str, Any]) -> None:
    """R4: who does not understand a modifierExtension refuses what it changes."""
    north = Rule(effect=Effect.PERMIT, sites=(Code("urn:test:site", "north"),))
    resource = exported(Terms(categories=(Code("s", "c"),), rules=(north,)))
    assert read_back(resource).consent.terms.root.sites == north.sites
    resource["provision"]["modifierExtension"][0] |= changed
    with pytest.raises(BadMessage) as refused:
        read_back(resource)
    assert refused.value.code in ("CONSENT_UNSUPPORTED", "BAD_CONSENT")


def said(terms: Terms) -> Any:
    """As a tree, for rules of one depth may stand in another order; categories with the scope."""

    def tree(index: int) -> Any:
        rule = terms.rules[index]
        inner = [
            tree(later)
            for later in range(index + 1, len(terms.rules))
            if terms.rules[later].exception_to == index
        ]
        return (rule.effect, rule.from_ms, rule.until_ms, rule.actors, rule.roles, rule.sites,
                rule.purposes, rule.classes, rule.labels, rule.codes, inner)  # fmt: skip

    return tree(0)


def test_a_grant_of_the_command_line_is_valid_r4_and_means_the_same() -> None:
    terms = say(
        Grantee("hosp-b"),
        ("Observation", "Condition"),
        Purpose.TREATMENT,
        GIVEN_MS,
        GIVEN_MS + 1000,
    ).terms
    resource = exported(terms)
    assert check_fhir(json.dumps(resource).encode(), "application/fhir+json") is not None
    imported = read_back(resource)
    assert imported.consent.terms == terms
    assert not imported.notes
    assert imported.consent.standing is Standing.ACTIVE
    assert imported.consent.earliest == imported.consent.latest == GIVEN_MS


@pytest.mark.parametrize(
    ("standing", "status"),
    [
        (Standing.ACTIVE, "active"),
        (Standing.ENDED, "inactive"),
        (Standing.VOID, "entered-in-error"),
    ],
)
def test_how_it_stands_is_said(standing: Standing, status: str) -> None:
    resource = exported(
        Terms(categories=(Code("s", "c"),), rules=(Rule(effect=Effect.PERMIT),)), standing
    )
    assert resource["status"] == status
    assert read_back(resource).consent.standing is standing


def test_a_denial_stays_one() -> None:
    terms = Terms(categories=(Code("s", "c"),), rules=(Rule(effect=Effect.DENY),))
    assert read_back(exported(terms)).consent.terms.root.effect is Effect.DENY
