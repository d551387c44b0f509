"""Who may vote: only with the journal that it used last, or one that was never used (S4)."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.standing import (
    BIRTH_MARK,
    META_STANDING,
    NEXT_BIRTH_MARK,
    Voter,
    is_born,
    mark_birth,
    pass_birth_on,
)
from salus.hashing import ZERO_HASH
from salus.vote import JournalEntry, VoteType
from storage.journal import VoteJournal
from storage.kv import MemoryKV
from storage.state import StateStore
from storage.votes import floor_entry
from tests import factories
from tests.storage.test_birth import let_files_be_younger, needs_birth_times

GENESIS = bytes(32)
KEY = factories.seed("node key")
VOTE = JournalEntry(VoteType.COMMIT, 0, 0, 7, ZERO_HASH)


class House:
    """A data directory and a state store that outlive their voters."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.state = StateStore(MemoryKV(), GENESIS)
        self.voter: Voter | None = None
        self.key = KEY

    def start(self) -> Voter:
        self.stop()
        self.voter = Voter(self.data, self.state, GENESIS, self.key)
        return self.voter

    def stop(self) -> None:
        if self.voter is not None:
            self.voter.close()
            self.voter = None


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    mark_birth(house.data)
    yield house
    house.stop()


def test_the_mark_becomes_a_journal_once(house: House) -> None:
    assert house.start().may_vote(0)
    assert not (house.data / BIRTH_MARK).exists()
    assert house.start().may_vote(0)


def test_a_home_backed_up_before_its_first_start_carries_no_leave_to_vote(
    house: House, tmp_path: Path
) -> None:
    shutil.copytree(house.data, tmp_path / "backup")
    os.link(house.data / BIRTH_MARK, tmp_path / "held")  # or its inode might be given again
    house.start().append([VOTE])
    house.stop()
    shutil.rmtree(house.data)
    shutil.copytree(tmp_path / "backup", house.data)
    house.state = StateStore(MemoryKV(), GENESIS)
    assert not is_born(house.data)
    assert not house.start().may_vote(0)


@needs_birth_times
def test_a_mark_put_back_under_the_very_same_inode_is_no_leave_to_vote(tmp_path: Path) -> None:
    house = House(tmp_path)
    mark_birth(house.data)
    mark = house.data / BIRTH_MARK
    inode = mark.stat().st_ino
    let_files_be_younger(tmp_path)
    for _ in range(20):  # most file systems give it again the first time
        shutil.copy2(mark, tmp_path / "backup")
        mark.unlink()
        shutil.copy2(tmp_path / "backup", mark)
        assert not is_born(house.data)
        if mark.stat().st_ino == inode:
            break


def test_the_mark_says_what_the_operators_command_prints(tmp_path: Path) -> None:
    """docs/operating.md: more than f lost journals."""
    mark_birth(tmp_path)
    mark = tmp_path / BIRTH_MARK
    said = mark.read_text()
    done = subprocess.run(
        ["sh", "-c", f': > {BIRTH_MARK} && stat -c "%d %i %.6W" {BIRTH_MARK} > {BIRTH_MARK}'],
        cwd=tmp_path,
        check=False,
    )
    if done.returncode == 0:  # GNU
        assert mark.read_text().strip() == said
        assert is_born(tmp_path)


def test_a_new_owner_and_new_rights_make_no_other_file_of_the_mark(tmp_path: Path) -> None:
    """An operator may set them after `salus init`."""
    mark_birth(tmp_path)
    (tmp_path / BIRTH_MARK).chmod(0o640)
    os.utime(tmp_path / BIRTH_MARK)
    tmp_path.rename(tmp_path.parent / "moved")
    assert is_born(tmp_path.parent / "moved")


def test_a_mark_that_was_merely_touched_counts_for_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.data.mkdir()
    (house.data / BIRTH_MARK).touch()
    assert not house.start().may_vote(0)
    house.stop()


def test_a_crash_between_the_journal_and_the_word_for_it_costs_nothing(house: House) -> None:
    house.start()
    house.stop()
    mark_birth(house.data)  # not taken away yet
    house.state = StateStore(MemoryKV(), GENESIS)  # not told yet
    assert house.start().may_vote(0)
    assert house.start().may_vote(0)


def test_a_mark_beside_a_journal_that_was_used_is_no_leave(house: House) -> None:
    house.start().append([VOTE])
    house.stop()
    mark_birth(house.data)
    house.state = StateStore(MemoryKV(), GENESIS)
    assert not house.start().may_vote(0)


def test_a_mark_goes_when_the_journal_is_known(house: House) -> None:
    house.start()
    house.stop()
    mark_birth(house.data)
    house.start()
    assert not (house.data / BIRTH_MARK).exists()


