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
from storage.errors import StoreDamaged
from storage.kv import KeyValue, Put, Snapshot

# Sixteen entries. A smaller bucket is cheap to write, and a second row would be one more to merge.
WHOLE_BYTES_MAX = 1_024


class BucketRows:
    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._split = bytearray()  # bucket number → has it a row d? as of the newest block on disk
        self._next: dict[int, bool] = {}  # and as of the block that is being written
        for key, _ in kv.scan(keys.CHANGED):
            self._mark(_number(key), True)

    def is_split(self, index: int) -> bool:
        """Has this bucket two rows? Then they are to be read from one snapshot."""
        return index < len(self._split) and self._split[index] == 1

    def read(self, reader: KeyValue | Snapshot, index: int, *, split: bool) -> bytes:
        content = reader.peek(keys.bucket_key(index)) or b""
        return patched(content, reader.peek(keys.changed_key(index)) or b"") if split else content

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """All buckets that are not empty, ascending; for when no block is written."""
        rows = self._kv.scan(keys.CHANGED)
        changed = next(rows, None)
        for key, content in self._kv.scan(keys.BUCKET):
            while changed is not None and changed[0][1:] < key[1:]:  # damage: it has no row k
                yield _number(changed[0]), patched(b"", changed[1])
                changed = next(rows, None)
            if changed is not None and changed[0][1:] == key[1:]:
                content = patched(content, changed[1])
                changed = next(rows, None)
            yield _number(key), content
        while changed is not None:
            yield _number(changed[0]), patched(b"", changed[1])
            changed = next(rows, None)

    # --- writing

    def puts(self, buckets: Mapping[int, bytes], write_set: bytes, bits: int) -> Iterable[Put]:
        """The rows after a block: `buckets` are the new contents, `write_set` its changes. A bucket
        whose changes are not among them is written whole."""
        self._next = {}
        if max(map(len, buckets.values()), default=0) <= WHOLE_BYTES_MAX and 1 not in self._split:
            # Every block of a state that is not large: nothing is asked of each bucket.
            return [
                (keys.BUCKET + index.to_bytes(4), content or None)
                for index, content in buckets.items()
            ]
        return self._rows_of(buckets, write_set, bits)

    def _rows_of(self, buckets: Mapping[int, bytes], write_set: bytes, bits: int) -> Iterator[Put]:
        large = {index for index, content in buckets.items() if len(content) > WHOLE_BYTES_MAX}
        changed = _by_bucket(write_set, bits, large)
        for index, content in buckets.items():
            split = self.is_split(index)
            if index in changed:
                since = (self._kv.peek(keys.changed_key(index)) or b"") if split else b""
                for change in changed[index]:
                    since, _ = change_entry(since, change.key_hash, change.new)
                if not _worth_folding(since, content):
                    self._next[index] = True
                    yield keys.changed_key(index), since
                    continue
            yield keys.bucket_key(index), content or None
            if split:
                self._next[index] = False
                yield keys.changed_key(index), None

    def written(self) -> None:
        """The rows of the last `puts` are on disk."""
        for index, split in self._next.items():
            self._mark(index, split)
        self._next = {}

    def _mark(self, index: int, split: bool) -> None:
        if index >> BUCKET_BITS_MAX:  # damage: no memory is to be laid out up to there
            raise StoreDamaged(f"the state store has changes of bucket {index}, which no state has")
        if index >= len(self._split):
            self._split.extend(bytes(index + 1 - len(self._split)))
        self._split[index] = split


def patched(content: bytes, changed: bytes) -> bytes:
    """A bucket's row k with its row d put into it."""
    for at in range(0, len(changed), ENTRY_BYTES):
        leaf = changed[at + HASH_BYTES : at + ENTRY_BYTES]
        content, _ = change_entry(
            content, changed[at : at + HASH_BYTES], None if leaf == ZERO_HASH else leaf
        )
    return content


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
