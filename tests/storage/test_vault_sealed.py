"""Documents whose keys are sealed to the keeper: who has the vault and its lock opens none of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from salus.errors import BadMessage
from salus.keys import box_public_key
from salus.permit import RecordClass
from salus.sealed_key import SEALED_KEY_BYTES, KeyOwner, open_key, seal_key
from storage import schema
from storage.check_home import check_home
from storage.disk import ReadFile
from storage.errors import DocumentMissing, DocumentSealed, StoreVersion, VaultDamaged
from storage.sealing import CHUNK_BYTES, DOCUMENT_HEADER_BYTES, SEALED_CHUNK_BYTES
from storage.vault import Vault
from tests import factories
from tests.storage.memory_disk import File, MemoryDisk, PowerCut
from tests.storage.test_vault import DIRECTORY, LOCK, Numbers, open_vault, read

SECRET = factories.seed("keeper")
PLAIN = b"a patient's document"


def owner(document: bytes) -> KeyOwner:
    commitment = factories.seed("commitment")
    classes = (RecordClass.RESULTS,)
    return KeyOwner("chain", "hosp-a", bytes(32), classes, commitment, document)


def seal(document: bytes, key: bytes) -> bytes:
    return seal_key(owner(document), key, box_public_key(SECRET))


def opened(vault: Vault, document: bytes) -> bytes:
    """As with the keeper's help."""
    sealed = vault.sealed_key(document)
    assert sealed is not None
    return b"".join(vault.get(document, key=open_key(owner(document), sealed, SECRET)))


def raw(disk: MemoryDisk, kind: str, document: bytes) -> bytearray:
    suffix = {"keys": ".key", "documents": ""}[kind]
    return disk.directories[f"{DIRECTORY}/{kind}"].names[document.hex() + suffix].content


def test_a_sealed_document_opens_with_the_keepers_secret_and_with_nothing_else() -> None:
    disk = MemoryDisk()
    document = open_vault(disk).put([PLAIN[:5], PLAIN[5:]], seal).document
    vault = open_vault(disk)
    with pytest.raises(DocumentSealed) as shut:
        vault.get(document)
    assert shut.value.code == "GATE_ONLY"
    assert opened(vault, document) == PLAIN
    with pytest.raises(VaultDamaged):
        b"".join(vault.get(document, key=bytes(32)))
    assert vault.sealed_key(vault.put([PLAIN]).document) is None


def test_what_is_sealed_is_the_key_of_the_document_of_that_name() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def sealing_it(document: bytes, key: bytes) -> bytes:
        seen.append((document, key))
        return seal(document, key)

    vault = open_vault(MemoryDisk())
    entry = vault.put(iter([PLAIN]), sealing_it)
    ((document, key),) = seen
    assert document == entry.document
    assert b"".join(vault.get(document, key=key)) == PLAIN


def test_a_key_that_cannot_be_sealed_leaves_no_document_behind() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    with pytest.raises(BadMessage, match="sealed"):
        vault.put([PLAIN], lambda document, key: seal_key(owner(document), key, bytes(32)))
    assert [disk.names(f"{DIRECTORY}/{kind}") for kind in ("documents", "keys", "staging")] == [
        [],
        [],
        [],
    ]


def test_a_changed_byte_of_a_sealed_document_or_its_key_is_found_without_the_keeper() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    document = vault.put([PLAIN], seal).document
    vault.verify(document)
    for kind in ("documents", "keys"):
        content = raw(disk, kind, document)
        for at in range(len(content)):
            content[at] ^= 1
            with pytest.raises((VaultDamaged, StoreVersion)):
                vault.verify(document)
            content[at] ^= 1
        content += b"x"
        with pytest.raises(VaultDamaged):
            vault.verify(document)
        del content[-1]
    vault.verify(document)


def test_a_key_of_another_length_is_none() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    document = vault.put([PLAIN], seal).document
    for size in (0, 31, 33, SEALED_KEY_BYTES - 1, SEALED_KEY_BYTES + 1):
        raw(disk, "keys", document)[:] = vault._keys.wrap(bytes(size), "keys", document)
        with pytest.raises(VaultDamaged, match=r"is none|too short"):
            vault.get(document, key=bytes(32))


def test_db_check_reads_both_kinds(tmp_path: Path) -> None:
    vault = Vault.open(f"{tmp_path}/vault", LOCK)
    vault.put([PLAIN])
    document = vault.put([PLAIN], seal).document

    def faults() -> list[str]:
        found = check_home(tmp_path, factories.genesis(), vault_lock=LOCK)
        return [finding.message for finding in found if finding.what == "vault"]

    assert faults() == []
    path = tmp_path / "vault" / "keys" / f"{document.hex()}.key"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(faults()) == 1


# --- from an offset


