"""Documents that come piece by piece: nothing has a name before all is there."""

import threading

import pytest

from salus.errors import BadMessage
from storage.errors import StoreUnavailable
from tests.storage.memory_disk import MemoryDisk
from tests.storage.test_vault import DIRECTORY, open_vault, read
from tests.storage.test_vault_sealed import PLAIN, opened, seal


def files(disk: MemoryDisk) -> list[str]:
    return [
        name
        for kind in ("documents", "keys", "staging")
        for name in disk.names(f"{DIRECTORY}/{kind}")
    ]


def test_a_document_has_no_name_before_it_is_whole() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    deposit = vault.deposit()
    deposit.write(PLAIN[:3])
    assert list(vault.documents()) == []
    deposit.write(PLAIN[3:])
    entry = deposit.finish()
    assert entry.size == len(PLAIN)
    assert read(open_vault(disk), entry.document) == PLAIN
    deposit.abandon()  # too late to have an effect
    assert read(open_vault(disk), entry.document) == PLAIN


def test_several_come_at_once_and_each_is_sealed_for_itself() -> None:
    vault = open_vault(MemoryDisk())
    first, second = vault.deposit(), vault.deposit()
    first.write(b"first")
    second.write(PLAIN)
    first.write(b" and more")
    document, other = first.finish().document, second.finish(seal).document
    assert read(vault, document) == b"first and more"
    assert opened(vault, other) == PLAIN


def test_what_is_abandoned_or_fails_leaves_nothing() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    gone = vault.deposit()
    gone.write(PLAIN)
    gone.abandon()
    gone.abandon()
    for act in (lambda: gone.write(PLAIN), lambda: gone.finish()):
        with pytest.raises(AssertionError):
            act()

    full = vault.deposit()
    full.write(PLAIN)
    disk.fail_with = OSError(28, "no space left on device")
    with pytest.raises(StoreUnavailable) as refused:
        full.finish()
    assert refused.value.code == "DISK_FULL"

    def no_seal(document: bytes, key: bytes) -> bytes:
        raise BadMessage("no")

    unsealed = vault.deposit()
    unsealed.write(PLAIN)
    with pytest.raises(BadMessage):
        unsealed.finish(no_seal)

    assert files(disk) == []


def test_a_name_that_cannot_be_given_leaves_no_bytes_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    deposit = vault.deposit()
    deposit.write(PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(vault, "_write_key", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O")))
        with pytest.raises(StoreUnavailable):
            deposit.finish()
    assert disk.names(f"{DIRECTORY}/documents") == []


def test_who_gives_up_waits_for_the_write_under_way() -> None:
    disk = MemoryDisk()
    vault = open_vault(disk)
    deposit = vault.deposit()
    within, go_on, order = threading.Event(), threading.Event(), []

    def slow(piece: bytes) -> list[bytes]:
        within.set()
        assert go_on.wait(60)
        order.append("written")
        return []

    deposit._sealer.push = slow  # type: ignore[method-assign, assignment]
    writer = threading.Thread(target=deposit.write, args=(PLAIN,))
    writer.start()
    assert within.wait(60)

    def give_up() -> None:
        deposit.abandon()
        order.append("gone")

    quitter = threading.Thread(target=give_up)
    quitter.start()
    go_on.set()
    for thread in (writer, quitter):
        thread.join(60)
    assert order == ["written", "gone"]
    assert files(disk) == []
