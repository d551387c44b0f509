"""The vote journal: what this validator signed, synced before it leaves (rules S3, S4).

Own append-only segments, because LevelDB drops a torn log tail silently. One append is one
record, one write and one sync, so what a crash can tear is always exactly the last record: that
one is healed, and anything else that is wrong refuses to start. Law of the file: a vote that
contradicts a remembered one, or lies at or below the floor, is refused before a byte is written.
"""

import threading
from collections.abc import Callable, Sequence

from salus.codec import Bytes16, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.vote import JournalEntry
from storage.birth import may_be_same
from storage.disk import Disk, RealDisk, io_errors, sweep_temps, write_atomic
from storage.errors import (
    JournalDamaged,
    JournalLost,
    SigningRefused,
    StoreUnavailable,
)
from storage.segment import (
    SEGMENT_SUFFIX,
    Segment,
    SegmentHeader,
    encode_record,
    read_segment,
)
from storage.votes import KINDS, Floor, VoteMemory, floor_entry

# Start reads, checks and decodes a whole segment: 8 MiB hold the votes of about 10,000 blocks
# and take about 0.3 s.
SEGMENT_BYTES_MAX = 8 * 2**20

# The file whose inode says «this very journal»: a restored or copied one has another. It is
# empty and also carries the lock against a second process.
IDENTITY_FILE = "identity"
LOST_SUFFIX = ".lost"

_Entries = tuple[JournalEntry, ...]


class JournalIdentity(Wire, frozen=True):
    """Which journal this node used last. The node keeps it in its state store, apart from the
    journal, and gives it back at the next start (rule S4)."""

    instance: Bytes16  # drawn when the journal was made
    device: Uint
    inode: Uint
    records: Uint = 0  # at least so many had been written: a stale copy put in place has fewer
    born_us: Uint = 0  # when the file came to be, since an inode is given again; 0: not known


class VoteJournal:
    """Made by `create` once in a validator's life, and by `open` from then on."""

    def __init__(
        self, directory: str, disk: Disk, unlock: Callable[[], None], segment: Segment
    ) -> None:
        self.directory = directory
        self.healed_bytes = 0  # of a torn last record, cut off when the journal was opened
        self._disk, self._unlock, self._header = disk, unlock, segment.header
        self._memory = _replayed(segment)
        self._records = segment.header.first_record - 1 + len(segment.payloads)  # newest number
        self._size = segment.good_bytes
        self._rotate_at = _rotation_size(segment.good_bytes)
        self._broken = False
        # Appends come from a worker thread, questions from the loop meanwhile: the first lock
        # orders whole appends, the second guards the memory and never waits for the disk.
        self._writing, self._lock = threading.Lock(), threading.Lock()
        self._file = disk.open_append(f"{directory}/{segment.header.name}")
        self._place = disk.identity(f"{directory}/{IDENTITY_FILE}")  # for as long as it is locked

    @classmethod
    def create(
        cls,
        directory: str,
        genesis_hash: bytes,
        *,
        instance: bytes,
        floor: Floor = (0, 0),
        disk: Disk | None = None,
    ) -> "VoteJournal":
        """The empty journal of a validator that has signed nothing (at or above `floor`).

        `instance`: 16 random bytes. After `JournalLost`, call `set_aside` first, and give the
        floor of the epoch from which the node may vote again.
        """
        disk = disk or RealDisk()
        with io_errors(directory):
            disk.make_directory(directory)
            if any(name.endswith(SEGMENT_SUFFIX) for name in disk.names(directory)):
                raise StoreUnavailable(
                    f"{directory} holds a journal already", code="REFUSES_OVERWRITE"
                )
            # A new identity even where an old one lies: its inode belongs to what was lost.
            disk.remove(f"{directory}/{IDENTITY_FILE}")
            disk.create(f"{directory}/{IDENTITY_FILE}").close()
            disk.sync_directory(directory)
            unlock = disk.lock(f"{directory}/{IDENTITY_FILE}")
            header = SegmentHeader(instance, genesis_hash, 1, 1)
            _write_segment(disk, directory, header, (floor_entry(floor),))
            return cls(directory, disk, unlock, _newest_segment(disk, directory, genesis_hash))

    @classmethod
    def open(
        cls,
        directory: str,
        genesis_hash: bytes,
        *,
        expected: JournalIdentity | None,
        disk: Disk | None = None,
    ) -> "VoteJournal":
        """The journal as it was left; `expected` is the identity that the state store holds.

        Raises `JournalLost` (sync as an observer), `JournalDamaged` (do not start),
        `StoreVersion` or `StoreUnavailable`.
        """
        disk = disk or RealDisk()
        with io_errors(directory):
            if not disk.exists(f"{directory}/{IDENTITY_FILE}"):
                raise JournalLost(f"there is no vote journal at {directory}")
            unlock = disk.lock(f"{directory}/{IDENTITY_FILE}")
            try:
                segment = _newest_segment(disk, directory, genesis_hash)
                journal = cls(directory, disk, unlock, segment)
            except BaseException:
                unlock()
                raise
            try:
                journal._check_identity(expected)
                journal._heal(segment)
                journal._drop_older_segments()
                sweep_temps(disk, directory)
            except BaseException:
                journal.close()
                raise
        return journal

    def append(self, entries: Sequence[JournalEntry]) -> None:
        """Returns once the entries would survive a power cut: one write, one sync, in a record
        of their own. Blocks; a vote that is known already is not written again.

        Raises `DoubleSign` or `BelowFloor`, and then none of the entries is written. After an
        I/O error nothing more is accepted: what reached the disk is known only after a restart.
        """
        with self._writing:
            if self._broken:
                raise StoreUnavailable(f"{self.directory} failed before; restart the node")
            with self._lock:
                news = self._memory.news(entries)
            if news:
                self._write(tuple(news))
            with self._lock:
                for entry in news:
                    self._memory.apply(entry)

    def _write(self, news: _Entries) -> None:
        self._broken = True
        with io_errors(self.directory):
            if self._size >= self._rotate_at:
                self._rotate()
            record = encode_record(self._records + 1, encode(news))
            self._file.write(record)
            self._file.sync()
        self._broken = False
        self._size += len(record)
        self._records += 1

    def entries(self) -> tuple[JournalEntry, ...]:
        """What a restart needs: the floor first, then all that lies above it, oldest first."""
        with self._lock:
            return self._memory.entries()

    @property
    def floor(self) -> Floor:
        """(epoch, height): nothing at or below is ever voted on again (rule S12)."""
        return self._memory.floor

    def set_floor(self, epoch: int, height: int) -> None:
        """Raise the floor; a lower one changes nothing. An entry like any other: it must stand
        behind the votes below it that wait to be appended, or they would be refused (S12)."""
        self.append((floor_entry((epoch, height)),))

    def identity(self) -> JournalIdentity:
        """To be kept in the state store; best with every block, at least once after `create`."""
        device, inode, born_us = self._place
        return JournalIdentity(self._header.instance, device, inode, self._records, born_us)

    def close(self) -> None:
        """Waits for an append that is under way; a later one is refused."""
        with self._writing:
            self._broken = True
            self._file.close()
            self._unlock()

    def _check_identity(self, expected: JournalIdentity | None) -> None:
        mine = self.identity()
        if expected is None:
            # Nobody can say whether this is the newest copy; empty, it can do no harm.
            if self._records > 1:
                raise JournalLost("nothing in the state store vouches for this vote journal")
        elif mine.instance != expected.instance:
            raise JournalLost("this is another vote journal than the one used last")
        elif (mine.device, mine.inode) != (expected.device, expected.inode):
            raise JournalLost("the vote journal was copied or restored (device or inode differs)")
        elif not may_be_same(mine.born_us, expected.born_us):
            raise JournalLost("the vote journal was restored (its file is a younger one)")
        elif mine.records < expected.records:
            raise JournalLost(
                f"the vote journal ends at record {mine.records}, {expected.records} were written"
            )

    def _heal(self, segment: Segment) -> None:
        if segment.torn_bytes:
            self._file.truncate(segment.good_bytes)
            self._file.sync()
            self.healed_bytes = segment.torn_bytes

    def _rotate(self) -> None:
        """Begin a new segment with all that still lives, then drop the old one.

        The new segment has its name only once it is whole on disk, and nothing is appended to
        it before the old one is gone: whichever is the newest at a start says everything."""
        old = self._header
        self._header = SegmentHeader(
            old.instance, old.genesis_hash, old.number + 1, self._records + 1
        )
        self._size = _write_segment(self._disk, self.directory, self._header, self.entries())
        self._rotate_at = _rotation_size(self._size)
        self._records += 1
        self._file.close()
        self._file = self._disk.open_append(f"{self.directory}/{self._header.name}")
        self._drop_older_segments()

    def _drop_older_segments(self) -> None:
        older = [n for n in _segments(self._disk, self.directory) if n != self._header.name]
        for name in older:
            self._disk.remove(f"{self.directory}/{name}")
        if older:
            self._disk.sync_directory(self.directory)


