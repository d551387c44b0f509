"""Everything that a node leaves behind, opened as far as it can be opened without a key."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import plyvel

DEPTH_MAX = 12  # bytes in bytes in bytes; a transaction in a proposal in a block takes five


@dataclass(slots=True)
class Sink:
    """What was found in one place: bytes as they lie, and what they decode to."""

    pieces: list[bytes] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)

    def take(self, raw: bytes) -> None:
        self.pieces.append(raw)
        for leaf in leaves(raw):
            if isinstance(leaf, int):
                self.numbers.add(leaf)
            else:
                self.pieces.append(leaf)


def leaves(raw: bytes, depth: int = 0) -> Iterator[bytes | int]:
    """Texts, byte strings and numbers of MessagePack, decoded over and over; nothing for anything
    else. A salt or a letter may stand before it: values of the state map begin with 16 bytes."""
    if depth == DEPTH_MAX or not raw:
        return
    for skip in (0, 16):
        try:
            content = msgpack.unpackb(
                raw[skip:], strict_map_key=False, object_pairs_hook=list, timestamp=1
            )
        except (ValueError, msgpack.exceptions.UnpackException):
            continue
        if isinstance(content, int) and len(raw) - skip > 9:
            continue
        yield from _walk(content, depth)


def _walk(content: Any, depth: int) -> Iterator[bytes | int]:
    if isinstance(content, bytes):
        yield content
        yield from leaves(content, depth + 1)
    elif isinstance(content, str):
        yield content.encode()
    elif isinstance(content, bool):
        return
    elif isinstance(content, int):
        yield content
    elif isinstance(content, msgpack.ExtType):
        yield content.data
    elif isinstance(content, list | tuple):  # a map comes as pairs
        for value in content:
            yield from _walk(value, depth)


def database(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of a LevelDB; nobody else may have it open."""
    store = plyvel.DB(str(path))
    try:
        yield from store
    finally:
        store.close()


def of_databases(paths: Iterable[Path]) -> Sink:
    sink = Sink()
    for path in paths:
        for key, value in database(path):
            sink.take(key)
            sink.take(value)
    return sink


def of_files(paths: Iterable[Path]) -> Sink:
    """Files as they lie, their names, and what stands in archives."""
    sink = Sink()
    for path in sorted(paths):
        sink.pieces.append(path.name.encode())
        if not path.is_file():
            continue
        sink.take(path.read_bytes())
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    sink.take(archive.read(name))
    return sink


def of_texts(texts: Iterable[str]) -> Sink:
    sink = Sink()
    for text in texts:
        sink.take(text.encode())
    return sink


def databases_in(home: Path) -> list[Path]:
    """The LevelDB folders of a node's home."""
    return sorted(path.parent for path in home.rglob("CURRENT"))
