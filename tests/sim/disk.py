"""All disks of one node: the files of the vote journal and of the log of buckets, the state and the block store.

They outlive the process; what a crash, a wipe, a backup or a flipped bit makes of them is written
here. Law of the file: an account of the journal is kept beside it, and each group that the real
journal took is checked against it: no two votes of one place (S4), nothing runs backwards (S12).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from node.standing import BIRTH_MARK
from salus.vote import JOURNAL_FLOOR, JOURNAL_NEW_VIEW, JournalEntry, VoteType
from storage.bucket_log import LogPlace
from storage.segment import SEGMENT_SUFFIX, read_segment
from storage.state import BUCKETS
from tests.sim.files import Files, Image
from tests.sim.kv import SimKV
from tests.sim.power import UNCUT, Power

_VIEW_KINDS = (int(VoteType.VIEW_CHANGE), int(VoteType.NEW_VIEW), JOURNAL_NEW_VIEW)

LOG_SEGMENT_BYTES = 200  # so that a run meets several, and empties one now and then
LOG_SMALL_BLOCK_BYTES = 150
LOG_PLACES_AGAIN_MIN = 2

Place = tuple[int, int, int, int]  # kind, epoch, view, sequence


@dataclass(frozen=True, slots=True)
class Backup:
    files: Image
    state: dict[bytes, bytes]
    blocks: dict[bytes, bytes]


class Disks:
    def __init__(self, number: int, random: Random) -> None:
        self.random = random
        self.power = Power()
        self.files = Files(self.power)
        self.state, self.blocks = SimKV(self.power, random), SimKV(self.power, random)
        self.data = Path(f"n{number}/data")
        self.backup: Backup | None = None
        self.lost = False  # more than the power may take, at any time
        self.same_journal = False  # as the process before had it
        self.votes: dict[Place, JournalEntry] = {}  # what `append` said it had synced
        self.new_views: dict[tuple[int, int], JournalEntry] = {}  # epoch, view
        self._views: dict[tuple[int, int], int] = {}  # (epoch, kind) → highest view
        self.floor = (0, 0)  # epoch, height
        self.mark_birth()

    @property
    def journal(self) -> str:
        return str(self.data / "journal")

    @property
    def log(self) -> LogPlace:
        """Of the buckets."""
        return LogPlace(
            str(self.data / "state" / BUCKETS),
            self.files,
            LOG_SEGMENT_BYTES,
            LOG_SMALL_BLOCK_BYTES,
            LOG_PLACES_AGAIN_MIN,
        )

    @property
    def met_damage(self) -> bool:
        """A flipped bit of a store has been read."""
        return self.state.met or self.blocks.met

    def mark_birth(self) -> None:
        """As the command does that makes the keys (node/standing.py, `mark_birth`)."""
        self.same_journal = False  # A new key begins a new one.
        directory, path = str(self.data), str(self.data / BIRTH_MARK)
        self.files.make_directory(directory)
        file = self.files.create(path)
        device, inode, born = self.files.identity(path)
        file.write(f"{device} {inode} {born // 1_000_000}.{born % 1_000_000:06}".encode())
        file.sync()
        self.files.sync_directory(directory)

    def appended(self, entries: list[JournalEntry], floor: tuple[int, int]) -> None:
        """The journal says that these stand, and that its floor (epoch, height) is this."""
        for entry in entries:
            key = (entry.kind, entry.epoch, entry.view, entry.sequence)
            if entry.kind <= VoteType.STATUS:
                earlier = self.votes.setdefault(key, entry)
                assert earlier.digest == entry.digest, (
                    f"the journal took two votes (S4): {VoteType(entry.kind).name}, epoch "
                    f"{entry.epoch}, view {entry.view}, sequence {entry.sequence}"
                )
            if entry.kind in _VIEW_KINDS:
                highest = self._views.get((entry.epoch, entry.kind), -1)
                assert entry.view >= highest, f"views ran backwards: {entry.view} < {highest}"
                self._views[entry.epoch, entry.kind] = entry.view
            if entry.kind == JOURNAL_NEW_VIEW:
                self.new_views[entry.epoch, entry.view] = entry
            elif entry.kind == JOURNAL_FLOOR:
                self.floor = max(self.floor, (entry.epoch, entry.sequence))
        assert floor >= self.floor, f"the floor ran backwards (S12): {floor} < {self.floor}"

    def opened(self, entries: tuple[JournalEntry, ...]) -> None:
        """A new process has read the journal: from now on this is what stands."""
        floor, same = self.floor, self.same_journal and bool(entries)
        self.votes, self.new_views, self._views, self.floor = {}, {}, {}, (0, 0)
        for entry in entries:
            key = (entry.kind, entry.epoch, entry.view, entry.sequence)
            if entry.kind <= VoteType.STATUS:
                self.votes[key] = entry
            elif entry.kind == JOURNAL_NEW_VIEW:
                self.new_views[entry.epoch, entry.view] = entry
            elif entry.kind == JOURNAL_FLOOR:
                self.floor = (entry.epoch, entry.sequence)
            if entry.kind in _VIEW_KINDS:
                place = (entry.epoch, entry.kind)
                self._views[place] = max(self._views.get(place, 0), entry.view)
        assert not same or self.floor >= floor, (
            f"the journal's floor ran backwards (S12): {self.floor} < {floor}"
        )
        self.same_journal = bool(entries)

    # -- losses ---------------------------------------------------------------------------------

    def lose(self) -> None:
        """The power went: what was not synced is gone, or torn."""
        self.power.left = UNCUT
        self.files.lose(self.random)
        self.state.lose()
        self.blocks.lose()

    def take_backup(self) -> None:
        self.backup = Backup(self.files.image(), dict(self.state.data), dict(self.blocks.data))

    def restore_backup(self, *, same_inodes: bool) -> None:
        assert self.backup is not None
        self.same_journal = False
        self.files.restore(self.backup.files, same_inodes=same_inodes)
        self.state.restore(self.backup.state)
        self.blocks.restore(self.backup.blocks)

    def restore_journal(self, *, same_inodes: bool = False) -> None:
        """The journal alone comes from the backup, put in place of a newer one, or of its bytes."""
        assert self.backup is not None
        self.same_journal = False
        now = self.files.image()
        now[self.journal] = self.backup.files.get(self.journal, {})
        self.files.restore(now, same_inodes=same_inodes)

    def restore_state(self) -> None:
        """The state store alone comes from the backup: the journal's floor lies above it (S12)."""
        assert self.backup is not None
        self.state.restore(self.backup.state)
        now = self.files.image()
        now[self.log.directory] = self.backup.files.get(self.log.directory, {})
        self.files.restore(now, same_inodes=True)

    @property
    def backup_records(self) -> int:
        """So many records has the journal of the backup; 0: it has none."""
        assert self.backup is not None
        found = self.backup.files.get(self.journal, {})
        names = sorted(name for name in found if name.endswith(SEGMENT_SUFFIX))
        if not names:
            return 0
        segment = read_segment(found[names[-1]], names[-1])
        return segment.header.first_record - 1 + len(segment.payloads)

    def flip_journal_bit(self) -> None:
        self.same_journal = False
        self.files.flip_bit(self.journal, self.random)

    def wipe_journal(self) -> None:
        self.same_journal = False
        self.files.wipe(self.journal)

    def wipe(self) -> None:
        self.same_journal = False
        self.files.wipe(str(self.data))
        self.files.make_directory(str(self.data))
        self.state.restore({})
        self.blocks.restore({})
