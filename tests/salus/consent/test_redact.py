"""Obligations → parts that are withheld, and a derivative where a finer cut is wanted."""

import json
from typing import Any

import pytest

from salus.consent.decision import Obligation, Redact
from salus.consent.derivative import REDACTED, derive
from salus.consent.redact import Wanted, withheld
from salus.consent.terms import Code, ascending
from salus.consent.vocabulary import ACT_CODE, CONFIDENTIALITY, RESOURCE_TYPES
from salus.document import commitment, open_all, redact, split
from salus.errors import BadMessage
from tests import factories
from tests.salus import data

FHIR, PDF, LINES = "application/fhir+json", "application/pdf", "application/fhir+ndjson"
HIV = Code(ACT_CODE, "HIV")
GLUCOSE = {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]}


def kind(*names: str) -> tuple[Code, ...]:
    return ascending(Code(RESOURCE_TYPES, name) for name in names)


def label(code: str) -> Code:
    return Code(CONFIDENTIALITY, code)


def without(*codes: Code, classes: tuple[Code, ...] = ()) -> Wanted:
    return Wanted((Obligation(Redact.CARRYING, ascending(codes)),), classes)


def only(*codes: Code) -> Wanted:
    return Wanted((Obligation(Redact.LACKING, ascending(codes)),))


