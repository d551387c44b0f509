"""How buckets lie in the state store: a large one whole now and then, and beside it what changed since.

◆ row k = the bucket's entries, row d = entries of the same form, key hash ‖ leaf: what was written
after row k, 32 zero bytes for a key that is gone. The bucket is row k with row d put into it.

A block changes random buckets, one entry each. At 10^7 keys a bucket is 2.5 kB, and LevelDB merges
what is written a dozen times: whole, it would cost more than all else that a transaction does
(docs/performance.md, "A large state"). Law of the file: both rows of a bucket change in the batch
of a block and in no other way, so each batch on disk leaves the bucket as that block made it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from salus.hashing import HASH_BYTES, ZERO_HASH
from salus.statemap import BUCKET_BITS_MAX, ENTRY_BYTES, bucket_of, change_entry
from salus.writeset import Change, changes
from storage import keys
from storage.bucket_cache import BucketCache
from storage.errors import StoreDamaged
from storage.kv import KeyValue, Put, View

# Sixteen entries. A smaller bucket is cheap to write, and a second row would be one more to merge.
WHOLE_BYTES_MAX = 1_024


class BucketRows:
    """The rows on disk, and in memory of each bucket what spares most for its size: row d of one that has two,
    which is a tenth of it and needed again when it is written; all of a small one; of a large one that lies
    in row k alone, nothing. Not thread-safe but for `read` and `puts`."""

    def __init__(self, kv: KeyValue, cache: BucketCache) -> None:
        self._kv, self._cache = kv, cache
        self._split = bytearray()  # bucket number → has it a row d? as of the newest block on disk
        # As the block that is being written will leave it.
        self._next_split: dict[int, bool] = {}
        self._next_held: Mapping[int, bytes] = {}
        self._next_dropped: Iterable[int] = ()
        for key, _ in kv.scan(keys.CHANGED):
            self._mark(_number(key), True)

    def held(self, index: int) -> tuple[bytes | None, bool]:
        """What is in memory of the bucket, and is that row d? Else it is all of it."""
        return self._cache.get(index), index < len(self._split) and self._split[index] == 1

    def read(
        self, view: View, index: int, *, held: bytes | None, split: bool
    ) -> tuple[bytes, bytes | None]:
        """The bucket, and what of it is worth holding: `held` itself if that is known. `held` and `split`
        are of the view's block."""
        content = view.get(keys.bucket_key(index)) or b""
        if not split:
            return content, _worth_holding(content)
        changed = held if held is not None else view.get(keys.changed_key(index)) or b""
        return patched(content, changed), changed

    def scan(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        """All buckets that are not empty, ascending, and what of each is worth holding; for when no
        block is written."""
        rows = self._kv.scan(keys.CHANGED)
        changed = next(rows, None)
        for key, content in self._kv.scan(keys.BUCKET):
            while changed is not None and changed[0][1:] < key[1:]:  # damage: it has no row k
                yield _number(changed[0]), patched(b"", changed[1]), changed[1]
                changed = next(rows, None)
            held = _worth_holding(content)
            if changed is not None and changed[0][1:] == key[1:]:
                content, held = patched(content, changed[1]), changed[1]
                changed = next(rows, None)
            yield _number(key), content, held
        while changed is not None:
            yield _number(changed[0]), patched(b"", changed[1]), changed[1]
            changed = next(rows, None)

    # --- writing

    def puts(
        self, view: View, buckets: Mapping[int, bytes], write_set: bytes, bits: int
    ) -> Iterable[Put]:
        """The rows after a block: `view` is of the state before it, `buckets` are the new contents, `write_set`
        its changes. A bucket whose changes are not among them is written whole."""
        self._next_split, self._next_dropped = {}, ()
        if max(map(len, buckets.values()), default=0) <= WHOLE_BYTES_MAX and 1 not in self._split:
            # Every block of a state that is not large: nothing is asked of each bucket.
            self._next_held = buckets
            return [
                (keys.BUCKET + index.to_bytes(4), content or None)
                for index, content in buckets.items()
            ]
        return self._rows_of(view, buckets, write_set, bits)

    def _rows_of(
        self, view: View, buckets: Mapping[int, bytes], write_set: bytes, bits: int
    ) -> Iterator[Put]:
        left, dropped = dict[int, bytes](), list[int]()
        self._next_held, self._next_dropped = left, dropped
        large = {index for index, content in buckets.items() if len(content) > WHOLE_BYTES_MAX}
        changed = _by_bucket(write_set, bits, large)
        for index, content in buckets.items():
            held, split = self.held(index)
            if index in changed:
                since = b""
                if split:
                    since = held if held is not None else view.get(keys.changed_key(index)) or b""
                for change in changed[index]:
                    since, _ = change_entry(since, change.key_hash, change.new)
                if not _worth_folding(since, content):
                    left[index], self._next_split[index] = since, True
                    yield keys.changed_key(index), since
                    continue
            if index in large:
                dropped.append(index)
            else:
                left[index] = content
            yield keys.bucket_key(index), content or None
            if split:
                self._next_split[index] = False
                yield keys.changed_key(index), None

    def written(self) -> None:
        """The rows of the last `puts` are on disk."""
        for index, split in self._next_split.items():
            self._mark(index, split)
        self._cache.drop_all(self._next_dropped)
        self._cache.put_all(self._next_held)
        self._next_split, self._next_held, self._next_dropped = {}, {}, ()

    def _mark(self, index: int, split: bool) -> None:
        if index >> BUCKET_BITS_MAX:  # damage: no memory is to be laid out up to there
            raise StoreDamaged(f"the state store has changes of bucket {index}, which no state has")
        if index >= len(self._split):
            self._split.extend(bytes(index + 1 - len(self._split)))
        self._split[index] = split


def _worth_holding(content: bytes) -> bytes | None:
    return content if len(content) <= WHOLE_BYTES_MAX else None


def patched(content: bytes, changed: bytes) -> bytes:
    """A bucket's row k with its row d put into it."""
    # Both ascend, so one pass puts all in: a fifth less time than one `change_entry` after another.
    parts, taken, entries = list[bytes](), 0, len(content) // ENTRY_BYTES
    for row in range(0, len(changed), ENTRY_BYTES):
        hashed_key, low, high = changed[row : row + HASH_BYTES], taken, entries
        while low < high:  # as `find_entry`
            middle = (low + high) // 2
            at = middle * ENTRY_BYTES
            if content[at : at + HASH_BYTES] < hashed_key:
                low = middle + 1
            else:
                high = middle
        at = low * ENTRY_BYTES
        parts.append(content[taken * ENTRY_BYTES : at])
        taken = low + (content[at : at + HASH_BYTES] == hashed_key)
        if changed[row + HASH_BYTES : row + ENTRY_BYTES] != ZERO_HASH:
            parts.append(changed[row : row + ENTRY_BYTES])
    parts.append(content[taken * ENTRY_BYTES :])
    return b"".join(parts)


def _worth_folding(changed: bytes, content: bytes) -> bool:
    """With n entries that changed of N, a change costs n/2 entries of row d and N/n of row k:
    least where n² is 2N."""
    entries = len(changed) // ENTRY_BYTES
    return entries * entries > 2 * (len(content) // ENTRY_BYTES)


def _by_bucket(write_set: bytes, bits: int, wanted: set[int]) -> dict[int, list[Change]]:
    found = defaultdict(list)
    for change in changes(write_set):
        index = bucket_of(change.key_hash, bits)
        if index in wanted:
            found[index].append(change)
    return found


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:])
