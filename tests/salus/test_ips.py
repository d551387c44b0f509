"""The joined view of several custodians as one IPS document."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from node.fhir import check_fhir
from salus.errors import BadMessage
from salus.ips.document import summary
from salus.ips.joined import JoinedView, Source, references
from salus.ips.results import ResultCode, results
from tests.salus.data import DATA

MADE_AT = "2026-11-22T10:00:00Z"
A = Source("hosp-a", "0a" * 16, 1, "aa" * 32, 7)
B = Source("hosp-b", "0b" * 16, 2, "bb" * 32, 9)


def patient(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": number, "name": [{"family": "Ruiz"}], **more}


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [{"fullUrl": f"urn:x:{r['id']}", "resource": r} for r in resources]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def joined(*documents: tuple[bytes, Source]) -> dict[str, Any]:
    view = JoinedView()
    for document, source in documents:
        view.add(document, source)
    made: dict[str, Any] = json.loads(summary(view, MADE_AT).document)
    return made


def section(document: dict[str, Any], code: str) -> dict[str, Any] | None:
    composition = document["entry"][0]["resource"]
    for one in composition["section"]:
        if one["code"]["coding"][0]["code"] == code:
            found: dict[str, Any] = one
            return found
    return None


def entry(document: dict[str, Any], url: str) -> dict[str, Any]:
    (found,) = [one["resource"] for one in document["entry"] if one["fullUrl"] == url]
    resource: dict[str, Any] = found
    return resource


def observation(number: str, subject: str, code: str, at: str, value: float) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": number,
        "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": f"test {code}"},
        "subject": {"reference": f"urn:x:{subject}"},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value},
    }


def test_two_hospitals_numbers_of_one_patient_become_one_subject() -> None:
    document = joined(
        (bundle(patient("p1"), observation("o1", "p1", "1-1", "2020-01-01", 1)), A),
        (bundle(patient("77"), observation("o1", "77", "2-2", "2021-01-01", 2)), B),
    )
    patients = [e for e in document["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert len(patients) == 1
    vital = section(document, "8716-3")
    assert vital is not None
    subjects = {entry(document, e["reference"])["subject"]["reference"] for e in vital["entry"]}
    assert subjects == {patients[0]["fullUrl"]}
    assert len(vital["entry"]) == 2  # both are o1 at their hospitals, and not the same


def test_what_two_hospitals_hold_alike_stands_once_and_names_both_sources() -> None:
    same = bundle(patient("p1"), observation("o1", "p1", "1-1", "2020-01-01", 1))
    document = joined((same, A), (same, B))
    vital = section(document, "8716-3")
    assert vital is not None
    (place,) = vital["entry"]
    told = [
        e["resource"]["entity"][0]["what"]["identifier"]["value"]
        for e in document["entry"]
        if e["resource"]["resourceType"] == "Provenance"
        and {"reference": place["reference"]} in e["resource"]["target"]
    ]
    assert told == [f"{A.record_id}@1", f"{B.record_id}@2"]


def test_the_later_state_of_a_thing_stays() -> None:
    number = [{"system": "urn:sys", "value": "n1"}]
    early = {"resourceType": "Condition", "id": "c", "subject": {"reference": "urn:x:p1"}}
    old = early | {"identifier": number, "code": {"text": "suspected"}}
    new = early | {"identifier": number, "code": {"text": "confirmed"}}
    document = joined((bundle(patient("p1"), old), A), (bundle(patient("p1"), new), B))
    problems = section(document, "11450-4")
    assert problems is not None
    (place,) = problems["entry"]
    assert entry(document, place["reference"])["code"] == {"text": "confirmed"}


def test_a_summary_lists_the_newest_value_of_a_code() -> None:
    values = [observation(f"o{n}", "p1", "1-1", f"2020-01-0{n}", n) for n in (3, 9, 5)]
    document = joined((bundle(patient("p1"), *values), A))
    vital = section(document, "8716-3")
    assert vital is not None
    (place,) = vital["entry"]
    assert entry(document, place["reference"])["valueQuantity"] == {"value": 9}


def test_what_was_entered_in_error_is_left_out_and_required_sections_say_so() -> None:
    wrong = {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        "verificationStatus": {"coding": [{"code": "entered-in-error"}]},
        "patient": {"reference": "urn:x:p1"},
    }
    document = joined((bundle(patient("p1"), wrong), A))
    allergies = section(document, "48765-2")
    assert allergies is not None
    assert "entry" not in allergies
    assert allergies["emptyReason"]["coding"][0]["code"] == "unavailable"
    assert section(document, "8716-3") is None


def test_a_reference_to_what_stays_out_names_nothing() -> None:
    value = observation("o1", "p1", "1-1", "2020-01-01", 1)
    value["encounter"] = {"reference": "Encounter/secret-7"}
    document = joined((bundle(patient("p1"), value), A))
    assert "secret-7" not in json.dumps(document)


def test_numbers_keep_their_letters() -> None:
    raw = bundle(patient("p1"), observation("o1", "p1", "1-1", "2020-01-01", 1.5))
    raw = raw.replace(b'"value": 1.5', b'"value": 1.500')
    view = JoinedView()
    view.add(raw, A)
    assert b'"value":1.500' in summary(view, MADE_AT).document


def test_a_narrative_holds_no_markup_of_others() -> None:
    value = observation("o1", "p1", "1-1", "2020-01-01", 1)
    value["code"]["text"] = "<script>alert(1)</script>"
    document = joined((bundle(patient("p1"), value), A))
    vital = section(document, "8716-3")
    assert vital is not None
    assert "<script>" not in vital["text"]["div"]


def test_without_a_patient_there_is_no_summary() -> None:
    view = JoinedView()
    view.add(json.dumps({"resourceType": "Flag", "status": "active"}).encode(), A)
    with pytest.raises(BadMessage):
        summary(view, MADE_AT)


def test_only_fhir_is_joined() -> None:
    with pytest.raises(BadMessage, match="FHIR"):
        JoinedView().add(b"%PDF-1.7", A)


def _public() -> list[Path]:
    documents = sorted((DATA / "fhir-ips").glob("Bundle*.json"))
    return [*documents, *sorted((DATA / "synthea-bundles").glob("*.json.gz"))[:6]]


@pytest.mark.parametrize("path", _public(), ids=lambda path: path.name[:20])
def test_every_public_history_becomes_a_valid_document_that_leads_nowhere_outside(
    path: Path,
) -> None:
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    view = JoinedView()
    view.add(raw, A)
    assert view.add(raw, B) == 0
    made = summary(view, MADE_AT)
    assert check_fhir(made.document, "application/fhir+json") is not None
    document = json.loads(made.document)
    urls = {one["fullUrl"] for one in document["entry"]}
    assert len(urls) == made.entries == len(document["entry"])
    for one in document["entry"]:
        for reference in references(one["resource"]):
            target = reference["reference"]
            assert target in urls or target.startswith(("#", "http")), target
    assert {A, B} == set(made.sources)


def test_a_result_that_is_there_need_not_be_measured_again() -> None:
    view = JoinedView()
    values = [
        observation("old", "p1", "1-1", "2019-01-01", 1),
        observation("new", "p1", "1-1", "2020-05-01T10:00:00+02:00", 2),
        observation("draft", "p1", "1-1", "2020-06-01", 3) | {"status": "preliminary"},
        observation("wrong", "p1", "1-1", "2020-06-01", 4) | {"status": "entered-in-error"},
        observation("other", "p1", "2-2", "2020-06-01", 5),
    ]
    view.add(bundle(patient("p1"), *values), A)
    newest_first = [one.content["id"] for one in results(view, ResultCode.parse("1-1"), 0)]
    assert newest_first == ["new", "old"]
    since_2020 = 1_577_836_800_000
    (found,) = results(view, ResultCode.parse("1-1"), since_2020)
    assert (found.content["id"], found.sources) == ("new", (A,))
    assert results(view, ResultCode.parse("3-3"), 0) == []


@pytest.mark.parametrize(
    ("asked", "there"),
    [("http://loinc.org|1-1", True), ("1-1", True), ("urn:other|1-1", False), ("1-2", False)],
)
def test_a_code_is_of_a_system_if_one_is_named(asked: str, there: bool) -> None:
    view = JoinedView()
    one = observation("one", "p1", "1-1", "2020-01-01", 1)
    one["code"]["coding"][0]["system"] = "http://loinc.org"
    view.add(bundle(patient("p1"), one), A)
    assert bool(results(view, ResultCode.parse(asked), 0)) is there


@pytest.mark.parametrize("text", ["", "|", "http://loinc.org|", "|1-1", "x" * 300])
def test_what_is_no_code_is_not_searched_for(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        ResultCode.parse(text)
    assert caught.value.code == "BAD_ARGUMENT"


def test_a_part_of_a_panel_counts_as_a_result() -> None:
    view = JoinedView()
    panel = observation("panel", "p1", "85354-9", "2020-01-01", 1)
    panel["component"] = [{"code": {"coding": [{"code": "8480-6"}]}}]
    view.add(bundle(patient("p1"), panel), A)
    assert [one.content["id"] for one in results(view, ResultCode.parse("8480-6"), 0)] == ["panel"]
