"""Who saw what, and erasing: real processes, keepers, and the commands as a user gives them
(decisions 0010 T-6, 0013 G-5, 0015)."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.fhir import check_fhir
from salus.codes import Exit
from tests.e2e.consortium import PATIENCE, document, error, salus
from tests.e2e.shell import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WAIT_MS = 3_600_000  # an erasure that one key asks for does not begin while these tests run


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("audit") / "net"
    try:
        document("testnet", "up", "-n", 4, "--set", f"erasure_wait_ms={WAIT_MS}", "--home", home)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0
    for name in ("hosp-a", "hosp-b", "hosp-c"):
        assert "Traceback" not in (home / "logs" / f"{name}.log").read_text()


class Case:
    """Ada's finding at hosp-a; her own view, a doctor at hosp-b who may read it, one at hosp-c who
    may not."""

    def __init__(self, net: Path, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.handle = said(net, "patient", "register", "ada", "--at", "hosp-a")["handle"]
        self.finding = folder / "finding.txt"
        self.finding.write_text("a finding\n")
        self.record = self.add()
        for name, org in (("doctor", "hosp-b"), ("surgeon", "hosp-c")):
            said(net, "staff", "add", name, "--at", org)
        said(net, "staff", "add", "auditor", "--at", "hosp-a", "--role", "administration")
        self.consent = said(net, "consent", "grant", "--patient", "ada", "--to", "hosp-b",
                            "--scope", "documents", "--until", "90d")["consent_id"]  # fmt: skip
        assert self.read("doctor", "TREAT", "--care", "=referral 7") == 0
        assert self.read("surgeon", "TREAT") == Exit.NEGATIVE
        assert self.read("ada", "PATRQT") == 0

    def add(self) -> str:
        added = said(self.net, "record", "add", self.finding, "--patient", "ada")
        return str(added["record_id"])

    def read(self, name: str, purpose: str, *more: object) -> int:
        done = salus("record", "get", self.record, "--as", name, "--purpose", purpose, "-o",
                     self.folder / f"{name}.{purpose}", "--home", self.net, "--json",
                     *PATIENCE, *more)  # fmt: skip
        return done.returncode

    def trail(self, *more: object, code: int = 0) -> Any:
        done = salus("audit", "show", "--patient", "ada", "--json", "--home", self.net,
                     *PATIENCE, *more)  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        (trail,) = json.loads(done.stdout)["trails"]
        return trail

    def confirmed(self) -> bool:
        """Both readers' nodes have sent their receipts."""
        receipts = [one["receipt"] for one in self.trail()["entries"]]
        return receipts.count("confirmed") == 2


