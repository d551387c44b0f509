"""Which transactions were executed already: a compact index by expiry height.

A duplicate has the same bytes, hence the same expiry, and after its expiry no proposal may hold
it (rule S15). So ids are kept by expiry, in buckets of 64 heights that are dropped when passed.
Of an id 8 bytes are kept; `maybe` can err towards yes, and whoever asks confirms by the full id.
A bucket is a small set and, once that was full, a few sorted arrays behind a filter of bits: nearly
all ids that are asked for are new, and one bit says so. A bucket of few ids has no filter: with the
widest window any sender could ask for 15,625 buckets, a gigabyte of filters. 4 million ids, the window at 10,000
transactions a second, stay below 50 MB; and no crafted id makes a lookup slow.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

HEIGHTS_PER_BUCKET = 64
PREFIX_BYTES = 8
FRESH_MAX = 2_048  # ids of a bucket that wait in a set; sorting them costs about 0.3 ms
RUN_MAX = 65_536  # merging longer runs would stop the loop for more than 5 ms
FILTER_BYTES = 2**16  # a bucket: one id in sixteen is looked up in vain at 31,000 ids


class _Bucket:
    __slots__ = ("_filter", "fresh", "runs")

    def __init__(self) -> None:
        self._filter: bytearray | None = None  # before the first run the set alone answers
        self.fresh: set[bytes] = set()  # prefixes: never FRESH_MAX when `add` returns
        self.runs: list[array[int]] = []  # each ascending

    def add(self, prefixes: list[bytes]) -> None:
        bits = self._filter
        if bits is not None:
            for prefix in prefixes:
                bits[prefix[0] << 8 | prefix[1]] |= 1 << (prefix[2] & 7)
        self.fresh.update(prefixes)
        if len(self.fresh) >= FRESH_MAX:
            self._pack()

    def holds(self, tx_id: bytes) -> bool:
        # The bit stands where the first bytes say: for nearly all ids no number is made of more.
        bits = self._filter
        if bits is not None and not bits[tx_id[0] << 8 | tx_id[1]] & 1 << (tx_id[2] & 7):
            return False
        if tx_id[:PREFIX_BYTES] in self.fresh:
            return True
        prefix = int.from_bytes(tx_id[:PREFIX_BYTES])
        for run in self.runs:
            at = bisect_left(run, prefix)
            if at < len(run) and run[at] == prefix:
                return True
        return False

    def _pack(self) -> None:
        run = array("Q", sorted(map(int.from_bytes, self.fresh)))
        if self._filter is None:
            self._filter = bytearray(FILTER_BYTES)
            for prefix in run:
                self._filter[prefix >> 48] |= 1 << (prefix >> 40 & 7)
        self.fresh.clear()
        # Runs of like size are merged, as a log-structured store does; sorting two ascending
        # runs is a linear merge.
        while self.runs and len(self.runs[-1]) <= len(run) and 2 * len(run) <= RUN_MAX:
            run = array("Q", sorted([*self.runs.pop(), *run]))
        self.runs.append(run)


class ReplayIndex:
    """8-byte prefixes of executed ids, by expiry height."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}

    def add(self, ids: Iterable[tuple[bytes, int]]) -> None:
        """(id or its first 8 bytes, expiry height): of a block, or of all at start."""
        prefixes: defaultdict[int, list[bytes]] = defaultdict(list)
        for tx_id, expiry_height in ids:
            prefixes[expiry_height // HEIGHTS_PER_BUCKET].append(tx_id[:PREFIX_BYTES])
        for number, some in prefixes.items():
            bucket = self._buckets.get(number)
            if bucket is None:
                bucket = self._buckets[number] = _Bucket()
            # Most blocks have no more; of a larger one, and of all at start, none needs a longer run.
            for at in range(0, len(some), FRESH_MAX):
                bucket.add(some[at : at + FRESH_MAX])

    def maybe(self, tx_id: bytes, expiry_height: int) -> bool:
        """False: certainly not executed before. True: confirm by the full id."""
        bucket = self._buckets.get(expiry_height // HEIGHTS_PER_BUCKET)
        return bucket is not None and bucket.holds(tx_id)

    def among(self, ids: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """The ids of which `maybe` says yes."""
        buckets, found = self._buckets, list[bytes]()
        for tx_id, expiry_height in ids:
            bucket = buckets.get(expiry_height // HEIGHTS_PER_BUCKET)
            if bucket is not None and bucket.holds(tx_id):
                found.append(tx_id)
        return found

    def passed(self, height: int) -> None:
        """`height` is executed: what expires at or below can never be proposed again."""
        first = (height + 1) // HEIGHTS_PER_BUCKET
        for number in [number for number in self._buckets if number < first]:
            del self._buckets[number]

    def __len__(self) -> int:
        return sum(
            len(bucket.fresh) + sum(len(run) for run in bucket.runs)
            for bucket in self._buckets.values()
        )
