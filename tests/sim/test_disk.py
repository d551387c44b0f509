"""The simulated disks keep what real ones promise, and lose the rest; the real stores notice."""

from random import Random

import pytest

from node.standing import Voter
from salus.parameters import Parameters
from salus.vote import JournalEntry, VoteType
from storage.blocks import BlockStore
from storage.errors import DoubleSign, StoreDamaged, StoreUnavailable
from storage.state import StateStore
from tests.sim.disk import Disks
from tests.sim.founding import Founding
from tests.sim.poison import VERSIONS, with_poison
from tests.sim.power import PowerCut
from tests.sim.signatures import true_key

KEY = true_key("node n00").public_key
A, B = bytes([1]) * 32, bytes([2]) * 32
FOUNDING = Founding(4, Parameters(state_bucket_bits=4, contracts=VERSIONS), with_poison())


def born(seed: int) -> Disks:
    disks = Disks(0, Random(seed))
    disks.state.restore(FOUNDING.state)
    disks.blocks.restore(FOUNDING.blocks)
    return disks


def voter(disks: Disks) -> Voter:
    state = StateStore(disks.state, FOUNDING.hash, log=disks.log)
    return Voter(disks.data, state, FOUNDING.hash, KEY, disks.files, disks.random.randbytes)


def prepare(sequence: int, digest: bytes = A) -> JournalEntry:
    return JournalEntry(int(VoteType.PREPARE), 0, 0, sequence, digest)


def known(voter: Voter) -> set[int]:
    assert voter.journal is not None
    return {entry.sequence for entry in voter.journal.entries()} - {0}


def test_a_vote_that_was_appended_survives_every_power_cut() -> None:
    for seed in range(20):
        disks = born(seed)
        before = voter(disks)
        before.append([prepare(1)])
        disks.lose()
        after = voter(disks)
        assert known(after) == {1}
        with pytest.raises(DoubleSign):
            after.append([prepare(1, B)])


def test_the_power_may_go_in_any_operation_of_an_append() -> None:
    """Whole or not at all, the torn rest is cut off, and the journal goes on."""
    healed = 0
    for seed in range(40):
        disks = born(seed)
        before = voter(disks)
        before.append([prepare(1)])
        disks.power.left = seed % 2  # the write, or its sync
        with pytest.raises(PowerCut):
            before.append([prepare(2)])
        disks.lose()
        after = voter(disks)
        assert known(after) in ({1}, {1, 2})
        assert after.journal is not None
        healed += after.journal.healed_bytes > 0
        after.append([prepare(3)])
        assert 3 in known(after)
    assert healed > 10


def test_a_restored_journal_may_not_vote_and_an_image_of_the_whole_disk_is_not_noticed() -> None:
    for copied, votes in ((True, False), (False, True)):
        disks = born(1)
        before = voter(disks)
        before.append([prepare(1)])
        disks.take_backup()
        before.append([prepare(2)])
        disks.restore_backup(same_inodes=not copied)
        after = voter(disks)
        assert after.may_vote(0) is votes
        if votes:
            assert known(after) == {1}


def test_a_wiped_journal_or_an_old_copy_of_it_may_not_vote() -> None:
    for harm in (Disks.wipe_journal, Disks.restore_journal):
        disks = born(2)
        before = voter(disks)
        disks.take_backup()
        before.append([prepare(1)])
        harm(disks)
        assert not voter(disks).may_vote(0)


def test_a_full_disk_takes_no_vote_and_the_journal_is_whole_afterwards() -> None:
    disks = born(3)
    before = voter(disks)
    before.append([prepare(1)])
    disks.power.full = True
    with pytest.raises(StoreUnavailable) as caught:
        before.append([prepare(2)])
    assert caught.value.code == "DISK_FULL"
    disks.power.full = False
    after = voter(disks)
    after.append([prepare(3)])
    assert known(after) == {1, 3}


def test_an_unsynced_batch_may_be_lost_and_a_synced_one_is_not() -> None:
    lost = 0
    for seed in range(20):
        disks = Disks(0, Random(seed))
        disks.blocks.write([(b"a", b"1")], sync=True)
        disks.blocks.write([(b"a", b"2"), (b"b", b"2")], sync=False)
        disks.lose()
        assert (disks.blocks.get(b"a"), disks.blocks.get(b"b")) in ((b"1", None), (b"2", b"2"))
        lost += disks.blocks.get(b"b") is None
    assert 0 < lost < 20


def test_scans_are_as_leveldb_makes_them() -> None:
    disks = Disks(0, Random(1))
    disks.blocks.write([(key, b"v") for key in (b"b2", b"a1", b"b1", b"c1")], sync=True)
    scan = disks.blocks.scan
    assert [key for key, _ in scan(b"b")] == [b"b1", b"b2"]
    assert [key for key, _ in scan(b"b", reverse=True)] == [b"b2", b"b1"]
    assert [key for key, _ in scan(b"b", start=b"b2")] == [b"b2"]
    assert [key for key, _ in scan(b"b", start=b"b1", reverse=True)] == [b"b1"]
    disks.blocks.write([(b"b1", None)], sync=True)
    assert [key for key, _ in scan(b"b")] == [b"b2"]


def test_a_flipped_bit_of_a_store_is_an_error_when_it_is_read() -> None:
    disks = born(4)
    disks.blocks.flip_bit()
    with pytest.raises(StoreDamaged):
        BlockStore(disks.blocks, FOUNDING.hash)
    assert disks.met_damage