class Watched(MemoryDisk):
    """Notes which bytes of documents are read."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def open_read(self, path: str) -> ReadFile | None:
        file = super().open_read(path)
        seen = self.seen

        class Noted(File):
            def read(self, size: int) -> bytes:
                at = self._at
                data = super().read(size)
                seen.update(range(at, at + len(data)))
                return data

        if isinstance(file, File):
            file.__class__ = Noted
        return file


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("storage.sealing", "storage.vault"):
        monkeypatch.setattr(f"{module}.CHUNK_BYTES", 16, raising=False)
        monkeypatch.setattr(f"{module}.SEALED_CHUNK_BYTES", 32, raising=False)


@pytest.mark.usefixtures("small_chunks")
def test_from_a_chunk_on_nothing_before_it_is_read() -> None:
    plain, disk = bytes(range(60)), Watched()
    vault = open_vault(disk)
    document = vault.put([plain]).document
    for first in range(4):
        disk.seen.clear()
        assert b"".join(vault.get(document, first=first)) == plain[16 * first :]
        skipped = range(DOCUMENT_HEADER_BYTES, DOCUMENT_HEADER_BYTES + 32 * first)
        assert not disk.seen.intersection(skipped)
    assert next(vault.get(document, first=1)) == plain[16:32]
    with pytest.raises(VaultDamaged, match="ends before chunk 4"):
        next(vault.get(document, first=4))


@pytest.mark.usefixtures("small_chunks")
def test_from_a_chunk_on_a_cut_or_a_swap_is_found() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    document = vault.put([bytes(range(64))]).document
    content = raw(disk, "documents", document)
    header, body = bytes(content[:DOCUMENT_HEADER_BYTES]), bytes(content[DOCUMENT_HEADER_BYTES:])
    chunks = [body[at : at + 32] for at in range(0, len(body), 32)]
    for order in ([0, 1, 2], [0, 1, 2, 3, 3], [0, 2, 1, 3], [0, 1]):
        content[:] = header + b"".join(chunks[index] for index in order)
        with pytest.raises(VaultDamaged):
            b"".join(vault.get(document, first=1))


def test_a_large_document_is_read_from_its_middle(tmp_path: Path) -> None:
    vault = Vault.open(f"{tmp_path}/vault", LOCK)
    pieces = [bytes([number]) * CHUNK_BYTES for number in range(5)]
    document = vault.put(pieces, seal).document
    sealed = vault.sealed_key(document)
    assert sealed is not None
    key = open_key(owner(document), sealed, SECRET)
    assert list(vault.get(document, key=key, first=3)) == pieces[3:]
    size = (tmp_path / "vault" / "documents" / document.hex()).stat().st_size
    assert size == DOCUMENT_HEADER_BYTES + 5 * SEALED_CHUNK_BYTES


# --- crashes and erasing


@pytest.mark.parametrize("names_kept", [False, True])
def test_a_power_cut_at_any_moment_leaves_no_sealed_document_without_its_key(
    names_kept: bool,
) -> None:
    def run(disk: MemoryDisk, promised: list[bytes]) -> None:
        promised.append(open_vault(disk).put([PLAIN], seal).document)

    whole = MemoryDisk()
    run(whole, [])
    for cut in range(len(whole.operations)):
        disk, promised = MemoryDisk(), list[bytes]()
        disk.crash_at = cut
        with pytest.raises(PowerCut):
            run(disk, promised)
        disk.lose(names_kept=names_kept)
        vault = open_vault(disk)
        assert not promised
        for document in vault.documents():
            assert opened(vault, document) == PLAIN


@pytest.mark.parametrize("names_kept", [False, True])
def test_erasing_keeps_the_sealed_keys_of_others_whenever_the_power_goes(names_kept: bool) -> None:
    def prepare() -> tuple[MemoryDisk, Vault, bytes, bytes, bytes]:
        disk = MemoryDisk()
        vault = open_vault(disk)
        gone, stays = vault.put([b"gone"], seal).document, vault.put([PLAIN], seal).document
        return disk, vault, gone, stays, vault.put([b"ours"]).document

    disk, vault, gone, *_ = prepare()
    before = len(disk.operations)
    vault.erase([gone])
    steps = len(disk.operations) - before
    for cut in range(steps + 1):
        disk, vault, gone, stays, ours = prepare()
        if cut < steps:
            disk.crash_at = len(disk.operations) + cut
            with pytest.raises(PowerCut):
                vault.erase([gone])
            disk.lose(names_kept=names_kept)
            vault = open_vault(disk)
        else:
            vault.erase([gone])
        assert opened(vault, stays) == PLAIN
        assert read(vault, ours) == b"ours"
        if gone not in vault:
            with pytest.raises(DocumentMissing):
                vault.sealed_key(gone)
            assert disk.names(f"{DIRECTORY}/epochs") == ["00000002"]
    assert gone not in vault


def test_an_erased_sealed_document_stays_shut_even_with_the_keepers_secret() -> None:
    """Files from a backup, the epoch keys of afterwards: the seal is under the old epoch key."""
    disk = MemoryDisk()
    vault = open_vault(disk)
    gone = vault.put([b"gone"], seal).document
    backup = {
        kind: dict(disk.directories[f"{DIRECTORY}/{kind}"].names) for kind in ("documents", "keys")
    }
    vault.erase([gone])
    for kind, names in backup.items():
        disk.directories[f"{DIRECTORY}/{kind}"].names.update(names)
    with pytest.raises(VaultDamaged, match="vault epoch 1"):
        open_vault(disk).sealed_key(gone)


# --- keys that were not sealed yet, vaults of older software


@pytest.mark.parametrize("names_kept", [False, True])
def test_a_key_is_handed_over_wholly_or_not_at_all(names_kept: bool) -> None:
    def prepare() -> tuple[MemoryDisk, Vault, bytes]:
        disk = MemoryDisk()
        vault = open_vault(disk)
        return disk, vault, vault.put([PLAIN]).document

    disk, vault, document = prepare()
    before = len(disk.operations)
    vault.hand_over(document, seal)
    steps = len(disk.operations) - before
    assert opened(vault, document) == PLAIN
    vault.hand_over(document, refuse)  # what is sealed stays as it is
    vault.erase([])
    assert opened(open_vault(disk), document) == PLAIN
    for cut in range(steps):
        disk, vault, document = prepare()
        disk.crash_at = len(disk.operations) + cut
        with pytest.raises(PowerCut):
            vault.hand_over(document, seal)
        disk.lose(names_kept=names_kept)
        again = open_vault(disk)
        if again.sealed_key(document) is None:
            assert read(again, document) == PLAIN
        else:
            assert opened(again, document) == PLAIN


def test_a_key_file_of_before_the_handing_over_opens_nothing_after_an_erasure() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    document = vault.put([PLAIN]).document
    before = bytes(raw(disk, "keys", document))
    vault.hand_over(document, seal)
    vault.erase([])
    raw(disk, "keys", document)[:] = before
    with pytest.raises(VaultDamaged, match="vault epoch 1"):
        open_vault(disk).get(document)


def refuse(document: bytes, key: bytes) -> bytes:
    raise AssertionError("nothing is sealed twice")


def older(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """As software of vault version 1."""
    with monkeypatch.context() as patch:
        patch.setitem(schema.VERSIONS, "vault", 1)
        work()


def test_a_vault_of_version_1_is_read_and_from_then_on_refused_by_older_software(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, kept = MemoryDisk(), list[bytes]()

    def before() -> None:
        vault = open_vault(disk)
        kept.append(vault.put([b"old"]).document)
        vault.put_record(b"id", b"old record")

    older(monkeypatch, before)
    assert raw(disk, "documents", kept[0])[8:12] == (1).to_bytes(4)
    vault = open_vault(disk, later())
    assert read(vault, kept[0]) == b"old"
    assert vault.record(b"id") == b"old record"
    sealed = vault.put([PLAIN], seal).document

    def refused() -> None:
        before = snapshot(disk)
        with pytest.raises(StoreVersion):
            open_vault(disk)
        assert snapshot(disk) == before

    older(monkeypatch, refused)
    vault.erase([])
    assert read(vault, kept[0]) == b"old"
    assert opened(vault, sealed) == PLAIN
    older(monkeypatch, refused)


@pytest.mark.parametrize("names_kept", [False, True])
def test_a_power_cut_while_a_vault_is_stamped_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, names_kept: bool
) -> None:
    for cut in range(20):
        disk, kept = MemoryDisk(), list[bytes]()
        older(
            monkeypatch,
            lambda disk=disk, kept=kept: kept.append(  # type: ignore[misc]
                open_vault(disk).put([b"old"]).document
            ),
        )
        disk.crash_at = len(disk.operations) + cut
        try:
            open_vault(disk, later())
        except PowerCut:
            disk.lose(names_kept=names_kept)
            assert read(open_vault(disk, later()), kept[0]) == b"old"
        else:
            assert cut > 3
            break
    else:
        pytest.fail("never stamped")


def later() -> Numbers:
    """Random bytes of another process: not those of the first one again."""
    numbers = Numbers()
    for _ in range(1_000):
        numbers(32)
    return numbers


def snapshot(disk: MemoryDisk) -> dict[str, dict[str, bytes]]:
    return {
        name: {file: bytes(inode.content) for file, inode in directory.names.items()}
        for name, directory in disk.directories.items()
    }
