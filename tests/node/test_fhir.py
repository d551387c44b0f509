"""FHIR at the edge: good documents pass, faults name path and rule and never content (health.md §5)."""

import gzip
import json
from typing import Any

import pytest

from node.fhir import (
    DEPTH_MAX,
    DROPPED_TYPES,
    FAULTS_MAX,
    FHIR_BYTES_MAX,
    BadFhir,
    check_fhir,
    is_json,
)
from tests.salus import data

FHIR, JSON = "application/fhir+json", "application/json"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [{"family": "Meier", "given": ["Anna"]}],
    "birthDate": "1980-01-01",
}


def check(document: Any, media_type: str = FHIR) -> Any:
    return check_fhir(json.dumps(document).encode(), media_type)


def refused(raw: bytes | dict[str, Any] | str, media_type: str = FHIR) -> BadFhir:
    if isinstance(raw, dict):
        raw = json.dumps(raw).encode()
    with pytest.raises(BadFhir) as caught:
        check_fhir(raw if isinstance(raw, bytes) else raw.encode(), media_type)
    assert caught.value.code == "BAD_FHIR"
    assert 0 < len(caught.value.faults) <= FAULTS_MAX
    return caught.value


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in resources],
    }


def test_good_resources_and_bundles_pass() -> None:
    assert check(PATIENT).resource_type == "Patient"
    checked = check(bundle(PATIENT, PATIENT))
    assert (checked.resource_type, checked.notices) == ("Bundle", ())


def test_real_examples_pass() -> None:
    folder = data.path("fhir-r4-examples")
    for name in ("Patient-*", "Bundle-lipids*", "Observation-f00*", "Encounter-f00*"):
        for path in sorted(folder.glob(f"{name}.json"))[:3]:
            assert check_fhir(path.read_bytes(), FHIR) is not None
    path = min(data.path("synthea-bundles").glob("Liz_Conn*.gz"))
    assert check_fhir(gzip.decompress(path.read_bytes()), FHIR) is not None


def test_paths_and_rules_are_named() -> None:
    patient = {**PATIENT, "birthDate": "long ago", "contact": {}, "gender": ["x"]}
    places = {fault.path for fault in refused(bundle(PATIENT, patient)).faults}
    assert places == {
        "entry[1].resource.birthDate",
        "entry[1].resource.contact",
        "entry[1].resource.gender",
    }
    error = refused({"resourceType": "Observation", "code": {"text": "x"}})
    assert [(fault.path, fault.rule) for fault in error.faults] == [
        ("status", "required, and not there")
    ]


SECRET = "Zacharias"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"birthDate": SECRET},
        {"gender": [SECRET]},
        {"gender": {SECRET: SECRET}},
        {SECRET: 1},
        {"name": SECRET},
        {"name": [SECRET]},
        {"name": [{SECRET: SECRET}]},
        {"contact": [{"name": {"given": SECRET}}]},
        {"multipleBirthInteger": SECRET},
        {"extension": [{"url": SECRET, "valueString": 1, SECRET: 2}]},
        {"resourceType": SECRET},
    ],
)
def test_errors_never_show_what_stood_there(spoiled: dict[str, Any]) -> None:
    """Not even the names of fields that somebody made up."""
    for document in ({**PATIENT, **spoiled}, bundle({**PATIENT, **spoiled})):
        error = refused(document)
        assert SECRET not in str(error)
        assert SECRET not in repr(error.faults)
        assert SECRET not in repr(error.facts)


LIBERTIES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ['{"family": "x"}']}, "name[0]", "must be an object"),
    ({"maritalStatus": '{"text": "x"}'}, "maritalStatus", "must be an object"),
    ({"contact": [{"name": '{"family": "x"}'}]}, "contact[0].name", "must be an object"),
    ({"meta": '{"versionId": "1"}'}, "meta", "must be an object"),
    (
        {"extension": ['{"url": "http://x", "valueString": "a"}']},
        "extension[0]",
        "must be an object",
    ),
    ({"_birthDate": '{"id": "x"}'}, "_birthDate", "must be an object"),
    ({"active": "true"}, "active", "must be true or false"),
    ({"active": 1}, "active", "must be true or false"),
    ({"multipleBirthInteger": "3"}, "multipleBirthInteger", "must be a whole number"),
    ({"multipleBirthInteger": 3.0}, "multipleBirthInteger", "must be a whole number"),
]


