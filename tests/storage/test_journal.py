"""The vote journal (rules S3, S4, S12): nothing signed is forgotten, nothing is signed twice."""

import errno
import shutil
import struct
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.hashing import ZERO_HASH
from salus.vote import JOURNAL_NEW_VIEW, JOURNAL_PREPARED, JournalEntry, VoteType
from storage import journal as journal_module
from storage.disk import RealDisk
from storage.errors import (
    BelowFloor,
    DoubleSign,
    JournalDamaged,
    JournalLost,
    StorageError,
    StoreUnavailable,
    StoreVersion,
)
from storage.journal import JournalIdentity, VoteJournal, set_aside
from storage.segment import HEADER_BYTES, SegmentHeader, encode_record, read_segment
from tests.storage.memory_disk import MemoryDisk, PowerCut
from tests.storage.test_birth import let_files_be_younger, needs_birth_times

DIRECTORY = "/home/data/journal"
CHAIN = b"c" * 32
INSTANCE = b"i" * 16
FIRST = f"{DIRECTORY}/000000000001.seg"


def vote(
    sequence: int,
    digest: int = 1,
    *,
    kind: int = VoteType.COMMIT,
    epoch: int = 0,
    view: int = 0,
    payload: bytes = b"",
) -> JournalEntry:
    return JournalEntry(kind, epoch, view, sequence, bytes([digest]) * 32, payload)


def create(disk: MemoryDisk) -> VoteJournal:
    return VoteJournal.create(DIRECTORY, CHAIN, instance=INSTANCE, disk=disk)


def reopen(disk: MemoryDisk, expected: JournalIdentity) -> VoteJournal:
    return VoteJournal.open(DIRECTORY, CHAIN, expected=expected, disk=disk)


def filled(disk: MemoryDisk, appends: int = 3) -> VoteJournal:
    journal = create(disk)
    for sequence in range(1, appends + 1):
        journal.append([vote(sequence), vote(sequence, kind=VoteType.PREPARE)])
    return journal


def votes(journal: VoteJournal) -> list[JournalEntry]:
    """Without the floor, which always comes first."""
    return list(journal.entries()[1:])


# --- what it remembers


def test_what_was_appended_is_there_after_a_restart_in_its_order() -> None:
    """S3."""
    disk = MemoryDisk()
    journal = filled(disk)
    again = reopen(disk, journal.identity())
    assert again.entries() == journal.entries()
    assert len(votes(again)) == 6
    assert again.healed_bytes == 0


@pytest.mark.parametrize("restart", [False, True])
def test_a_vote_for_another_digest_is_refused_and_nothing_of_its_append_is_written(
    restart: bool,
) -> None:
    """S4: also across a restart."""
    disk = MemoryDisk()
    journal = filled(disk)
    if restart:
        journal = reopen(disk, journal.identity())
    before = disk.read(FIRST)
    with pytest.raises(DoubleSign) as refused:
        journal.append([vote(9), vote(2, digest=2)])
    assert refused.value.code == "DOUBLE_SIGN"
    assert disk.read(FIRST) == before
    journal.append([vote(9, digest=3)])  # the harmless half was not remembered either


def test_two_contradicting_votes_in_one_append_are_refused() -> None:
    """S4."""
    journal = create(MemoryDisk())
    with pytest.raises(DoubleSign):
        journal.append([vote(1, digest=1), vote(1, digest=2)])


@pytest.mark.parametrize(
    "other",
    [
        vote(1, 2, kind=VoteType.PREPARE),
        vote(1, 2, epoch=1),
        vote(1, 2, view=1),
        vote(2, 2),
    ],
)
def test_votes_of_another_type_epoch_view_or_sequence_do_not_contradict(
    other: JournalEntry,
) -> None:
    journal = create(MemoryDisk())
    journal.append([vote(1, 1)])
    journal.append([other])


def test_the_same_vote_again_is_not_written_again() -> None:
    disk = MemoryDisk()
    journal = filled(disk)
    operations = len(disk.operations)
    journal.append([vote(2)])
    assert len(disk.operations) == operations


