"""Which transactions were executed already: a compact index by expiry height.

A duplicate has the same bytes, hence the same expiry, and after its expiry no proposal may hold
it (rule S15). So ids are kept by expiry, in buckets of 64 heights that are dropped when passed.
A bucket is a small set of the ids' beginnings; what is too much for that goes into Bloom filters, each twice as large
as the one before (after Almeida, Baquero, Preguiça and Hutchison, Scalable Bloom Filters, 2007). `maybe` can err
towards yes, once in 500 times for each full filter, and whoever asks confirms by the full id. 4 million ids, the window
at 10,000 transactions a second, take 10 to 28 MB, in 128 buckets or in one, if all senders choose one expiry: then
seven filters are asked instead of one. A bucket of few ids has no filter: with the widest window any sender could
ask for 15,625 buckets, a gigabyte of filters. For an id that is taken for an executed one the store is read each time
it is asked for: when a transaction comes (even unsigned), when it enters the pool, and when it is executed.
"""

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import combinations

HEIGHTS_PER_BUCKET = 64
PREFIX_BYTES = 8  # of an id: as much as the store's own index has
FRESH_MAX = 1_024  # ids of a bucket that lie in a set; from so many on its filter takes less
FILTER_BYTES = 2**16  # the first of a bucket
BITS_PER_ID = 20

# All bits of an id lie in one word of 64, so that one step sets or asks them (blocked Bloom filters: Putze, Sanders
# and Singler, 2007). Which word say the id's lowest bits; which five of it, its highest 24, by two tables.
_CHOICES = 4_096


def _masks(bits: int) -> tuple[int, ...]:
    """So many choices of `bits` bits of 64, spread evenly over all that there are."""
    every = list(combinations(range(64), bits))
    return tuple(
        sum(1 << bit for bit in every[i * len(every) // _CHOICES]) for i in range(_CHOICES)
    )


_THREE, _TWO = _masks(3), _masks(2)


class _Filter:
    __slots__ = ("mask", "room", "words")

    def __init__(self, size: int) -> None:
        """`size`: bytes, a power of two."""
        self.words, self.mask = array("Q", bytes(size)), size // 8 - 1
        self.room = 8 * size // BITS_PER_ID  # so many ids more

    def add(self, prefixes: Iterable[bytes]) -> None:
        words, mask, three, two = self.words, self.mask, _THREE, _TWO
        for number in map(int.from_bytes, prefixes):
            words[number & mask] |= three[number >> 52] | two[number >> 40 & 4_095]


class _Bucket:
    __slots__ = ("filters", "fresh", "packed")

    def __init__(self) -> None:
        self.fresh: set[bytes] = set()  # prefixes; empty once there is a filter
        self.filters: list[_Filter] = []
        self.packed = 0  # ids that the filters hold

    def add(self, prefixes: list[bytes]) -> None:
        if self.filters:
            self._pack(prefixes)
            return
        self.fresh.update(prefixes)
        if len(self.fresh) >= FRESH_MAX:
            self._pack(self.fresh)
            self.fresh.clear()

    def holds(self, tx_id: bytes) -> bool:
        prefix = tx_id[:PREFIX_BYTES]
        if not self.filters:
            return prefix in self.fresh
        number = int.from_bytes(prefix)
        bits = _THREE[number >> 52] | _TWO[number >> 40 & 4_095]
        for one in self.filters:
            if one.words[number & one.mask] & bits == bits:
                return True
        return False

    def _pack(self, prefixes: Collection[bytes]) -> None:
        filters, count = self.filters, len(prefixes)
        if filters and filters[-1].room >= count:
            filters[-1].add(prefixes)
        else:
            made = _Filter(FILTER_BYTES << len(filters))
            made.add(prefixes)
            filters.append(made)  # whole: from now on the set is not asked
        filters[-1].room -= count
        self.packed += count


class ReplayIndex:
    """Prefixes of executed ids, by expiry height."""

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
            # Most blocks have no more; of a larger one, and of all at start, set and filter take no more
            # at once, and the smallest filter has room for it.
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
        return sum(len(bucket.fresh) + bucket.packed for bucket in self._buckets.values())
