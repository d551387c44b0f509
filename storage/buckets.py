"""Where the state store keeps its buckets: in a log beside it (storage/bucket_log.py), or in rows of its own.

Row k = the entries of the bucket: of all in memory, on disk of those that small blocks wrote. Versions 2
and 3 of the store had all in rows; in 3, row d = entries of the same form that were written since,
32 zero bytes for a key that is gone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from salus.hashing import HASH_BYTES, ZERO_HASH
from salus.statemap import BUCKET_BITS_MAX, ENTRY_BYTES, change_entry
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
    """In the store itself. Those of an older version are read, and not written."""

    def __init__(self, kv: KeyValue, *, beside_log: bool = False) -> None:
        self._kv = kv
        in_log = (next(kv.scan(kind), None) for kind in (keys.PLACES, keys.PLACE))
        if not beside_log and any(in_log):
            raise StoreDamaged("the state store has buckets that do not lie in rows")
        self._older = next(kv.scan(keys.CHANGED), None) is not None
        if beside_log and self._older:
            raise StoreDamaged("the state store has rows that its format version does not know")

    def find(self, index: int, view: Callable[[], View]) -> Content:
        return _Row(view(), index, older=self._older)

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """Raises `StoreDamaged` if rows are not such as any version wrote."""
        changed = {number_of(key) for key, _ in self._kv.scan(keys.CHANGED)}
        for key, content in self._kv.scan(keys.BUCKET):
            index = number_of(key)
            if index in changed:
                changed.remove(index)
                content = _patched(content, self._kv.get(keys.changed_key(index)) or b"")
            yield index, content
        if changed:
            raise StoreDamaged(f"the state store has of bucket {min(changed)} only what changed")

    def puts(self, buckets: Mapping[int, bytes]) -> list[Put]:
        assert not self._older, "who only looks writes nothing"
        return [(keys.bucket_key(index), content or None) for index, content in buckets.items()]

    def written(self) -> None:
        pass

    def close(self) -> None:
        pass


class Held:
    """In memory."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


class _Row:
    def __init__(self, view: View, index: int, *, older: bool) -> None:
        self._view, self._index, self._older = view, index, older

    def read(self) -> bytes:
        content = self._view.get(keys.bucket_key(self._index)) or b""
        changed = self._view.get(keys.changed_key(self._index)) if self._older else None
        return content if changed is None else _patched(content, changed)


def _patched(content: bytes, changed: bytes) -> bytes:
    """A row k with its row d put into it."""
    if len(changed) % ENTRY_BYTES:
        raise StoreDamaged("the state store has a row «d» that nobody wrote")
    for at in range(0, len(changed), ENTRY_BYTES):
        hashed_key = changed[at : at + HASH_BYTES]
        leaf = changed[at + HASH_BYTES : at + ENTRY_BYTES]
        content, _ = change_entry(content, hashed_key, None if leaf == ZERO_HASH else leaf)
    return content


def number_of(key: bytes) -> int:
    """Of the bucket of a row; raises `StoreDamaged`."""
    index = int.from_bytes(key[1:])
    if len(key) != len(keys.bucket_key(0)) or index >> BUCKET_BITS_MAX:
        raise StoreDamaged("the state store has a bucket that no state has")
    return index