def test_a_block_that_is_being_written_does_not_undo_a_quarantine(house: House) -> None:
    """It vouched for the journal just before; nothing vouches for it afterwards."""
    voter = house.start()
    vouched = voter.vouch()
    voter.lose()
    house.state.put_meta(META_STANDING, vouched[META_STANDING])  # the block under way
    assert not house.start().may_vote(0)


def test_every_later_block_says_that_the_journal_is_lost(house: House) -> None:
    voter = house.start()
    voter.lose()
    assert voter.vouch() == {META_STANDING: KEY}  # and no other key is lost by that
    voter.append([floor_entry((0, 64))])  # it waited for the disk meanwhile
    mark_birth(house.data)
    assert not house.start().may_vote(0)
    assert not (house.data / BIRTH_MARK).exists()


def test_losing_the_journal_waits_for_an_append_that_is_under_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    voter = house.start()
    journal = voter.journal
    assert journal is not None
    begun, go_on = threading.Event(), threading.Event()
    real = journal._file.sync

    def sync() -> None:
        begun.set()
        assert go_on.wait(60)
        real()

    monkeypatch.setattr(journal._file, "sync", sync)
    appending = threading.Thread(target=voter.append, args=([VOTE],))
    appending.start()
    assert begun.wait(60)
    losing = threading.Thread(target=voter.lose)
    losing.start()
    losing.join(0.05)
    assert losing.is_alive()
    go_on.set()
    losing.join(60)
    appending.join(60)
    assert not losing.is_alive()
    assert VOTE in journal.entries()


def test_a_rejoin_begins_anew(house: House) -> None:
    voter = house.start()
    voter.lose()
    voter.rejoined(3, 100)
    assert not voter.may_vote(2)
    assert voter.may_vote(3)
    assert house.start().may_vote(3)


# -- another node key, by vote (decision 0006) -----------------------------------------------

SECOND = factories.seed("second node key")


def rotate(house: House) -> None:
    """As `salus keys rotate node` makes the new key, and `--finish` puts it in its place."""
    mark_birth(house.data, NEXT_BIRTH_MARK)
    house.start().append([VOTE])  # the old key goes on meanwhile, restarts included
    assert house.start().may_vote(0)
    house.stop()
    pass_birth_on(house.data)
    house.key = SECOND


def test_a_key_that_was_made_here_votes_with_a_journal_of_its_own(house: House) -> None:
    assert house.start().may_vote(0)
    rotate(house)
    voter = house.start()
    assert voter.may_vote(0)
    assert voter.journal is not None
    assert VOTE not in voter.journal.entries(), "that was another key's vote"
    voter.append([VOTE])
    voter = house.start()
    assert voter.journal is not None
    assert VOTE in voter.journal.entries(), "born once: a restart goes on with this journal"
    assert not (house.data / BIRTH_MARK).exists()


def test_a_node_that_lost_its_journal_votes_with_the_key_that_replaces_its_own(
    house: House,
) -> None:
    """The mark of the new key is not one that the lost journal has no business with."""
    house.start().lose()
    mark_birth(house.data, NEXT_BIRTH_MARK)
    assert not house.start().may_vote(0)
    house.stop()
    pass_birth_on(house.data)
    house.key = SECOND
    assert house.start().may_vote(0)
    house.key = KEY
    assert not house.start().may_vote(0), "the old one is as lost as before"


def test_another_key_without_a_mark_of_its_own_does_not_vote(house: House) -> None:
    """An imported one may have voted elsewhere."""
    house.start().append([VOTE])
    house.key = SECOND
    assert not house.start().may_vote(0)


def test_the_old_key_put_back_does_not_vote_again(house: House) -> None:
    """Its journal has made way: what it signed is not known any more."""
    house.start()
    rotate(house)
    house.start()
    house.key = KEY
    assert not house.start().may_vote(0)
    house.key = SECOND
    assert house.start().may_vote(0), "the new one has kept its own"


def test_a_crash_while_the_new_key_is_born_leaves_it_able_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.start()
    rotate(house)

    def crash(voter: Voter, journal: VoteJournal) -> bytes:
        journal.close()  # as the system does with a dead process's locks
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Voter, "_standing", crash)
        with pytest.raises(KeyboardInterrupt):
            house.start()
    assert house.start().may_vote(0)


def test_a_backup_of_the_waiting_mark_is_no_leave_to_vote_again(
    house: House, tmp_path: Path
) -> None:
    house.start()
    mark_birth(house.data, NEXT_BIRTH_MARK)
    shutil.copy2(house.data / NEXT_BIRTH_MARK, tmp_path / "backup")
    house.stop()
    pass_birth_on(house.data)
    pass_birth_on(house.data)  # whoever finishes twice finishes once
    house.key = SECOND
    house.start().append([VOTE])
    house.stop()
    shutil.rmtree(house.data / "journal")
    house.state = StateStore(MemoryKV(), GENESIS)
    shutil.copy2(tmp_path / "backup", house.data / NEXT_BIRTH_MARK)
    pass_birth_on(house.data)
    assert not house.start().may_vote(0)
