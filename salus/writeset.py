"""Write sets: what a block changed in the state, by hashes, so that two nodes can compare (L24).

◆ change = key hash ‖ old leaf ‖ new leaf (salus/statemap.py); a write set is the changes of one
block, each key once, in any order. Law of the file: hashes only. Whoever compares learns which
key differs and never what it holds.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from salus.errors import BadMessage
from salus.hashing import HASH_BYTES, hasher
from salus.parameters import Parameters
from salus.statemap import CHANGE_BYTES

_hash_write_set = hasher("write-set")


class Change(NamedTuple):
    """Of one key; zeroes stand for a key that was or is not there."""

    key_hash: bytes
    old: bytes
    new: bytes


def write_sets_kept(parameters: Parameters) -> int:
    """Of so many blocks a node keeps the write sets: two windows, so that whoever is told of a
    divergence while the window is full can still compare."""
    return 2 * parameters.watermark_window


def seal(height: int, write_set: bytes) -> bytes:
    """◆ Stands before the write set on disk, where nothing else vouches for it."""
    return _hash_write_set(height.to_bytes(8) + write_set)


def changes(write_set: bytes) -> Iterator[Change]:
    """Raises `BadMessage` if these are not whole changes."""
    if len(write_set) % CHANGE_BYTES:
        raise BadMessage("a write set is made of whole changes")
    for at in range(0, len(write_set), CHANGE_BYTES):
        old = at + HASH_BYTES
        new = old + HASH_BYTES
        yield Change(write_set[at:old], write_set[old:new], write_set[new : new + HASH_BYTES])


def first_difference(
    mine: bytes, theirs: bytes, order: Sequence[bytes]
) -> tuple[Change | None, Change | None] | None:
    """My change and theirs of the first key that differs; None if the write sets are equal.

    `order`: the key hashes in the order in which I wrote them: what went wrong first explains
    what follows from it. Keys that only they wrote come last, the smallest first.
    """
    own = {change.key_hash: change for change in changes(mine)}
    other = {change.key_hash: change for change in changes(theirs)}
    for key_hash in (*order, *sorted(other.keys() - own.keys())):
        if own.get(key_hash) != other.get(key_hash):
            return own.get(key_hash), other.get(key_hash)
    return None
