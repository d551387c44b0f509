"""FHIR R4 Consents become terms; what terms cannot say is refused or read more narrowly."""

import json
from typing import Any

import pytest

from salus.consent.decide import Standing, decide
from salus.consent.decision import Reason, Verdict, to_json
from salus.consent.fhir import CONSENTS_MAX, Imported, import_consents
from salus.consent.fhir_forms import RESOURCE_BYTES_MAX
from salus.consent.instant import parse_instant
from salus.consent.query import read_query
from salus.consent.request import Request
from salus.consent.terms import RULES_MAX, Code, Effect
from salus.errors import BadMessage
from tests.salus import data

SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
TYPES = "http://hl7.org/fhir/resource-types"
CLINIC, BOB = Code("urn:test", "clinic"), Code("urn:test", "bob")
AT = parse_instant("2026-11-22T12:00:00Z")
ASK = Request(categories=(Code(SCOPE, "patient-privacy"),), purpose="TREAT", actors=(CLINIC,))


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def consent(provision: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    made = {
        "resourceType": "Consent",
        "status": "active",
        "category": [coded(SCOPE, "patient-privacy")],
        "patient": {"reference": "Patient/1"},
        "dateTime": "2026-01-01",
    }
    if provision is not None:
        made["provision"] = provision
    return {name: value for name, value in (made | fields).items() if value is not None}


def actor(reference: str = "Organization/1", role: str = "IRCP") -> dict[str, Any]:
    return {"role": coded("urn:roles", role), "reference": {"reference": reference}}


def party(kind: str, code: Code, id_: str | None = "1") -> dict[str, Any]:
    made = {"resourceType": kind, "identifier": [{"system": code.system, "value": code.code}]}
    return made if id_ is None else made | {"id": id_}


ORG = party("Organization", CLINIC)


def imported(
    *consents: dict[str, Any], parties: tuple[dict[str, Any], ...] = (ORG,)
) -> list[Imported]:
    return import_consents(
        [json.dumps(each).encode() for each in consents],
        [json.dumps(each).encode() for each in parties],
    )


def decided(*consents: dict[str, Any], **options: Any) -> tuple[Verdict, Reason]:
    found = [each.consent for each in imported(*consents, **options)]
    decision = decide(found, ASK, AT)
    return decision.verdict, decision.reason


def refused(*consents: dict[str, Any], parties: tuple[dict[str, Any], ...] = (ORG,)) -> str:
    with pytest.raises(BadMessage) as caught:
        imported(*consents, parties=parties)
    return caught.value.code


# -- the public cases ------------------------------------------------------------------------

CASES = "fhir-consent-decisions"
FROZEN = parse_instant("2024-01-01T00:00:00Z")  # inside of the periods of all but the expired one


def parties() -> list[bytes]:
    names = ("org-good-health.json", "practitioner-dr-bob.json")
    return [(data.path(CASES) / name).read_bytes() for name in names]


def test_every_public_case_comes_out_as_expected() -> None:
    cases = data.load(f"{CASES}/decisions.json")
    assert len(cases) == 8
    for case in cases:
        file = data.path(CASES) / "consents" / case["consent"]
        (found,) = import_consents([file.read_bytes()], parties())
        answer = to_json(
            decide([found.consent], read_query(json.dumps(case["query"]).encode()), FROZEN)
        )
        assert answer["decision"] == case["decision"], case["name"]
        if case["obligations"] is not None:
            assert answer["obligations"] == case["obligations"], case["name"]


@pytest.mark.parametrize("name", ["consent-boris-inactive.json", "consent-boris-research.json"])
def test_the_public_consents_without_a_case_were_ended(name: str) -> None:
    (found,) = import_consents([(data.path(CASES) / "consents" / name).read_bytes()], parties())
    assert found.consent.standing is Standing.ENDED
    assert decide([found.consent], ASK, FROZEN).verdict is Verdict.NONE


EXAMPLES = {
    "Emergency": "CONSENT_UNSUPPORTED",  # it names the custodian, not who receives
    "Out": "CONSENT_UNSUPPORTED",
    "basic": "permit",
    "notTime": "permit",
    "signature": "UNRESOLVED_ACTOR",
    "smartonfhir": "deny",  # OPTIN with a permission for one class: only that one
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_standard(name: str) -> None:
    file = data.path(f"fhir-r4-examples/Consent-consent-example-{name}.json")
    try:
        (found,) = import_consents([file.read_bytes()], [])
        came = found.consent.terms.root.effect.value
    except BadMessage as error:
        came = error.code
    assert came == EXAMPLES[name]


# -- what is read ----------------------------------------------------------------------------


def test_all_that_a_provision_says_becomes_a_rule() -> None:
    (found,) = imported(
        consent(
            {
                "type": "permit",
                "period": {"start": "2026-11", "end": "2026-11-22"},
                "provision": [
                    {
                        "type": "deny",
                        "actor": [actor()],
                        "purpose": [{"system": REASON, "code": "HRESCH"}],
                    },
                    {
                        "type": "deny",
                        "class": [{"system": TYPES, "code": "Observation"}],
                        "provision": [{"type": "permit", "actor": [actor()]}],
                    },
                    {"type": "deny", "code": [coded("http://loinc.org", "34133-9")]},
                ],
            },
            id="c-1",
            scope=coded(SCOPE, "treatment"),
        )
    )
    terms = found.consent.terms
    assert found.notes == ()
    assert found.consent.name == "c-1"
    assert terms.categories == (Code(SCOPE, "patient-privacy"), Code(SCOPE, "treatment"))
    assert [(rule.exception_to, rule.effect.value) for rule in terms.rules] == [
        (0, "permit"),
        (0, "deny"),
        (0, "deny"),
        (0, "deny"),
        (2, "permit"),
    ]
    root, research, _, loinc, except_clinic = terms.rules
    assert root.from_ms == parse_instant("2026-11-01T00:00:00Z")
    assert root.until_ms == parse_instant("2026-11-23T00:00:00Z")
    assert (research.actors, research.purposes) == ((CLINIC,), ("HRESCH",))
    assert loinc.codes == (Code("http://loinc.org", "34133-9"),)
    assert except_clinic.actors == (CLINIC,)


OPT_IN, OPT_OUT = (
    coded("http://terminology.hl7.org/CodeSystem/v3-ActCode", code) for code in ("OPTIN", "OPTOUT")
)
PERMIT_ME = {"type": "permit", "actor": [actor()]}


@pytest.mark.parametrize(
    ("provision", "policy", "effect"),
    [
        (None, OPT_IN, "permit"),
        (None, OPT_OUT, "deny"),
        (None, None, "deny"),
        ({}, OPT_IN, "permit"),
        ({"type": "permit"}, None, "permit"),
        ({"type": "permit"}, OPT_OUT, "deny"),
        ({"type": "deny"}, OPT_IN, "deny"),
        ({"provision": [PERMIT_ME]}, OPT_IN, "deny"),
        ({"provision": [{"type": "deny"}]}, OPT_IN, "permit"),
    ],
)
def test_what_holds_without_exceptions(provision: Any, policy: Any, effect: str) -> None:
    (found,) = imported(consent(provision, policyRule=policy))
    assert found.consent.terms.root.effect == Effect(effect)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("active", Reason.PERMITTED),
        ("inactive", Reason.REVOKED),
        ("draft", Reason.NOT_ACTIVE),
        ("proposed", Reason.NOT_ACTIVE),
        ("rejected", Reason.NOT_ACTIVE),
        ("entered-in-error", Reason.NOT_ACTIVE),
    ],
)
def test_every_status_of_the_standard_has_a_meaning(status: str, reason: Reason) -> None:
    assert decided(consent({"type": "permit"}, status=status))[1] is reason


