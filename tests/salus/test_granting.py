"""A grant in both halves, and the question that meets it."""

import pytest

from salus.consent.decide import Consent, decide
from salus.consent.decision import Verdict
from salus.consent.terms import Code, check_terms
from salus.errors import BadMessage
from salus.granting import Grantee, question, question_of, say
from salus.permit import Purpose, Reach, RecordClass
from salus.relation import DAY_MS
from salus.scope import CLASS_OF, classes_of, purpose_of, types_of
from salus.site import SITES_MAX, parse_site, parse_sites, site_text

STAFF = "ab" * 32
NOW_MS = 20_000 * DAY_MS + 3_600_000


def asked(actor: str, *scopes: str, purpose: Purpose = Purpose.TREATMENT) -> Verdict:
    said = say(Grantee.parse("hosp-b"), ("Observation",), Purpose.TREATMENT, NOW_MS, NOW_MS + 10)
    decision = decide(
        [Consent("one", said.terms)],
        question(Grantee.parse(actor), scopes, purpose),
        NOW_MS,
    )
    return decision.verdict


def test_the_chain_sees_classes_and_days_and_the_terms_the_rest() -> None:
    until_ms = 20_090 * DAY_MS
    said = say(
        Grantee.parse("hosp-b"),
        ("Observation", "MedicationRequest"),
        Purpose.TREATMENT,
        NOW_MS,
        until_ms,
    )
    check_terms(said.terms)
    assert said.classes == (RecordClass.MEDICATIONS, RecordClass.RESULTS)
    assert (said.from_day, said.until_day) == (20_000, 20_089)  # it ends with that midnight
    assert said.reach is Reach.ORGANISATION
    root = said.terms.root
    assert (root.from_ms, root.until_ms) == (NOW_MS, until_ms)
    assert [code.code for code in root.classes] == ["MedicationRequest", "Observation"]


def test_what_was_granted_is_permitted_and_nothing_beside_it() -> None:
    assert asked("hosp-b", "Observation") is Verdict.PERMIT
    assert asked(f"hosp-b/{STAFF}", "Observation") is Verdict.PERMIT
    assert asked("hosp-c", "Observation") is Verdict.NONE
    assert asked("hosp-b", "Specimen") is not Verdict.PERMIT
    assert asked("hosp-b", "Observation", purpose=Purpose.RESEARCH) is not Verdict.PERMIT


def test_one_of_the_staff_is_a_part_of_the_organisation() -> None:
    said = say(Grantee.parse(f"hosp-b/{STAFF}"), ("results",), Purpose.TREATMENT, 0, DAY_MS)
    assert said.reach is Reach.PART
    for actor, verdict in ((f"hosp-b/{STAFF}", Verdict.PERMIT), ("hosp-b", Verdict.NONE)):
        found = decide(
            [Consent("one", said.terms)],
            question(Grantee.parse(actor), ("results",), Purpose.TREATMENT),
            0,
        )
        assert found.verdict is verdict


@pytest.mark.parametrize(
    ("scopes", "reach"),
    [
        (("results",), Reach.ORGANISATION),
        (("results", "Observation"), Reach.ORGANISATION),
        (("Observation",), Reach.PART),
        (("results", "Condition"), Reach.PART),
    ],
)
def test_denying_some_types_is_no_denial_of_their_class(
    scopes: tuple[str, ...], reach: Reach
) -> None:
    said = say(Grantee("hosp-b"), scopes, Purpose.TREATMENT, 0, DAY_MS, deny=True)
    assert said.reach is reach