def test_of_views_and_prepared_certificates_only_the_newest_keeps_its_payload() -> None:
    """Memory stays bounded while views change without progress; older votes still bind."""
    disk = MemoryDisk()
    journal = create(disk)
    for view in range(1, 6):
        journal.append(
            [
                vote(0, view, kind=VoteType.VIEW_CHANGE, view=view, payload=b"view change"),
                vote(7, view, kind=JOURNAL_PREPARED, view=view, payload=b"prepared"),
                vote(0, view, kind=JOURNAL_NEW_VIEW, view=view, payload=b"new view"),
            ]
        )
    kept = [entry for entry in votes(reopen(disk, journal.identity())) if entry.payload]
    assert sorted((entry.kind, entry.view) for entry in kept) == [
        (VoteType.VIEW_CHANGE, 5),
        (JOURNAL_PREPARED, 5),
        (JOURNAL_NEW_VIEW, 5),
    ]
    with pytest.raises(DoubleSign):
        journal.append([vote(0, 9, kind=VoteType.VIEW_CHANGE, view=2)])


# --- the floor


def test_nothing_at_or_below_the_floor_is_remembered_or_signed() -> None:
    """S12."""
    journal = filled(MemoryDisk())
    journal.append([vote(0, kind=VoteType.VIEW_CHANGE, view=1)])
    journal.set_floor(0, 2)
    assert {entry.sequence for entry in votes(journal)} == {0, 3}
    for sequence in (1, 2):
        with pytest.raises(BelowFloor):
            journal.append([vote(sequence)])
    journal.append([vote(4)])


def test_a_synced_floor_survives_and_is_never_lowered() -> None:
    """S12: after state transfer the floor is on disk before the state is."""
    disk = MemoryDisk()
    journal = filled(disk)
    journal.set_floor(0, 100)
    journal.set_floor(0, 50)
    disk.lose(names_kept=False)
    again = reopen(disk, journal.identity())
    assert again.floor == (0, 100)
    assert votes(again) == []


def test_votes_of_an_ended_epoch_are_void_whatever_their_sequence() -> None:
    """S13."""
    journal = filled(MemoryDisk())
    journal.append([vote(0, kind=VoteType.VIEW_CHANGE, view=1)])
    journal.set_floor(1, 2)
    assert votes(journal) == []
    for old in (vote(1000), vote(0, kind=VoteType.VIEW_CHANGE, view=7)):
        with pytest.raises(BelowFloor):
            journal.append([old])


# --- torn and damaged files


def test_a_last_record_torn_at_any_byte_is_healed_and_reported() -> None:
    """S3: its sync never returned, so its votes never left."""
    disk = MemoryDisk()
    journal = filled(disk)
    identity = journal.identity()
    whole = disk.read(FIRST)
    assert whole is not None
    journal.append([vote(4), vote(5, payload=b"x" * 40)])
    longer = disk.read(FIRST)
    assert longer is not None
    inode = disk.directories[DIRECTORY].names["000000000001.seg"]
    for size in range(len(whole), len(longer)):
        inode.content[:] = longer[:size]
        again = reopen(disk, identity)
        assert len(votes(again)) == 6
        assert again.healed_bytes == size - len(whole)
        assert bytes(inode.content) == whole
        again.append([vote(4, digest=2)])  # the torn vote binds nobody
        assert len(votes(reopen(disk, identity))) == 7


def test_a_torn_record_filled_with_zeros_or_rubbish_is_healed() -> None:
    """A file system may have grown the file before it wrote the bytes."""
    disk = MemoryDisk()
    journal = filled(disk)
    identity = journal.identity()
    whole = disk.read(FIRST)
    assert whole is not None
    inode = disk.directories[DIRECTORY].names["000000000001.seg"]
    for tail in (bytes(200), b"\xff" * 200, bytes(range(200))):
        inode.content[:] = whole + tail
        assert reopen(disk, identity).healed_bytes == 200


