"""`salus verify` without a proof worth the name; real proofs are checked in test_network.py."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Salus


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
