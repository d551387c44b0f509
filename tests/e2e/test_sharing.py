"""A doctor of one hospital reads at another: real processes, keepers, and the commands as typed."""

import json
import os
import random
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cli.home import TestnetNode, read_testnet
from salus.codes import Exit
from salus.consent.terms import Code
from tests.e2e.consortium import DATA, PATIENCE, document, error, salus
from tests.e2e.shell import COMMAND_S, command, environment, until
from tests.salus.consent.test_fhir import REASON, TYPES, actor, consent, party

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 2**20
SIZE_BYTES = 100_000_000
# What a transfer of any size may add to a node's peak: a few chunks under way on two lines, each in
# some copies (sealed, framed, encrypted), and what the allocator keeps.
PEAK_BYTES_MAX = 64 * MIB
UNDER_WAY_BYTES = 16 * MIB  # of a transfer that is in the middle
SLOW_MS = 200  # a frame of the custodian's: from the first chunks to the last ones takes seconds
ALL_CLASSES = "summary,conditions,medications,results,documents,other"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("sharing") / "net"
    try:
        document("testnet", "up", "-n", 4, "--home", home)
        document("staff", "add", "doctor", "--at", "hosp-b", "--home", home, *PATIENCE)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0
    for name in ("hosp-a", "hosp-b"):
        assert "Traceback" not in (home / "logs" / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def study(net: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A large record of eve at hosp-a: its id, and the hash of the file."""
    said(net, "patient", "register", "eve", "--at", "hosp-a")
    content = random.Random(1).randbytes(SIZE_BYTES)
    file = tmp_path_factory.mktemp("study") / "study.bin"
    file.write_bytes(content)
    added = said(net, "record", "add", file, "--patient", "eve",
                 "--media-type", "application/octet-stream")  # fmt: skip
    return added["record_id"], sha256(content).hexdigest()


def said(net: Path, *words: object) -> Any:
    return document(*words, "--home", net, *PATIENCE)


def grant(net: Path, patient: str, *scopes: str) -> Any:
    return said(net, "consent", "grant", "--patient", patient, "--to", "hosp-b",
                "--scope", ",".join(scopes), "--until", "90d")  # fmt: skip


def reading(record: str, output: Path, *more: object) -> tuple[object, ...]:
    return ("record", "get", record, "--as", "doctor", "--purpose", "TREAT", "-o", output, *more)


def read(net: Path, record: str, output: Path, *more: object) -> Any:
    """What the doctor's command says; PERMIT and nothing else ends with 0."""
    done = salus(*reading(record, output, *more), "--json", "--home", net, *PATIENCE)
    answer = json.loads(done.stdout)
    assert answer.get("decision") in ("PERMIT", "DENY"), answer
    assert done.returncode == (0 if answer["decision"] == "PERMIT" else Exit.NEGATIVE)
    return answer


def node(net: Path, name: str) -> TestnetNode:
    return read_testnet(net).node(name)


def status(net: Path, name: str) -> Any:
    return document("status", "--home", net, "--node", name)


def released_bytes(net: Path, name: str) -> int:
    """Sealed bytes that have left the custodian's gate."""
    with urllib.request.urlopen(f"{node(net, name).api}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    (line,) = (one for one in lines if one.startswith("salus_gate_released_bytes_total "))
    return int(float(line.split()[1]))


def at_rest(net: Path, name: str) -> int:
    """The same, when nothing is on its way any more: nobody asks."""
    seen = [released_bytes(net, name)]

    def same() -> bool:
        seen.append(released_bytes(net, name))
        return seen[-1] == seen[-2]

    until("nothing more leaves", same)
    return seen[-1]


def settled(net: Path) -> None:
    """The chain shows the receipts of all reads: no block of theirs comes between two that are counted."""

    def none_missing() -> bool:
        return bool(
            said(net, "api", "GET", "/v1/access/receipts", "--node", "hosp-b")["items"] == []
        )

    until("the receipts are on the chain", none_missing)


def types(file: Path) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in json.loads(file.read_bytes())["entry"]]


# -- asking ---------------------------------------------------------------------------------------


def test_a_permit_for_some_classes_opens_that_part_of_a_mixed_document(
    net: Path, tmp_path: Path
) -> None:
    """R2, R4: the very command of the manual, on a document that holds a whole visit."""
    said(net, "patient", "register", "ivo", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "ivo")["record_id"]
    grant(net, "ivo", "Observation", "MedicationRequest")
    answer = read(net, record, tmp_path / "part.json")
    assert (answer["decision"], answer["redacted"]) == ("PERMIT", True)
    seen = set(types(tmp_path / "part.json"))
    assert seen == {"Observation", "MedicationRequest"}
    text = (tmp_path / "part.json").read_text()
    for secret in ("Hypertensive", "Penicillin", "penicillin", "Lindqvist"):
        assert secret not in text


def test_a_doctor_reads_elsewhere_as_the_patient_allows_and_no_longer(
    net: Path, tmp_path: Path
) -> None:
    genesis = document("genesis", "hash", "--home", net)["genesis_hash"]
    said(net, "patient", "register", "ada", "--at", "hosp-a")
    visit = DATA / "visit-1.json"
    record = said(net, "record", "add", visit, "--patient", "ada")["record_id"]

    denied = read(net, record, tmp_path / "denied")
    assert (denied["reason"], denied["path"]) == ("NO_PERMIT", None)
    assert denied["ticket_tx"]
    assert not (tmp_path / "denied").exists()

    # All classes, but of two types nothing: a part of the bundle is withheld, the rest is proved.
    some = ("Patient", "Practitioner", "Encounter", "Condition", "Observation",
            "DiagnosticReport", "MedicationRequest")  # fmt: skip
    settled(net)
    granted = grant(net, "ada", *some)
    proof = tmp_path / "visit.proof"
    answer = read(net, record, tmp_path / "visit", "--care", "referral 7", "--proof", proof)
    assert (answer["reason"], answer["redacted"], answer["receipt"]) == ("PERMIT", True, True)
    assert answer["ticket_height"] == granted["height"] + 1
    shown = [kind for kind in types(visit) if kind in some]
    assert types(tmp_path / "visit") == shown != types(visit)
    verified = document("verify", proof, "--genesis", genesis)
    assert verified["verified"] is True

    settled(net)
    revoked = said(net, "consent", "revoke", granted["consent_id"], "--as", "ada")
    after = read(net, record, tmp_path / "after")
    assert (after["decision"], after["reason"]) == ("DENY", "ENDED")
    assert after["ticket_height"] - revoked["height"] <= 1

    own = said(net, "record", "get", record, "--as", "ada", "--purpose", "PATRQT",
               "-o", tmp_path / "own")  # fmt: skip
    assert (own["reason"], own["redacted"]) == ("OWN_REQUEST", False)
    assert (tmp_path / "own").read_bytes() == visit.read_bytes()


def test_a_fhir_consent_is_imported_and_decides_what_is_read(net: Path, tmp_path: Path) -> None:
    """X2, R2: its exceptions are withheld, its newer version takes its place, and one command ends it."""
    said(net, "patient", "register", "kai", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "kai")["record_id"]
    file, clinic = tmp_path / "consent.json", tmp_path / "clinic.json"
    clinic.write_text(json.dumps(party("Organization", Code("urn:test", "clinic"), "54")))
    hidden = {"type": "deny", "actor": [actor("Organization/54")],
              "class": [{"system": TYPES, "code": "Condition"}]}  # fmt: skip
    file.write_text(json.dumps(consent({"type": "permit", "provision": [hidden]}, id="kai-1")))
    words = ("consent", "import", file, "--ref", clinic, "--patient", "kai")

    unknown = error(Exit.BAD_DATA, *words, "--home", net)
    assert unknown["code"] == "UNMAPPED_ACTOR"
    words = (*words, "--map", "Organization/54=hosp-b")
    nobody = error(
        Exit.BAD_DATA, *words, "--map", f"Practitioner/9=hosp-b/{'ab' * 32}", "--home", net
    )
    assert nobody["code"] == "UNKNOWN_STAFF"
    planned = said(net, *words, "--dry-run")
    assert planned["permits"]
    assert said(net, "consent", "list", "--patient", "kai")["consents"] == []
    imported = said(net, *words)
    assert len(imported["permits"]) == len(planned["permits"])
    answer = read(net, record, tmp_path / "one")
    assert (answer["reason"], answer["redacted"]) == ("PERMIT", True)
    assert "Condition" not in types(tmp_path / "one")
    assert "Observation" in types(tmp_path / "one")

    # The same Consent, now without a word for anybody's treatment.
    file.write_text(json.dumps(consent({"type": "permit", "purpose": [
        {"system": REASON, "code": "HRESCH"}]}, id="kai-1")))  # fmt: skip
    newer = said(net, *words)
    assert sorted(newer["revoked"]) == sorted(one["consent_id"] for one in imported["permits"])
    assert read(net, record, tmp_path / "two")["reason"] == "ENDED"

    file.write_text(json.dumps(consent({"type": "permit"}, id="kai-1")))
    said(net, *words)
    assert read(net, record, tmp_path / "three")["decision"] == "PERMIT"
    settled(net)
    revoked = said(net, "consent", "revoke", "kai-1", "--as", "kai")
    after = read(net, record, tmp_path / "four")
    assert (after["decision"], after["reason"]) == ("DENY", "ENDED")
    assert after["ticket_height"] - revoked["height"] <= 1
    rows = said(net, "consent", "list", "--patient", "kai")["consents"]
    assert rows
    assert all(row["state"] != "active" for row in rows)
    # One that is not active grants nothing, and nothing is sent.
    file.write_text(json.dumps(consent({"type": "permit"}, id="kai-1", status="inactive")))
    ended = said(net, *words)
    assert (ended["permits"], ended["in_force"], ended["tx_ids"]) == ([], False, [])


def test_a_permit_for_one_place_opens_from_there_alone(net: Path, tmp_path: Path) -> None:
    """R2 «where»: the patient names a ward; the reader's node says from which one it reads."""
    ward, other = "urn:example:wards|3-north", "urn:example:wards|4-south"
    document("testnet", "kill", "hosp-b", "--home", net)
    settings = node(net, "hosp-b").node_home.path / "node.toml"
    lines = settings.read_text()
    assert "# sites = []" in lines
    settings.write_text(lines.replace("# sites = []", f'sites = ["{ward}", "{other}"]'))
    document("testnet", "start", "hosp-b", "--home", net)
    said(net, "patient", "register", "lea", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "lea")["record_id"]
    said(net, "consent", "grant", "--patient", "lea", "--to", "hosp-b", "--scope", ALL_CLASSES,
         "--until", "9d", "--site", ward)  # fmt: skip
    check = ("consent", "check", "--patient", "lea", "--actor", "hosp-b", "--scope", "Observation",
             "--json", "--home", net)  # fmt: skip
    assert salus(*check, "--site", ward).returncode == 0
    for elsewhere in (("--site", other), ()):
        assert salus(*check, *elsewhere).returncode == Exit.NEGATIVE

    for number, elsewhere in enumerate((("--site", other), ())):
        denied = read(net, record, tmp_path / f"denied-{number}", *elsewhere)
        assert (denied["decision"], denied["reason"]) == ("DENY", "TERMS")
    made_up = error(Exit.NOT_AUTHORISED, *reading(record, tmp_path / "no", "--site", "urn:x|y"),
                    "--home", net)  # fmt: skip
    assert made_up["code"] == "UNKNOWN_SITE"
    assert read(net, record, tmp_path / "there", "--site", ward)["reason"] == "PERMIT"
    assert (tmp_path / "there").read_bytes() == (DATA / "visit-1.json").read_bytes()
    (trail,) = said(net, "audit", "show", "--patient", "lea", "--as", "lea")["trails"]
    assert len(trail["entries"]) == 3
    assert {one["check"] for one in trail["entries"]} == {"checked"}


def test_one_doctor_is_named_and_reads_the_newest_version(net: Path, tmp_path: Path) -> None:
    """R5, R13: the colleague gets nothing; what was corrected is what the next read shows."""
    said(net, "patient", "register", "gus", "--at", "hosp-a")
    said(net, "staff", "add", "colleague", "--at", "hosp-b")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "gus")["record_id"]
    said(net, "consent", "grant", "--patient", "gus", "--to", "doctor", "--scope", ALL_CLASSES,
         "--until", "9d")  # fmt: skip
    words = (
        "consent",
        "check",
        "--patient",
        "gus",
        "--scope",
        "Observation",
        "--json",
        "--home",
        net,
    )
    assert salus(*words, "--actor", "doctor").returncode == 0
    assert salus(*words, "--actor", "hosp-b/colleague").returncode == Exit.NEGATIVE
    nobody = error(Exit.NOT_FOUND, *words[:-3], "--actor", "no-one", "--home", net)
    assert nobody["code"] == "UNKNOWN_GRANTEE"

    assert read(net, record, tmp_path / "one")["decision"] == "PERMIT"
    assert (tmp_path / "one").read_bytes() == (DATA / "visit-1.json").read_bytes()
    other = salus("record", "get", record, "--as", "colleague", "--purpose", "TREAT", "-o",
                  tmp_path / "other", "--json", "--home", net, *PATIENCE)  # fmt: skip
    assert (other.returncode, json.loads(other.stdout)["decision"]) == (Exit.NEGATIVE, "DENY")
    assert not (tmp_path / "other").exists()

    said(net, "record", "amend", record, DATA / "visit-2.json", "--node", "hosp-a")
    assert read(net, record, tmp_path / "two")["decision"] == "PERMIT"
    assert (tmp_path / "two").read_bytes() == (DATA / "visit-2.json").read_bytes()


def test_a_permit_tells_the_doctors_node_whom_to_ask(net: Path) -> None:
    """The patient says under a seal that both relations are one person's; a list is a read."""
    here = said(net, "patient", "register", "dan", "--at", "hosp-b")["handle"]
    said(net, "patient", "register", "dan", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "dan",
                  "--at", "hosp-a")["record_id"]  # fmt: skip
    words = ("record", "list", "--patient", here, "--as", "doctor")
    assert said(net, *words)["records"] == []
    classes = ("summary", "conditions", "medications", "results", "documents", "Practitioner")
    said(net, "consent", "grant", "--patient", "dan", "--at-org", "hosp-a", "--to", "hosp-b",
         "--scope", ",".join(classes), "--until", "9d")  # fmt: skip

    listing: Any = None

    def known() -> bool:
        nonlocal listing
        listing = said(net, *words)
        return len(listing["lists"]) == 2

    until("hosp-b has read the permit", known)
    own, elsewhere = listing["lists"]
    assert (own["custodian"], own["reason"], own["records"]) == ("hosp-b", "OWN_CARE", [])
    assert (elsewhere["custodian"], elsewhere["decision"]) == ("hosp-a", "PERMIT")
    # Of the class «other» one kind alone is permitted: of no record can that be told unopened.
    assert (elsewhere["complete"], elsewhere["records"]) == (False, [])
    assert elsewhere["left_out"] == ["FINER_TERMS"]
    some = said(net, *words, "--scope", "documents,results")
    assert some["lists"][1]["decision"] == "PERMIT"

    mine = said(net, "record", "list", "--patient", "dan", "--as", "dan")
    assert [one["record_id"] for one in mine["records"]] == [record]
    assert {one["reason"] for one in mine["lists"]} == {"OWN_REQUEST"}
    blocks = json.dumps([said(net, "block", height, "--node", "hosp-c")
                         for height in range(1, status(net, "hosp-c")["height"] + 1)])  # fmt: skip
    assert record not in blocks


def test_own_staff_needs_a_ticket_and_no_permit_and_what_was_erased_is_told(
    net: Path, tmp_path: Path
) -> None:
    said(net, "patient", "register", "fay", "--at", "hosp-a")
    said(net, "staff", "add", "nurse", "--at", "hosp-a", "--role", "nurse")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "fay")["record_id"]
    words = ("record", "get", record, "--as", "nurse", "--purpose", "TREAT")
    own = said(net, *words, "-o", tmp_path / "visit")
    assert (own["reason"], own["redacted"], own["receipt"]) == ("OWN_CARE", False, True)
    assert (tmp_path / "visit").read_bytes() == (DATA / "visit-1.json").read_bytes()

    said(net, "erasure", "request", "--patient", "fay", "--record", record, "--yes")

    def erased() -> bool:
        (tmp_path / "again").unlink(missing_ok=True)
        done = salus(*words, "-o", tmp_path / "again", "--json", "--home", net, *PATIENCE)
        return done.returncode == Exit.NOT_FOUND

    until("hosp-a has erased it", erased)
    for reader in (words, reading(record, tmp_path / "again")[:-2]):
        gone = error(Exit.NOT_FOUND, *reader, "-o", tmp_path / "again", "--home", net, *PATIENCE)
        assert gone["code"] == "ERASED"