def test_of_several_the_newest_decides() -> None:
    yes, no = consent({"type": "permit"}), consent({"type": "deny"}, dateTime="2026-02")
    assert decided(yes, no)[0] is Verdict.DENY
    assert decided(no, yes | {"dateTime": "2026-03-01T10:00:00+01:00"})[0] is Verdict.PERMIT
    assert decided(no, yes | {"dateTime": "2026"})[0] is Verdict.DENY  # it may be as old
    undated = consent({"type": "deny"}, dateTime=None)
    assert decided(yes | {"dateTime": "2026-03-01"}, undated)[0] is Verdict.DENY


def test_actions_that_are_no_reading_say_nothing_about_it() -> None:
    def deny(*codes: str) -> dict[str, Any]:
        system = "http://terminology.hl7.org/CodeSystem/consentaction"
        inner = {"type": "deny", "action": [coded(system, code) for code in codes]}
        return consent({"type": "permit", "provision": [inner]})

    assert decided(deny("correct", "collect"))[0] is Verdict.PERMIT
    for code in ("access", "use", "disclose", "something-new"):
        assert decided(deny("correct", code))[0] is Verdict.DENY
    only_use = {"type": "permit", "action": [coded("urn:x", "use")]}
    assert refused(consent(only_use)) == "CONSENT_UNSUPPORTED"