@pytest.fixture(scope="module")
def case(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(net, tmp_path_factory.mktemp("case"))


def said(net: Path, *words: object) -> Any:
    return document(*words, "--home", net, *PATIENCE)


def test_a_patient_sees_who_saw_what_and_by_what_right(case: Case) -> None:
    until("the receipts are on the chain", case.confirmed)
    trail = case.trail()
    assert (trail["custodian"], trail["complete"], trail["clean"]) == ("hosp-a", True, True)
    own, denied, read = trail["entries"]
    assert [one["check"] for one in (own, denied, read)] == ["checked"] * 3
    assert (own["authority"], own["purpose"]) == ("OWN_REQUEST", "patient_request")
    assert (denied["kind"], denied["by"], denied["authority"]) == ("denied", "hosp-c", "NO_PERMIT")
    assert denied["receipt"] is None
    assert (read["kind"], read["by"], read["authority"]) == ("read", "hosp-b", "PERMIT")
    assert (read["permit"], read["care"]) == (case.consent, "=referral 7")
    assert read["records"] == [f"{case.record}@1"]
    staff = said(case.net, "staff", "list", "--at", "hosp-b")
    assert read["staff"] in json.dumps(staff)


def test_the_custodians_auditor_sees_it_and_a_stranger_does_not(case: Case) -> None:
    assert case.trail("--as", "auditor")["entries"] == case.trail()["entries"]
    by_handle = said(case.net, "audit", "show", "--patient", case.handle, "--at-org", "hosp-a",
                     "--as", "auditor")["trails"][0]  # fmt: skip
    assert by_handle["entries"] == case.trail()["entries"]
    for stranger in ("hosp-b", "doctor"):
        refused = error(Exit.NOT_AUTHORISED, "audit", "show", "--patient", "ada", "--as", stranger,
                        "--home", case.net)  # fmt: skip
        assert refused["code"] == "AUDIT_REFUSED"
    # Another node proves the same trail, and opens nothing of it.
    elsewhere = case.trail("--node", "hosp-d")
    assert (elsewhere["complete"], elsewhere["opened"]) == (True, False)
    assert {one["check"] for one in elsewhere["entries"]} == {"missing"}
    assert not any(one["records"] or one["care"] for one in elsewhere["entries"])
    wrong = salus("audit", "show", "--patient", "ada", "--genesis", "00" * 32, "--home", case.net)
    assert wrong.returncode not in (0, Exit.BUG)


def test_an_export_is_checked_without_a_node(case: Case, tmp_path: Path) -> None:
    genesis = document("genesis", "hash", "--home", case.net)["genesis_hash"]
    made = {}
    for kind in ("fhir", "csv", "jsonl"):
        file = made[kind] = tmp_path / f"trail.{kind}"
        told = said(case.net, "audit", "export", "--patient", "ada", "--as", "ada",
                    "--format", kind, "-o", file)  # fmt: skip
        assert (told["complete"], told["entries"]) == (True, 3)
        checked = document("audit", "verify", file, "--genesis", genesis)
        assert (checked["verified"], checked["proofs"], checked["signer"]) == (True, 3, "owner")
        proofs = sorted((tmp_path / f"trail.{kind}.proofs").glob("*.proof"))
        assert len(proofs) == 3
        assert document("verify", proofs[0], "--genesis", genesis)["operation"] == "access.ticket"
    lines = [json.loads(line) for line in made["jsonl"].read_text().splitlines()]
    assert [one["authority"] for one in lines] == ["OWN_REQUEST", "NO_PERMIT", "PERMIT"]
    rows = list(csv.DictReader(made["csv"].read_text().splitlines()))
    assert rows[2]["care"] == "'=referral 7"  # no spreadsheet runs it
    bundle = check_fhir(made["fhir"].read_bytes(), "application/fhir+json")
    assert bundle is not None
    again = error(Exit.REFUSES_OVERWRITE, "audit", "export", "--patient", "ada", "-o",
                  made["csv"], "--home", case.net)  # fmt: skip
    assert again["code"] == "REFUSES_OVERWRITE"
    # Whatever is changed is seen: the story, a proof, the manifest; and without an anchor, nothing.
    content = made["jsonl"].read_bytes()
    for path, change in (
        (made["jsonl"], lambda data: data.replace(b"NO_PERMIT", b"PERMIT")),
        (made["jsonl"], lambda data: b"".join(data.splitlines(keepends=True)[1:])),
        (
            next((tmp_path / "trail.jsonl.proofs").glob("*.state")),
            lambda data: data[:-1] + bytes((data[-1] ^ 1,)),
        ),
        (tmp_path / "trail.jsonl.manifest.json", lambda data: data.replace(b"hosp-a", b"hosp-b")),
    ):
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(change(whole))
        refused = salus("audit", "verify", made["jsonl"], "--genesis", genesis, "--json")
        assert refused.returncode == Exit.NEGATIVE, path
        assert json.loads(refused.stdout)["verified"] is False
        path.write_bytes(whole)
    assert made["jsonl"].read_bytes() == content
    assert salus("audit", "verify", made["jsonl"]).returncode == Exit.USAGE


def test_a_patient_has_a_record_erased_and_sees_who_answered(case: Case, tmp_path: Path) -> None:
    net, stays = case.net, case.add()
    ask = ("erasure", "request", "--patient", "ada", "--record", case.record)
    error(Exit.USAGE, *ask, "--home", net)  # nobody said yes
    # One key alone waits, long enough that whoever hears of it can stop it.
    first = said(net, *ask, "--yes")
    assert first["stage"] == "waiting"
    stop = ("erasure", "cancel", first["case_id"], "--at-org", "hosp-a", "--home", net)
    assert error(Exit.REJECTED, *stop, "--as", "hosp-c")["code"] == "NOT_AUTHORISED"
    document(*stop, "--as", "ada", *PATIENCE)
    shown = said(net, "erasure", "show", first["case_id"], "--at-org", "hosp-a")
    assert (shown["stage"], shown["unanswered"]) == ("cancelled", [])
    assert said(net, "record", "show", case.record, "--node", "hosp-a")["record_id"] == case.record
    # A second voice, and it begins at once.
    name = said(net, *ask, "--reason", "moved away", "--cosign", "hosp-c", "--yes")["case_id"]

    def custodian_answered() -> bool:
        shown = said(net, "erasure", "show", name, "--at-org", "hosp-a")
        return bool(shown["unanswered"] == ["hosp-b"])

    until("the custodian has erased", custodian_answered)
    shown, stopped = said(net, "erasure", "show", "--patient", "ada")["cases"]
    assert stopped["case_id"] == first["case_id"]
    assert [(one["member"], one["holding"], one["reply"]) for one in shown["holders"]] == [
        ("hosp-a", "custodian", "erased"),
        ("hosp-b", "reader", None),
    ]
    owed = said(net, "erasure", "list", "--open", "--node", "hosp-b")
    assert [(one["case_id"], one["custodian"]) for one in owed["cases"]] == [(name, "hosp-a")]
    # What the doctor's file is, hosp-b alone can delete, and say so; hosp-c never had anything.
    answer = ("erasure", "confirm", name, "--at-org", "hosp-a", "--home", net)
    stranger = error(Exit.NOT_AUTHORISED, *answer, "--node", "hosp-c", "--as", "hosp-c")
    assert stranger["code"] == "NOT_A_HOLDER"
    document(*answer, "--node", "hosp-b", "--as", "hosp-b", *PATIENCE)
    assert said(net, "erasure", "show", name, "--at-org", "hosp-a")["unanswered"] == []
    assert said(net, "erasure", "list", "--open", "--node", "hosp-b")["cases"] == []

    gone = error(Exit.NOT_FOUND, "record", "get", case.record, "--as", "doctor", "--purpose",
                 "TREAT", "-o", tmp_path / "gone", "--home", net, *PATIENCE)  # fmt: skip
    assert gone["code"] == "ERASED"
    shown = error(Exit.NOT_FOUND, "record", "show", case.record, "--node", "hosp-a", "--home", net)
    assert shown["code"] == "ERASED"
    assert said(net, "record", "show", stays, "--node", "hosp-a")["record_id"] == stays
    assert error(Exit.NOT_FOUND, *ask, "--yes", "--home", net)["code"] == "ERASED"
    # The trail goes on telling who read, and no longer in whose words and by which terms.
    trail = case.trail()
    kinds = [(one["kind"], one["check"], one["care"]) for one in trail["entries"]]
    assert kinds[:2] == [("erasure", "checked", None)] * 2
    assert kinds[2:] == [("read", "erased", None), ("denied", "erased", None),
                         ("read", "erased", None)]  # fmt: skip
    assert trail["clean"]
    log = (net / "logs" / "hosp-a.log").read_text()
    for secret in (case.record, case.handle, "moved away", "referral"):
        assert secret not in log


def test_a_custodial_key_alone_erases_nothing(net: Path, tmp_path: Path) -> None:
    said(net, "patient", "register", "kid", "--at", "hosp-b", "--custodial")
    finding = tmp_path / "finding.txt"
    finding.write_text("a finding\n")
    gone = said(net, "record", "add", finding, "--patient", "kid")["record_id"]
    ask = ("erasure", "request", "--patient", "kid", "--record", gone, "--yes")
    alone = error(Exit.NOT_AUTHORISED, *ask, "--home", net)
    assert alone["code"] == "NEEDS_COSIGNATURE"
    own = error(Exit.NOT_AUTHORISED, *ask, "--cosign", "hosp-b", "--home", net)
    assert own["code"] == "BAD_COSIGNATURE"
    case = said(net, *ask, "--cosign", "hosp-c")["case_id"]
    until(
        "the custodian has answered",
        lambda: said(net, "erasure", "show", case, "--at-org", "hosp-b")["unanswered"] == [],
    )
