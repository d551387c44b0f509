"""RFC 6962 trees (rule B27): against the definition, against public vectors, against liars."""

import base64
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import merkle
from salus.errors import VerificationError
from tests.salus import data

leaf_lists = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


def naive(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def leaves_of(size: int) -> list[bytes]:
    return [merkle.leaf_hash(bytes([i])) for i in range(size)]


@pytest.mark.parametrize("size", range(66))
def test_root_is_the_definition(size: int) -> None:
    assert merkle.root(leaves_of(size)) == naive(leaves_of(size))


def test_every_leaf_of_every_small_tree_is_provable_at_its_place_only() -> None:
    for size in range(1, 18):
        leaves = leaves_of(size)
        root = merkle.root(leaves)
        for index in range(size):
            path = merkle.inclusion_proof(leaves, index)
            merkle.verify_inclusion(leaves[index], index, size, path, root)
            for other in range(size + 1):
                if other != index:
                    with pytest.raises(VerificationError):
                        merkle.verify_inclusion(leaves[index], other, size, path, root)


def test_every_prefix_of_every_small_tree_is_consistent() -> None:
    for new in range(1, 18):
        leaves = leaves_of(new)
        for old in range(1, new + 1):
            path = merkle.consistency_proof(leaves, old)
            roots = merkle.root(leaves[:old]), merkle.root(leaves)
            merkle.verify_consistency(old, new, path, *roots)
            if old < new:
                with pytest.raises(VerificationError):
                    merkle.verify_consistency(old, new, path, roots[1], roots[0])
                with pytest.raises(VerificationError):
                    merkle.verify_consistency(old, new, [*path, bytes(32)], *roots)
                with pytest.raises(VerificationError):
                    merkle.verify_consistency(old, new, path[:-1], *roots)


@settings(deadline=None, max_examples=200)
@given(leaf_lists, st.data())
def test_any_change_of_an_inclusion_proof_is_refused(
    leaves: list[bytes], choose: st.DataObject
) -> None:
    index = choose.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root(leaves), merkle.inclusion_proof(leaves, index)
    merkle.verify_inclusion(leaves[index], index, len(leaves), path, root)
    bad = list(path)
    change = choose.draw(st.sampled_from(["drop", "add", "flip", "swap", "short", "long"]))
    if change == "add":
        bad.insert(choose.draw(st.integers(0, len(bad))), bytes(32))
    elif not bad:
        return
    else:
        at = choose.draw(st.integers(0, len(bad) - 1))
        if change == "drop":
            del bad[at]
        elif change == "flip":
            bad[at] = bytes([bad[at][0] ^ 1]) + bad[at][1:]
        elif change == "swap":
            bad[0], bad[at] = bad[at], bad[0]
        else:
            bad[at] = bad[at][:-1] if change == "short" else bad[at] + b"\0"
    if bad == path:
        return
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(leaves[index], index, len(leaves), bad, root)


def test_an_odd_node_is_never_duplicated() -> None:
    """Rule B27: [a, b, c] and [a, b, c, c] have different roots."""
    a, b, c = leaves_of(3)
    assert merkle.root([a, b, c]) != merkle.root([a, b, c, c])


def test_a_node_is_no_leaf() -> None:
    a, b = leaves_of(2)
    assert merkle.node_hash(a, b) != merkle.leaf_hash(a + b)


def test_what_is_not_32_bytes_is_refused() -> None:
    leaf = merkle.leaf_hash(b"x")
    for bad in (b"", leaf[:-1], leaf + b"\0"):
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(bad, 0, 1, [], leaf)
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(leaf, 0, 1, [], bad)
        with pytest.raises(VerificationError):
            merkle.verify_consistency(1, 2, [bad], leaf, leaf)


def test_consistency_with_the_empty_tree_proves_nothing() -> None:
    """health.md §4.13."""
    with pytest.raises(VerificationError):
        merkle.verify_consistency(0, 3, [], merkle.EMPTY_ROOT, merkle.root(leaves_of(3)))


def refuses(verifier: Callable[..., None], *arguments: object) -> bool:
    try:
        verifier(*arguments)
    except VerificationError:
        return True
    return False


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text) if text else b""


def _proof(case: dict[str, Any]) -> list[bytes]:
    return [_bytes(text) for text in case["proof"] or []]


def test_public_inclusion_vectors() -> None:
    good = bad = 0
    for name, case in data.load("rfc6962-merkle/inclusion.json").items():
        arguments = (
            _bytes(case["leafHash"]),
            case["leafIdx"],
            case["treeSize"],
            _proof(case),
            _bytes(case["root"]),
        )
        if case["wantErr"]:
            assert refuses(merkle.verify_inclusion, *arguments), name
            bad += 1
        else:
            merkle.verify_inclusion(*arguments)
            good += 1
    assert good >= 3
    assert bad > 20


def test_public_consistency_vectors() -> None:
    good = bad = 0
    for name, case in data.load("rfc6962-merkle/consistency.json").items():
        arguments = (
            case["size1"],
            case["size2"],
            _proof(case),
            _bytes(case["root1"]),
            _bytes(case["root2"]),
        )
        # Their verifier accepts an empty old tree; ours refuses it on purpose.
        if case["wantErr"] or case["size1"] == 0:
            assert refuses(merkle.verify_consistency, *arguments), name
            bad += 1
        else:
            merkle.verify_consistency(*arguments)
            good += 1
    assert good >= 2
    assert bad > 20


def test_public_subtree_vectors_where_the_subtree_is_a_whole_tree() -> None:
    """A subtree that begins at 0 is the tree of its size: the same verifier must agree."""
    seen = 0
    for name, case in data.load("rfc6962-merkle/subtreeinclusion.json").items():
        if case["start"] != 0:
            continue
        arguments = (
            _bytes(case["leafHash"]),
            case["leafIdx"],
            case["end"],
            _proof(case),
            _bytes(case["root"]),
        )
        if case["wantErr"]:
            assert refuses(merkle.verify_inclusion, *arguments), name
        else:
            merkle.verify_inclusion(*arguments)
        seen += 1
    assert seen > 20
