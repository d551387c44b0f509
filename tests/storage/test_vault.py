"""The vault: documents come back whole and authentic or not at all; erased ones never."""

import threading
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import sealing
from storage.disk import RealDisk
from storage.errors import (
    DocumentMissing,
    StorageError,
    StoreUnavailable,
    StoreVersion,
    VaultDamaged,
)
from storage.vault import Vault
from tests.storage.memory_disk import MemoryDisk, PowerCut

DIRECTORY = "/home/data/vault"
LOCK = b"l" * 32
OTHER = b"another document"


class Numbers:
    """Not random at all, but never the same twice."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size)


def open_vault(disk: MemoryDisk, random: Numbers | None = None) -> Vault:
    return Vault.open(DIRECTORY, LOCK, random=random or Numbers(), disk=disk)


def read(vault: Vault, document: bytes) -> bytes:
    return b"".join(vault.get(document))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16 bytes, so that a short document has many."""
    for module in ("storage.sealing", "storage.vault"):
        monkeypatch.setattr(f"{module}.CHUNK_BYTES", 16, raising=False)
        monkeypatch.setattr(f"{module}.SEALED_CHUNK_BYTES", 32, raising=False)


# --- documents


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=50), max_size=6))
def test_a_document_comes_back_in_whatever_pieces_it_came(pieces: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.sealing.CHUNK_BYTES", 16)
        patch.setattr("storage.vault.SEALED_CHUNK_BYTES", 32)
        disk = MemoryDisk()
        entry = open_vault(disk).put(pieces)
        assert entry.size == len(b"".join(pieces))
        assert read(open_vault(disk), entry.document) == b"".join(pieces)


def test_a_large_document_streams_with_two_chunks_in_memory(tmp_path: Path) -> None:
    vault = Vault.open(f"{tmp_path}/vault", LOCK)
    piece = bytes(range(256)) * 1024  # 256 KiB
    entry = vault.put(piece for _ in range(30))
    sizes = [len(chunk) for chunk in vault.get(entry.document)]
    assert sizes == [2**20] * 7 + [2**19]
    assert entry.size == 30 * len(piece)
    vault.verify(entry.document)
    for file in (tmp_path / "vault").rglob("*"):
        assert file.is_dir() or file.stat().st_mode & 0o077 == 0


def test_the_same_document_twice_has_two_names_and_two_keys() -> None:
    """The name is the hash of the ciphertext, so it tells nobody which documents are equal."""
    vault = open_vault(MemoryDisk())
    first, second = vault.put([OTHER]), vault.put([OTHER])
    assert first.document != second.document
    assert sorted(vault.documents()) == sorted([first.document, second.document])
    assert first.document in vault


def test_nothing_of_a_document_lies_on_disk_in_clear() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    vault.put([OTHER])
    vault.put_record(b"id", OTHER)
    for directory in disk.directories.values():
        assert all(OTHER not in inode.content for inode in directory.names.values())


def test_an_unknown_document_is_missing_at_once() -> None:
    with pytest.raises(DocumentMissing) as missing:
        open_vault(MemoryDisk()).get(bytes(32))
    assert missing.value.code == "NOT_FOUND"


@pytest.mark.usefixtures("small_chunks")
def test_a_changed_byte_anywhere_is_found_and_nothing_false_is_given() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    plain = bytes(range(60))
    document = vault.put([plain]).document
    changed = 0
    for kind in ("documents", "keys"):
        directory = disk.directories[f"{DIRECTORY}/{kind}"]
        (inode,) = directory.names.values()
        for at in range(len(inode.content)):
            inode.content[at] ^= 1
            given = b""
            with pytest.raises((VaultDamaged, StoreVersion)):  # noqa: PT012
                for chunk in vault.get(document):
                    given += chunk
            assert plain.startswith(given)
            with pytest.raises((VaultDamaged, StoreVersion)):
                vault.verify(document)
            inode.content[at] ^= 1
            changed += 1
    assert changed > 200
    assert read(vault, document) == plain


@pytest.mark.usefixtures("small_chunks")
def test_chunks_cannot_be_cut_off_added_swapped_or_repeated() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    document = vault.put([bytes(range(64))]).document
    (inode,) = disk.directories[f"{DIRECTORY}/documents"].names.values()
    header, body = inode.content[: sealing.DOCUMENT_HEADER_BYTES], inode.content[28:]
    chunks = [bytes(body[at : at + 32]) for at in range(0, len(body), 32)]
    assert len(chunks) == 4
    for order in ([0, 1, 2], [0, 1, 2, 3, 3], [1, 0, 2, 3], [0, 0, 1, 2, 3], [3], [], [0, 1, 3]):
        inode.content[:] = header + b"".join(chunks[index] for index in order)
        with pytest.raises(VaultDamaged):
            read(vault, document)


def test_a_key_file_serves_no_other_document() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    first, second = vault.put([b"one"]).document, vault.put([b"two"]).document
    names = disk.directories[f"{DIRECTORY}/keys"].names
    names[f"{first.hex()}.key"] = names[f"{second.hex()}.key"]
    with pytest.raises(VaultDamaged):
        read(vault, first)


# --- records


def test_a_record_is_replaced_as_a_whole() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    assert vault.record(b"id") is None
    vault.put_record(b"id", b"old")
    vault.put_record(b"id", b"new")
    vault.put_record(b"other", b"")
    again = open_vault(disk)
    assert again.record(b"id") == b"new"
    assert again.record(b"other") == b""
    assert list(again.records()) == [b"id", b"other"]


def test_a_changed_byte_of_a_record_is_found() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    vault.put_record(b"id", b"content")
    (inode,) = disk.directories[f"{DIRECTORY}/records"].names.values()
    for at in range(len(inode.content)):
        inode.content[at] ^= 1
        with pytest.raises((VaultDamaged, StoreVersion)):
            vault.record(b"id")
        inode.content[at] ^= 1


# --- opening


def test_the_wrong_lock_opens_nothing() -> None:
    disk = MemoryDisk()
    open_vault(disk).put([OTHER])
    with pytest.raises(VaultDamaged) as refused:
        Vault.open(DIRECTORY, b"m" * 32, disk=disk)
    assert "keystore" in refused.value.hint


def test_a_vault_without_its_epoch_key_is_not_taken_for_a_new_one() -> None:
    """Backups leave the epoch keys out: restored alone, the rest must say what it lacks."""
    disk = MemoryDisk()
    open_vault(disk).put([OTHER])
    disk.remove(f"{DIRECTORY}/epochs/00000001")
    with pytest.raises(VaultDamaged, match="no epoch key"):
        open_vault(disk)


def test_a_newer_format_is_refused() -> None:
    disk = MemoryDisk()
    open_vault(disk)
    inode = disk.directories[f"{DIRECTORY}/epochs"].names["00000001"]
    inode.content[8:12] = (9).to_bytes(4)
    with pytest.raises(StoreVersion):
        open_vault(disk)


# --- crashes


@pytest.mark.parametrize("names_kept", [False, True])
@pytest.mark.parametrize("share", [0, 1, 2], ids=["bytes lost", "bytes torn", "bytes kept"])
def test_a_power_cut_at_any_moment_leaves_no_half_document(names_kept: bool, share: int) -> None:
    """What `put` and `put_record` returned is there; all that is there can be read; no rubbish."""

    def run(disk: MemoryDisk, promised: list[bytes]) -> None:
        vault = open_vault(disk)
        promised.append(vault.put([OTHER]).document)
        vault.put_record(b"id", b"old")
        promised.append(b"old")
        vault.put_record(b"id", b"new")
        promised.append(b"new")

    whole = MemoryDisk()
    run(whole, [])
    for cut in range(len(whole.operations)):
        disk, promised = MemoryDisk(), list[bytes]()
        disk.crash_at = cut
        with pytest.raises(PowerCut):
            run(disk, promised)
        disk.lose(bytes_kept=lambda size: size * share // 2, names_kept=names_kept)
        vault = open_vault(disk)
        for document in vault.documents():
            assert read(vault, document) == OTHER
        if promised:
            assert promised[0] in vault
        content = vault.record(b"id")
        assert content in {None, b"old", b"new"}
        if b"new" in promised:
            assert content == b"new"
        elif b"old" in promised:
            assert content in {b"old", b"new"}
        for directory in disk.directories:
            assert not [name for name in disk.names(directory) if name.endswith(".tmp")]


def test_a_full_disk_leaves_nothing_behind_and_says_so() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    disk.fail_with = OSError(28, "no space left on device")
    with pytest.raises(StoreUnavailable) as full:
        vault.put([OTHER])
    assert full.value.code == "DISK_FULL"
    assert disk.names(f"{DIRECTORY}/documents") == []
    assert read(vault, vault.put([OTHER]).document) == OTHER


# --- erasing (health.md §4.11)


def test_an_erased_document_is_gone_and_the_others_stay() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    gone, stays = vault.put([b"gone"]).document, vault.put([b"stays"]).document
    vault.put_record(b"gone", b"x")
    vault.put_record(b"stays", b"y")
    vault.erase([gone], [b"gone"])
    for one in (vault, open_vault(disk)):
        assert read(one, stays) == b"stays"
        assert one.record(b"stays") == b"y"
        assert one.record(b"gone") is None
        assert list(one.records()) == [b"stays"]
        with pytest.raises(DocumentMissing):
            one.get(gone)
    assert disk.names(f"{DIRECTORY}/epochs") == ["00000002"]


def test_files_kept_elsewhere_do_not_bring_an_erased_document_back() -> None:
    """The old epoch key is destroyed: document and key file from a backup stay shut."""
    disk = MemoryDisk()
    vault = open_vault(disk)
    gone = vault.put([b"gone"]).document
    backup = {
        kind: dict(disk.directories[f"{DIRECTORY}/{kind}"].names) for kind in ("documents", "keys")
    }
    vault.erase([gone])
    for kind, names in backup.items():
        disk.directories[f"{DIRECTORY}/{kind}"].names.update(names)
    with pytest.raises(VaultDamaged, match="vault epoch 1"):
        open_vault(disk).get(gone)


@pytest.mark.parametrize("names_kept", [False, True])
def test_a_power_cut_while_erasing_is_finished_at_the_next_start(names_kept: bool) -> None:
    """Survivors can be read whatever the moment; once begun, the erasure is carried through."""

    def prepare() -> tuple[MemoryDisk, Vault, bytes, bytes]:
        disk = MemoryDisk()
        vault = open_vault(disk)
        gone, stays = vault.put([b"gone"]).document, vault.put([b"stays"]).document
        vault.put_record(b"stays", b"y")
        return disk, vault, gone, stays

    disk, vault, gone, _ = prepare()
    before = len(disk.operations)
    vault.erase([gone])
    steps = len(disk.operations) - before
    finished = 0
    for cut in range(steps):
        disk, vault, gone, stays = prepare()
        disk.crash_at = len(disk.operations) + cut
        with pytest.raises(PowerCut):
            vault.erase([gone])
        disk.lose(names_kept=names_kept)
        again = open_vault(disk)
        assert read(again, stays) == b"stays"
        assert again.record(b"stays") == b"y"
        if gone in again:
            assert read(again, gone) == b"gone"
        else:
            finished += 1
            assert disk.names(f"{DIRECTORY}/epochs") == ["00000002"]
            assert not disk.exists(f"{DIRECTORY}/erasing")
    assert finished > steps // 2


def test_a_damaged_key_does_not_keep_another_document_from_being_erased() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    damaged, gone = vault.put([b"damaged"]).document, vault.put([b"gone"]).document
    disk.directories[f"{DIRECTORY}/keys"].names[f"{damaged.hex()}.key"].content[-1] ^= 1
    vault.erase([gone])
    with pytest.raises(DocumentMissing):
        vault.get(gone)


def test_documents_stored_while_another_is_erased_can_be_read(tmp_path: Path) -> None:
    vault = Vault.open(f"{tmp_path}/vault", LOCK, disk=RealDisk())
    gone = vault.put([b"gone"]).document
    stored: list[bytes] = []
    failures: list[StorageError] = []

    def store() -> None:
        try:
            stored.extend(vault.put([b"stays"]).document for _ in range(20))
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=store) for _ in range(3)]
    for thread in threads:
        thread.start()
    vault.erase([gone])
    for thread in threads:
        thread.join()
    assert not failures
    assert len(stored) == 60
    assert all(read(vault, document) == b"stays" for document in stored)