@pytest.mark.parametrize(("spoiled", "path", "rule"), LIBERTIES)
def test_one_kind_of_json_does_not_pass_for_another(
    spoiled: dict[str, Any], path: str, rule: str
) -> None:
    """The models read a text of JSON as the object in it; the next reader does not."""
    for document, prefix in (
        ({**PATIENT, **spoiled}, ""),
        (bundle(PATIENT, {**PATIENT, **spoiled}), "entry[1].resource."),
    ):
        (fault,) = refused(document).faults
        assert (fault.path, fault.rule) == (prefix + path, rule)


def test_an_entry_is_an_object_and_no_text_of_one() -> None:
    entry = {"resourceType": "Bundle", "type": "collection", "entry": [json.dumps({})]}
    assert refused(entry).faults


def test_at_most_twenty_faults_are_listed_and_all_are_counted() -> None:
    wrong = {**PATIENT, "birthDate": "x"}
    error = refused(bundle(*[wrong] * 30))
    assert len(error.faults) == FAULTS_MAX
    assert error.facts["faults"] == 30
    assert "and 10 more" in error.message


def test_types_that_r4b_dropped_are_kept_unchecked_with_a_notice() -> None:
    dropped = {"resourceType": "MedicinalProduct", "anything": {"at": ["all"]}}
    assert "MedicinalProduct" in check(dropped).notices[0]
    checked = check(bundle(PATIENT, dropped))
    assert checked.notices[0].startswith("entry[1].resource: MedicinalProduct")
    assert refused(bundle(dropped, {**PATIENT, "birthDate": "x"})).faults[0].path == (
        "entry[1].resource.birthDate"
    )


def test_the_list_of_dropped_types_is_that_of_the_models() -> None:
    from fhir.resources.R4B import get_fhir_model_class

    for name in sorted(DROPPED_TYPES):
        with pytest.raises(ValueError, match="not a valid FHIR"):
            get_fhir_model_class(name)


@pytest.mark.parametrize("kind", ["Nonsense", "HumanName", "Resource", "DomainResource", "", "a.b"])
def test_what_is_no_resource_type_is_refused(kind: str) -> None:
    assert refused({"resourceType": kind}).faults[0].path == "resourceType"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"\xff{}", "UTF-8"),
        (b'{"resourceType": "Patient", "resourceType": "Patient"}', "twice"),
        (b'{"resourceType": "Patient", "name": [{"text": "a", "text": "b"}]}', "twice"),
        (b'{"resourceType": "Observation", "valueQuantity": {"value": NaN}}', "NaN"),
        (b'{"resourceType": "Observation", "valueQuantity": {"value": -Infinity}}', "NaN"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "characters"),
        (b'{"a": 1.' + b"9" * 100 + b"}", "characters"),
        (b'{"a": 1e999999}', "measure"),
        (b'{"a": 1e-999999}', "measure"),
        (b'{"a": 1e9999999999999999999999}', "measure"),
        (b"[" * 100_000 + b"]" * 100_000, "deep"),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "deep"),
        (b" " * (FHIR_BYTES_MAX + 1), "bytes"),
    ],
)
def test_json_that_is_read_differently_by_different_readers_is_refused(
    raw: bytes, words: str
) -> None:
    for media_type in (FHIR, JSON):
        assert words in refused(raw, media_type).message


def test_depth_up_to_the_limit_is_fine() -> None:
    raw = b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX
    assert check_fhir(raw, JSON) is None


def test_json_without_a_resource_type_is_opaque_unless_it_is_declared_fhir() -> None:
    for document in ({"a": 1}, [1], 5, None):
        assert check(document, JSON) is None
        with pytest.raises(BadFhir):
            check(document, FHIR)


def test_declared_json() -> None:
    for media_type in (JSON, FHIR, "Application/FHIR+JSON; charset=utf-8"):
        assert is_json(media_type)
    for media_type in ("text/plain", "application/jsonx", ""):
        assert not is_json(media_type)
