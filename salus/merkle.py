"""RFC 6962 Merkle log: root, inclusion and consistency proofs, and their verifiers.

Leaves and nodes have separate domains (0x00, 0x01) and an odd node moves up unduplicated
(rule 27). Everything here takes and gives 32-byte *leaf hashes*; a proof is the list of
sibling hashes from the leaf upwards (RFC 9162 §2.1.3).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from salus.errors import VerificationError
from salus.hashing import HASH_BYTES

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over leaf hashes; SHA-256 of nothing for an empty tree."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def _parents(level: list[bytes]) -> list[bytes]:
    # `node_hash` written out: two for each transaction of a block. The odd one is in no pair.
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    if len(level) % 2:
        above.append(level[-1])
    return above


def subtrees(count: int, shown: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is it a shown leaf), left to right: shown leaves (ascending), and between them
    the largest subtrees of a tree of `count` leaves that hold none."""
    todo = [(0, count)]
    while todo:
        start, end = todo.pop()
        at = bisect_left(shown, start)
        if at == len(shown) or shown[at] >= end:
            yield start, end, False
        elif end - start == 1:
            yield start, end, True
        else:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            todo += [(middle, end), (start, middle)]


def root_of_subtrees(nodes: Iterable[tuple[int, bytes]]) -> bytes:
    """The root over subtrees as `subtrees` gives them: (number of leaves, hash), left to right.

    A node is made as soon as its two halves are there (RFC 9162 §2.1.1)."""
    stack: list[tuple[int, bytes]] = []
    for node in nodes:
        stack.append(node)
        # All but the last subtree have a power of two of leaves, in descending sizes from the left.
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            _join(stack)
    while len(stack) > 1:
        _join(stack)
    return stack[0][1] if stack else EMPTY_ROOT


def _join(stack: list[tuple[int, bytes]]) -> None:
    (right_size, right), (left_size, left) = stack.pop(), stack.pop()
    stack.append((left_size + right_size, node_hash(left, right)))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from leaf `index` up to the root (RFC 9162 §2.1.3.1)."""
    assert 0 <= index < len(leaves)
    path, level = [], list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level, index = _parents(level), index // 2
    return path


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the proof leads to (RFC 9162 §2.1.3.2); raises `VerificationError`."""
    _check_hashes(leaf, *path)
    if not 0 <= index < size:
        raise VerificationError("inclusion proof: the index lies outside the tree")
    node, position, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise VerificationError("inclusion proof: too long for this tree size")
        if position % 2 or position == last:
            node = node_hash(sibling, node)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise VerificationError("inclusion proof: too short for this tree size")
    return node


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes
) -> None:
    """Raises `VerificationError` unless `leaf` is the `index`-th of `size` under `expected`."""
    _check_hashes(expected)
    if root_from_inclusion(leaf, index, size, path) != expected:
        raise VerificationError("inclusion proof: leads to another root")


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the first `old_size` leaves are unchanged (RFC 9162 §2.1.4.1)."""
    assert 0 < old_size <= len(leaves)
    return _subproof(old_size, leaves, True)


def _subproof(old: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    size = len(leaves)
    if old == size:
        return [] if complete else [root(leaves)]
    split = 1 << (size - 1).bit_length() - 1
    if old <= split:
        return [*_subproof(old, leaves[:split], complete), root(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], False), root(leaves[:split])]


def verify_consistency(
    old_size: int, new_size: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Raises unless the old tree is a prefix of the new one (RFC 9162 §2.1.4.2).

    Size 0 is refused: everything is consistent with the empty tree, so it would prove nothing.
    """
    _check_hashes(old_root, new_root, *path)
    if not 0 < old_size <= new_size:
        raise VerificationError("consistency proof: sizes must satisfy 0 < old ≤ new")
    if old_size == new_size:
        if path or old_root != new_root:
            raise VerificationError("consistency proof: equal sizes, different trees")
        return
    nodes = list(path)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        raise VerificationError("consistency proof: empty")
    position, last = old_size - 1, new_size - 1
    while position % 2:
        position, last = position >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise VerificationError("consistency proof: too long")
        if position % 2 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position % 2 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last or old != old_root or new != new_root:
        raise VerificationError("consistency proof: leads to other roots")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise VerificationError("Merkle proof: every leaf, root and node is 32 bytes")
