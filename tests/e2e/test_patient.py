"""A patient decides: four hospitals, real processes, the commands as a user gives them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salus.codes import Exit
from tests.e2e.shell import document, error, salus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE = ("--timeout", "60")
STAFF = "ab" * 32


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("patient") / "net"
    try:
        document("testnet", "up", "-n", 4, "--home", home)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0


def said(net: Path, *words: object) -> Any:
    return document(*words, "--home", net, *PATIENCE)


def checked(net: Path, name: str, org: str, actor: str, scope: str) -> tuple[str, str]:
    """Decision and reason; PERMIT and nothing else ends with 0."""
    done = salus("consent", "check", "--patient", name, "--at-org", org, "--actor", actor,
                 "--scope", scope, "--purpose", "TREAT", "--json", "--home", net)  # fmt: skip
    answer = json.loads(done.stdout)
    assert (done.returncode == 0) == (answer["decision"] == "CONSENT_PERMIT")
    assert done.returncode in (0, 1)
    return answer["decision"], answer["reason"]


def test_a_patient_grants_and_revokes_and_the_chain_knows_no_name(net: Path) -> None:
    first = said(net, "patient", "register", "ada", "--at", "hosp-a")
    second = said(net, "patient", "register", "ada", "--at", "hosp-b")
    assert first["handle"] != second["handle"]
    again = error(Exit.REJECTED, "patient", "register", "ada", "--at", "hosp-a", "--home", net)
    assert again["code"] == "DUPLICATE_HANDLE"

    granted = said(net, "consent", "grant", "--patient", "ada", "--at-org", "hosp-a", "--to",
                   "hosp-c", "--scope", "Observation,Condition", "--until", "90d")  # fmt: skip
    assert granted["classes"] == ["conditions", "results"]
    assert checked(net, "ada", "hosp-a", "hosp-c", "Observation")[0] == "CONSENT_PERMIT"
    assert checked(net, "ada", "hosp-a", f"hosp-c/{STAFF}", "Condition")[0] == "CONSENT_PERMIT"
    assert checked(net, "ada", "hosp-a", "hosp-d", "Observation")[0] == "NO_CONSENT"
    assert checked(net, "ada", "hosp-a", "hosp-c", "Immunization")[0] == "NO_CONSENT"
    assert checked(net, "ada", "hosp-b", "hosp-c", "Observation")[0] == "NO_CONSENT"

    consent = granted["consent_id"]
    said(net, "consent", "revoke", consent, "--as", "ada")
    assert checked(net, "ada", "hosp-a", "hosp-c", "Observation") == ("NO_CONSENT", "revoked")
    twice = error(Exit.REJECTED, "consent", "revoke", consent, "--as", "ada", "--home", net)
    assert twice["code"] == "ALREADY_ENDED"
    listed = said(net, "consent", "list", "--patient", "ada", "--at-org", "hosp-a")
    assert [(one["consent_id"], one["state"]) for one in listed["consents"]] == [
        (consent, "revoked")
    ]
    for name in ("hosp-a", "hosp-b", "hosp-c", "hosp-d"):
        log = (net / "logs" / f"{name}.log").read_text()
        assert "Traceback" not in log
        assert "ada" not in log
        assert first["handle"] not in log


def test_a_record_is_a_patients_in_the_vault_and_nobodys_on_the_chain(
    net: Path, tmp_path: Path
) -> None:
    dora = said(net, "patient", "register", "dora", "--at", "hosp-b")
    finding = tmp_path / "finding.txt"
    finding.write_text("a finding\n")
    added = said(net, "record", "add", finding, "--patient", "dora")
    shown = said(net, "record", "show", added["record_id"], "--node", "hosp-b")
    assert (shown["handle"], shown["classes"]) == (dora["handle"], ["documents"])
    by_handle = said(net, "record", "add", finding, "--patient", dora["handle"], "--at", "hosp-b")
    assert by_handle["record_id"] != added["record_id"]
    block = json.dumps(said(net, "block", added["height"], "--node", "hosp-a"))
    assert dora["handle"] not in block
    other = error(Exit.NOT_FOUND, "record", "add", finding, "--patient", dora["handle"],
                  "--node", "hosp-c", "--home", net)  # fmt: skip
    assert other["code"] == "UNKNOWN_RELATION"
    # The custodian has what the permit says before the permit is sent.
    granted = said(net, "consent", "grant", "--patient", "dora", "--to", "hosp-a", "--scope",
                   "documents", "--until", "9d")  # fmt: skip
    assert granted["height"] > 0
    openings = list((net / "nodes" / "hosp-b").rglob("vault/records/6f*.rec"))
    assert [one for one in openings if len(one.stem) == 66]


def test_a_hospitals_key_grants_to_others_and_no_more(net: Path) -> None:
    """I-6: the key lies in the hospital's home, and its acts are bounded by the chain."""
    said(net, "patient", "register", "kid", "--at", "hosp-c", "--custodial")
    assert list(net.rglob("custody/kid.json"))
    assert not list(net.rglob("patients/kid.json"))
    said(net, "consent", "grant", "--patient", "kid", "--to", "hosp-d", "--scope", "summary",
         "--until", "1d")  # fmt: skip
    own = error(Exit.NOT_AUTHORISED, "consent", "grant", "--patient", "kid", "--to", "hosp-c",
                "--scope", "summary", "--until", "1d", "--home", net)  # fmt: skip
    assert own["code"] == "NEEDS_COSIGNATURE"


def test_a_lost_key_is_recovered_in_time_and_the_old_one_may_object(net: Path) -> None:
    said(net, "patient", "register", "bea", "--at", "hosp-d")
    said(net, "patient", "rotate-key", "bea", "--as", "bea")
    waits = error(Exit.REJECTED, "patient", "rotate-key", "bea", "--home", net)
    assert waits["code"] == "ROTATION_WAITS"
    said(net, "patient", "recover", "propose", "bea", "--as", "hosp-d")
    refused = error(Exit.REJECTED, "patient", "recover", "approve", "bea", "--as", "hosp-d",
                    "--home", net)  # fmt: skip
    assert refused["code"] == "NOT_AUTHORISED"
    said(net, "patient", "recover", "approve", "bea", "--as", "hosp-a")
    early = error(Exit.REJECTED, "patient", "recover", "finish", "bea", "--as", "hosp-a",
                  "--home", net)  # fmt: skip
    assert early["code"] == "TOO_EARLY"
    said(net, "patient", "recover", "cancel", "bea", "--as", "bea")


def test_what_is_meant_wrongly_is_told_before_anything_is_sent(net: Path) -> None:
    said(net, "patient", "register", "cai", "--at", "hosp-a")
    grant = ("consent", "grant", "--patient", "cai", "--to", "hosp-b", "--home", net)
    for words, code in (
        (("--scope", "Everything!", "--until", "1d"), "BAD_SCOPE"),
        (("--purpose", "PLEASURE", "--until", "1d"), "BAD_PURPOSE"),
        (("--until", "yesterday"), "USAGE"),
        (("--until", "2001-01-01T00:00:00Z"), "BAD_PERIOD"),
    ):
        done = salus(*grant, *words, "--json")
        assert done.returncode not in (0, Exit.BUG)
        assert json.loads(done.stdout)["error"]["code"] == code
    nobody = salus("consent", "list", "--patient", "nobody", "--json", "--home", net)
    assert json.loads(nobody.stdout)["error"]["code"] == "FILE_NOT_FOUND"