def test_a_denial_by_class_and_label_denies_by_label_alone() -> None:
    """Wider than it says, hence narrower for whoever asks; a permission is refused instead."""
    both = {
        "class": [{"system": TYPES, "code": "Observation"}],
        "securityLabel": [{"system": "urn:labels", "code": "R"}],
    }
    (found,) = imported(consent({"type": "permit", "provision": [{"type": "deny"} | both]}))
    assert (found.consent.terms.rules[1].classes, len(found.notes)) == ((), 1)
    root_is_free = imported(consent({"type": "permit"} | both))
    assert root_is_free[0].notes == ()
    inner = consent({"type": "deny", "provision": [{"type": "permit"} | both]})
    assert refused(inner) == "CONSENT_UNSUPPORTED"


# -- who is meant ----------------------------------------------------------------------------


def test_an_actor_is_known_by_all_identifiers_of_what_he_refers_to() -> None:
    both = ORG | {
        "identifier": [
            {"system": BOB.system, "value": BOB.code},
            {"system": CLINIC.system, "value": CLINIC.code},
            {"value": "no system"},
        ]
    }
    (found,) = imported(consent({"type": "permit", "actor": [actor()]}), parties=(both,))
    assert found.consent.terms.root.actors == (BOB, CLINIC)


def test_an_actor_may_be_contained_or_named_by_identifier() -> None:
    inside = consent({"type": "permit", "actor": [actor("#1")]}, contained=[ORG])
    identifier = {"system": CLINIC.system, "value": CLINIC.code}
    by_name = {"role": coded("urn:roles", "PRCP"), "reference": {"identifier": identifier}}
    for each in (inside, consent({"type": "permit", "actor": [by_name]})):
        (found,) = imported(each, parties=())
        assert found.consent.terms.root.actors == (CLINIC,)


def test_what_one_consent_contains_is_nothing_to_another() -> None:
    inside = consent({"type": "permit", "actor": [actor("#1")]}, contained=[ORG])
    assert (
        refused(inside, consent({"type": "permit", "actor": [actor("#1")]})) == "UNRESOLVED_ACTOR"
    )


def test_a_party_without_an_id_stands_for_the_one_reference_that_is_open() -> None:
    nameless = party("Practitioner", BOB, None)
    one = consent({"type": "permit", "actor": [actor("Practitioner/7"), actor()]})
    (found,) = imported(one, parties=(ORG, nameless))
    assert found.consent.terms.root.actors == (BOB, CLINIC)
    assert len(found.notes) == 1
    two = consent({"type": "permit", "actor": [actor("Practitioner/7"), actor("Practitioner/8")]})
    assert refused(two, parties=(nameless,)) == "UNRESOLVED_ACTOR"
    assert refused(one, parties=(ORG, nameless, nameless)) == "UNRESOLVED_ACTOR"
    assert refused(one, parties=(ORG, party("Device", BOB, None))) == "UNRESOLVED_ACTOR"


@pytest.mark.parametrize(
    "reference", ["Organization/2", "https://a.example/fhir/Organization/1", "urn:uuid:1", "#1", ""]
)
def test_an_actor_of_whom_nothing_is_known_is_refused(reference: str) -> None:
    """A denial of somebody unknown would deny nobody."""
    denial = {"type": "deny", "actor": [actor(reference)]}
    assert refused(consent({"type": "permit", "provision": [denial]})) == "UNRESOLVED_ACTOR"


