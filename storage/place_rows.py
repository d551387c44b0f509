"""Rows l of the state store: where in the log the record of each bucket lies, as one block after the other says it.

◆ row = *bucket *place *length: as many of each as the row has entries, u32, u64 and u32. A place is segment u32 ‖
offset u32; it is 0, as the length is, for an empty bucket. Of a bucket counts what the last entry of the last row says.

A row for each bucket cost LevelDB 4 % of all that a transaction costs, and a twelfth of an operation
(docs/decisions/0028-place-rows.md). So a block writes one row: some of the places as they were, one bucket after the
other, and behind them those that it changes. Law of the file: a row goes once later ones say all that it says and all
before it have gone; so an empty bucket need not be said again.
"""

import sys
from array import array
from collections.abc import Mapping
from itertools import compress

from salus.statemap import BUCKET_BITS_MAX
from storage import keys
from storage.buckets import number_of
from storage.errors import StoreDamaged
from storage.kv import KeyValue, Put

# So many are said again for each that is changed. Two rounds lie there: three entries for each bucket, up to five
# with those of small blocks.
AGAIN = 2
AGAIN_MIN = 64  # a kilobyte; blocks of a few large buckets would leave a row for each of them
# So many rows go with each that is written, and one more for every four entries of it: small blocks may have left
# a row for each bucket, and until those have gone no larger row does.
GONE_MIN, GONE_SHARE = 4, 4

ENTRY_BYTES = 4 + 8 + 4
ROWS_MAX = 2**63  # at a thousand blocks a second, 300 million years
FORMER_ROW_BYTES = 8 + 4

Places = Mapping[int, tuple[int, int]]  # by bucket: place and length


class PlaceRows:
    def __init__(self, again_min: int = AGAIN_MIN) -> None:
        self._again_min = again_min
        self._first = self._next = 0  # the oldest row that is there, and the one that comes
        self._needed = 0  # later rows say all that those before this one say
        # The bucket that is said again next; those before it have been since this row.
        self._again = self._began = 0

    def load(self, kv: KeyValue) -> tuple["array[int]", "array[int]"]:
        """Place and length by the number of the bucket. Raises `StoreDamaged`."""
        places, lengths, said = array("Q"), array("I"), array("Q")
        fault: StoreDamaged | None = None
        for key, row in kv.scan(keys.PLACES):
            try:
                self._load_row(key, row, places, lengths, said)
            except StoreDamaged as error:
                fault = error
                break  # out of the scan: while the error holds it the store would not close
        if fault is not None:
            raise fault
        self._go_on(places, said)
        return places, lengths

    def _load_row(
        self,
        key: bytes,
        row: bytes,
        places: "array[int]",
        lengths: "array[int]",
        said: "array[int]",
    ) -> None:
        number = int.from_bytes(key[1:])
        if len(key) != len(keys.places_key(0)) or number >= ROWS_MAX:
            raise _nobody_wrote()
        if not places:
            self._first = self._next = number
        if number != self._next:
            raise StoreDamaged(f"the state store lacks its row «l» {self._next}")
        self._next = number + 1
        entries = _entries(row)
        put_into(places, lengths, entries)
        said.extend([0] * (len(places) - len(said)))
        for bucket in entries:
            said[bucket] = number

    def _go_on(self, places: "array[int]", said: "array[int]") -> None:
        """Where the round was: with the bucket that was said least lately. `said`: the last row of each."""
        living = list(compress(range(len(places)), places))
        self._again = min(living, key=said.__getitem__, default=0)
        self._needed = said[self._again] if living else self._next
        before = (said[bucket] for bucket in living if bucket < self._again)
        self._began = min(before, default=self._next)

    def puts(self, places: "array[int]", lengths: "array[int]", new: Places) -> list[Put]:
        """For the batch of a block that changes `new`; `places`, `lengths`: as the one before has left them. The
        batch is written, or nothing is asked for any more."""
        low = self._again
        high = min(len(places), low + max(self._again_min, AGAIN * len(new)))
        some = places[low:high]
        puts = self._put(
            array("I", compress(range(low, high), some)),
            array("Q", compress(some, some)),
            array("I", compress(lengths[low:high], some)),
            new,
        )
        self._again = high
        if high == len(places):
            self._needed, self._began, self._again = self._began, self._next, 0
        return puts

    def put_alone(self, new: Places) -> list[Put]:
        """As `puts`, of a small block: it says nothing again."""
        return self._put(array("I"), array("Q"), array("I"), new)

    def _put(
        self, buckets: "array[int]", places: "array[int]", lengths: "array[int]", new: Places
    ) -> list[Put]:
        buckets.extend(new)
        places.extend([place for place, _ in new.values()])
        lengths.extend([length for _, length in new.values()])
        row = b"".join(_big_endian(column).tobytes() for column in (buckets, places, lengths))
        gone_max = GONE_MIN + len(buckets) // GONE_SHARE
        gone = range(self._first, min(self._first + gone_max, self._needed))
        puts: list[Put] = [(keys.places_key(self._next), row)]
        puts += [(keys.places_key(number), None) for number in gone]
        self._first, self._next = gone.stop, self._next + 1
        return puts


def has_former_places(kv: KeyValue) -> bool:
    """Whether the store has places in the rows of version 4."""
    return next(iter(kv.scan(keys.PLACE)), None) is not None


def former_places(kv: KeyValue) -> dict[int, tuple[int, int]]:
    """What version 4 had in rows p, one for each bucket. Raises `StoreDamaged`."""
    found: dict[int, tuple[int, int]] = {}
    for key, row in list(kv.scan(keys.PLACE)):
        if len(row) != FORMER_ROW_BYTES:
            raise StoreDamaged("the state store has a row «p» that nobody wrote")
        found[number_of(key)] = int.from_bytes(row[:8]), int.from_bytes(row[8:])
    return found


def put_into(places: "array[int]", lengths: "array[int]", new: Places) -> None:
    """Let them say what `new` says."""
    short = max(new, default=-1) + 1 - len(places)
    if short > 0:
        places.frombytes(bytes(short * places.itemsize))
        lengths.frombytes(bytes(short * lengths.itemsize))
    for bucket, (place, length) in new.items():
        places[bucket], lengths[bucket] = place, length


def _entries(row: bytes) -> dict[int, tuple[int, int]]:
    count, rest = divmod(len(row), ENTRY_BYTES)
    if rest or not count:
        raise _nobody_wrote()
    columns, at = (array("I"), array("Q"), array("I")), 0
    for column in columns:
        column.frombytes(row[at : at + count * column.itemsize])
        at += count * column.itemsize
        _big_endian(column)
    buckets, places, lengths = columns
    if max(buckets) >> BUCKET_BITS_MAX:
        raise StoreDamaged("the state store has a bucket that no state has")
    return dict(zip(buckets, zip(places, lengths, strict=True), strict=True))


def _big_endian(column: "array[int]") -> "array[int]":
    """To what is written, and back."""
    if sys.byteorder == "little":
        column.byteswap()
    return column


def _nobody_wrote() -> StoreDamaged:
    return StoreDamaged("the state store has a row «l» that nobody wrote")