def set_aside(directory: str, *, disk: Disk | None = None) -> int:
    """Rename the segments of a journal that may no longer be used, so that they can still be
    inspected and a new one can be created; gives how many."""
    disk = disk or RealDisk()
    with io_errors(directory):
        names = _segments(disk, directory)
        for name in names:
            disk.rename(f"{directory}/{name}", f"{directory}/{name}{LOST_SUFFIX}")
        if names:
            disk.sync_directory(directory)
    return len(names)


def _segments(disk: Disk, directory: str) -> list[str]:
    return [name for name in disk.names(directory) if name.endswith(SEGMENT_SUFFIX)]


def _write_segment(disk: Disk, directory: str, header: SegmentHeader, entries: _Entries) -> int:
    data = header.encode() + encode_record(header.first_record, encode(entries))
    write_atomic(disk, directory, header.name, data)
    return len(data)


def _rotation_size(first_bytes: int) -> int:
    """Twice what still lived when the segment began, so that a long list of living entries
    (many validators, a wide window) is not rewritten with every append."""
    return max(SEGMENT_BYTES_MAX, 2 * first_bytes)


def _newest_segment(disk: Disk, directory: str, genesis_hash: bytes) -> Segment:
    names = _segments(disk, directory)
    data = disk.read(f"{directory}/{names[-1]}") if names else None
    if data is None:
        raise JournalLost(f"there is no vote journal at {directory}")
    segment = read_segment(data, names[-1])
    if segment.header.name != names[-1]:
        raise JournalDamaged(f"{names[-1]} was renamed: it is segment {segment.header.number}")
    if segment.header.genesis_hash != genesis_hash:
        raise JournalLost("this is the vote journal of another chain")
    if not segment.payloads:
        # The first record comes to disk together with the header, so it was never torn.
        raise JournalDamaged(f"{names[-1]}: its first record is damaged")
    return segment


def _replayed(segment: Segment) -> VoteMemory:
    """What the segment says; raises `JournalDamaged` if nobody could have written it."""
    memory = VoteMemory()
    for payload in segment.payloads:
        try:
            record = decode(payload, _Entries)
            if any(entry.kind not in KINDS for entry in record):
                raise BadMessage("unknown kind")
            memory.news(record)
        except (BadMessage, SigningRefused):
            raise JournalDamaged(
                f"{segment.header.name} holds votes that nobody could have appended"
            ) from None
        for entry in record:
            memory.apply(entry)
    return memory