def test_a_flipped_bit_anywhere_before_the_last_record_refuses_to_start() -> None:
    """The votes in a damaged record were cast; starting without them risks a double vote (S4)."""
    disk = MemoryDisk()
    journal = filled(disk)
    identity = journal.identity()
    whole = disk.read(FIRST)
    assert whole is not None
    last = len(whole) - len(encode_record(4, b"")) - len(read_segment(whole, "x").payloads[-1])
    inode = disk.directories[DIRECTORY].names["000000000001.seg"]
    for at in range(last):
        for bit in (0, 7):
            inode.content[:] = whole
            inode.content[at] ^= 1 << bit
            with pytest.raises((JournalDamaged, StoreVersion)) as refused:
                reopen(disk, identity)
            assert refused.value.hint
            assert inode.content[at] == whole[at] ^ 1 << bit, "and leaves the file as it is"


def test_a_flipped_bit_in_the_last_record_does_not_go_unnoticed() -> None:
    """It looks like a torn write, but the state store knows how many records there were (S4)."""
    disk = MemoryDisk()
    journal = filled(disk)
    whole = disk.read(FIRST)
    assert whole is not None
    inode = disk.directories[DIRECTORY].names["000000000001.seg"]
    inode.content[-1] ^= 1
    with pytest.raises(JournalLost):
        reopen(disk, journal.identity())


def test_a_missing_record_in_the_middle_refuses_to_start() -> None:
    """A gap in the sequence numbers, with everything else intact."""
    header = SegmentHeader(INSTANCE, CHAIN, 1, 1)
    records = [encode_record(number, b"payload") for number in (1, 2, 3, 4)]
    whole = header.encode() + b"".join(records)
    assert len(read_segment(whole, "s").payloads) == 4
    with pytest.raises(JournalDamaged):
        read_segment(header.encode() + records[0] + records[2] + records[3], "s")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_change_to_a_segment_yields_records_that_were_not_written(data: st.DataObject) -> None:
    """Cut, flip, insert, delete: the result is a prefix of what was written, or a refusal."""
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
    header = SegmentHeader(INSTANCE, CHAIN, 1, 1)
    parts = [encode_record(number, payload) for number, payload in enumerate(payloads, 1)]
    whole = header.encode() + b"".join(parts)
    at = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, len(whole) - at))
    changed = whole[:at] + data.draw(st.binary(max_size=20)) + whole[at + length :]
    try:
        found = read_segment(changed, "s").payloads
    except StorageError:
        return
    assert found == payloads[: len(found)]


def test_a_newer_format_version_is_refused() -> None:
    disk = MemoryDisk()
    journal = filled(disk)
    inode = disk.directories[DIRECTORY].names["000000000001.seg"]
    fields = bytearray(inode.content[: HEADER_BYTES - 4])
    fields[8:12] = (99).to_bytes(4)
    inode.content[:HEADER_BYTES] = fields + struct.pack(">I", crc32(bytes(fields)))
    with pytest.raises(StoreVersion) as refused:
        reopen(disk, journal.identity())
    assert refused.value.code == "STORE_VERSION"


# --- whose journal it is (S4)


def test_a_missing_journal_is_lost_not_new() -> None:
    with pytest.raises(JournalLost):
        reopen(MemoryDisk(), JournalIdentity(INSTANCE, 1, 1))


def test_a_missing_segment_is_a_lost_journal() -> None:
    disk = MemoryDisk()
    identity = filled(disk).identity()
    disk.remove(FIRST)
    with pytest.raises(JournalLost):
        reopen(disk, identity)


