"""Where the state store keeps its buckets: in a log beside it (storage/bucket_log.py), or in rows of its own.

In rows, whole, in memory; and as versions 2 and 3 of the store kept them on disk: row k = the
entries of the bucket, row d = entries of the same form that were written since, 32 zero bytes
for a key that is gone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from salus.hashing import HASH_BYTES, ZERO_HASH
from salus.statemap import ENTRY_BYTES, change_entry
from storage import keys
from storage.errors import StoreDamaged
from storage.kv import KeyValue, Put, View


class Content(Protocol):
    """Of a bucket as one block left it."""

    def read(self) -> bytes: ...


class Buckets(Protocol):
    def find(self, index: int, view: Callable[[], View]) -> Content | None:
        """As of the newest block on disk, whatever is written before it is read; None: empty. `view`: of that block."""

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """All that are not empty, in any order; for when no block is written."""

    def puts(self, buckets: Mapping[int, bytes]) -> list[Put]:
        """What the batch of a block with these new contents must hold."""

    def written(self) -> None:
        """The batch with the last `puts` is on disk."""

    def close(self) -> None: ...


class BucketRows:
    """In the store itself."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        if any(next(kv.scan(kind), None) for kind in (keys.PLACE, keys.CHANGED)):
            raise StoreDamaged("the state store has buckets that do not lie in rows")

    def find(self, index: int, view: Callable[[], View]) -> Content:
        return _Row(view(), keys.bucket_key(index))

    def scan(self) -> Iterator[tuple[int, bytes]]:
        for key, content in self._kv.scan(keys.BUCKET):
            yield int.from_bytes(key[1:]), content

    def puts(self, buckets: Mapping[int, bytes]) -> list[Put]:
        return [(keys.bucket_key(index), content or None) for index, content in buckets.items()]

    def written(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Row:
    def __init__(self, view: View, key: bytes) -> None:
        self._view, self._key = view, key

    def read(self) -> bytes:
        return self._view.get(self._key) or b""


def former_rows(kv: KeyValue) -> list[bytes]:
    """The keys of all rows in which versions 2 and 3 of the store kept buckets."""
    return [key for kind in (keys.BUCKET, keys.CHANGED) for key, _ in kv.scan(kind)]


def scan_former(kv: KeyValue) -> Iterator[tuple[int, bytes]]:
    """The buckets in those rows."""
    for key, content in kv.scan(keys.BUCKET):
        changed = kv.get(keys.CHANGED + key[1:]) or b""
        for at in range(0, len(changed), ENTRY_BYTES):
            hashed_key = changed[at : at + HASH_BYTES]
            leaf = changed[at + HASH_BYTES : at + ENTRY_BYTES]
            content, _ = change_entry(content, hashed_key, None if leaf == ZERO_HASH else leaf)
        yield int.from_bytes(key[1:]), content
