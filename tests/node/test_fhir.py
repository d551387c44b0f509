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
    RESOURCES_MAX,
    BadFhir,
    check_fhir,
)
from salus.codes import CODES
from tests.salus import data

FHIR, JSON = "application/fhir+json", "application/json"
NDJSON = "application/fhir+ndjson"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [{"family": "Meier", "given": ["Anna"]}],
    "birthDate": "1980-01-01",
}


def check(document: Any, media_type: str = FHIR) -> Any:
    return check_fhir(json.dumps(document).encode(), media_type)


def refused(
    raw: bytes | dict[str, Any] | str, media_type: str = FHIR, code: str = "BAD_FHIR"
) -> BadFhir:
    if isinstance(raw, dict):
        raw = json.dumps(raw).encode()
    with pytest.raises(BadFhir) as caught:
        check_fhir(raw if isinstance(raw, bytes) else raw.encode(), media_type)
    assert caught.value.code == code
    assert CODES[code].hint  # the next step
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
    ("raw", "code", "words"),
    [
        (b"", "BAD_JSON", "not JSON"),
        (b"{", "BAD_JSON", "not JSON"),
        (b"[1,]", "BAD_JSON", "not JSON"),
        (b"\xff{}", "JSON_ENCODING", "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "JSON_ENCODING", "UTF-8"),
        (b"\xef\xbb\xbf{}", "JSON_ENCODING", "byte order mark"),
        (b'{"a": "\\ud83d"}', "JSON_ENCODING", "surrogate"),
        (b'{"a": "\\ude00\\ud83d"}', "JSON_ENCODING", "surrogate"),
        (b'{"resourceType": "Patient", "resourceType": "Patient"}', "JSON_KEY_TWICE", "twice"),
        (
            b'{"resourceType": "Patient", "name": [{"text": "a", "text": "b"}]}',
            "JSON_KEY_TWICE",
            "twice",
        ),
        (b'{"valueQuantity": {"value": NaN}}', "JSON_NUMBER", "NaN"),
        (b'{"valueQuantity": {"value": -Infinity}}', "JSON_NUMBER", "NaN"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "JSON_NUMBER", "characters"),
        (b'{"a": 1.' + b"9" * 100 + b"}", "JSON_NUMBER", "characters"),
        (b'{"a": 1e999999}', "JSON_NUMBER", "exponent"),
        (b'{"a": 1E-999999}', "JSON_NUMBER", "exponent"),
        (b'{"a": 1e9999999999999999999999}', "JSON_NUMBER", "exponent"),
        (b"[" * 100_000 + b"]" * 100_000, "FHIR_TOO_DEEP", "deep"),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "FHIR_TOO_DEEP", "deep"),
        (b" " * (FHIR_BYTES_MAX + 1), "FHIR_TOO_LARGE", "bytes"),
    ],
)
def test_json_that_is_read_differently_by_different_readers_is_refused(
    raw: bytes, code: str, words: str
) -> None:
    for media_type in (FHIR, JSON):
        assert words in refused(raw, media_type, code).message


def test_escapes_that_are_whole_characters_or_none_pass() -> None:
    for text in (rb"\ud83d\ude00", rb"\\ud83d", rb"\u00e9\n\\"):
        raw = b'{"resourceType": "Patient", "name": [{"text": "' + text + b'"}]}'
        assert check_fhir(raw, FHIR) is not None


def test_the_number_of_resources_is_bounded() -> None:
    """Counted wherever they stand: entries, contained ones, lines."""
    inner = '{"resource":{"resourceType":"Basic"}}'
    raw = '{"resourceType":"Bundle","type":"collection","entry":[' + ",".join(
        [inner] * (RESOURCES_MAX)
    )
    assert "resources" in refused(raw + "]}", code="FHIR_TOO_MANY").message


def test_decimals_keep_their_precision_and_are_bounded_by_no_double() -> None:
    """Nothing is counted with: the text that came is the text that is kept."""
    for number in ("1.10", "0.30000000000000000000000000000000000001", "1E+2", "1e-7", "-0.0"):
        raw = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        raw += b'"valueQuantity":{"value":' + number.encode() + b"}}"
        assert check_fhir(raw, FHIR) is not None


def test_depth_up_to_the_limit_is_fine() -> None:
    raw = b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX
    assert check_fhir(raw, JSON) is None