@pytest.mark.parametrize(
    "change",
    [{"instance": b"j" * 16}, {"device": 9}, {"inode": 9}, {"records": 100}, {"born_us": 9}],
    ids=lambda change: next(iter(change)),
)
def test_a_journal_that_is_not_the_one_used_last_is_lost(change: dict[str, object]) -> None:
    """Another instance, a copy (device or inode differs), a stale copy put back in place."""
    disk = MemoryDisk()
    mine = filled(disk).identity()
    fields = {name: getattr(mine, name) for name in JournalIdentity.__struct_fields__}
    with pytest.raises(JournalLost):
        reopen(disk, JournalIdentity(**{**fields, **change}))


def test_a_birth_time_that_nobody_knows_is_not_compared() -> None:
    """Else a node would lose its vote by moving to a kernel that can tell, or back."""
    disk = MemoryDisk()
    journal = filled(disk)
    mine = journal.identity()
    journal.close()
    reopen(disk, msgspec.structs.replace(mine, born_us=0)).close()


def test_a_journal_of_another_chain_is_lost() -> None:
    disk = MemoryDisk()
    identity = filled(disk).identity()
    with pytest.raises(JournalLost):
        VoteJournal.open(DIRECTORY, b"d" * 32, expected=identity, disk=disk)


def test_without_a_recorded_identity_only_an_empty_journal_is_believed() -> None:
    """A crash between making the journal and recording it must not cost the validator its vote."""
    disk = MemoryDisk()
    create(disk)
    VoteJournal.open(DIRECTORY, CHAIN, expected=None, disk=disk).append([vote(1)])
    with pytest.raises(JournalLost):
        VoteJournal.open(DIRECTORY, CHAIN, expected=None, disk=disk)


def test_a_journal_is_never_made_over_another_one() -> None:
    disk = MemoryDisk()
    filled(disk)
    with pytest.raises(StoreUnavailable):
        create(disk)


def test_after_setting_a_lost_journal_aside_a_new_one_votes_from_its_floor() -> None:
    """S4: the rejoined node starts with an empty journal in the new epoch."""
    disk = MemoryDisk()
    old = filled(disk).identity()
    assert set_aside(DIRECTORY, disk=disk) == 1
    journal = VoteJournal.create(DIRECTORY, CHAIN, instance=b"n" * 16, floor=(1, 64), disk=disk)
    assert votes(journal) == []
    with pytest.raises(BelowFloor):
        journal.append([vote(64, epoch=1)])
    journal.append([vote(65, epoch=1)])
    with pytest.raises(JournalLost):
        reopen(disk, old)
    assert reopen(disk, journal.identity()).floor == (1, 64)


# --- segments


def test_a_full_segment_is_replaced_by_one_with_all_that_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES_MAX", 2_000)
    disk = MemoryDisk()
    journal = create(disk)
    for sequence in range(1, 200):
        journal.append([vote(sequence)])
        journal.set_floor(0, max(0, sequence - 5))
        again = reopen(disk, journal.identity())
        assert votes(again)[-5:] == votes(journal)[-5:]
    names = [name for name in disk.names(DIRECTORY) if name.endswith(".seg")]
    assert len(names) == 1
    assert names[0] > "000000000003.seg"
    assert len(disk.read(f"{DIRECTORY}/{names[0]}") or b"") < 3_000
    with pytest.raises(DoubleSign):
        reopen(disk, journal.identity()).append([vote(199, digest=2)])


