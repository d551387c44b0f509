"""The records of one patient at two hospitals, as one summary and through the FHIR bridge (R14, X2)."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.fhir import check_fhir
from salus.codes import Exit
from tests.e2e.consortium import PATIENCE, document, error, salus
from tests.e2e.shell import Reader, following

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def bundle(value: str, code: str) -> dict[str, Any]:
    """A patient with the number that this hospital gave, and one finding."""
    patient = {"resourceType": "Patient", "id": f"at-{code}", "name": [{"family": "Ruiz"}]}
    finding = {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/at-{code}"},
        "effectiveDateTime": "2026-02-03",
        "valueString": value,
    }
    entries = [{"resource": one} for one in (patient, finding)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("fhir")
    home = root / "net"
    try:
        document("testnet", "up", "-n", 4, "--home", home)
        for org, value, code in (("hosp-a", "72", "8867-4"), ("hosp-b", "37.1", "8310-5")):
            document("patient", "register", "ada", "--at", org, "--home", home, *PATIENCE)
            file = root / f"{org}.json"
            file.write_text(json.dumps(bundle(value, code)))
            document(
                "record", "add", file, "--patient", "ada", "--at", org, "--home", home, *PATIENCE
            )
        document("staff", "add", "dr-cy", "--at", "hosp-c", "--home", home, *PATIENCE)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0


def test_two_hospitals_become_one_summary(net: Path, tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    made = document("fhir", "summary", "--patient", "ada", "--as", "ada", "-o", file, "--home", net,
                    *PATIENCE)  # fmt: skip
    assert {one["custodian"] for one in made["sources"]} == {"hosp-a", "hosp-b"}
    assert all(one["height"] > 0 for one in made["sources"])
    raw = file.read_bytes()
    assert check_fhir(raw, "application/fhir+json") is not None
    kinds = [one["resource"]["resourceType"] for one in json.loads(raw)["entry"]]
    assert kinds.count("Patient") == 1
    assert kinds.count("Observation") == kinds.count("Provenance") == 2
    again = error(
        73, "fhir", "summary", "--patient", "ada", "--as", "ada", "-o", file, "--home", net
    )
    assert again["code"] == "REFUSES_OVERWRITE"
    trail = document("audit", "show", "--patient", "ada", "--as", "ada", "--home", net)["trails"]
    assert all(one["complete"] and one["tickets"] >= 2 for one in trail)  # the list, the document


def test_who_may_read_nothing_gets_no_summary(net: Path, tmp_path: Path) -> None:
    refused = error(1, "fhir", "summary", "--patient", "ada", "--as", "dr-cy", "--purpose", "TREAT",
                    "-o", tmp_path / "none.json", "--home", net)  # fmt: skip
    assert refused["code"] == "READ_DENIED"
    assert not (tmp_path / "none.json").exists()


def test_a_program_that_speaks_fhir_reads_through_the_gates(net: Path, tmp_path: Path) -> None:
    document("consent", "grant", "--patient", "ada", "--at-org", "hosp-a", "--to", "hosp-d", "--scope",
             "results", "--until", "1d", "--home", net, *PATIENCE)  # fmt: skip
    token_file = tmp_path / "token"
    with following("fhir", "serve", "--patient", "ada", "--as", "ada", "--token-file", token_file,
                   "--home", net, "--json") as server:  # fmt: skip
        url = started(server)["url"]
        token = token_file.read_text().strip()
        everything = get(f"{url}/Patient/me/$everything", token)
        assert everything["total"] == 4
        hearts = get(f"{url}/Observation?code=8867-4", token)
        assert [one["resource"]["valueString"] for one in hearts["entry"]] == ["72"]
        (consent,) = [one["resource"] for one in get(f"{url}/Consent", token)["entry"]]
        assert consent["status"] == "active"
        events = get(f"{url}/AuditEvent", token)["entry"]
        assert events
        assert {one["resource"]["resourceType"] for one in events} == {"AuditEvent"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"{url}/Patient/me", "wrong")
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert isinstance(server.process, subprocess.Popen)


def test_what_was_examined_elsewhere_is_found_before_it_is_ordered(net: Path) -> None:
    """R12, B7: through the gates, with tickets; who may read nothing finds nothing."""
    ask = ("record", "find", "--patient", "ada", "--as", "dr-cy", "--home", net, *PATIENCE)
    code = ("--code", "http://loinc.org|8867-4")
    nothing = salus(*ask, *code, "--json")
    assert nothing.returncode == 1
    denied = json.loads(nothing.stdout)
    assert (denied["found"], denied["avoidable"], denied["reads"]) == ([], False, 0)
    assert {one["decision"] for one in denied["lists"]} == {"DENY"}
    given = document("consent", "grant", "--patient", "ada", "--at-org", "hosp-a", "--to", "hosp-c",
                     "--scope", "summary,results", "--until", "1d", "--home", net, *PATIENCE)  # fmt: skip
    done = document(*ask, *code, "--since", "2026-01-01")
    (found,) = done["found"]
    assert (found["custodian"], found["when"], found["status"]) == ("hosp-a", "2026-02-03", "final")
    assert (done["avoidable"], done["reads"]) == (True, 1)
    assert done["complete"] is False  # hosp-b let her see nothing
    for other in (("--code", "8867-4", "--since", "2026-03-01"), ("--code", "urn:x|8867-4")):
        none = salus(*ask, *other, "--json")
        assert (none.returncode, json.loads(none.stdout)["found"]) == (1, [])
    wrong = error(Exit.BAD_DATA, *ask, "--code", "|")
    assert wrong["code"] == "BAD_ARGUMENT"
    trail = document("audit", "show", "--patient", "ada", "--at-org", "hosp-a", "--as", "ada",
                     "--home", net)["trails"]  # fmt: skip
    reads = [one for one in trail[0]["entries"] if one["by"] == "hosp-c" and one["kind"] == "read"]
    assert len(reads) == 6  # three searches, of one list and one record each: the patient sees it
    document("consent", "revoke", given["consent_id"], "--as", "ada", "--home", net, *PATIENCE)


def started(server: Reader) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(server.line())
    return said


def get(url: str, token: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        raw = answer.read()
    assert check_fhir(raw, "application/fhir+json") is not None
    found: dict[str, Any] = json.loads(raw)
    return found
