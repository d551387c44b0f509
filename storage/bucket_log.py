"""What the buckets hold, in files that only grow: a block writes what it changes at the end of the newest.

◆ segment = *record;  record = CRC-32 u32 ‖ content; the CRC begins with the bucket's number. Rows l of the
state store name the records: they say where that of a bucket lies (storage/place_rows.py).

A block changes random buckets, one entry each. In LevelDB each would be merged a dozen times on its way
down, and sought through all levels when it is read. Keys apart from values: Lu et al., WiscKey (FAST 2016).
Law of the file: a record is on disk before the batch that names it, and stays until a later batch on
disk names none. So the batch of a block is the only commit point, and what no row names is nothing,
whether a block came after it or a crash before. What a small block changes lies in rows k, whole, until
a larger one takes it along: so a quiet chain syncs once for a block.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from zlib import crc32

from storage import keys
from storage.buckets import BucketRows, Content, Held
from storage.disk import AppendFile, Disk, ReadFile, io_errors
from storage.errors import StorageError, StoreDamaged, StoreUnavailable
from storage.kv import KeyValue, Put, View
from storage.place_rows import AGAIN_MIN, PlaceRows, former_places, put_into

SEGMENT_SUFFIX = ".seg"
# A small state leaves two of them in garbage.
SEGMENT_BYTES_MIN = 16 * 2**20
# Of a large state a segment is this part of what lives, so there are some seventy. Each is an open file.
SEGMENTS = 32
SEGMENT_BYTES_MAX = 2**30  # an offset has four octets
# A block moves this much out of the segment that is being emptied, and twice what it writes itself: it makes less
# garbage than goes.
MOVED_SHARE = 256  # of the smallest segment
# A sync costs 0.25 ms and more, as much as so many buckets that are written twice, into rows and into the log. So much of
# them lies in rows, and in memory: what a larger block takes along must not hold it up.
SMALL_BLOCK_BUCKETS = 64
SMALL_BLOCK_BYTES = 32 * 2**10
SMALL_BLOCKS = 32
ADOPTED_AT_ONCE = 4_096  # buckets of a store that an older version wrote

_OFFSET_BITS = 32
_OFFSET_MAX = (1 << _OFFSET_BITS) - 1

CRC_BYTES = 4


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a log lies, and in which portions."""

    directory: str
    disk: Disk
    segment_bytes_min: int = SEGMENT_BYTES_MIN
    small_block_bytes: int = SMALL_BLOCK_BYTES
    places_again_min: int = AGAIN_MIN


