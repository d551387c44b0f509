"""`salus verify`: what it trusts, what it says, and which document it speaks of."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from salus.document import redact
from salus.proof import write_proof
from tests.cli.conftest import Salus
from tests.salus.test_verifier import CASE, HASH, OPENING, PLAIN, RECORD

PIN = f"3:{CASE.chain.headers[3].hash().hex()}"
WRONG_PIN = "3:" + "00" * 32


@pytest.fixture
def junk(tmp_path: Path) -> Path:
    path = tmp_path / "x.proof"
    path.write_bytes(b"SALUSPROOF1\n" + bytes(100))
    return path


def test_without_a_trust_anchor_nothing_is_verified(junk: Path, salus: Salus) -> None:
    """health.md §4.13: exit 2, never VERIFIED."""
    result = salus("verify", junk)
    assert result.code == 2
    assert "VERIFIED" not in result.out
    assert "error[NO_ANCHOR]" in result.err


@pytest.mark.parametrize("anchor", ["", "00", "zz" * 32, "00" * 33])
def test_an_anchor_that_is_no_hash_is_a_wrong_call(junk: Path, salus: Salus, anchor: str) -> None:
    assert salus("verify", junk, "--genesis", anchor).code == 2


def test_a_file_that_proves_nothing_is_answered_with_no(junk: Path, salus: Salus) -> None:
    result = salus("verify", junk, "--genesis", "00" * 32, "--json")
    assert result.code == 1
    assert result.document["verified"] is False
    assert result.document["checks"][-1]["ok"] is False


def test_a_trust_file_without_a_hash_is_a_wrong_call(
    junk: Path, tmp_path: Path, salus: Salus
) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps({"genesis": 3}))
    assert salus("verify", junk, "--trust", trust).code == 2
    trust.write_text(json.dumps({"genesis": "00" * 32}))
    assert salus("verify", junk, "--trust", trust).code == 1


@pytest.mark.parametrize("pin", ["x", "3", "3:zz", ":00"])
def test_a_checkpoint_has_a_height_and_a_hash(junk: Path, salus: Salus, pin: str) -> None:
    assert salus("verify", junk, "--genesis", "00" * 32, "--checkpoint", pin).code == 2


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    path = tmp_path / "real.proof"
    path.write_bytes(write_proof(RECORD))
    return path


def test_a_pin_in_the_trust_file_counts_whatever_else_is_named(
    proof: Path, tmp_path: Path, salus: Salus
) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps({"genesis": HASH.hex(), "checkpoint": WRONG_PIN}))
    assert salus("verify", proof, "--trust", trust).code == 1
    assert salus("verify", proof, "--trust", trust, "--genesis", HASH.hex()).code == 1
    trust.write_text(json.dumps({"genesis": HASH.hex(), "checkpoint": PIN}))
    both = salus("verify", proof, "--trust", trust, "--genesis", HASH.hex(), "--checkpoint", PIN)
    assert both.code == 0


def test_two_sources_that_disagree_verify_nothing(
    proof: Path, tmp_path: Path, salus: Salus
) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps({"genesis": "00" * 32}))
    assert salus("verify", proof, "--trust", trust, "--genesis", HASH.hex()).code == 2
    trust.write_text(json.dumps({"genesis": HASH.hex(), "checkpoint": WRONG_PIN}))
    assert salus("verify", proof, "--trust", trust, "--checkpoint", PIN).code == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"genesis": HASH.hex(), "checkpoints": PIN}),
        json.dumps({"genesis": HASH.hex(), "checkpoint": {"height": 3}}),
        json.dumps({"genesis": HASH.hex(), "checkpoint": None}),
        json.dumps({"genesis": HASH.hex(), "checkpoint": "3"}),
        json.dumps({"checkpoint": PIN}),
        f'{{"genesis": "{HASH.hex()}", "checkpoint": "{WRONG_PIN}", "checkpoint": "{PIN}"}}',
        "[]",
        "\xff",
    ],
)
def test_a_trust_file_that_says_something_unknown_is_a_wrong_call(
    proof: Path, tmp_path: Path, salus: Salus, text: str
) -> None:
    """A misspelt pin would leave the reader with less than he believes to have."""
    trust = tmp_path / "trust.json"
    trust.write_text(text)
    result = salus("verify", proof, "--trust", trust)
    assert result.code == 2
    assert "VERIFIED" not in result.out


def test_what_the_claim_rests_on_is_said_once(proof: Path, salus: Salus) -> None:
    plain = salus("verify", proof, "--genesis", HASH.hex())
    assert plain.out.count("was stolen") == 1
    pinned = salus("verify", proof, "--genesis", HASH.hex(), "--checkpoint", PIN)
    assert "stolen" not in pinned.out


def test_verified_names_the_document_that_was_anchored(proof: Path, salus: Salus) -> None:
    digest = hashlib.sha256(b"a finding").hexdigest()
    result = salus("verify", proof, "--genesis", HASH.hex())
    assert f"the document: text/plain, 9 bytes, SHA-256 {digest}" in result.out
    answer = salus("verify", proof, "--genesis", HASH.hex(), "--json").document
    assert answer["document"] == {"media_type": "text/plain", "bytes": 9, "sha256": digest}


def test_another_document_beside_a_good_proof_is_not_verified(
    proof: Path, tmp_path: Path, salus: Salus
) -> None:
    file = tmp_path / "finding.txt"
    file.write_bytes(b"a finding")
    assert salus("verify", proof, "--genesis", HASH.hex(), "--document", file).code == 0
    file.write_bytes(b"a funding")
    result = salus("verify", proof, "--genesis", HASH.hex(), "--document", file)
    assert result.code == 1
    assert "NOT VERIFIED: same document" in result.out


@pytest.mark.parametrize("withheld", [None, [1], [0, 1]])
def test_a_document_that_is_not_shown_can_neither_be_compared_nor_extracted(
    tmp_path: Path, salus: Salus, withheld: list[int] | None
) -> None:
    bundle = PLAIN
    if withheld is not None:
        assert RECORD.record is not None
        shown = msgspec.structs.replace(RECORD.record, opening=redact(OPENING, withheld))
        bundle = msgspec.structs.replace(RECORD, record=shown)
    path, file = tmp_path / "part.proof", tmp_path / "finding.txt"
    path.write_bytes(write_proof(bundle))
    file.write_bytes(b"a finding")
    assert salus("verify", path, "--genesis", HASH.hex(), "--document", file).code == 1
    new = tmp_path / "new.txt"
    assert salus("verify", path, "--genesis", HASH.hex(), "--extract", new).code == 2
    assert not new.exists()


def test_the_verified_document_is_written_for_its_reader_only(
    proof: Path, tmp_path: Path, salus: Salus
) -> None:
    new = tmp_path / "finding.txt"
    assert salus("verify", proof, "--genesis", HASH.hex(), "--extract", new).code == 0
    assert (new.read_bytes(), new.stat().st_mode & 0o777) == (b"a finding", 0o600)
    again = salus("verify", proof, "--genesis", HASH.hex(), "--extract", new)
    assert again.code == 73
    assert "VERIFIED offline" not in again.out


def test_showing_a_proof_writes_no_letter_that_steers_the_terminal(
    tmp_path: Path, salus: Salus
) -> None:
    """«proof show» believes nothing, so nothing in the file may look like a verdict."""
    part = RECORD.operation
    receipt = msgspec.structs.replace(part.receipt, code="\x1b[2K\x1b[1AVERIFIED offline")
    forged = msgspec.structs.replace(part, receipt=receipt)
    path = tmp_path / "evil.proof"
    path.write_bytes(write_proof(msgspec.structs.replace(RECORD, operation=forged)))
    shown = salus("proof", "show", path)
    assert shown.code == 0
    assert "\x1b" not in shown.out
