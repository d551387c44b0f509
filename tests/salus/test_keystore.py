"""Keys at rest: no password, no key; never overwritten, never half written."""

import json
import os
from pathlib import Path

import pytest

from salus import keystore
from salus.keys import SigningKey, address, box_public_key, verify
from salus.keystore import Kdf, Keystore, KeystoreError

SEED = bytes(range(32))
FAST = Kdf(passes=1, memory_bytes=8192)
PASSWORD = "correct horse"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "keys" / "node.json"
    keystore.write(where, SEED, PASSWORD, kind=keystore.NODE, kdf=FAST)
    return where


def test_it_signs_once_unlocked_and_never_shows_the_seed(path: Path) -> None:
    signer = Keystore(path, PASSWORD)
    assert signer.public_key == SigningKey.from_seed(SEED).public_key
    assert verify(signer.public_key, b"payload", signer.sign(b"payload"))
    assert repr(signer) == f"Keystore({address(signer.public_key)})"
    assert Keystore.unlock(path, PASSWORD) == SigningKey.from_seed(SEED)


def test_the_file_is_for_its_owner_alone_and_holds_no_secret(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert SEED.hex() not in path.read_text()
    assert os.listdir(path.parent) == ["node.json"]


def test_a_wrong_password_says_so(path: Path) -> None:
    with pytest.raises(KeystoreError) as refused:
        Keystore(path, "wrong")
    assert refused.value.code == "WRONG_PASSWORD"
    assert "wrong password" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("name", ["kind", "address", "salt", "nonce", "ciphertext", "kdf"])
def test_no_field_can_be_changed_unnoticed(path: Path, name: str) -> None:
    document = json.loads(path.read_text())
    if name == "kdf":
        document["kdf"]["passes"] += 1
    elif name == "kind":
        document["kind"] = keystore.OPERATOR
    elif name == "address":
        document["address"] = address(SigningKey.from_seed(bytes(32)).public_key)
    else:
        changed = bytearray.fromhex(document[name])
        changed[0] ^= 1
        document[name] = changed.hex()
    path.write_text(json.dumps(document))
    with pytest.raises(KeystoreError):
        Keystore(path, PASSWORD)


def broken(kdf: dict[str, object], salt: str) -> bytes:
    document = {"version": 1, "kind": "node", "address": "x", "kdf": kdf, "salt": salt}
    return json.dumps({**document, "nonce": "00" * 24, "ciphertext": "00" * 48}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"[" * 20_000,
        b"\xff\xfe",
        broken({"name": "argon2id", "memory_bytes": 2**50}, ""),
        broken({"name": "scrypt"}, "00" * 16),
        broken({}, "zz"),
        broken({}, "00"),
        broken({}, "00" * 16).replace(b"00" * 48, b""),
        broken({}, "00" * 16).replace(b"00" * 48, b"00" * 5),
    ],
)
def test_a_broken_file_is_named_as_such(tmp_path: Path, text: bytes) -> None:
    """A file from elsewhere cannot make this program use memory at will either."""
    where = tmp_path / "node.json"
    where.write_bytes(text)
    where.chmod(0o600)
    with pytest.raises(KeystoreError) as refused:
        Keystore(where, PASSWORD)
    assert refused.value.code == "BAD_KEYSTORE"


def test_a_newer_version_is_refused_by_its_number(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(KeystoreError) as refused:
        Keystore(path, PASSWORD)
    assert refused.value.code == "UNSUPPORTED_VERSION"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError) as refused:
        Keystore(tmp_path / "none.json", PASSWORD)
    assert refused.value.code == "NOT_FOUND"


def test_a_key_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeystoreError) as refused:
        keystore.write(path, bytes(32), PASSWORD, kind=keystore.NODE, kdf=FAST)
    assert refused.value.code == "REFUSES_OVERWRITE"
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["node.json"]


def test_nor_where_the_file_system_has_no_hard_links(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(KeystoreError):
        keystore.write(path, bytes(32), PASSWORD, kind=keystore.NODE, kdf=FAST)
    other = path.with_name("other.json")
    keystore.write(other, SEED, PASSWORD, kind=keystore.NODE, kdf=FAST)
    assert Keystore(other, PASSWORD).public_key == Keystore(path, PASSWORD).public_key


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        keystore.write(tmp_path / "node.json", SEED, PASSWORD, kind=keystore.NODE, kdf=FAST)
    assert os.listdir(tmp_path) == []


def test_a_box_key_is_kept_the_same_way_under_its_public_key(tmp_path: Path) -> None:
    """X25519: it signs nothing, so it has no address."""
    where = tmp_path / "box.json"
    written = keystore.write(where, SEED, PASSWORD, kind=keystore.BOX, kdf=FAST)
    assert written.address == box_public_key(SEED).hex()
    assert keystore.unlock_seed(where, PASSWORD) == SEED
    assert keystore.read(where).kind == keystore.BOX


def test_by_default_a_guess_costs_64_mib(tmp_path: Path) -> None:
    where = tmp_path / "node.json"
    file = keystore.write(where, SEED, PASSWORD, kind=keystore.NODE)
    assert (file.kdf.passes, file.kdf.memory_bytes) == (2, 64 * 2**20)
    assert Keystore.unlock(where, PASSWORD).seed == SEED


def test_a_password_that_is_no_text_is_a_wrong_one(path: Path) -> None:
    """A terminal of another encoding hands over half letters."""
    with pytest.raises(KeystoreError) as refused:
        Keystore(path, "\ud800")
    assert refused.value.code == "WRONG_PASSWORD"


def test_a_key_that_others_can_read_opens_only_as_a_backup(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(KeystoreError) as refused:
        Keystore(path, PASSWORD)
    assert "chmod 600" in refused.value.hint
    assert keystore.unlock_seed(path, PASSWORD, anywhere=True) == SEED