def resource(type_: str, *labels: Code, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": type_} | fields
    if labels:
        made["meta"] = {"security": [{"system": each.system, "code": each.code} for each in labels]}
    return made


def bundle(*resources: Any, **fields: Any) -> dict[str, Any]:
    return (
        {"resourceType": "Bundle", "type": "collection"}
        | fields
        | {"entry": [{"resource": each} for each in resources]}
    )


def hidden(document: Any, wanted: Wanted, known: tuple[Code, ...] = (), media: str = FHIR) -> Any:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return withheld(split(content, media), wanted, known)


def derived(document: Any, wanted: Wanted) -> Any:
    found = derive(json.dumps(document).encode(), wanted)
    return None if found is None else json.loads(found)


# -- whole parts -----------------------------------------------------------------------------


def test_what_carries_a_denied_label_is_withheld_and_the_rest_keeps_its_proof() -> None:
    document = json.dumps(bundle(resource("Condition", HIV), resource("Observation"))).encode()
    parts = split(document, FHIR)
    assert withheld(parts, without(HIV)) == (1,)
    opening = open_all(parts, factories.seed("salts"))
    assert commitment(redact(opening, (1,))) == commitment(opening)


def test_without_obligations_everything_is_shown() -> None:
    assert hidden(bundle(resource("Condition", HIV), "odd but JSON"), Wanted(())) == ()
    assert hidden(b"%PDF", Wanted(()), media=PDF) == ()


def test_a_denied_level_denies_the_higher_ones_and_a_permitted_one_permits_the_lower() -> None:
    """R4: a label speaks of that level «or lower»; for a denial that is absurd, so: or higher."""
    levels = bundle(*(resource("Observation", label(each)) for each in "NRV"))
    assert hidden(levels, without(label("R"))) == (2, 3)
    assert hidden(levels, only(label("R"))) == (3,)
    assert hidden(
        bundle(resource("Observation"), *[levels["entry"][0]["resource"]]), only(label("R"))
    ) == (1,)


def test_one_label_has_several_names_of_its_system() -> None:
    policy = Code("http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy", "HIV")
    nameless = {"resourceType": "Observation", "meta": {"security": [{"code": "HIV"}]}}
    document = bundle(resource("Condition", HIV), nameless, resource("Condition"))
    assert hidden(document, without(policy)) == (1, 2)
    assert hidden(document, only(policy)) == (2, 3)  # a permission wants the system


def test_a_denial_reaches_whatever_is_mentioned() -> None:
    document = bundle(
        resource("Observation", component=[{"code": GLUCOSE}]),
        resource("MedicationRequest", contained=[resource("Medication")]),
        resource("Observation", meta={"profile": ["urn:profile"]}),
        resource("Patient"),
    )
    assert hidden(document, without(Code("http://loinc.org", "2339-0"))) == (1,)
    assert hidden(document, without(*kind("Medication"))) == (2,)
    assert hidden(document, without(Code("urn:any", "urn:profile"))) == (3,)


def test_a_permission_reaches_only_what_a_resource_says_of_itself() -> None:
    glucose = Code("http://loinc.org", "2339-0")
    document = bundle(
        resource("Observation", code=GLUCOSE),
        resource("Observation", component=[{"code": GLUCOSE}]),
        resource("Observation", code=GLUCOSE, contained=[resource("Condition", id="1")]),
    )
    assert hidden(document, only(glucose)) == (2, 3)
    assert hidden(document, only(*kind("Observation"))) == (3,)


def test_only_what_was_asked_for_is_shown() -> None:
    document = bundle(resource("Observation"), resource("Condition"), "odd but JSON")
    assert hidden(document, Wanted((), kind("Observation"))) == (2, 3)
    assert hidden(document, without(HIV, classes=kind("Condition"))) == (1, 3)


def test_what_tells_of_a_withheld_resource_is_withheld_too() -> None:
    document = bundle(
        resource("Composition", text={"div": "HIV"}),
        resource("Condition", HIV, id="c"),
        resource("Encounter", diagnosis=[{"condition": {"reference": "Condition/c"}}]),
        resource(
            "Encounter",
            diagnosis=[{"condition": {"reference": "http://a/fhir/Condition/c/_history/2"}}],
        ),
        resource("Encounter", diagnosis=[{"condition": {"reference": "Condition/d"}}]),
    )
    assert hidden(document, without(HIV)) == (1, 2, 3, 4)
    nameless = bundle(resource("Composition"), resource("Condition", HIV), resource("Patient"))
    assert hidden(nameless, without(HIV)) == (1, 2)


def test_that_a_person_is_withheld_is_no_secret() -> None:
    document = bundle(
        resource("Composition"),
        resource("Patient", id="p"),
        resource("Observation", subject={"reference": "Patient/p"}),
    )
    assert hidden(document, without(*kind("Patient"))) == (2,)


def test_labels_of_the_bundle_are_those_of_its_entries() -> None:
    labelled = bundle(
        resource("Observation"), meta={"security": [{"system": ACT_CODE, "code": "HIV"}]}
    )
    assert hidden(labelled, without(HIV)) == (0, 1)


def test_where_nothing_remains_the_structure_goes_too() -> None:
    assert hidden(
        bundle(resource("Condition"), resource("Condition")), without(*kind("Condition"))
    ) == (0, 1, 2)


def test_lines_are_judged_one_by_one() -> None:
    lines = b"\n".join(
        json.dumps(each).encode() for each in (resource("Condition"), resource("Patient"))
    )
    assert hidden(lines, without(*kind("Condition")), media=LINES) == (1,)


def test_a_single_resource_is_shown_or_not() -> None:
    one = resource("Observation", label("R"))
    assert hidden(one, without(label("R"))) == (0, 1)
    assert hidden(one, without(HIV)) == ()


def test_what_cannot_be_judged_is_withheld() -> None:
    for content, media in ((b"%PDF", PDF), (b"{}", FHIR), (b"[" * 5000, FHIR)):
        assert hidden(content, without(HIV), media=media) == (0, 1)
    twice = b'{"resourceType": "Observation", "meta": {"security": []}, "meta": {}}'
    assert hidden(twice, without(HIV)) == (0, 1)
    assert hidden(
        b'{"resourceType":"Bundle","entry":[{"request":{}},{"resource":{}}]}', without(HIV)
    ) == (0, 1, 2)


def test_what_the_custodian_knows_of_a_document_counts() -> None:
    letter = Code("http://loinc.org", "18842-5")
    assert hidden(b"%PDF", without(HIV), (letter,), PDF) == ()
    assert hidden(b"%PDF", without(letter), (letter,), PDF) == (0, 1)
    assert hidden(b"%PDF", only(letter), (letter,), PDF) == ()
    two = bundle(resource("Observation"), resource("Condition"))
    assert hidden(two, only(letter), (letter,)) == ()
    assert hidden(two, only(*kind("Observation")), kind("Observation")) == (2,)


# -- elements --------------------------------------------------------------------------------


def composition(*references: str) -> dict[str, Any]:
    sections = [
        {
            "title": f"section {number}",
            "text": {"status": "generated", "div": "all of it in prose"},
            "entry": [{"reference": reference, "display": "in short"}],
        }
        for number, reference in enumerate(references)
    ]
    return resource("Composition", section=sections, text={"status": "generated", "div": "prose"})


def test_a_derivative_keeps_the_teller_without_what_it_told() -> None:
    document = bundle(
        composition("Condition/c", "Observation/o"),
        resource("Condition", HIV, id="c"),
        resource("Observation", id="o", valueQuantity={"value": 1.5}),
        type="document",
        total=3,
        signature={"data": "x"},
    )
    found = derived(document, without(HIV))
    told, seen = (entry["resource"] for entry in found["entry"])
    assert [section["title"] for section in told["section"]] == ["section 1"]
    assert "text" not in told
    assert "text" not in told["section"][0]
    assert told["meta"]["security"] == found["meta"]["security"] == [REDACTED]
    assert seen == document["entry"][2]["resource"]
    assert {"total", "signature"}.isdisjoint(found)
    assert found["type"] == "document"


def test_a_document_without_its_composition_is_a_collection() -> None:
    document = bundle(
        composition("Observation/o"), resource("Observation", id="o"), type="document"
    )
    found = derived(document, only(*kind("Observation")))
    assert (found["type"], len(found["entry"])) == ("collection", 1)


def test_what_is_contained_hides_nothing_deeper() -> None:
    """FHIR forbids it (dom-2), and nobody checks that at the door."""
    deep = resource("Condition", id="c")
    specimen = resource("Specimen", id="s", contained=[deep])
    found = derived(resource("Observation", contained=[specimen]), without(*kind("Condition")))
    assert "contained" not in found
    assert found["meta"]["security"] == [REDACTED]
    found = derived(
        bundle(resource("Observation", contained=[specimen, resource("Specimen", id="t")])),
        only(*kind("Observation", "Specimen")),
    )
    assert [inner["id"] for inner in found["entry"][0]["resource"]["contained"]] == ["t"]


def test_what_is_contained_is_taken_out_with_what_refers_to_it() -> None:
    one = resource(
        "MedicationRequest",
        contained=[resource("Medication", id="m"), resource("Practitioner", id="p")],
        medicationReference={"reference": "#m", "display": "a drug"},
        requester={"reference": "#p"},
        text={"status": "generated", "div": "a drug"},
    )
    found = derived(one, without(*kind("Medication")))
    assert [inner["id"] for inner in found["contained"]] == ["p"]
    assert {"medicationReference", "text"}.isdisjoint(found)
    assert found["requester"] == {"reference": "#p"}
    assert found["meta"]["security"] == [REDACTED]


def test_what_need_not_change_stays_byte_for_byte() -> None:
    document = b'{ "resourceType":"Observation", "valueQuantity": {"value": 1.50} }'
    assert derive(document, without(HIV)) == document
    assert derive(document, Wanted(())) == document


def test_numbers_keep_their_letters() -> None:
    document = (
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","v":1.50}},'
        b'{"resource":{"resourceType":"Condition"}}]}'
    )
    found = derive(document, without(*kind("Condition")))
    assert found is not None
    assert b'"v":1.50' in found


def test_where_nothing_may_stay_there_is_no_derivative() -> None:
    assert derived(resource("Condition"), without(*kind("Condition"))) is None
    assert derived(bundle(resource("Condition")), without(*kind("Condition"))) is None


@pytest.mark.parametrize(
    "document",
    [
        b"%PDF", b"{}", b"[]", b'{"resourceType":"Bundle","entry":{}}', b'{"resourceType":"A","contained":{}}',
        b'{"resourceType":"Bundle","meta":0,"entry":[{"resource":{"resourceType":"A"}},0]}',
        b'{"resourceType":"Bundle","x":"\\ud800","entry":[{"resource":{"resourceType":"A"}},0]}',
    ],
)  # fmt: skip
def test_what_has_no_elements_is_refused(document: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        derive(document, without(HIV))
    assert caught.value.code == "BAD_DOCUMENT"


# -- real documents --------------------------------------------------------------------------


def real_documents() -> list[bytes]:
    files = sorted(data.path("fhir-ips").rglob("*.json"))
    found = [file.read_bytes() for file in files]
    return [each for each in found if json.loads(each).get("resourceType") == "Bundle"]


def secrets_of(document: bytes, type_: str) -> set[str]:
    """What only these resources and what tells of them say: names and ids."""
    found = set()
    for entry in json.loads(document)["entry"]:
        if entry["resource"]["resourceType"] == type_:
            found.add(entry["resource"]["id"])
            found |= {each for each in [entry["resource"].get("code", {}).get("text")] if each}
    return found


def test_nothing_of_a_denied_class_remains_in_real_documents() -> None:
    documents = real_documents()
    assert documents
    tried = 0
    for document in documents:
        for type_ in ("Condition", "AllergyIntolerance", "MedicationStatement"):
            if not (secrets := secrets_of(document, type_)):
                continue
            tried += 1
            wanted = without(*kind(type_))
            parts = split(document, FHIR)
            gone = withheld(parts, wanted)
            open_parts = b"".join(part for i, part in enumerate(parts) if i not in gone)
            shown = open_parts.decode(errors="replace")
            fine = (derive(document, wanted) or b"").decode()
            for secret in secrets:
                assert json.dumps(secret)[1:-1] not in shown
                assert json.dumps(secret, ensure_ascii=False)[1:-1] not in fine
            assert 0 < len(fine)
            assert len(gone) < len(parts)
    assert tried >= 3


def test_a_wanted_that_wants_all_says_so() -> None:
    assert Wanted(()).everything
    assert not without(HIV).everything
