"""The part of plyvel that `storage/kv.py` uses; the package ships no types."""

from collections.abc import Iterator
from typing import Self

class Error(Exception): ...
class IOError(Error): ...
class CorruptionError(Error): ...

class DBIterator(Iterator[tuple[bytes, bytes]]):
    def __next__(self) -> tuple[bytes, bytes]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, error: object, trace: object) -> None: ...
    def close(self) -> None: ...

class WriteBatch:
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def write(self) -> None: ...

class Snapshot:
    def close(self) -> None: ...
    def iterator(
        self,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_stop: bool = False,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> DBIterator: ...

class DB:
    def __init__(
        self,
        name: str,
        *,
        create_if_missing: bool = False,
        error_if_exists: bool = False,
        paranoid_checks: bool | None = None,
        write_buffer_size: int | None = None,
        max_open_files: int | None = None,
        lru_cache_size: int | None = None,
        block_size: int | None = None,
        max_file_size: int | None = None,
        compression: str | None = "snappy",
        bloom_filter_bits: int = 0,
    ) -> None: ...
    closed: bool
    def close(self) -> None: ...
    def get(
        self, key: bytes, default: None = None, *, verify_checksums: bool = False
    ) -> bytes | None: ...
    def write_batch(self, *, transaction: bool = False, sync: bool = False) -> WriteBatch: ...
    def iterator(
        self,
        *,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        include_key: bool = True,
        include_value: bool = True,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> DBIterator: ...
    def snapshot(self) -> Snapshot: ...
    def compact_range(self, *, start: bytes | None = None, stop: bytes | None = None) -> None: ...
    def get_property(self, name: bytes) -> bytes | None: ...
    def approximate_size(self, start: bytes, stop: bytes) -> int: ...