def test_the_readers_node_sends_the_receipt_and_then_misses_none(net: Path, tmp_path: Path) -> None:
    said(net, "patient", "register", "bea", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-2.json", "--patient", "bea")["record_id"]
    own = said(net, "record", "get", record, "--as", "bea", "--purpose", "PATRQT",
               "-o", tmp_path / "own", "--node", "hosp-b")  # fmt: skip
    assert own["receipt"] is True

    settled(net)


def test_who_may_not_ask_is_told_so(net: Path, tmp_path: Path) -> None:
    said(net, "patient", "register", "cai", "--at", "hosp-a")
    record = said(net, "record", "add", DATA / "visit-1.json", "--patient", "cai")["record_id"]
    output = tmp_path / "none"
    words = ("record", "get", record, "-o", output, "--home", net, *PATIENCE)
    wrong = error(Exit.NOT_AUTHORISED, *words, "--as", "hosp-b", "--purpose", "TREAT")
    assert wrong["code"] == "UNKNOWN_READER"
    vault = error(Exit.NOT_AUTHORISED, *words, "--node", "hosp-a")
    assert vault["code"] == "GATE_ONLY"
    nobody = ("record", "get", "ab" * 16, "-o", output, "--home", net, *PATIENCE)
    unknown = error(Exit.NOT_FOUND, *nobody, "--as", "doctor", "--purpose", "TREAT")
    assert unknown["code"] == "UNKNOWN_RECORD"
    said(net, "staff", "add", "gone", "--at", "hosp-b")
    said(net, "staff", "revoke", "gone", "--at", "hosp-b")
    left = error(Exit.NOT_AUTHORISED, *words, "--as", "gone", "--purpose", "TREAT")
    assert left["code"] == "UNKNOWN_READER"
    assert not output.exists()


# -- a hundred megabytes -------------------------------------------------------------------------


@contextmanager
def under_way(net: Path, record: str, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The doctor's command, stopped in the middle of the transfer: its process stands still."""
    words = command(*reading(record, output), "--json", "--home", net, *PATIENCE)
    document("testnet", "delay", SLOW_MS, "hosp-a", "--home", net)
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    )
    part = output.with_name(output.name + ".part")
    try:
        until("some of it has come", lambda: _size(part) >= UNDER_WAY_BYTES)
        os.kill(process.pid, signal.SIGSTOP)
        document("testnet", "heal", "--home", net)
        assert UNDER_WAY_BYTES <= _size(part) < SIZE_BYTES - UNDER_WAY_BYTES
        yield process
    finally:
        process.kill()
        process.wait(COMMAND_S)
        assert process.stdout is not None
        process.stdout.close()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def test_a_revocation_stops_a_transfer_that_is_under_way(
    net: Path, study: tuple[str, str], tmp_path: Path
) -> None:
    record, _ = study
    granted, output = grant(net, "eve", "documents"), tmp_path / "study"
    settled(net)
    with under_way(net, record, output) as process:
        revoked = said(net, "consent", "revoke", granted["consent_id"], "--as", "eve")
        assert status(net, "hosp-a")["height"] >= revoked["height"]
        before = at_rest(net, "hosp-a")
        os.kill(process.pid, signal.SIGCONT)
        told, _ = process.communicate(timeout=COMMAND_S)
    assert process.returncode == Exit.NOT_AUTHORISED
    assert json.loads(told)["error"]["code"] == "ACCESS_ENDED"
    assert status(net, "hosp-a")["height"] - revoked["height"] <= 1
    assert released_bytes(net, "hosp-a") == before
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_goes_on_after_the_readers_node_was_killed(
    net: Path, study: tuple[str, str], tmp_path: Path
) -> None:
    record, digest = study
    grant(net, "eve", "documents")
    output, before = tmp_path / "study", released_bytes(net, "hosp-a")
    with under_way(net, record, output):
        document("testnet", "kill", "hosp-b", "--home", net)
    document("testnet", "start", "hosp-b", "--home", net)
    kept = _size(tmp_path / "study.part")
    assert read(net, record, output)["receipt"] is True
    assert sha256(output.read_bytes()).hexdigest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    # What had come did not come again; what was on the way when it broke off did.
    sent = released_bytes(net, "hosp-a") - before
    assert sent < SIZE_BYTES + 10 * MIB < SIZE_BYTES + kept


def test_no_node_holds_a_document(
    net: Path,
    study: tuple[str, str],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Peak memory of both nodes while a hundred megabytes go through them."""
    record, digest = study
    grant(net, "eve", "documents")
    pids = {name: node(net, name).pid for name in ("hosp-a", "hosp-b")}
    before = {}
    for name, pid in pids.items():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        before[name] = _memory(pid, "VmRSS")
    read(net, record, tmp_path / "study")
    assert sha256((tmp_path / "study").read_bytes()).hexdigest() == digest
    grown = {name: _memory(pid, "VmHWM") - before[name] for name, pid in pids.items()}
    for name, count in grown.items():
        record_property(f"{name} peak growth in MiB", count // MIB)
    assert max(grown.values()) < PEAK_BYTES_MAX


def _memory(pid: int, what: str) -> int:
    """Bytes of a process, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (one for one in lines if one.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024