# --- what is not ours, and what was never finished


def test_names_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    """Editors, file managers and backups put files of their own wherever they go."""
    directory = tmp_path / "vault"
    vault = Vault.open(str(directory), LOCK)
    document = vault.put([OTHER]).document
    vault.put_record(b"id", OTHER)
    for kind in ("documents", "keys", "records", "epochs", "staging"):
        for name in (".DS_Store", "x.rec", "x.key", ".x.rec.swp", "abc.rec", "00000001.bak"):
            (directory / kind / name).write_bytes(b"")
    again = Vault.open(str(directory), LOCK)
    assert list(again.documents()) == [document]
    assert list(again.records()) == [b"id"]
    assert list(again.staged()) == [document]
    again.erase([bytes(32)])
    assert read(again, document) == OTHER
    assert again.record(b"id") == OTHER


def test_a_new_vault_does_not_take_a_file_managers_name_for_a_document(tmp_path: Path) -> None:
    (tmp_path / "vault" / "records").mkdir(parents=True)
    (tmp_path / "vault" / "records" / ".DS_Store").write_bytes(b"")
    Vault.open(f"{tmp_path}/vault", LOCK)


def test_a_document_counts_as_staged_until_it_is_kept() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    first, second = vault.put([OTHER]).document, vault.put([OTHER]).document
    vault.keep(first)
    assert vault.staged() == (second,)
    vault.erase([second])
    assert vault.staged() == ()
    assert list(open_vault(disk).documents()) == [first]


def test_a_record_that_nobody_needs_is_dropped_and_the_others_stay() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    for name in (b"one", b"two"):
        vault.put_record(name, b"content of " + name)
    vault.drop_record(b"one")
    vault.drop_record(b"never there")
    disk.lose(names_kept=False)
    vault = open_vault(disk)
    assert list(vault.records()) == [b"two"]
    assert (vault.record(b"one"), vault.record(b"two")) == (None, b"content of two")