def test_two_parties_of_one_name_are_refused() -> None:
    assert refused(consent({"type": "deny"}), parties=(ORG, ORG)) == "BAD_PARTY"


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"modifierExtension": [{"url": "urn:x"}]},
        {"implicitRules": "urn:x"},
        {"provision": {"type": "permit", "modifierExtension": [{"url": "urn:x"}]}},
        {"provision": {"type": "permit", "dataPeriod": {"start": "2020"}}},
        {"provision": {"type": "permit", "data": [{"meaning": "instance"}]}},
        {"provision": {"type": "permit", "purpose": [{"system": "urn:x", "code": "TREAT"}]}},
        {"provision": {"type": "permit", "securityLabel": [{"code": "R"}]}},
        {"provision": {"type": "permit", "class": [{"system": TYPES, "code": "two words"}]}},
        {"provision": {"type": "permit", "code": [{"text": "sugar"}]}},
        {"provision": {"type": "permit", "actor": [actor(role="AUT")]}},
        {"provision": {"type": "permit", "provision": [{"type": "deny"}] * RULES_MAX}},
    ],
)
def test_what_terms_cannot_say_is_refused(changed: dict[str, Any]) -> None:
    assert refused(consent(**changed)) == "CONSENT_UNSUPPORTED"


def test_exceptions_by_data_within_exceptions_by_data_are_refused() -> None:
    label = {"securityLabel": [{"system": "urn:labels", "code": "R"}]}
    inner = {"type": "permit"} | label
    outer = {"type": "deny", "provision": [inner]} | label
    assert refused(consent({"type": "permit", "provision": [outer]})) == "CONSENT_UNSUPPORTED"


@pytest.mark.parametrize(
    "changed",
    [
        {"resourceType": "Patient"},
        {"status": "on"},
        {"category": []},
        {"category": [{"text": "privacy"}]},
        {"dateTime": "yesterday"},
        {"provison": {"type": "deny"}},
        {"provision": {"type": "maybe"}},
        {"provision": {"type": "permit", "provision": [{}]}},
        {"provision": {"type": "permit", "period": {"start": "2026-02", "end": "2026-01"}}},
        {"provision": {"type": "permit", "period": {"start": "soon"}}},
        {"provision": {"type": "permit", "purposes": []}},
        {"provision": []},
    ],
)
def test_what_is_no_consent_of_the_standard_is_refused(changed: dict[str, Any]) -> None:
    assert refused(consent(**changed)) == "BAD_CONSENT"


def test_consents_of_two_patients_are_not_decided_together() -> None:
    other = consent({"type": "permit"}, patient={"reference": "Patient/2"})
    assert refused(consent({"type": "permit"}), other) == "BAD_CONSENT"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "BAD_CONSENT"),
        (b"\xff", "BAD_CONSENT"),
        (b"[" * 100_000, "BAD_CONSENT"),
        (b'{"status": "active", "status": "draft"}', "BAD_CONSENT"),
        (b'{"resourceType": "Consent", "id": "\\ud800"}', "BAD_CONSENT"),
        (b" " * (RESOURCE_BYTES_MAX + 1), "TOO_LARGE"),
    ],
)
def test_bytes_that_are_no_resource_are_refused(text: bytes, code: str) -> None:
    with pytest.raises(BadMessage) as caught:
        import_consents([text], [])
    assert caught.value.code == code


def test_more_consents_than_a_patient_can_have_at_once_are_refused() -> None:
    assert refused(*[consent({"type": "deny"})] * (CONSENTS_MAX + 1)) == "TOO_LARGE"


def test_an_error_says_where_and_not_what() -> None:
    secret = "Boris-Betterhalf"
    for broken in (
        consent(status=secret),
        consent({"type": secret}),
        consent(dateTime=secret),
        consent({"type": "permit", "period": {"start": secret}}),
        consent({"type": "permit", "actor": [actor(f"Patient/{secret}")]}),
        consent({"type": "permit", "purpose": [{"system": secret, "code": secret}]}),
    ):
        with pytest.raises(BadMessage) as caught:
            imported(consent({"type": "permit"}), broken)
        assert caught.value.message.startswith("Consent 2: ")
        assert secret not in caught.value.message
