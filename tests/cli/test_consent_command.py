"""`salus consent check --fhir`: exit codes and the one JSON object, without a node."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.commands.consent_check import _WHY
from salus.consent.decision import Reason
from tests.cli.conftest import Result, Salus
from tests.salus import data
from tests.salus.consent.test_fhir import ORG, actor, consent

AT = "2026-11-22T12:00:00Z"
QUERY = {
    "category": [
        {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    ],
    "purposeOfUse": "TREAT",
    "actor": [{"system": "urn:test", "value": "clinic"}],
}
RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


class Desk:
    """Files of one question."""

    def __init__(self, folder: Path, salus: Salus) -> None:
        self.folder, self.salus = folder, salus

    def file(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def check(self, *consents: Any, query: Any = QUERY, at: str = AT, ref: Any = ORG) -> Result:
        options: list[object] = []
        for number, each in enumerate(consents):
            options += ["--fhir", self.file(f"consent-{number}.json", each)]
        options += ["--ref", self.file("ref.json", ref)]
        options += ["--query", self.file("query.json", query), "--at", at, "--json"]
        return self.salus("consent", "check", *options)


@pytest.fixture
def desk(tmp_path: Path, salus: Salus) -> Desk:
    return Desk(tmp_path, salus)


def test_a_permission_exits_0_and_names_what_to_redact(desk: Desk) -> None:
    label = {"type": "deny", "securityLabel": [RESTRICTED], "actor": [actor()]}
    result = desk.check(consent({"type": "permit", "provision": [label]}, id="c-1"))
    assert result.code == 0
    assert result.document == {
        "decision": "CONSENT_PERMIT",
        "obligations": [
            {
                "id": {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                    "code": "REDACT",
                },
                "parameters": {"codes": [RESTRICTED]},
            }
        ],
        "reason": "permitted_in_part",
        "consents": ["c-1"],
    }


def test_what_alone_may_stay_is_named_as_the_exception(desk: Desk) -> None:
    result = desk.check(consent({"type": "permit", "securityLabel": [RESTRICTED]}))
    (obligation,) = result.document["obligations"]
    assert obligation["parameters"] == {"exceptAnyOfCodes": [RESTRICTED]}


@pytest.mark.parametrize(
    ("provision", "decision"), [({"type": "deny"}, "CONSENT_DENY"), (None, "CONSENT_DENY")]
)
def test_a_denial_exits_1_with_the_answer_all_the_same(
    desk: Desk, provision: Any, decision: str
) -> None:
    result = desk.check(consent(provision))
    assert (result.code, result.document["decision"]) == (1, decision)
    assert result.document["obligations"] == []


def test_no_consent_exits_1_with_the_answer_all_the_same(desk: Desk) -> None:
    result = desk.check(consent({"type": "permit"}, status="inactive"))
    assert (result.code, result.document["decision"]) == (1, "NO_CONSENT")
    assert result.document["reason"] == "revoked"


def test_of_several_the_newest_decides(desk: Desk) -> None:
    newer = consent({"type": "deny"}, id="newer", dateTime="2026-05-05")
    result = desk.check(newer, consent({"type": "permit"}, id="older"))
    assert (result.code, result.document["consents"]) == (1, ["newer"])


def test_people_read_why_and_what_is_withheld(desk: Desk) -> None:
    desk.check(consent({"type": "permit", "securityLabel": [RESTRICTED]}, id="c-1"))
    files = [("--fhir", "consent-0.json"), ("--query", "query.json")]
    words = [word for option, name in files for word in (option, desk.folder / name)]
    result = desk.salus("consent", "check", *words, "--at", AT)
    assert result.out.splitlines() == [
        "CONSENT_PERMIT: it permits a part",
        f"  withhold what carries none of: R ({RESTRICTED['system']})",
        "  decided by: c-1",
    ]


def test_every_reason_has_words_for_people() -> None:
    assert list(_WHY) == [reason.value for reason in Reason]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"query": {}}, "BAD_QUERY"),
        ({"query": b"["}, "BAD_QUERY"),
        ({"ref": []}, "BAD_PARTY"),
        ({"ref": ORG | {"id": "2"}}, "UNRESOLVED_ACTOR"),
    ],
)
def test_bad_input_exits_65(desk: Desk, options: dict[str, Any], code: str) -> None:
    result = desk.check(consent({"type": "permit", "actor": [actor()]}), **options)
    assert (result.code, result.document["error"]["code"]) == (65, code)
    assert result.document["error"]["next"]


def test_a_consent_that_is_none_exits_65(desk: Desk) -> None:
    assert desk.check({}).document["error"]["code"] == "BAD_CONSENT"
    assert desk.check(consent(implicitRules="urn:x")).code == 65
    big = desk.check(b" " * (2**20 + 1))
    assert (big.code, big.document["error"]["code"]) == (65, "TOO_LARGE")


@pytest.mark.parametrize("at", ["now", "2026-11-22", "2026-11-22T12:00:00"])
def test_a_moment_without_time_or_zone_is_a_wrong_call(desk: Desk, at: str) -> None:
    assert desk.check(consent({"type": "permit"}), at=at).code == 2


def test_a_file_that_is_not_there_exits_65(desk: Desk, tmp_path: Path) -> None:
    words = ["--fhir", tmp_path / "none.json", "--query", desk.file("q.json", QUERY), "--at", AT]
    result = desk.salus("consent", "check", *words, "--json")
    assert (result.code, result.document["error"]["code"]) == (65, "FILE_NOT_FOUND")


def test_the_question_may_be_piped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = io.TextIOWrapper(io.BytesIO(json.dumps(QUERY).encode()))
    monkeypatch.setattr("sys.stdin", piped)
    file = desk.file("consent.json", consent({"type": "permit"}))
    words = ["--fhir", file, "--query", "-", "--at", AT, "--json"]
    assert desk.salus("consent", "check", *words).code == 0


def test_every_public_case_comes_out_of_the_command(desk: Desk) -> None:
    folder = data.path("fhir-consent-decisions")
    refs = [
        word
        for name in ("org-good-health.json", "practitioner-dr-bob.json")
        for word in ("--ref", folder / name)
    ]
    for case in data.load("fhir-consent-decisions/decisions.json"):
        query = desk.file("query.json", case["query"])
        words = ["--fhir", folder / "consents" / case["consent"], *refs, "--query", query]
        result = desk.salus("consent", "check", *words, "--at", "2024-01-01T00:00:00Z", "--json")
        assert result.document["decision"] == case["decision"]
        assert result.code == (0 if case["decision"] == "CONSENT_PERMIT" else 1)
        if case["obligations"] is not None:
            assert result.document["obligations"] == case["obligations"]
