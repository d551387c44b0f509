"""What every member holds of a chain, taken apart: transactions, state values, and who they speak of."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus.hashing import domain
from tests.privacy.sinks import database, leaves

HASH_BYTES = 32
TELLING_BYTES_MIN = 8  # shorter values are shared by chance

SOURCES = Path(__file__).parents[2]
_DOMAIN = re.compile(r"""(?:domain|hasher)\(\s*["']([a-z0-9-]+)["']""")


@dataclass(slots=True)
class Public:
    """A member's whole database. `entries`: what belongs together, one transaction or one state
    value with its key, as byte strings."""

    hashes: set[bytes] = field(default_factory=set)  # every value of 32 bytes
    entries: list[frozenset[bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, databases: Iterable[Path]) -> "Public":
        found = cls()
        for path in databases:
            for key, value in database(path):
                found._take(key, value)
        return found

    def _take(self, key: bytes, value: bytes) -> None:
        opened = [leaf for leaf in leaves(value) if isinstance(leaf, bytes)]
        self.hashes.update(leaf for leaf in opened if len(leaf) == HASH_BYTES)
        for piece in (key, value):
            self.hashes.update(_windows(piece))
        # A block holds many transactions, each an entry of its own; all else is one.
        inner = [leaf for leaf in opened if len(leaf) > 4 * HASH_BYTES]
        if key[:1] in (b"b", b"r"):
            for piece in inner:
                self.entries.append(frozenset(_telling(piece)))
        elif key[:1] == b"s":
            parts = {leaf for leaf in opened if len(leaf) >= TELLING_BYTES_MIN}
            self.entries.append(frozenset(parts | set(_windows(key))))

    def about(self, handle: bytes) -> frozenset[bytes]:
        """All byte strings that stand together with a handle anywhere."""
        return frozenset().union(*(entry for entry in self.entries if handle in entry))


def _telling(piece: bytes) -> Iterator[bytes]:
    for leaf in leaves(piece):
        if isinstance(leaf, bytes) and TELLING_BYTES_MIN <= len(leaf) <= 4 * HASH_BYTES:
            yield leaf


def _windows(piece: bytes) -> Iterator[bytes]:
    """The 32 bytes at the end, where keys carry handles and hashes, and behind each slash."""
    if len(piece) >= HASH_BYTES:
        yield piece[-HASH_BYTES:]
    for at in (match.end() for match in re.finditer(b"/", piece)):
        if len(piece) - at >= HASH_BYTES:
            yield piece[at : at + HASH_BYTES]


def domains() -> list[bytes]:
    """The prefixes of every kind of thing that this software hashes, out of its sources."""
    words: set[str] = set()
    for package in ("salus", "consensus", "contracts", "storage", "node"):
        for path in (SOURCES / package).rglob("*.py"):
            words.update(_DOMAIN.findall(path.read_text()))
    assert len(words) > 50, "the sources say it otherwise now"
    return [domain(word) for word in sorted(words)]


def unsalted(values: Iterable[bytes], prefixes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Hash → value: what somebody would try who knows the input and no salt. Plain, as a Merkle
    leaf (RFC 6962), and under every domain of ours."""
    before = [b"", b"\0", *prefixes]
    return {
        digest: value
        for value in values
        for prefix in before
        for digest in (
            hashlib.sha256(prefix + value).digest(),
            hashlib.sha256(prefix + bytes(HASH_BYTES) + value).digest(),  # a salt of nothing
        )
    }


def fields_of(content: Any) -> Iterator[bytes]:
    """Texts and numbers of a JSON document, with the words that they consist of."""
    match content:
        case dict():
            for value in content.values():
                yield from fields_of(value)
        case list():
            for value in content:
                yield from fields_of(value)
        case str():
            yield content.encode()
            yield content.lower().encode()
            yield from (word.encode() for word in content.split())
        case bool() | None:
            return
        case _:
            yield str(content).encode()