@pytest.mark.parametrize("text", ["", "/", "hosp-b/", "hosp-b/xyz", f"hosp-b/{STAFF.upper()}"])
def test_what_is_no_grantee(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        Grantee.parse(text)
    assert caught.value.code == "BAD_GRANTEE"


@pytest.mark.parametrize("scope", ["", "observation", "Obs ervation", "results2", "Übung"])
def test_what_is_no_scope(scope: str) -> None:
    with pytest.raises(BadMessage) as caught:
        classes_of((scope,))
    assert caught.value.code == "BAD_SCOPE"


def test_scopes_have_classes_and_what_is_new_is_other() -> None:
    assert classes_of(("Patient", "summary")) == (RecordClass.SUMMARY,)
    assert classes_of(("Claim", "Observation")) == (RecordClass.OTHER, RecordClass.RESULTS)
    results = types_of(("results",))
    assert {CLASS_OF[name] for name in results} == {RecordClass.RESULTS}
    assert types_of(("Observation", "results")) == results  # the class says more
    assert types_of(tuple(RecordClass)) == ()
    for scopes in (("other",), ("other", "Observation"), tuple(RecordClass)[1:]):
        with pytest.raises(BadMessage) as caught:
            types_of(scopes)
        assert caught.value.code == "BAD_SCOPE"


def test_a_class_beside_a_type_widens_the_type_by_nothing() -> None:
    """All results and of the medications the statements alone: one grant, or two."""
    both = ("MedicationStatement", "results")
    to, ends_ms = Grantee("hosp-b"), NOW_MS + 10
    one = say(to, both, Purpose.TREATMENT, NOW_MS, ends_ms)
    two = [say(to, (scope,), Purpose.TREATMENT, NOW_MS, ends_ms) for scope in both]
    for grants in ([one], two):
        consents = [
            Consent(f"{n}", said.terms, earliest=n, latest=n) for n, said in enumerate(grants)
        ]

        def verdict(scope: str, consents: list[Consent] = consents) -> Verdict:
            return decide(consents, question(to, (scope,), Purpose.TREATMENT), NOW_MS).verdict

        assert verdict("MedicationStatement") is Verdict.PERMIT
        assert verdict("Specimen") is Verdict.PERMIT
        assert verdict("MedicationRequest") is not Verdict.PERMIT
        assert verdict("Patient") is not Verdict.PERMIT
    assert set(CLASS_OF.values()) == set(RecordClass) - {RecordClass.OTHER}


def test_purposes_by_either_name() -> None:
    assert purpose_of("treat") is purpose_of("TREAT") is purpose_of("treatment")
    for word in ("", "PLEASURE", "Treatment"):
        with pytest.raises(BadMessage):
            purpose_of(word)


@pytest.mark.parametrize("purpose", [Purpose.EMERGENCY])
def test_an_emergency_is_nobodys_to_grant(purpose: Purpose) -> None:
    with pytest.raises(BadMessage):
        say(Grantee("hosp-b"), ("summary",), purpose, 0, 1)
    with pytest.raises(BadMessage):
        question(Grantee("hosp-b"), ("summary",), purpose)


def test_a_permit_ends_after_it_begins() -> None:
    with pytest.raises(BadMessage) as caught:
        say(Grantee("hosp-b"), ("summary",), Purpose.TREATMENT, 5, 5)
    assert caught.value.code == "BAD_PERIOD"


NORTH, SOUTH = Code("urn:example:wards", "north"), Code("urn:example:wards", "south")


@pytest.mark.parametrize(
    ("deny", "site", "verdict"),
    [
        (False, NORTH, Verdict.PERMIT),
        (False, SOUTH, Verdict.NONE),
        (False, None, Verdict.NONE),
        (True, NORTH, Verdict.DENY),
        (True, SOUTH, Verdict.NONE),
        (True, None, Verdict.DENY),
    ],
)
def test_a_grant_may_name_the_places_from_where_alone_is_read(
    deny: bool, site: Code | None, verdict: Verdict
) -> None:
    """Who does not say where he is cannot escape a denial by place, nor use a permission by place."""
    grantee = Grantee("hosp-b")
    said = say(grantee, ("results",), Purpose.TREATMENT, 0, 9_999, deny=deny, sites=(NORTH,))
    assert said.reach is Reach.PART  # of the organisation: what is said elsewhere stands
    consents = [Consent("c", said.terms)]
    for asked in (
        question(grantee, ("results",), Purpose.TREATMENT, site),
        question_of(grantee, (RecordClass.RESULTS,), Purpose.TREATMENT, (), site),
    ):
        assert decide(consents, asked, 5).verdict is verdict


@pytest.mark.parametrize(
    "text", ["", "north", "|north", "urn:wards|", "urn:wards|3 north", "a b|c"]
)
def test_a_site_is_an_identifier(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_site(text)
    assert caught.value.code == "BAD_SITE"


def test_sites_are_sorted_bounded_and_written_as_they_are_read() -> None:
    texts = ("urn:example:wards|south", "urn:example:wards|north", "urn:example:wards|north")
    assert parse_sites(texts) == (NORTH, SOUTH)
    assert [site_text(site) for site in parse_sites(texts)] == sorted(set(texts))
    with pytest.raises(BadMessage):
        parse_sites(f"urn:example:wards|{number}" for number in range(SITES_MAX + 1))