def test_json_without_a_resource_type_is_opaque_unless_it_is_declared_fhir() -> None:
    for document in ({"a": 1}, [1], 5, None):
        assert check(document, JSON) is None
        with pytest.raises(BadFhir):
            check(document, FHIR)


BUNDLES = (
    "document",
    "message",
    "transaction",
    "transaction-response",
    "batch",
    "batch-response",
    "history",
    "searchset",
    "collection",
)


@pytest.mark.parametrize("kind", BUNDLES)
def test_bundles_of_every_type_are_checked_inside(kind: str) -> None:
    request = {"request": {"method": "POST", "url": "Patient"}}
    response = {"response": {"status": "201", "outcome": {"resourceType": "OperationOutcome"}}}
    whole = {**bundle(PATIENT), "type": kind}
    whole["entry"] += [{"resource": PATIENT, **request}, {**response, "search": {"mode": "match"}}]
    error = refused(whole)  # the outcome says nothing
    assert [fault.path for fault in error.faults] == ["entry[2].response.outcome.issue"]
    issue = {"severity": "bad", "code": "not-found"}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    whole["entry"][2]["response"]["outcome"] = outcome
    assert refused(whole).faults[0].path == "entry[2].response.outcome.issue[0].severity"
    issue["severity"] = "error"
    checked = check(whole)
    assert (checked.resource_type, checked.resources) == ("Bundle", 4)
    whole["entry"][1]["resource"] = bundle({**PATIENT, "active": 1})
    assert refused(whole).faults[0].path == "entry[1].resource.entry[0].resource.active"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("Observation", "amended", "partial"),
        ("DiagnosticReport", "partial", "done"),
        ("Encounter", "onleave", "completed"),
        ("Task", "on-hold", "active"),
    ],
)
def test_lists_of_codes_that_the_library_has_in_part_are_whole(
    kind: str, good: str, bad: str
) -> None:
    coding = {"code": {"text": "x"}} if kind in ("Observation", "DiagnosticReport") else {}
    more = {"Encounter": {"class": {"code": "AMB"}}, "Task": {"intent": "order"}}.get(kind, {})
    resource = {"resourceType": kind, **coding, **more}
    assert check({**resource, "status": good}).resource_type == kind
    assert refused({**resource, "status": bad}).faults[0].path == "status"


def test_a_bundle_of_no_type_of_r4_and_one_without_entries() -> None:
    assert refused({**bundle(PATIENT), "type": "pile"}).faults[0].path == "type"
    assert check({"resourceType": "Bundle", "type": "searchset", "total": 0}).resources == 1


def test_what_is_not_declared_json_is_not_read() -> None:
    for media_type in ("text/plain", "application/jsonx", ""):
        assert check_fhir(b"\xff", media_type) is None
    assert check(PATIENT, "Application/FHIR+JSON; charset=utf-8") is not None


def test_fhir_in_xml_is_refused_with_the_way_out() -> None:
    error = refused(b"<Patient/>", "application/fhir+xml", "FHIR_XML")
    assert "JSON" in CODES[error.code].hint


def lines(*resources: Any, end: bytes = b"\n") -> bytes:
    return b"".join(json.dumps(resource).encode() + end for resource in resources)


def test_ndjson_is_a_resource_in_each_line() -> None:
    checked = check_fhir(lines(PATIENT, bundle(PATIENT), PATIENT), NDJSON)
    assert checked is not None
    assert (checked.resource_type, checked.resources) == ("Patient", 4)
    for raw in (
        lines(PATIENT, end=b"\r\n"),
        lines(PATIENT, PATIENT).rstrip(),
        b"\n" + lines(PATIENT),
    ):
        assert check_fhir(raw, NDJSON) is not None
    dropped = {"resourceType": "MedicinalProduct"}
    checked = check_fhir(lines(PATIENT, dropped), NDJSON)
    assert checked is not None
    assert (checked.resources, checked.schemaless) == (2, 1)
    assert checked.notices[0].startswith("line 2: MedicinalProduct")