class BucketLog:
    """One thread writes at a time; the lock that guards `written` guards `find`."""

    def __init__(
        self, kv: KeyValue, place: LogPlace, older: Sequence[Put] = (), *, as_it_is: bool = False
    ) -> None:
        """`kv`: the store whose rows name the records; `older`: what belongs into the batch that makes a store of an older
        version one of this; `as_it_is`: it stays one, and nothing is written. Raises `StoreDamaged`, `StoreUnavailable`."""
        self._directory, self._disk, self._as_it_is = place.directory, place.disk, as_it_is
        self._segment_bytes_min = place.segment_bytes_min
        self._small_block_bytes = place.small_block_bytes
        self._rows: dict[int, bytes] = {}  # what lies in rows k, by bucket
        self._rows_bytes = 0
        self._segments: dict[int, _Segment] = {}
        self._writer: _Writer | None = None  # of the newest segment, from the first block on
        # As the block that is being written leaves it; and what it writes into rows, None: nothing stays in them.
        self._next: dict[int, tuple[int, int]] = {}
        self._next_rows: Mapping[int, bytes] | None = {}
        self._emptying: _Segment | None = None
        self._to_move: Iterator[int] = iter(())  # buckets whose records lived in it
        self._unnamed: list[int] = []  # segments that go when something is written
        self._unsure = self._closed = False  # unsure: what is on the disk
        # By bucket, as of the newest block on disk: segment and offset, 0 for an empty one; and the length.
        self._place_rows = PlaceRows(place.places_again_min)
        self._places, self._lengths = self._place_rows.load(kv)
        former = former_places(kv)
        if former and not older:
            raise StoreDamaged("the state store has rows that its format version does not know")
        put_into(self._places, self._lengths, former)
        with io_errors(self._directory):
            self._load()
        if former or not older:
            self._load_rows(kv)
        if older and not as_it_is:
            self._adopt_places(kv, older, former) if former else self._adopt(kv, older)

    def find(self, index: int, view: Callable[[], View] | None = None) -> Content | None:
        """Of the newest block on disk, for as long as anybody holds it; None for an empty bucket."""
        if self._closed:
            raise StoreUnavailable(f"{self._directory} is closed")
        place = self._places[index] if index < len(self._places) else 0
        if place:
            return self._record(index)
        return Held(self._rows[index]) if index in self._rows else None

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """All buckets that are not empty, in the order in which they lie on the disk: a start reads it from
        end to end, not to and fro."""
        for index in sorted(range(len(self._places)), key=self._places.__getitem__):
            if self._closed:
                raise StoreUnavailable(f"{self._directory} is closed")
            if self._places[index]:
                yield index, self._record(index).read()
        yield from self._rows.copy().items()

    def _record(self, index: int) -> "Record":
        place = self._places[index]
        return Record(self._segments[place >> _OFFSET_BITS], index, place, self._lengths[index])

    def close(self) -> None:
        """Whoever is inside a file keeps it open: a dead disk may hold him."""
        self._closed = True
        if not self._unsure:
            self._segments, self._writer, self._emptying = {}, None, None

    # --- writing

    def puts(self, buckets: Mapping[int, bytes]) -> list[Put]:
        """Brings the contents that a block leaves to the disk; the rows that name them, for its batch. If that or
        the batch fails nothing more is accepted: what reached the disk is known only after a restart."""
        assert not self._as_it_is, "who only looks writes nothing"
        unsure, self._unsure = self._unsure, True  # first: who closes now leaves the segments
        if self._closed or unsure:
            raise StoreUnavailable(f"{self._directory} failed before; restart the node")
        with io_errors(self._directory):
            size = sum(map(len, buckets.values()))
            if self._is_small(len(buckets), size):
                return self._put_in_rows(buckets)
            self._remove_unnamed()
            return self._append(buckets, size)

    def _is_small(self, count: int, size: int) -> bool:
        """A block of so many buckets, and so many bytes; and the rows have room for it."""
        bytes_room = SMALL_BLOCKS * self._small_block_bytes - self._rows_bytes
        room = SMALL_BLOCKS * SMALL_BLOCK_BUCKETS - len(self._rows)
        return size <= min(self._small_block_bytes, bytes_room) and (
            count <= min(SMALL_BLOCK_BUCKETS, room)
        )

    def _put_in_rows(self, buckets: Mapping[int, bytes]) -> list[Put]:
        self._next, self._next_rows = dict.fromkeys(buckets, (0, 0)), buckets
        places, known = self._places, len(self._places)
        puts: list[Put] = [
            (keys.BUCKET + index.to_bytes(4), content or None)  # as `bucket_key`, without a call
            for index, content in buckets.items()
        ]
        left = {index: (0, 0) for index in buckets if index < known and places[index]}
        return puts + self._place_rows.put_alone(left) if left else puts

    def _append(self, buckets: Mapping[int, bytes], size: int, *, again: bool = True) -> list[Put]:
        """`again`: what has not changed is said again, too (storage/place_rows.py)."""
        segment, writer = self._newest()
        rows = {index: content for index, content in self._rows.items() if index not in buckets}
        written = size + sum(map(len, rows.values()))
        moved = self._moved(buckets, 2 * written + self._segment_bytes_min // MOVED_SHARE)
        new, parts = dict[int, tuple[int, int]](), list[bytes]()
        puts: list[Put] = [(keys.bucket_key(index), None) for index in self._rows]
        base, at = segment.number << _OFFSET_BITS, segment.size
        for index, content in chain(buckets.items(), rows.items(), moved):
            if not content:
                new[index] = 0, 0
                continue
            parts += (crc32(content, index).to_bytes(CRC_BYTES), content)
            new[index] = base | at, len(content)
            at += CRC_BYTES + len(content)
            assert at <= _OFFSET_MAX, "no block changes 4 GB of buckets"
        if parts:
            writer.file.write(b"".join(parts))
            writer.file.sync()
            segment.size = at
        self._next, self._next_rows = new, None
        if not again:
            return puts + self._place_rows.put_alone(new)
        return puts + self._place_rows.puts(self._places, self._lengths, new)

    def written(self) -> None:
        """The rows of the last `puts` are on disk."""
        self._take(self._next)
        if self._next_rows is None:
            self._rows, self._rows_bytes = {}, 0
        else:
            self._take_rows(self._next_rows)
        self._next, self._next_rows, self._unsure = {}, {}, False
        if self._emptying is not None and not self._emptying.living:
            del self._segments[self._emptying.number]
            self._unnamed.append(self._emptying.number)
            self._emptying = None

    def _take_rows(self, new: Mapping[int, bytes]) -> None:
        for index, content in new.items():
            self._rows_bytes += len(content) - len(self._rows.pop(index, b""))
            if content:
                self._rows[index] = content

    def _take(self, new: Mapping[int, tuple[int, int]]) -> None:
        places, lengths, segments = self._places, self._lengths, self._segments
        known = len(places)
        for index, (place, length) in new.items():
            old = places[index] if index < known else 0
            if old:
                segments[old >> _OFFSET_BITS].living -= CRC_BYTES + lengths[index]
            if place:
                segments[place >> _OFFSET_BITS].living += CRC_BYTES + length
        put_into(places, lengths, new)

    def _newest(self) -> "tuple[_Segment, _Writer]":
        """The segment that grows; a new one where that is full, or there is none."""
        number = max(self._segments, default=0)
        segment, writer = self._segments.get(number), self._writer
        if segment is None or segment.size >= self._segment_bytes():
            number = max(number, *self._unnamed, 0) + 1
            self._disk.make_directory(self._directory)
            writer = _Writer(self._disk.create(self._path(number)))
            self._disk.sync_directory(self._directory)  # before a row says its name
            segment = self._segments[number] = self._opened(number)
        elif writer is None:
            writer = _Writer(self._disk.open_append(self._path(number)))
        self._writer = writer
        return segment, writer

    # --- room

    def _moved(self, buckets: Mapping[int, bytes], bytes_max: int) -> Iterator[tuple[int, bytes]]:
        """What still lives in the segment that is being emptied, and is not of the block."""
        if self._emptying is None:
            self._choose()
        while self._emptying is not None and bytes_max > 0:
            index = next(self._to_move, None)
            if index is None:
                return
            lies_in = self._places[index] >> _OFFSET_BITS
            if lies_in == self._emptying.number and index not in buckets:
                content = self._record(index).read()
                bytes_max -= CRC_BYTES + len(content)
                yield index, content

    def _choose(self) -> None:
        """Empty the segment of which least lives, if more is garbage than lives, and a segment over (Rosenblum and
        Ousterhout, LFS, 1992). At least half of that one is garbage, and if buckets are written at random
        four fifths: so moving what lives costs a quarter of what blocks write."""
        living, newest = self._living(), max(self._segments)
        all_bytes = sum(segment.size for segment in self._segments.values())
        if all_bytes - living <= living + self._segment_bytes():
            return
        older = (segment for number, segment in self._segments.items() if number != newest)
        self._emptying = min(older, key=lambda one: one.living / one.size, default=None)
        if self._emptying is not None:
            low = self._emptying.number << _OFFSET_BITS
            high = low + (1 << _OFFSET_BITS)
            self._to_move = (i for i, place in enumerate(self._places) if low <= place < high)

    def _remove_unnamed(self) -> None:
        left = []
        for number in self._unnamed:
            try:
                self._disk.remove(self._path(number))
            except OSError:  # a place on the disk, and no more: tried again
                left.append(number)
        self._unnamed = left

    def _living(self) -> int:
        return sum(segment.living for segment in self._segments.values())

    def _segment_bytes(self) -> int:
        return min(SEGMENT_BYTES_MAX, max(self._segment_bytes_min, self._living() // SEGMENTS))

    # --- opening

    def _load(self) -> None:
        for index, place in enumerate(self._places):
            length = self._lengths[index]
            if place:
                self._name(place, length)
            elif length:
                raise StoreDamaged(f"the state store has bucket {index} nowhere")
        names = self._disk.names(self._directory)
        stems = [
            name.removesuffix(SEGMENT_SUFFIX) for name in names if name.endswith(SEGMENT_SUFFIX)
        ]
        # Emptied, or begun for a batch that was not written. They go when a block is written, and not before: if
        # a row is damaged, it may be the one that named them.
        found = {int(stem) for stem in stems if stem.isdecimal()}
        self._unnamed = sorted(found.difference(self._segments))

    def _name(self, place: int, length: int) -> None:
        """A row names the record there."""
        number, offset = place >> _OFFSET_BITS, place & _OFFSET_MAX
        if number not in self._segments:
            self._segments[number] = self._opened(number)
        segment = self._segments[number]
        if offset + CRC_BYTES + length > segment.size:
            raise StoreDamaged(f"{segment.path} ends before the records that it should have")
        segment.living += CRC_BYTES + length

    def _load_rows(self, kv: KeyValue) -> None:
        rows = dict(BucketRows(kv, beside_log=True).scan())
        both = next((i for i in rows if i < len(self._places) and self._places[i]), None)
        if not all(rows.values()):
            raise StoreDamaged("the state store has a row «k» that nobody wrote")
        if both is not None:
            raise StoreDamaged(f"the state store has bucket {both} twice")
        self._take_rows(rows)

    def _adopt(self, kv: KeyValue, older: Sequence[Put]) -> None:
        """Of a store that an older version wrote: in one batch, before which nothing has changed for whoever goes
        back to that version."""
        self._remove_unnamed()
        puts = [*older]
        rows = BucketRows(kv).scan()
        try:
            while part := dict(islice(rows, ADOPTED_AT_ONCE)):
                with io_errors(self._directory):
                    puts += self._append(part, 0, again=False)
                self.written()  # not on the disk yet; but nobody reads before it is
            for kind in (keys.BUCKET, keys.CHANGED):
                puts += [(key, None) for key, _ in kv.scan(kind)]
        except StorageError:
            # Or a disk that is full would be full for the former software, too.
            self._unnamed += self._segments
            self._remove_unnamed()
            raise
        kv.write(puts, sync=True)  # if this fails, nobody knows whether rows name them

    def _adopt_places(
        self, kv: KeyValue, older: Sequence[Put], former: dict[int, tuple[int, int]]
    ) -> None:
        """Of version 4: the records stay where they are."""
        puts, entries = [*older], iter(former.items())
        while part := dict(islice(entries, ADOPTED_AT_ONCE)):
            puts += self._place_rows.put_alone(part)
        puts += [(keys.place_key(index), None) for index in former]
        kv.write(puts, sync=True)

    def _opened(self, number: int) -> "_Segment":
        file = self._disk.open_read(self._path(number))
        if file is None:
            raise StoreDamaged(f"{self._path(number)} is not there")
        return _Segment(number, self._path(number), file)

    def _path(self, number: int) -> str:
        return f"{self._directory}/{number:08d}{SEGMENT_SUFFIX}"


class Record:
    """A bucket as a block left it."""

    __slots__ = ("_index", "_length", "_place", "segment")

    def __init__(self, segment: "_Segment", index: int, place: int, length: int) -> None:
        self.segment = segment
        self._index, self._place, self._length = index, place, length

    def read(self) -> bytes:
        """Raises `StoreDamaged` if it is not what was written, or `StoreUnavailable`."""
        segment, index, length = self.segment, self._index, self._length
        try:
            record = segment.file.read_at(self._place & _OFFSET_MAX, CRC_BYTES + length)
        except OSError:
            with io_errors(segment.path):
                raise
        content = record[CRC_BYTES:]
        if (
            crc32(content, index).to_bytes(CRC_BYTES) != record[:CRC_BYTES]
            or len(content) != length
        ):
            raise StoreDamaged(
                f"{segment.path}: the record of bucket {index} is not what was written"
            )
        return content


class _Segment:
    def __init__(self, number: int, path: str, file: ReadFile) -> None:
        self.number, self.path, self.file = number, path, file
        self.size = file.size()
        self.living = 0  # bytes of records that a row names

    def __del__(self) -> None:
        self.file.close()


class _Writer:
    def __init__(self, file: AppendFile) -> None:
        self.file = file

    def __del__(self) -> None:
        self.file.close()