@pytest.mark.parametrize("names_kept", [False, True])
@pytest.mark.parametrize("share", [0, 1, 2], ids=["bytes lost", "bytes torn", "bytes kept"])
def test_a_power_cut_at_any_moment_loses_no_vote_that_was_promised(
    monkeypatch: pytest.MonkeyPatch, names_kept: bool, share: int
) -> None:
    """S3, in every order in which a disk may have kept what was not synced; through rotations."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES_MAX", 400)

    def run(disk: MemoryDisk, promised: list[int]) -> VoteJournal:
        journal = create(disk)
        for sequence in range(1, 13):
            journal.append([vote(sequence), vote(sequence, kind=VoteType.PREPARE)])
            promised.append(sequence)
            if sequence == 7:
                journal.set_floor(0, 4)
        return journal

    whole = MemoryDisk()
    identity = run(whole, []).identity()
    cuts = 0
    for cut in range(len(whole.operations)):
        disk, promised = MemoryDisk(), list[int]()
        disk.crash_at = cut
        with pytest.raises(PowerCut):
            run(disk, promised)
        disk.lose(bytes_kept=lambda size: size * share // 2, names_kept=names_kept)
        expected = JournalIdentity(INSTANCE, identity.device, identity.inode)
        try:
            journal = reopen(disk, expected)
        except JournalLost:
            assert not promised, "a journal that promised something is there"
            continue
        cuts += 1
        for sequence in promised:
            if sequence > journal.floor[1]:
                with pytest.raises(DoubleSign):
                    journal.append([vote(sequence, digest=9)])
        journal.append([vote(50)])
    assert cuts > 20


def test_an_append_is_one_write_and_one_sync_and_a_new_name_is_synced_too() -> None:
    """S3: what the order of operations on the disk is."""
    disk = MemoryDisk()
    journal = create(disk)
    assert disk.operations == [
        "create identity",
        "sync directory",
        "create 000000000001.seg.tmp",
        "write 000000000001.seg.tmp",
        "sync 000000000001.seg.tmp",
        "rename 000000000001.seg",
        "sync directory",
    ]
    disk.operations.clear()
    journal.append([vote(1), vote(2), vote(3)])
    assert disk.operations == ["write 000000000001.seg", "sync 000000000001.seg"]


def test_after_a_failed_write_the_journal_takes_nothing_more() -> None:
    """What reached the disk is unknown, and a retry could follow half a record."""
    disk = MemoryDisk()
    journal = filled(disk)
    identity = journal.identity()
    disk.fail_with = OSError(errno.ENOSPC, "no space left on device")
    with pytest.raises(StoreUnavailable) as full:
        journal.append([vote(8)])
    assert full.value.code == "DISK_FULL"
    with pytest.raises(StoreUnavailable):
        journal.append([vote(8)])
    again = reopen(disk, identity)
    assert again.healed_bytes > 0
    again.append([vote(8, digest=2)])


def test_on_a_real_disk(tmp_path: object) -> None:
    directory = f"{tmp_path}/data/journal"
    journal = VoteJournal.create(directory, CHAIN, instance=INSTANCE)
    journal.append([vote(1)])
    identity = journal.identity()
    with pytest.raises(StoreUnavailable) as locked:
        VoteJournal.open(directory, CHAIN, expected=identity)
    assert locked.value.code == "STORE_LOCKED"
    journal.close()
    again = VoteJournal.open(directory, CHAIN, expected=identity)
    assert votes(again) == [vote(1)]
    again.close()
    # A restored backup: the same bytes under another inode.
    disk = RealDisk()
    disk.rename(f"{directory}/identity", f"{directory}/kept")
    disk.create(f"{directory}/identity").close()
    with pytest.raises(JournalLost):
        VoteJournal.open(directory, CHAIN, expected=identity)


@needs_birth_times
def test_a_backup_put_back_under_the_very_same_inode_is_lost(tmp_path: Path) -> None:
    """S4: what was deleted before it had that inode, and file systems give it again at once."""
    directory = tmp_path / "journal"
    journal = VoteJournal.create(str(directory), CHAIN, instance=INSTANCE)
    journal.append([vote(1)])
    identity = journal.identity()
    journal.close()
    shutil.copytree(directory, tmp_path / "backup")
    let_files_be_younger(tmp_path)
    for _ in range(20):  # most file systems do it the first time
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "backup", directory)
        with pytest.raises(JournalLost):
            VoteJournal.open(str(directory), CHAIN, expected=identity)
        if (directory / "identity").stat().st_ino == identity.inode:
            break


def test_the_floor_of_an_empty_journal_is_the_beginning() -> None:
    journal = create(MemoryDisk())
    assert journal.floor == (0, 0)
    (floor,) = journal.entries()
    assert floor.digest == ZERO_HASH