def test_faults_of_ndjson_name_the_line() -> None:
    wrong = {**PATIENT, "birthDate": "x"}
    assert refused(lines(PATIENT, wrong), NDJSON).faults[0].path == "line 2.birthDate"
    assert refused(lines(PATIENT) + b"{\n", NDJSON, "BAD_JSON").faults[0].path == "line 2"
    assert refused(lines(PATIENT, 5), NDJSON).faults[0].path == "line 2"
    assert refused(b"\n \n", NDJSON).faults
    # A resource that is written over several lines is no NDJSON.
    assert refused(json.dumps(PATIENT, indent=1), NDJSON, "BAD_JSON").faults[0].path == "line 1"


@pytest.mark.parametrize(
    ("spoiled", "path"),
    [
        ({"gender": None}, "gender"),
        ({"name": []}, "name"),
        ({"name": [None]}, "name[0]"),
        ({"maritalStatus": {}}, "maritalStatus"),
        ({"gender": ""}, "gender"),
        ({"id": "x" * 65}, "id"),
        ({"birthDate": "1981-02-29"}, "birthDate"),
        ({"implicitRules": "http://a b"}, "implicitRules"),
        ({"name": [{"given": [None]}]}, "name[0].given[0]"),
        ({"name": [{"resourceType": "HumanName"}]}, "name[0].(unknown)"),
        ({"gender__ext": {"id": "x"}}, "(unknown)"),
        ({"resource_type": "Patient"}, "(unknown)"),
        ({"fhir_comments": ["x"]}, "(unknown)"),
        ({"gender": "divers"}, "gender"),
        ({"link": [{"other": {"reference": "x"}, "type": "likes"}]}, "link[0].type"),
        ({"photo": [{"data": "not base 64!"}]}, "photo[0].data"),
        ({"deceasedBoolean": True, "deceasedDateTime": "2020"}, "deceasedDateTime"),
        ({"contained": [{"resourceType": "Patient", "x": 1}]}, "contained[0].(unknown)"),
        ({"contained": [{}]}, "contained[0].resourceType"),
    ],
)
def test_what_the_model_library_lets_pass_is_refused_all_the_same(
    spoiled: dict[str, Any], path: str
) -> None:
    """R4's own rules (json.html): nothing is null or empty, names are those of R4."""
    (fault,) = refused({**PATIENT, **spoiled}).faults
    assert fault.path == path


@pytest.mark.parametrize(
    "more",
    [
        {"name": [{"given": [None, "B"], "_given": [{"extension": [{"url": "x"}]}, None]}]},
        {"_birthDate": {"extension": [{"url": "x", "valueDateTime": "1980-01-01T10:00:00Z"}]}},
        {"extension": [{"url": "x", "valueMeta": {"tag": [{"code": "y"}]}}]},
        {"extension": [{"url": "x", "valueInstant": "2016-12-31T23:59:60Z"}]},
        {"contact": [{"name": {"text": "Ümit 李"}}]},
    ],
)
def test_what_r4_allows_and_readers_forget(more: dict[str, Any]) -> None:
    assert check({**PATIENT, **more}).resource_type == "Patient"


def test_an_extension_may_stand_for_a_required_value() -> None:
    absent = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}
    observation = {"resourceType": "Observation", "code": {"text": "x"}}
    assert check({**observation, "_status": absent}).resource_type == "Observation"
    assert refused({**observation, "_status": {"id": "x"}}).faults[0].path == "status"


def test_types_that_r4b_made_anew_are_checked_as_r4() -> None:
    evidence = {
        "resourceType": "Evidence",
        "status": "draft",
        "exposureBackground": {"reference": "EvidenceVariable/example"},
    }
    assert check(evidence).notices == ()
    assert refused({**evidence, "topic": {}}).faults[0].path == "topic"
    assert refused({**evidence, "outcome": [{"reference": 1}]}).faults[0].path == (
        "outcome[0].reference"
    )


def test_types_that_r4b_dropped_are_found_wherever_they_stand() -> None:
    dropped = {"resourceType": "SubstanceProtein", "x": 1}
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": dropped}]}
    checked = check(bundle({**PATIENT, "contained": [dropped]}, parameters, bundle(dropped)))
    assert (checked.schemaless, checked.resources) == (3, 7)
    assert checked.notices[1].startswith("entry[1].resource.parameter[0].resource: Substance")
    many = check(bundle(*[dropped] * 30))
    assert (many.schemaless, len(many.notices)) == (30, 20)
