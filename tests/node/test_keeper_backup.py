"""A lost keeper comes back from its copy, and never over another one (rule K-5)."""

from pathlib import Path

import pytest

from node.keeper_backup import COPY, backup, read, restore
from node.keeper_epochs import EpochEnd, EpochsFile
from node.keeper_process import EPOCHS, KEY, make, public_key
from salus import keystore
from salus.codec import encode
from salus.errors import SalusError
from salus.keystore import KeystoreError
from tests import factories
from tests.contracts.lab import h

OLD, COPIED, NEW = "a password", "a word of the safe", "another password"
EPOCHS_KNOWN = encode(EpochsFile(1, (EpochEnd(0, 9, 1_000, h("end")),)))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A keeper that has seen an epoch end, and a copy of it."""
    make(tmp_path / "keeper", factories.genesis(), "hosp-a", OLD)
    (tmp_path / "keeper" / EPOCHS).write_bytes(EPOCHS_KNOWN)
    backup(tmp_path / "keeper", tmp_path / "safe", OLD, COPIED)
    return tmp_path


def test_a_restored_keeper_is_the_one_that_was_copied(kept: Path) -> None:
    saved = restore(kept / "safe", kept / "again", COPIED, NEW)
    assert saved.genesis == factories.genesis()
    assert saved.public_key == public_key(kept / "again") == public_key(kept / "keeper")
    secret = keystore.unlock_seed(kept / "again" / KEY, NEW)
    assert secret == keystore.unlock_seed(kept / "keeper" / KEY, OLD)
    for name in ("genesis.json", "member", EPOCHS):
        assert (kept / "again" / name).read_bytes() == (kept / "keeper" / name).read_bytes()
    for folder in ("safe", "again"):
        assert all(path.stat().st_mode & 0o077 == 0 for path in (kept / folder).rglob("*"))


@pytest.mark.parametrize("word", [OLD, "", NEW])
def test_the_copy_opens_with_its_own_password_alone(kept: Path, word: str) -> None:
    with pytest.raises(KeystoreError) as wrong:
        restore(kept / "safe", kept / "again", word, NEW)
    assert wrong.value.code == "WRONG_PASSWORD"
    assert not (kept / "again" / KEY).exists()


def test_no_keeper_and_no_copy_is_written_over(kept: Path) -> None:
    make(kept / "other", factories.genesis(7), "hosp-b", OLD)
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    for act in (
        lambda: restore(kept / "safe", kept / "other", COPIED, NEW),
        lambda: backup(kept / "other", kept / "safe", OLD, NEW),
    ):
        with pytest.raises(KeystoreError) as refused:
            act()
        assert refused.value.code == "REFUSES_OVERWRITE"
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before


def test_a_restore_that_was_cut_off_is_done_again_and_a_newer_memory_stays(kept: Path) -> None:
    newer = encode(EpochsFile(1, (EpochEnd(3, 99, 9_000, h("later")),)))
    (kept / "again").mkdir()
    (kept / "again" / EPOCHS).write_bytes(newer)
    (kept / "again" / "member").write_text("hosp-x\n")
    restore(kept / "safe", kept / "again", COPIED, NEW)
    assert (kept / "again" / EPOCHS).read_bytes() == newer
    assert (kept / "again" / "member").read_text() == "hosp-a\n"


@pytest.mark.parametrize("name", ["genesis.json", "member", COPY, EPOCHS])
def test_a_copy_that_is_damaged_makes_no_keeper(kept: Path, name: str) -> None:
    (kept / "safe" / name).write_bytes(b"")
    with pytest.raises(SalusError):
        read(kept / "safe")
    with pytest.raises(SalusError):
        restore(kept / "safe", kept / "again", COPIED, NEW)
    assert not (kept / "again").exists()
